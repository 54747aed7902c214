"""Take up a run where it was left: what its events say is done is not done, and not paid for, again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestra import prd as prd_format
from orchestra.conduct.attempt import Result
from orchestra.errors import UsageError
from orchestra.gateway.tape import Tape
from orchestra.journal import jsonl
from orchestra.model import Event, Judgement, Plan, Prd, TargetFile, Task, Verdict
from orchestra.report.fold import Report, fold
from orchestra.workspace.repository import Repository

# After these the model's answers were not what failed, so that they need not be asked for again.
ANSWERS_STAND = {
    *("", Verdict.CANCELLED, Verdict.AUTH, Verdict.QUOTA, Verdict.RATE_LIMIT, Verdict.PROVIDER_ERROR),
    *(Verdict.UNREACHABLE, Verdict.TIMEOUT, Verdict.BUDGET, Verdict.CRASHED),
}


@dataclass(frozen=True)
class Past:
    """What the earlier orchestrators of this run wrote down."""

    stamp: str
    events: tuple[Event, ...]
    report: Report

    def all(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def first(self, kind: str) -> dict[str, Any]:
        return next((event.data for event in self.events if event.kind == kind), {})

    @property
    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = self.first("run_started")["options"]
        return found

    @property
    def namespace(self) -> str:
        return str(self.first("run_started")["namespace"])

    @property
    def folders(self) -> list[Path]:
        return [Path(event.data["folder"]) for event in self.all("run_started") + self.all("run_resumed")]

    @property
    def applied(self) -> str:
        """The commit to which the user's branch was moved, if it was."""
        return str(self.report.delivery["result"]) if self.report.applied else ""

    def place(self, now: Repository) -> Repository:
        """The repository as the run sees it: from the base it began with, or from what it has delivered since."""
        started = self.first("run_started")
        unborn = started["unborn"] and not self.applied
        return replace(now, branch=started["branch"], base=self.applied or started["base"], unborn=unborn)

    @property
    def prd(self) -> Prd | None:
        """The PRD as it was read, if the run came so far."""
        if written := self.first("prd_written"):
            return prd_format.parse(written["text"])
        return Prd("") if self.plan else None

    @property
    def plan(self) -> Plan | None:
        made = self.first("plan_made")
        return Plan(tuple(task_of(record) for record in made["tasks"]), made["agents"]) if made else None

    def done(self) -> dict[int, Result]:
        """Tasks that need no further attempt. What the user's branch holds already has no commit left to combine."""
        return {task.id: self.result(task) for task in (self.plan or Plan((), 0)).tasks if self.is_done(task)}

    def is_done(self, task: Task) -> bool:
        record = self.report.tasks[task.id]
        return record.verdict == Verdict.APPLIED and bool(record.commit) and not record.held

    def result(self, task: Task) -> Result:
        record = self.report.tasks[task.id]
        judgement = Judgement(Verdict(record.verdict), record.cause, record.remedy)
        return Result(task, judgement, "" if self.applied else record.commit)

    @property
    def combined(self) -> str:
        """The combination that was made last, unless an attempt has ended since."""
        made, ended = self.all("combined"), self.all("attempt_ended")
        fresh = made and all(event.seq < made[-1].seq for event in ended) and not self.applied
        return str(made[-1].data["commit"]) if fresh and len(self.done()) == len(self.report.tasks) else ""

    def replies(self) -> Tape:
        """The replies that are paid and still to be used: of the PRD, and of attempts that did not fail by them."""
        tape = Tape(Path())
        for event in self.all("request"):
            if event.data["body"] and not event.data["failure"] and self.stands(event):
                tape.remember(event.data["identity"], event.data["type"], event.data["body"])
        return tape

    def stands(self, request: Event) -> bool:
        if request.task is None:
            return not self.first("prd_written")
        verdicts = [
            event.data["verdict"]
            for event in self.all("attempt_ended")
            if (event.task, event.attempt) == (request.task, request.attempt)
        ]
        return (verdicts[-1] if verdicts else "") in ANSWERS_STAND


def task_of(record: Mapping[str, Any]) -> Task:
    files = tuple(TargetFile(**file) for file in record["files"])
    requirements, reads = tuple(record["requirements"]), tuple(record["reads"])
    return Task(record["id"], record["title"], files, record["brief"], requirements, reads)


def find_past(logs: Path, stamp: str) -> Past:
    """The named run, or the latest one."""
    known = jsonl.stamps(logs)
    if not known:
        raise UsageError(f"there are no runs in {logs}.")
    if stamp and stamp not in known:
        raise UsageError(f"there is no run {stamp} in {logs}.", hint=f"The latest are {', '.join(known[-3:])}.")
    events = tuple(jsonl.read(logs, stamp or known[-1]))
    if not events or events[0].kind != "run_started":
        raise UsageError(f"run {stamp or known[-1]} ended before it had begun: there is nothing to resume.")
    return Past(stamp or known[-1], events, fold(events))
