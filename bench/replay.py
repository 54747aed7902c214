"""Replay real commits: parent checked out, message as change, files. Is the resulting tree the commit's?

    python -m bench.replay REPO_GIT_DIR... [--commits 30] [--seed 1] [--agents 1-8] [--files 2-20] [-- MORE FLAGS]

A loopback model that knows the commit answers the real Aider with its edits.
"""

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.commits import FEWEST, MOST, Commit, File, chosen, git, sayable, unsayable
from bench.program import MODEL, command, environment
from tests.support.edits import Respond, knows
from tests.support.modelserver import ModelServer, Reply, Request

LIMIT = 600.0
EQUAL, UNSAYABLE, DIFFERENT = "equal", "not expressible", "DIFFERENT"
ROW = "{:<10} {:<10} {:>5} {:>6} {:>6} {:>8}  {}"


@dataclass(frozen=True)
class Outcome:
    """How a replay ended; `notes` say what differs, or what went wrong."""

    verdict: str
    notes: tuple[str, ...]
    seconds: float
    requests: int


# --- the model that knows the commit --------------------------------------------------------------------------------


def author(commit: Commit) -> Respond:
    """Brings the files of the chat to the commit's texts and makes the new files that the brief gives to this agent."""
    texts = {file.path: file.text for file in commit.files if file.after}
    new = [file.path for file in commit.files if file.new]

    def respond(request: Request) -> Reply:
        lines = request.brief.splitlines()
        return knows(texts, [path for path in new if f"- {path} (new: create it)" in lines])(request)

    return respond


# --- one replay -----------------------------------------------------------------------------------------------------


def replay(commit: Commit, agents: int, more: list[str], folder: Path) -> Outcome:
    clone = parent_of(commit, folder / "clone")
    started = time.monotonic()
    with ModelServer(author(commit)) as server:
        try:
            ended = subprocess.run(
                command(*flags(commit, agents, folder), *more),
                cwd=clone,
                env=environment(folder / "home", server),
                input=change(commit).encode(),
                capture_output=True,
                timeout=LIMIT,
            )
            code, said = ended.returncode, ended.stderr.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as late:
            code, said = -1, f"not done after {late.timeout:g} s"
    verdict, notes = compared(commit, clone)
    if verdict != UNSAYABLE and code:
        verdict, notes = DIFFERENT, [*notes, f"exit code {code}: {' | '.join(said.strip().splitlines()[-3:])}"]
    return Outcome(verdict, tuple(notes), time.monotonic() - started, server.count())


def parent_of(commit: Commit, place: Path) -> Path:
    git(commit.repository, "clone", "--quiet", "--shared", "--no-checkout", str(commit.repository), str(place))
    git(place, "checkout", "--quiet", "-B", "main", commit.parent)
    return place


def change(commit: Commit) -> str:
    """The commit's message. A PRD names files for the program only, so the ones that act by themselves (CI, build
    scripts, tool settings) are named here, as a person would."""
    if not any(file.new for file in commit.files):
        return commit.message
    return f"{commit.message}\n\nFiles: {', '.join(file.path for file in commit.files)}\n"


def flags(commit: Commit, agents: int, folder: Path) -> list[str]:
    """Files that are there are named by --files; a commit with new ones needs a PRD that says so."""
    common = ["--change", "-", "--agents", str(agents), "--model", MODEL]
    if not any(file.new for file in commit.files):
        return [*common, "--no-prd", "--files", *(f"./{file.path}" for file in commit.files)]
    work = [{"file": file.path, "new": file.new, "do": "Its part of the change."} for file in commit.files]
    prd = folder / "prd.md"
    prd.write_text(f"# The change\n\n```json\n{json.dumps({'work': work}, indent=1)}\n```\n", encoding="utf-8")
    return [*common, "--prd", str(prd)]


# --- the comparison -------------------------------------------------------------------------------------------------


def compared(commit: Commit, clone: Path) -> tuple[str, list[str]]:
    """The user's branch against the commit, and the checkout against the branch."""
    raw = git(clone, "diff-tree", "-r", "-z", "--no-renames", "refs/heads/main", commit.id).split(b"\0")
    files = {file.path: file for file in commit.files}
    said: list[tuple[str, str]] = []
    for about, name in zip(raw[0:-1:2], raw[1::2], strict=True):
        path = name.decode("utf-8", "surrogateescape")
        said.append(difference(clone, path, files.get(path), about.decode()))
    verdict = max((verdict for verdict, _ in said), key=[EQUAL, UNSAYABLE, DIFFERENT].index, default=EQUAL)
    notes = [note for _, note in said]
    left = git(clone, "status", "--porcelain").decode("utf-8", "replace").splitlines()
    if left or git(clone, "rev-parse", "HEAD") != git(clone, "rev-parse", "refs/heads/main"):
        return DIFFERENT, [*notes, f"the checkout is not clean: {left[:3]}"]
    return verdict, notes


def difference(clone: Path, path: str, file: File | None, about: str) -> tuple[str, str]:
    if file is None:
        return DIFFERENT, f"{path}: it is no file of the commit ({about.split()[-1]})"
    got = content(clone, path)
    best = file.after or file.before or b""  # a file cannot be emptied: it stays as it was
    if (reason := unsayable(file)) and sayable(got or b"") == sayable(best):
        return UNSAYABLE, f"{path}: {reason}"
    if got is None:
        return DIFFERENT, f"{path}: it is not there"
    at = next((n for n, pair in enumerate(zip(got, file.after, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(got), len(file.after)) if at is None else at
    return DIFFERENT, f"{path}: byte {at} {got[at : at + 30]!r} instead of {file.after[at : at + 30]!r} ({about})"


def content(clone: Path, path: str) -> bytes | None:
    if not git(clone, "ls-tree", "refs/heads/main", "--", path):
        return None
    return git(clone, "cat-file", "blob", f"refs/heads/main:{path}")


# --- all of them ----------------------------------------------------------------------------------------------------


def commits(repositories: list[Path], number: int, sizes: range, dice: random.Random) -> Iterator[Commit]:
    """One of each repository in turn, until there are enough or none is left."""
    sources = [chosen(place.resolve(), label(place), sizes, random.Random(dice.random())) for place in repositories]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*sources))
    return itertools.islice((commit for commit in turns if commit is not None), number)


def label(place: Path) -> str:
    """A bare repository is often called repo or .git; then the folder above has the better name."""
    named = next((part for part in reversed(place.resolve().parts) if part not in ("repo", ".git")), "repository")
    return named.split("+")[-1].removesuffix(".git")


def arguments(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    mine, more = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(prog="bench.replay", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("repositories", nargs="+", type=Path, metavar="REPO_GIT_DIR")
    parser.add_argument("--commits", type=int, default=30, help="how many, all repositories together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--agents", default="1-8", help="from-to, chosen by the seed for each commit")
    parser.add_argument("--files", default=f"{FEWEST}-{MOST}", help="from-to, how many a commit may change")
    parser.add_argument("--keep", type=Path, help="keep the clones of commits that differ in this folder")
    return parser.parse_args(mine), more


def main(argv: list[str]) -> int:
    asked, more = arguments(argv)
    dice, counts, began = random.Random(asked.seed), Counter[str](), time.monotonic()
    print(ROW.format("repository", "commit", "files", "agents", "asked", "seconds", "tree"), flush=True)
    for commit in commits(asked.repositories, asked.commits, span(asked.files), dice):
        with tempfile.TemporaryDirectory(prefix="bench-replay-", ignore_cleanup_errors=True) as name:
            agents = dice.choice(span(asked.agents))
            outcome = replay(commit, agents, more, Path(name))
            if outcome.verdict == DIFFERENT and asked.keep:
                shutil.copytree(name, asked.keep / f"{commit.name}-{commit.id[:8]}", symlinks=True)
        counts[outcome.verdict] += 1
        print(row(commit, agents, outcome), flush=True)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in (EQUAL, UNSAYABLE, DIFFERENT))
    print(f"\n{counts.total()} commits replayed: {told}; {time.monotonic() - began:.0f} s")
    return 1 if counts[DIFFERENT] or not counts[EQUAL] else 0


def span(text: str) -> range:
    """1-8, or a single number."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def row(commit: Commit, agents: int, outcome: Outcome) -> str:
    new = sum(file.new for file in commit.files)
    files = f"{len(commit.files)}" + (f"/{new}n" if new else "")
    seconds = f"{outcome.seconds:.1f}"
    first = ROW.format(commit.name, commit.id[:9], files, agents, outcome.requests, seconds, outcome.verdict)
    return "\n".join([first, *(f"    {note}" for note in outcome.notes)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
