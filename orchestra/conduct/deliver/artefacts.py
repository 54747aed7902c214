"""The reports that a run leaves beside its summary, one file in each format. Made from the logs, at any time."""

from collections.abc import Callable
from pathlib import Path

from orchestra.events import EventLog
from orchestra.process import read_tail
from orchestra.report.detail import build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.formats import REPORT_FORMATS, ReportMaterial
from orchestra.workspace.commit_diffs import read_commit_diffs

LOGS = ".aider_logs"


def gather_report_material(root: Path, log: EventLog, scrub: Callable[[str], str]) -> ReportMaterial:
    report, found = report_from_log(log), build_detail(log.events)
    tasks = report.tasks.values()
    commits = read_commit_diffs(root, (task.commit for task in tasks if task.commit))
    changes = {task.id: commits.get(task.commit) or read_run_file(root, task.patch) for task in tasks}
    outputs = {
        path: read_run_file(root, path) for path in {gate.result.output for gate in found.gates if gate.result.output}
    }
    return ReportMaterial(
        report, found, {n: scrub(text) for n, text in changes.items() if text}, scrubbed(outputs, scrub)
    )


def scrubbed(texts: dict[str, str], scrub: Callable[[str], str]) -> dict[str, str]:
    return {path: scrub(text) for path, text in texts.items()}


def read_run_file(root: Path, name: str) -> str:
    """The end of a file that the run wrote. Only from its own folder: a log may have come from elsewhere."""
    try:
        path = (root / name).resolve()
        return read_tail(path) if name and path.is_relative_to((root / LOGS).resolve()) else ""
    except (OSError, ValueError):
        return ""


def write_reports(root: Path, material: ReportMaterial) -> dict[str, Path]:
    """The quickest first: a CI system that ends a job does not wait long."""
    files = {
        name: root / LOGS / REPORT_FORMATS[name].file_name(material.report.run) for name in reversed(REPORT_FORMATS)
    }
    for name, path in files.items():
        replace_file(path, REPORT_FORMATS[name].render(material))
    return files


def replace_file(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", errors="replace")
    part.replace(path)
