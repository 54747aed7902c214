"""In CI: output that the system cannot mistake for commands, and what it shows of a run by itself."""

import contextlib
import io
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from orchestra.errors import MissingKey, OrchestraError
from orchestra.handover.why import FORK, from_fork
from orchestra.report.ci import Ci, annotation, recognise
from orchestra.report.safe import plain

if TYPE_CHECKING:
    from orchestra.conduct.deliver.finish import Finished


class Guard(io.TextIOBase):
    """A stream of whole lines, none of which the CI system takes for a command; only `order` gives commands."""

    def __init__(self, stream: TextIO, ci: Ci) -> None:
        self.stream, self.ci, self.rest = stream, ci, ""

    def write(self, text: str) -> int:
        whole, ended, self.rest = (self.rest + text).rpartition("\n")
        self.stream.write(self.ci.harmless(whole + ended) if ended else "")
        return len(text)

    @property
    def buffer(self) -> BinaryIO:
        """For bytes that a program reads, as `git apply` does a diff: they pass as they are."""
        self.close()
        return self.stream.buffer

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """The stream itself stays open."""
        if self.rest:
            self.stream.write(self.ci.harmless(self.rest))
            self.rest = ""

    def order(self, text: str) -> None:
        self.close()
        self.stream.write(text)
        self.stream.flush()

    def isatty(self) -> bool:
        return False


@contextlib.contextmanager
def guarded(env: Mapping[str, str]) -> Iterator[None]:
    """In CI everything printed from here on passes the guard, whoever prints it."""
    ci = recognise(env)
    if not ci.kind:
        yield
        return
    before, guards = (sys.stdout, sys.stderr), (Guard(sys.stdout, ci), Guard(sys.stderr, ci))
    sys.stdout, sys.stderr = guards
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for guard in guards:
            with contextlib.suppress(OSError, ValueError):
                guard.close()
                guard.flush()


def order(text: str) -> None:
    """A command for the CI system. Where nobody guards there is no such system."""
    if text and isinstance(sys.stderr, Guard):
        with contextlib.suppress(OSError):
            sys.stderr.order(text)


def publish(finished: "Finished", env: Mapping[str, str]) -> None:
    """The run's result where the CI system looks for it, and where its files are."""
    from orchestra.report.annotations import annotations, outputs
    from orchestra.report.markdown import STEP_SUMMARY, markdown

    ci, report = recognise(env), finished.report
    if not ci.kind:
        return
    files = {"summary": finished.path, **finished.files}
    if ci.kind == "github":
        target = env.get("GITHUB_STEP_SUMMARY", "")
        append(target, markdown(report, STEP_SUMMARY - size(target)))
        paths = {name: str(path) for name, path in files.items()}
        append(env.get("GITHUB_OUTPUT", ""), outputs(report, paths, f"end_{secrets.token_hex(16)}"))
        said = finished.material.outputs if finished.material else {}
        order("".join(f"{each}\n" for each in annotations(report, said)))
    print("Files of this run:", *(f"  {path}" for path in files.values()), sep="\n", file=sys.stderr)


def size(path: str) -> int:
    return Path(path).stat().st_size if path and Path(path).exists() else 0


def append(path: str, text: str) -> None:
    """A file of the CI system's that cannot be written is its problem, and not the run's."""
    try:
        if path and text:
            with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
    except OSError as error:
        print(f"note: {path} cannot be written: {error}.", file=sys.stderr)


def complaint(error: OrchestraError, env: Mapping[str, str]) -> str:
    """The error in one sentence. Where a key is missing, CI may well be the reason."""
    why = f" {FORK}" if isinstance(error, MissingKey) and from_fork(env) else ""
    words = plain(f"{error}{why}")
    if recognise(env).kind == "github":
        order(annotation(words, "Aider Orchestrator") + "\n")
    return words
