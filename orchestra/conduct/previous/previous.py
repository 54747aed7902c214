"""Take up a run where it was left: what its events say is done is not done, and not paid for, again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestra.answers import prd as prd_format
from orchestra.conduct.core.results import Result, candidate
from orchestra.errors import Refused, UsageError
from orchestra.gateway.tape import Tape, is_whole, reply_of
from orchestra.journal import jsonl
from orchestra.judge.critic import NAME as CRITIC
from orchestra.judge.policy import is_lesson, is_worth_another, policy_of
from orchestra.judge.retry import Tried
from orchestra.model import Decision, Event, Judgement, Plan, Prd, TargetFile, Task, TaskState, Verdict
from orchestra.providers.redact import is_marked
from orchestra.report.fold import Report, fold
from orchestra.workspace.repository import Repository

NOBODY = 0  # no task has this number


@dataclass(frozen=True)
class Past:
    """What the earlier orchestrators of this run wrote down."""

    stamp: str
    events: tuple[Event, ...]
    report: Report
    # The one task that is to be tried again; all failed ones, when it is None.
    only: int | None = None
    # What a person has decided about a task that waits.
    decision: Decision | None = None

    def all(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def first(self, kind: str) -> dict[str, Any]:
        return next((event.data for event in self.events if event.kind == kind), {})

    @property
    def options(self) -> dict[str, Any]:
        """With what was said anew when it was taken up before."""
        told = [event.data.get("options") for event in self.all("run_started") + self.all("run_resumed")]
        found: dict[str, Any] = [options for options in told if options][-1]
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
        if not made:
            return None
        records = {
            record["id"]: record
            for event in self.all("plan_made") + self.all("plan_changed")
            for record in event.data["tasks"]
        }
        return Plan(tuple(map(task_of, records.values())), made["agents"])

    def done(self) -> dict[int, Result]:
        """Tasks that get no further attempt. What the user's branch holds already has no commit left to combine."""
        return {task.id: self.result(task) for task in (self.plan or Plan((), 0)).tasks if self.is_done(task)}

    def is_done(self, task: Task) -> bool:
        record = self.report.tasks[task.id]
        if record.state in (TaskState.WAITING_HUMAN, TaskState.ABANDONED):
            return self.only != task.id
        complete = record.verdict == Verdict.APPLIED and bool(record.commit or record.answered) and not record.held
        return complete or (self.only not in (None, task.id) and bool(record.verdict))

    def again(self, task: int) -> "Past":
        """The same past, but of its failed tasks only this one is tried again."""
        if self.plan is None or task not in self.report.tasks:
            known = ", ".join(map(str, self.report.tasks)) or "none, it was not planned"
            raise UsageError(f"run {self.stamp} has no task {task}.", hint=f"Its tasks: {known}.")
        one = replace(self, only=task)
        if task in one.done():
            raise UsageError(f"task {task} is complete.", hint=f"To do all anew: restart {self.stamp}.")
        return one

    def decided(self, decision: Decision) -> "Past":
        """The same past, of whose tasks none is tried again but for what a person has decided."""
        if self.plan is None or decision.task not in self.report.tasks:
            self.again(decision.task)
        state = self.report.tasks[decision.task].state
        if state not in (TaskState.FAILED, TaskState.WAITING_HUMAN):
            why = f"Task {decision.task} is {state}: only one that failed, or waits for a person, can be resolved."
            done = state in (TaskState.COMPLETE, TaskState.ABANDONED)
            raise Refused(why, hint="" if done else f"To take the run up: `resume {self.stamp}`.")
        return replace(self, only=NOBODY, decision=decision)

    def result(self, task: Task) -> Result:
        record = self.report.tasks[task.id]
        judgement = Judgement(Verdict(record.verdict), record.cause, record.remedy)
        if self.applied:
            return Result(task, judgement)
        # Its own commit, not the one that it became in a combination with others.
        ended = next(end.data for end in reversed(self.all("attempt_ended")) if self.counts(end, task.id))
        return Result(task, judgement, ended["commit"], ended.get("parent", ""))

    def counts(self, end: Event, task: int) -> bool:
        """Whether this attempt's end is the task's: of several side by side, only that of the chosen one is."""
        chosen = {each.attempt for each in self.choices(task)}
        return end.task == task and (end.attempt in chosen or not end.data.get("round"))

    def tried(self, task: int) -> list[Tried]:
        """The attempts that the next one goes on from, if the run died between them; a new round begins with none."""
        return [] if self.report.exit_code is not None else self.lessons(task)

    def lessons(self, task: int) -> list[Tried]:
        """One for each round that failed; those that were side by side with the best of it teach too."""
        found, open_one = [], self.open_round(task)
        for number, ends in self.rounds(task).items():
            learned = [end for end in ends if is_lesson(end.data["verdict"])]
            chosen = next((each.attempt for each in self.choices(task) if each.data["round"] == number), number)
            best = [tried_of(end.data) for end in learned if end.attempt == chosen]
            if number != open_one and best:
                beside = tuple(tried_of(end.data) for end in learned if end.attempt != chosen)
                found.append(replace(best[0], beside=beside))
        return found

    def finished(self, task: int) -> list[Result]:
        """Of several attempts side by side among which nothing was chosen yet: those that need not be made again."""
        if self.only is not None or self.plan is None:
            return []
        ends = self.rounds(task).get(self.open_round(task), [])
        mine = next(each for each in self.plan.tasks if each.id == task)
        return [candidate_of(mine, end) for end in ends if is_candidate(end)]

    def rounds(self, task: int) -> dict[int, list[Event]]:
        """The attempts that have ended, by the number of the first that was made side by side with them."""
        found: dict[int, list[Event]] = {}
        for end in self.all("attempt_ended"):
            if end.task == task:
                found.setdefault(end.data.get("round", end.attempt or 0), []).append(end)
        return found

    def choices(self, task: int) -> list[Event]:
        return [event for event in self.all("chosen") if event.task == task]

    def open_round(self, task: int) -> int:
        """The last round, where it is one of several attempts and nothing was chosen from it."""
        begun = [event.data.get("round", 0) for event in self.all("attempt_started") if event.task == task]
        last = begun[-1] if begun else 0
        return 0 if any(each.data["round"] == last for each in self.choices(task)) else last

    def not_whole(self) -> str:
        """What of the work that is left was not written down as it was, because it held a secret."""
        done, plan = self.done(), self.plan
        if plan is None:
            return "PRD" if is_marked(self.first("prd_written")) else ""
        return "plan" if any(is_marked(task) for task in plan.tasks if task.id not in done) else ""

    @property
    def combined(self) -> str:
        """The combination that was made last, unless an attempt has ended since."""
        made, ended = self.all("combined"), self.all("attempt_ended")
        fresh = made and all(event.seq < made[-1].seq for event in ended) and not self.applied
        every = all(task in self.done() for task in self.report.tasks)
        return str(made[-1].data["commit"]) if fresh and every else ""

    def replies(self) -> Tape:
        """The replies that are paid and still to be used: of the PRD and the plan, and of attempts that did not fail by
        them."""
        tape = Tape()
        for event in self.all("request"):
            if is_whole(event.data) and not event.data["failure"] and self.stands(event):
                tape.remember(event.data["identity"], reply_of(event.data))
        return tape

    def stands(self, request: Event) -> bool:
        if request.task is None:
            return not self.first("prd_written" if request.data["role"] == "prd" else "plan_made")
        verdicts = [
            event.data["verdict"]
            for event in self.all("attempt_ended")
            if (event.task, event.attempt) == (request.task, request.attempt)
        ]
        policy = policy_of(verdicts[-1] if verdicts else "")
        # Where an attempt's end is to be another one, the critic must be asked anew.
        return policy.interrupted if request.data["role"] == CRITIC else policy.answers_stand


def task_of(record: Mapping[str, Any]) -> Task:
    """As it was written down; one of an older run tells less."""
    told: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in record.items()}
    return Task(**told | {"files": tuple(TargetFile(**file) for file in record["files"])})


def is_candidate(end: Event) -> bool:
    """Whether an ended attempt can still be chosen, so that it need not be made again."""
    verdict = end.data["verdict"]
    return verdict == Verdict.APPLIED or is_worth_another(verdict)


def candidate_of(task: Task, end: Event) -> Result:
    ended, learned = end.data, tried_of(end.data)
    judgement = Judgement(learned.verdict, ended["cause"], ended["remedy"])
    place = candidate(end.attempt or 1, learned, ended)
    return Result(task, judgement, ended["commit"], ended["parent"], learned, ended["round"], place)


def tried_of(ended: Mapping[str, Any]) -> Tried:
    learned = {"diff": "", "failing": (), "output": ""} | ended.get("tried", {})
    verdict = Verdict(ended["verdict"])
    return Tried(verdict, ended["cause"], learned["diff"], frozenset(learned["failing"]), learned["output"])


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
    past = Past(stamp or known[-1], events, fold(events))
    if lost := past.not_whole():
        hint = "What is done is kept on its branches; start a new run for the rest."
        raise UsageError(f"run {past.stamp} cannot be taken up: a secret was taken out of its {lost}.", hint=hint)
    return past
