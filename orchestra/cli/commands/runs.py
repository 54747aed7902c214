"""`runs`: what has been run here, and `status`: one run as far as it came."""

from argparse import Namespace
from typing import Any

from orchestra.cli.command_io import CommandParser, print_json, print_plain
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.watch import watch_run
from orchestra.journal.ownership import describe_owner
from orchestra.journal.store import Owner
from orchestra.model import Usage
from orchestra.report import run_status as words_for
from orchestra.report.closing import closing_text
from orchestra.report.phrases import cost_phrase
from orchestra.report.state import Report
from orchestra.report.terminal_text import escaped_line

RUNS_USAGE = """usage: aider-orchestrator runs [--json] [--repo PATH] [--store URL]

List the runs of this repository, the latest last: RUN, how it ended, how long it took, how many of its tasks are
complete, what it cost, what was to be changed. A store that others share also tells of their runs in this repository.
"""
STATUS_USAGE = """usage: aider-orchestrator status [RUN] [--watch] [--json] [--repo PATH] [--store URL]

Tell of one run (the latest, or RUN) what its events amount to so far, and whether somebody is at work on it.
RUN is its name, or enough of the beginning or the end of it. Also called `agents`.

  --watch   go on telling until the run ends
  --json    the same for programs: the keys of the summary, and state (running, interrupted, ended) and owner
"""


def cmd_runs(argv: list[str]) -> int:
    words = CommandParser(RUNS_USAGE)
    words.add_argument("--json", action="store_true")
    given = words.parse(argv)
    with open_run_index(given) as here:
        records = [run_record(here, known) for known in here.runs]
    if given.json:
        print_json(records)
    elif records:
        print_plain("\n".join(words_for.align_columns([run_row(record) for record in records])))
    return 0


def run_record(here: RunIndex, known: KnownRun) -> dict[str, Any]:
    """What the first and the last event of a run tell. An older run's last event tells less."""
    first, last, started, ended = known.run.first, known.run.last, known.run.started, known.run.ended
    owner = None if last else here.find_owner(known)
    return {
        "run": known.name,
        "state": words_for.ENDED if last else words_for.RUNNING if owner else words_for.INTERRUPTED,
        "exit_code": ended.exit_code if ended else None,
        "started": first.time,
        "seconds": (last.time - first.time) / 1000 if last else None,
        "tasks": ended.tasks if ended else None,
        "complete": ended.complete if ended else None,
        "cost": ended.cost if ended else None,
        "change": started.change if started else "",
        "model": started.model if started else "",
        "elsewhere": known.elsewhere or None,
        "owner": owner_record(owner),
    }


def run_row(record: dict[str, Any]) -> words_for.TableRow:
    ending = "not ended" if record["exit_code"] is None else f"exit {record['exit_code']}"
    tasks = "" if record["tasks"] is None else f"{record['complete']} of {record['tasks']}"
    cost = "" if record["cost"] is None else cost_phrase(Usage(dollars=record["cost"]))
    change = escaped_line(str(record["change"]), 80)
    return (
        record["run"],
        "running" if record["state"] == words_for.RUNNING else ending,
        "" if record["seconds"] is None else words_for.format_age(record["seconds"]),
        tasks,
        cost,
        f"{change}  (on {record['elsewhere']})" if record["elsewhere"] else change,
    )


def cmd_status(argv: list[str]) -> int:
    words = CommandParser(STATUS_USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("--watch", action="store_true")
    words.add_argument("--json", action="store_true")
    given = words.parse(argv)
    with open_run_index(given) as here:
        known = here.find(given.run)
        if given.watch:
            watch_run(here, known, None if given.json else lambda report: format_status(here, known, report))
        report = here.build_report(known)
        print_status(here, known, report, given)
    return 0


def print_status(here: RunIndex, known: KnownRun, report: Report, given: Namespace) -> None:
    if not given.json:
        print_plain(format_status(here, known, report))
        return
    logs = {task: here.logs / f"agent{task}_{known.name}.jsonl" for task in report.tasks}
    shown_logs = {task: str(path.relative_to(here.root)) for task, path in logs.items()}
    print_json(words_for.status_record(report, shown_logs, owner_record(here.find_owner(known))))


def format_status(here: RunIndex, known: KnownRun, report: Report) -> str:
    lines, owner = words_for.agent_lines(report), here.find_owner(known)
    if report.exit_code is not None:
        from orchestra.report.formats import DEFAULT_FORMAT, REPORT_FORMATS

        made = [
            here.logs / f"summary_{known.name}.json",
            here.logs / REPORT_FORMATS[DEFAULT_FORMAT].file_name(known.name),
        ]
        lines += ["", closing_text(report, *(str(path) if path.exists() else "" for path in made))]
    else:
        lines = [f"{known.name}: {escaped_line(report.change, 80)}", words_for.progress_sentence(report), "", *lines]
        lines += ["", *owner_lines(known, owner)]
    if report.exit_code is not None and owner:
        lines += owner_lines(known, owner)
    return "\n".join(lines).lstrip("\n")


def owner_lines(known: KnownRun, owner: Owner | None) -> list[str]:
    """Whether a run that has not ended goes on, or died."""
    if owner:
        return [f"{describe_owner(owner)} is at work on it."]
    if known.elsewhere:
        return [f"Nobody is at work on it. It ran on {known.elsewhere}."]
    return [f"Nobody is at work on it. To take it up: aider-orchestrator resume {known.name}"]


def owner_record(owner: Owner | None) -> dict[str, Any] | None:
    return {"host": owner.host.partition("/")[0], "pid": owner.pid} if owner else None
