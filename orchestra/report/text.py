"""The last lines of a run: what changed, what did not and why, how far it was verified, cost, time, where everything is, what to do next."""

from orchestra.report.fold import Report
from orchestra.report.sentence import failure_line, next_steps, paid, plural, sentence

MOST_FILES = 20


def closing(report: Report, summary_path: str) -> str:
    lines = [sentence(report), ""]
    lines += changed(report)
    failures = [f"  {failure_line(task)}" for task in report.failed]
    lines += ["Not done:", *failures, ""] if failures else []
    lines += [*remarks(report), costs(report)]
    lines += [f"Requirements: {page}" for page in [report.prd.get("path")] if page]
    lines += [f"Report: {summary_path}"]
    steps = next_steps(report)
    lines += ["", "Next:", *(f"  {step}" for step in steps)] if steps else []
    return "\n".join(lines)


def changed(report: Report) -> list[str]:
    files = sorted(report.files.items())
    width = max((len(path) for path, _ in files[:MOST_FILES]), default=0)
    lines = [f"  {path:<{width}}  +{added} -{removed}" for path, (added, removed) in files[:MOST_FILES]]
    more = [f"  and {len(files) - MOST_FILES} more"] if len(files) > MOST_FILES else []
    return ["Changed:", *lines, *more, ""] if lines else []


def remarks(report: Report) -> list[str]:
    """What else the user should know: edits taken out, paths refused, gates."""
    lines = [
        f"  {task.agent} also edited {', '.join(task.foreign)}, which belongs to another agent; kept in {task.patch}"
        for task in report.tasks.values()
        if task.foreign
    ]
    lines += [f"  {task.agent} was refused {', '.join(task.refused)}" for task in report.tasks.values() if task.refused]
    lines += [
        f"  {task.agent} left {', '.join(task.left_out)}, which cannot be committed"
        for task in report.tasks.values()
        if task.left_out
    ]
    gates = [
        f"  {gate['name']} {'passed' if gate['ok'] else 'failed'} in {gate['seconds']:.1f} s: {gate['command']} ({gate['output']})"
        for gate in report.gates
    ]
    return (["Checks:", *gates, ""] if gates else []) + (["Also:", *lines, ""] if lines else [])


def costs(report: Report) -> str:
    used = report.usage
    tokens = f"{used.input:,} tokens in, {used.output:,} out"
    return f"Cost: {paid(report)}; {plural(used.requests, 'request')}, {tokens}; time: {report.seconds:.1f} s"
