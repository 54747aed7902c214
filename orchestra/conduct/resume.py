"""Take up a run where it was left: what its events say is done is not done, and not paid for, again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra import prd as prd_format
from orchestra.conduct.attempt import Result
from orchestra.errors import UsageError
from orchestra.journal import jsonl
from orchestra.model import Event, Judgement, Plan, Prd, TargetFile, Task, Verdict
from orchestra.report.fold import Report, fold


@dataclass(frozen=True)
class Past:
    """What an earlier orchestrator of this run wrote down."""

    stamp: str
    events: tuple[Event, ...]
    report: Report

    def first(self, kind: str) -> dict[str, Any]:
        return next((event.data for event in self.events if event.kind == kind), {})

    @property
    def started(self) -> dict[str, Any]:
        return self.first("run_started")

    @property
    def prd(self) -> Prd | None:
        """The PRD as it was read, if the run came so far."""
        written = self.first("prd_written")
        if written:
            return prd_format.parse(written["text"])
        return Prd("") if self.first("plan_made") else None

    @property
    def plan(self) -> Plan | None:
        made = self.first("plan_made")
        return Plan(tuple(task_of(record) for record in made["tasks"]), made["agents"]) if made else None

    def results(self) -> dict[int, Result]:
        """Tasks that need no further attempt: their accepted work is a commit."""
        plan = self.plan
        found = {}
        for task in plan.tasks if plan else ():
            record = self.report.tasks[task.id]
            if record.verdict == Verdict.APPLIED and record.commit and not record.held:
                judgement = Judgement(Verdict(record.verdict), record.cause, record.remedy)
                found[task.id] = Result(task, judgement, record.commit)
        return found


def task_of(record: Mapping[str, Any]) -> Task:
    files = tuple(TargetFile(file["path"], file["tokens"], file["new"]) for file in record["files"])
    requirements, reads = tuple(record["requirements"]), tuple(record["reads"])
    return Task(record["id"], record["title"], files, record["brief"], requirements, reads)


def find_past(logs: Path, stamp: str) -> Past:
    """The named run, or the latest one."""
    stamp = stamp or latest(logs)
    events = tuple(jsonl.read(logs, stamp))
    if not events or events[0].kind != "run_started":
        raise UsageError(f"there is no run {stamp} in {logs}.", hint="`runs` lists them.")
    return Past(stamp, events, fold(events))


def latest(logs: Path) -> str:
    stamps = jsonl.stamps(logs)
    if not stamps:
        raise UsageError(f"there are no runs in {logs}.")
    return stamps[-1]
