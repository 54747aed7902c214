"""Output in CI: text that the system cannot mistake for commands, and the result where the system shows it."""

import contextlib
import io
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from orchestra.errors import MissingKey, OrchestraError
from orchestra.handover.refusals import FORK, is_from_fork
from orchestra.report.ci import CiSystem, detect_ci_system, error_annotation
from orchestra.report.sanitize import strip_controls

if TYPE_CHECKING:
    from orchestra.conduct.deliver.finish import FinishedRun


class GuardedStream(io.TextIOBase):
    """A stream of whole lines that the CI system does not take for commands; only `send_command` sends them."""

    def __init__(self, stream: TextIO, ci: CiSystem) -> None:
        self.stream, self.ci, self.partial_line = stream, ci, ""

    def write(self, text: str) -> int:
        lines, newline, self.partial_line = (self.partial_line + text).rpartition("\n")
        self.stream.write(self.ci.neutralize(lines + newline) if newline else "")
        return len(text)

    @property
    def buffer(self) -> BinaryIO:
        """Return the stream for bytes, such as a diff for `git apply`, which pass unchanged."""
        self.close()
        return self.stream.buffer

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        """Write what is pending. The stream itself stays open."""
        if self.partial_line:
            self.stream.write(self.ci.neutralize(self.partial_line))
            self.partial_line = ""

    def send_command(self, text: str) -> None:
        self.close()
        self.stream.write(text)
        self.stream.flush()


@contextlib.contextmanager
def guard_output(env: Mapping[str, str]) -> Iterator[None]:
    """Guard stdout and stderr in CI."""
    ci = detect_ci_system(env)
    if not ci.kind:
        yield
        return
    before, guards = (sys.stdout, sys.stderr), (GuardedStream(sys.stdout, ci), GuardedStream(sys.stderr, ci))
    sys.stdout, sys.stderr = guards
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for guard in guards:
            with contextlib.suppress(OSError, ValueError):
                guard.close()
                guard.flush()


def send_ci_command(text: str) -> None:
    """Send a command to the CI system, if there is one."""
    if text and isinstance(sys.stderr, GuardedStream):
        with contextlib.suppress(OSError):
            sys.stderr.send_command(text)


def publish_in_ci(finished: "FinishedRun", env: Mapping[str, str]) -> None:
    """Write the result where the CI system looks for it, and print the paths of the run's files."""
    from orchestra.report.annotations import build_annotations, step_outputs
    from orchestra.report.markdown import STEP_SUMMARY_LIMIT, markdown_report

    ci, report = detect_ci_system(env), finished.report
    if not ci.kind:
        return
    files = {"summary": finished.path, **finished.files}
    if ci.kind == "github":
        target = env.get("GITHUB_STEP_SUMMARY", "")
        size = Path(target).stat().st_size if target and Path(target).exists() else 0
        append_to_file(target, markdown_report(report, STEP_SUMMARY_LIMIT - size))
        paths = {name: str(path) for name, path in files.items()}
        append_to_file(env.get("GITHUB_OUTPUT", ""), step_outputs(report, paths, f"end_{secrets.token_hex(16)}"))
        gate_outputs = finished.material.outputs if finished.material else {}
        send_ci_command("".join(f"{annotation}\n" for annotation in build_annotations(report, gate_outputs)))
    print("Files of this run:", *(f"  {path}" for path in files.values()), sep="\n", file=sys.stderr)


def append_to_file(path: str, text: str) -> None:
    """Append to a file of the CI system. If it cannot be written, print a note: the run itself is not affected."""
    try:
        if path and text:
            with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
    except OSError as error:
        print(f"note: {path} cannot be written: {error}.", file=sys.stderr)


def announce_error(error: OrchestraError, env: Mapping[str, str]) -> str:
    """Return the error as a sentence, and annotate it on GitHub. A missing key may be caused by a fork's CI."""
    reason = f" {FORK}" if isinstance(error, MissingKey) and is_from_fork(env) else ""
    sentence = strip_controls(f"{error}{reason}")
    if detect_ci_system(env).kind == "github":
        send_ci_command(error_annotation(sentence, "Aider Orchestrator") + "\n")
    return sentence
