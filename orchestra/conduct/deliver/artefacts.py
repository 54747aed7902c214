"""The reports that a run leaves beside its summary, one file in each format. Made from the logs, at any time."""

from collections.abc import Callable
from pathlib import Path

from orchestra.events import Log
from orchestra.process import tail
from orchestra.report.detail import detail
from orchestra.report.fold import report_of
from orchestra.report.formats import FORMS, Material
from orchestra.workspace.show import diffs

LOGS = ".aider_logs"


def gather(root: Path, log: Log, scrub: Callable[[str], str]) -> Material:
    report, found = report_of(log), detail(log.events)
    tasks = report.tasks.values()
    commits = diffs(root, (task.commit for task in tasks if task.commit))
    changes = {task.id: commits.get(task.commit) or quoted(root, task.patch) for task in tasks}
    outputs = {path: quoted(root, path) for path in {gate.result.output for gate in found.gates if gate.result.output}}
    return Material(report, found, {n: scrub(text) for n, text in changes.items() if text}, scrubbed(outputs, scrub))


def scrubbed(texts: dict[str, str], scrub: Callable[[str], str]) -> dict[str, str]:
    return {path: scrub(text) for path, text in texts.items()}


def quoted(root: Path, name: str) -> str:
    """The end of a file that the run wrote. Only from its own folder: a log may have come from elsewhere."""
    try:
        path = (root / name).resolve()
        return tail(path) if name and path.is_relative_to((root / LOGS).resolve()) else ""
    except (OSError, ValueError):
        return ""


def write(root: Path, material: Material) -> dict[str, Path]:
    """The quickest first: a CI system that ends a job does not wait long."""
    files = {name: root / LOGS / FORMS[name].file_name(material.report.run) for name in reversed(FORMS)}
    for name, path in files.items():
        replace(path, FORMS[name].render(material))
    return files


def replace(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", errors="replace")
    part.replace(path)
