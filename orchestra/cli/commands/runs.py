"""`runs`: what has been run here, and `status`: one run as far as it came."""

from argparse import Namespace
from typing import Any

from orchestra.cli.find import Here, Known, looking
from orchestra.cli.watch import watch
from orchestra.cli.words import Words, say, say_json
from orchestra.journal.hold import who
from orchestra.journal.store import Owner
from orchestra.model import Usage
from orchestra.report import status as words_for
from orchestra.report.plain import one_line
from orchestra.report.sentence import money
from orchestra.report.state import Report
from orchestra.report.text import closing

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


def runs(argv: list[str]) -> int:
    words = Words(RUNS_USAGE)
    words.add_argument("--json", action="store_true")
    given = words.read(argv)
    with looking(given) as here:
        records = [listing(here, known) for known in here.runs]
    if given.json:
        say_json(records)
    elif records:
        say("\n".join(words_for.table([row(record) for record in records])))
    return 0


def listing(here: Here, known: Known) -> dict[str, Any]:
    """What the first and the last event of a run tell. An older run's last event tells less."""
    first, last, started, ended = known.run.first, known.run.last, known.run.started, known.run.ended
    owner = None if last else here.owner(known)
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
        "owner": shown(owner),
    }


def row(record: dict[str, Any]) -> words_for.Row:
    ending = "not ended" if record["exit_code"] is None else f"exit {record['exit_code']}"
    tasks = "" if record["tasks"] is None else f"{record['complete']} of {record['tasks']}"
    cost = "" if record["cost"] is None else money(Usage(dollars=record["cost"]))
    change = one_line(str(record["change"]), 80)
    return (
        record["run"],
        "running" if record["state"] == words_for.RUNNING else ending,
        "" if record["seconds"] is None else words_for.lasting(record["seconds"]),
        tasks,
        cost,
        f"{change}  (on {record['elsewhere']})" if record["elsewhere"] else change,
    )


def status(argv: list[str]) -> int:
    words = Words(STATUS_USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("--watch", action="store_true")
    words.add_argument("--json", action="store_true")
    given = words.read(argv)
    with looking(given) as here:
        known = here.find(given.run)
        if given.watch:
            watch(here, known, None if given.json else lambda report: text(here, known, report))
        report = here.report(known)
        tell(here, known, report, given)
    return 0


def tell(here: Here, known: Known, report: Report, given: Namespace) -> None:
    if not given.json:
        say(text(here, known, report))
        return
    logs = {task: here.logs / f"agent{task}_{known.name}.jsonl" for task in report.tasks}
    shown_logs = {task: str(path.relative_to(here.root)) for task, path in logs.items()}
    say_json(words_for.record(report, shown_logs, shown(here.owner(known))))


def text(here: Here, known: Known, report: Report) -> str:
    lines, owner = words_for.agents(report), here.owner(known)
    if report.exit_code is not None:
        from orchestra.report.formats import DEFAULT, FORMS

        made = [here.logs / f"summary_{known.name}.json", here.logs / FORMS[DEFAULT].file_name(known.name)]
        lines += ["", closing(report, *(str(path) if path.exists() else "" for path in made))]
    else:
        lines = [f"{known.name}: {one_line(report.change, 80)}", words_for.progress(report), "", *lines]
        lines += ["", *worker(known, owner)]
    if report.exit_code is not None and owner:
        lines += worker(known, owner)
    return "\n".join(lines).lstrip("\n")


def worker(known: Known, owner: Owner | None) -> list[str]:
    """Whether a run that has not ended goes on, or died."""
    if owner:
        return [f"{who(owner)} is at work on it."]
    if known.elsewhere:
        return [f"Nobody is at work on it. It ran on {known.elsewhere}."]
    return [f"Nobody is at work on it. To take it up: aider-orchestrator resume {known.name}"]


def shown(owner: Owner | None) -> dict[str, Any] | None:
    return {"host": owner.host.partition("/")[0], "pid": owner.pid} if owner else None
