#!/usr/bin/env python3
"""Have Gemini write a PRD (product requirements document) for a change: Markdown, which the orchestrator reads too."""

import argparse
import asyncio
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestra.errors import OrchestraError, ProviderError, SettingsError, UsageError

FOLDER = Path("docs/prd")
TRIES = 3
LONGEST_PAUSE = 60.0
# The limits in bytes of what is read for the digest of a repository; the digest is far smaller.
LARGEST_FILE = 400_000
LARGEST_SUM = 20_000_000
EXAMPLES = """\
examples:
  gemini_prd_generator.py --prompt "Add a password reset by e-mail"
  gemini_prd_generator.py --prompt @change.txt --filename reset.md    (written to docs/prd/reset.md)
  git log -1 --format=%B | gemini_prd_generator.py --prompt - --model gemini-pro-latest

The path of the PRD goes to stdout, everything else to stderr.
Exit codes: 0 written, 2 usage or configuration, 4 Gemini could not be used.
Variables, from the environment, .env here or .env beside this script: GOOGLE_API_KEY or GEMINI_API_KEY,
DEFAULT_GEMINI_MODEL, GEMINI_API_BASE or GOOGLE_GEMINI_BASE_URL, GEMINI_CLIENT (rest, or sdk for google's SDK)."""


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    try:
        print(write_prd_file(options), flush=True)
        return 0
    except OrchestraError as error:
        return report_failure(str(error), error.exit_code)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        return report_failure(f"{what}{error.strerror or error}.", UsageError.exit_code)
    except ImportError as error:
        return report_failure(f"{error}. The packages of requirements.txt must be installed.", UsageError.exit_code)
    except KeyboardInterrupt:
        return report_failure("stopped.", 130)
    except Exception as bug:
        *_, (code, line) = traceback.walk_tb(bug.__traceback__)
        return report_failure(
            f"a bug: {type(bug).__name__} in {Path(code.f_code.co_filename).name}:{line}.", OrchestraError.exit_code
        )


def report_failure(sentence: str, code: int) -> int:
    print(f"gemini_prd_generator: {without_keys(sentence)}", file=sys.stderr)
    return code


def without_keys(text: str) -> str:
    from orchestra.cli.load import scrub_keys

    return scrub_keys(text, sys.argv[1:])


def make_parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        "gemini_prd_generator.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag, metavar, text in (
        ("--prompt", "TEXT", "the change; @FILE reads it from a file, - from stdin"),
        ("--filename", "FILE", "where to write; a bare name goes to docs/prd/ (default: a new name there)"),
        ("--model", "NAME", "the Gemini model (default: DEFAULT_GEMINI_MODEL, else the current one)"),
        ("--api-key", "KEY", "Google API key (better: GOOGLE_API_KEY in the environment)"),
    ):
        arguments.add_argument(flag, metavar=metavar, required=flag == "--prompt", help=text)
    return arguments


def write_prd_file(options: argparse.Namespace) -> Path:
    """Ask for the PRD, write it, and return its path."""
    from orchestra.answers import prd_format
    from orchestra.plan.digest import build_digest
    from orchestra.process import replace_file
    from orchestra.workspace.git import ask_git

    change = read_change(options.prompt)
    target = target_path(options.filename)
    ask = make_asker(options.model, options.api_key)
    root = ask_git(Path.cwd(), "rev-parse", "--show-toplevel")
    digest = build_digest(tracked_files(Path(root))) if root else "There is no repository yet: every file is a new one."
    document = ask(change, digest)
    if target is None:
        target = create_unused_file(FOLDER / prd_format.prd_file_name(change, time.strftime("%Y%m%d_%H%M%S")))
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, without_keys(document).encode())
    try:
        prd_format.parse_prd(document)
    except UsageError as error:
        raise ProviderError(f"Gemini's PRD is written to {target}, but it needs mending: {error}") from None
    return target


def read_change(prompt: str) -> str:
    """Return the text of the change: the prompt, or from @FILE, or from stdin for -."""
    try:
        if prompt == "-":
            change = sys.stdin.buffer.read().decode()
        elif prompt.startswith("@"):
            change = Path(prompt[1:]).read_text("utf-8")
        else:
            prompt.encode()
            change = prompt
    except UnicodeError:
        raise UsageError("--prompt: the text is not UTF-8.") from None
    if not change.strip():
        raise UsageError("--prompt: the text is empty.")
    return change


def target_path(filename: str | None) -> Path | None:
    """Return the path of --filename, checked before a request is paid for."""
    target: Path | None = None
    parent = FOLDER
    if filename is not None:
        target = FOLDER / filename if filename == Path(filename).name else Path(filename)
        if filename in ("", ".", "..") or filename.endswith("/") or not filename.isprintable() or target.is_dir():
            raise UsageError(f"--filename {filename!r} is not the name of a file.")
        parent = target.parent
    existing = next(folder for folder in (parent, *parent.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"The PRD cannot be written: {existing} is not a folder that may be written to.")
    return target


def make_asker(model: str | None, key: str | None) -> Callable[[str, str], str]:
    """Return a function that asks Gemini, configured by flags, the environment and the .env files."""
    from orchestra import settings
    from orchestra.cli.load import read_environments
    from orchestra.providers import catalogue

    google = catalogue.PROVIDERS["gemini"]
    chosen = settings.load_settings({"gemini_model": model, "api_key": key}, read_environments(Path.cwd()))
    found_key, source = (
        (chosen.api_key, chosen.sources["api_key"]) if chosen.api_key else chosen.strongest_variable(google.key_vars)
    )
    if not found_key:
        raise SettingsError(
            "There is no Google API key: set GOOGLE_API_KEY in the environment or in .env, or give --api-key KEY."
        )
    name = chosen.gemini_model or catalogue.DEFAULT_GEMINI_MODEL
    base = catalogue.provider_base_url(google, chosen.base_url(google.base_vars, source))
    return lambda change, digest: asyncio.run(
        ask_with_retries(change, digest, name, found_key, base, chosen.gemini_client)
    )


def tracked_files(root: Path) -> Iterator[tuple[str, int, str | None]]:
    """Yield the existing tracked files, the most informative first, with the text of those that have signatures."""
    from orchestra.plan.digest import has_signatures, rank_path
    from orchestra.workspace.git import ask_git

    paths = set(filter(None, (ask_git(root, "ls-files", "-z") or "").split("\0")))
    room = LARGEST_SUM
    for path in sorted(paths, key=rank_path):
        file = root / path
        if not file.is_file() or file.is_symlink():
            continue
        size = file.stat().st_size
        wanted = has_signatures(path) and size <= min(room, LARGEST_FILE)
        room -= size if wanted else 0
        yield path, size, read_text(file) if wanted else None


def read_text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except (UnicodeDecodeError, OSError):
        return None


async def ask_with_retries(change: str, digest: str, model: str, key: str, base: str, client: str) -> str:
    """Ask, and repeat the request if that may help. In a run, the gateway does this for all agents."""
    from orchestra.models.gemini import GeminiError, write_prd

    tries = 0
    while True:
        tries += 1
        print(f"asking {model} for a PRD ...", file=sys.stderr)
        try:
            with print_progress() as on_text:
                return await write_prd(change, digest, model=model, key=key, base=base, client=client, on_text=on_text)
        except GeminiError as error:
            pause = float(tries) if error.retry_after is None else error.retry_after
            if not error.again or tries == TRIES or pause > LONGEST_PAUSE:
                raise
            print(f"{without_keys(str(error))} Asking again in {pause:g} s.", file=sys.stderr)
        await asyncio.sleep(pause)


@contextlib.contextmanager
def print_progress() -> Iterator[Callable[[int], None]]:
    """Show how many characters have arrived: in place on a terminal, elsewhere as a line now and then."""
    terminal = sys.stderr.isatty()
    shown = time.monotonic()

    def on_text(characters: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > (0.1 if terminal else 10.0):
            shown = time.monotonic()
            print(f"{characters} characters", end="\r" if terminal else "\n", file=sys.stderr, flush=True)

    try:
        yield on_text
    finally:
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def create_unused_file(wanted: Path) -> Path:
    """Create a file of an unused name, because two runs in the same second must not overwrite each other."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1_000):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}_{number}")
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise UsageError(f"{wanted.parent} has a thousand files of this name.")


if __name__ == "__main__":
    sys.exit(main())
