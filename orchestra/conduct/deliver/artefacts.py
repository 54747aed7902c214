"""Write the reports beside the summary, one file per format. They can be made again from the logs at any time."""

from collections.abc import Callable
from pathlib import Path

from orchestra.conduct.core.locations import LOGS
from orchestra.events import EventLog
from orchestra.process import read_tail, replace_file
from orchestra.report.detail import build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.formats import REPORT_FORMATS, ReportMaterial
from orchestra.workspace.commit_diffs import read_commit_diffs


def gather_report_material(root: Path, log: EventLog, scrub: Callable[[str], str]) -> ReportMaterial:
    report, found = report_from_log(log), build_detail(log.events)
    tasks = report.tasks.values()
    commits = read_commit_diffs(root, (task.commit for task in tasks if task.commit))
    changes = {task.id: commits.get(task.commit) or read_run_file(root, task.patch) for task in tasks}
    outputs = {gate.result.output for gate in found.gates if gate.result.output}
    return ReportMaterial(
        report,
        found,
        {number: scrub(text) for number, text in changes.items() if text},
        {path: scrub(read_run_file(root, path)) for path in outputs},
    )


def read_run_file(root: Path, name: str) -> str:
    """Read the end of a file that the run wrote. Only from its own folder, because a log may come from elsewhere."""
    try:
        path = (root / name).resolve()
        return read_tail(path) if name and path.is_relative_to((root / LOGS).resolve()) else ""
    except (OSError, ValueError):
        return ""


def write_reports(root: Path, material: ReportMaterial) -> dict[str, Path]:
    """Write the reports, the quickest first: a CI system that stops a job does not wait long."""
    forms = {name: REPORT_FORMATS[name] for name in reversed(REPORT_FORMATS)}
    files = {name: root / LOGS / form.file_name(material.report.run) for name, form in forms.items()}
    for name, path in files.items():
        replace_file(path, forms[name].render(material).encode("utf-8", "replace"))
    return files
