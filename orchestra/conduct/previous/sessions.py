"""Resume a run: work that its events record as done is not repeated or paid again."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from orchestra.answers import prd_format
from orchestra.conduct.core.context import TaskResult
from orchestra.errors import RequestRefused, UsageError
from orchestra.events import (
    AttemptChosen,
    AttemptEnded,
    AttemptStarted,
    BudgetChanged,
    Event,
    EventLog,
    Payload,
    PlanChanged,
    PlanMade,
    PrdWritten,
    RequestEnded,
    RunResumed,
    RunStarted,
    WorkCombined,
)
from orchestra.gateway.recording import Recording, is_unredacted, reply_from_request
from orchestra.journal import jsonl
from orchestra.judge.candidates import Candidate
from orchestra.judge.critic import NAME as CRITIC
from orchestra.judge.policy import is_instructive, is_worth_retrying, policy_of
from orchestra.judge.retry import TriedAttempt
from orchestra.model import Decision, Judgement, Plan, Prd, Task, TaskState, Verdict
from orchestra.providers.redact import is_redacted
from orchestra.report.fold import report_from_log
from orchestra.report.phrases import decided_sentence
from orchestra.report.state import Report
from orchestra.workspace.repository import Repository

NO_TASK = 0  # no task has this number
GIVEN_UP = "A person gave it up."
T = TypeVar("T", bound=Payload)


@dataclass(frozen=True)
class PreviousSessions:
    """What the earlier sessions of this run recorded."""

    stamp: str
    log: EventLog
    report: Report
    # The one task to retry; None: all failed tasks.
    only_task: int | None = None
    # A person's decision about a waiting task.
    decision: Decision | None = None
    # No task is tried: what is done is combined.
    combines_only: bool = False

    @property
    def events(self) -> tuple[Event, ...]:
        return self.log.events

    @cached_property
    def events_by_task(self) -> dict[int | None, list[Event]]:
        found: dict[int | None, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.task, []).append(event)
        return found

    def payloads(self, kind: type[T]) -> list[T]:
        return [event.payload for event in self.events if isinstance(event.payload, kind)]

    def payloads_of_task(self, kind: type[T], task: int) -> list[tuple[int, T]]:
        """Return the payloads of a task, each with the number of its attempt."""
        found = [(event.attempt or 1, event.payload) for event in self.events_by_task.get(task, ())]
        return [(attempt, payload) for attempt, payload in found if isinstance(payload, kind)]

    @property
    def started(self) -> RunStarted:
        """The run's first event, which `find_previous_sessions` has checked to exist."""
        return self.payloads(RunStarted)[0]

    @property
    def sessions(self) -> list[RunStarted | RunResumed]:
        return [*self.payloads(RunStarted), *self.payloads(RunResumed)]

    @property
    def options(self) -> dict[str, Any]:
        """The run's options, including those that a resume or a person changed since."""
        options: dict[str, Any] = {}
        for payload in (event.payload for event in self.events):
            if isinstance(payload, BudgetChanged):
                options["budget"] = payload.dollars
            elif isinstance(payload, RunStarted | RunResumed) and payload.options:
                options = dict(payload.options)
        return options

    @property
    def folders(self) -> list[Path]:
        return [Path(each.folder) for each in self.sessions if each.folder]

    @cached_property
    def applied_commit(self) -> str:
        """The commit to which the user's branch was moved, if it was."""
        return self.report.result if self.report.applied else ""

    def restore_repository(self, repository: Repository) -> Repository:
        """Return the repository with the base where the run began, or the commit that it has delivered since."""
        started, applied = self.started, self.applied_commit
        unborn = started.unborn and not applied
        return replace(repository, branch=started.branch, base=applied or started.base, unborn=unborn)

    @property
    def prd(self) -> Prd | None:
        """The PRD as it was read, if the run got that far."""
        if written := self.payloads(PrdWritten):
            return prd_format.parse_prd(written[0].text)
        return Prd("") if self.plan else None

    @cached_property
    def plan(self) -> Plan | None:
        made = self.payloads(PlanMade)
        if not made:
            return None
        plans: list[PlanMade | PlanChanged] = [*made, *self.payloads(PlanChanged)]
        tasks = {task.id: task for plan in plans for task in plan.tasks}
        return Plan(tuple(tasks.values()), made[0].agents)

    def done_results(self) -> dict[int, TaskResult]:
        """Return the results of tasks that need no further attempt."""
        return {task.id: self.result_of(task) for task in (self.plan or Plan((), 0)).tasks if self.is_done(task)}

    def is_done(self, task: Task) -> bool:
        record = self.report.tasks[task.id]
        if self.combines_only:
            return True
        if record.state in (TaskState.WAITING_HUMAN, TaskState.ABANDONED):
            return self.only_task != task.id
        is_accepted = record.verdict == Verdict.APPLIED and bool(record.commit or record.answered)
        complete = (is_accepted or record.nothing_to_do) and not record.held
        return complete or (self.only_task not in (None, task.id) and bool(record.verdict))

    def retry_only(self, task: int) -> "PreviousSessions":
        """Return these sessions with only one failed task to retry."""
        if self.plan is None or task not in self.report.tasks:
            known = ", ".join(map(str, self.report.tasks)) or "none, it was not planned"
            raise UsageError(f"run {self.stamp} has no task {task}.", hint=f"Its tasks: {known}.")
        one = replace(self, only_task=task)
        if task in one.done_results():
            raise UsageError(
                f"task {task} is complete.", hint=f"To start over: aider-orchestrator restart {self.stamp}"
            )
        return one

    def with_decision(self, decision: Decision) -> "PreviousSessions":
        """Return these sessions with no task to retry except for the person's decision."""
        if self.plan is None or decision.task not in self.report.tasks:
            self.retry_only(decision.task)
        record = self.report.tasks[decision.task]
        state = record.state
        if state not in (TaskState.FAILED, TaskState.WAITING_HUMAN):
            why = f"Task {decision.task} is {state}: only a failed or waiting task can be resolved."
            why = decided_sentence(record) if record.asked_at < record.decided_at else why
            done = state in (TaskState.COMPLETE, TaskState.ABANDONED)
            raise RequestRefused(why, hint="" if done else f"Go on: aider-orchestrator resume {self.stamp}")
        return replace(self, only_task=NO_TASK, decision=decision)

    def result_of(self, task: Task) -> TaskResult:
        record = self.report.tasks[task.id]
        # A person may have abandoned it before its first attempt.
        verdict, cause = Verdict(record.verdict or Verdict.CANCELLED), record.cause or record.held or GIVEN_UP
        judgement = Judgement(verdict, cause, record.remedy, nothing_to_do=record.nothing_to_do)
        if self.applied_commit:  # a result on the user's branch has no commit left to combine
            return TaskResult(task, judgement)
        # The task's own commit, not its copy in a combination; of parallel attempts that of the chosen one.
        chosen = {attempt for attempt, _ in self.choices(task.id)}
        ends = self.payloads_of_task(AttemptEnded, task.id)
        ended = [end for attempt, end in ends if attempt in chosen or not end.round]
        return TaskResult(task, judgement, ended[-1].commit, ended[-1].parent) if ended else TaskResult(task, judgement)

    def lessons(self, task: int) -> list[TriedAttempt]:
        """Return one lesson for each failed round, with those of its parallel attempts."""
        found, open_one = [], self.open_round(task)
        for number, ends in self.attempts_by_round(task).items():
            learned = [(attempt, end) for attempt, end in ends if is_instructive(end.verdict)]
            chosen = next((attempt for attempt, each in self.choices(task) if each.round == number), number)
            best = [lesson_of_attempt(end) for attempt, end in learned if attempt == chosen]
            if number != open_one and best:
                beside = tuple(lesson_of_attempt(end) for attempt, end in learned if attempt != chosen)
                found.append(replace(best[0], beside=beside))
        return found

    def finished_candidates(self, task: int) -> list[TaskResult]:
        """Return finished parallel attempts of a round without a choice: they need not be repeated."""
        if self.only_task is not None or self.plan is None:
            return []
        found = []
        for attempt, end in self.attempts_by_round(task).get(self.open_round(task), []):
            if end.verdict == Verdict.APPLIED or is_worth_retrying(end.verdict):  # it can still be chosen
                learned, mine = lesson_of_attempt(end), self.plan.by_id[task]
                judgement = Judgement(end.verdict, end.cause, end.remedy)
                candidate = Candidate(attempt, end.verdict, end.review or "", len(learned.failing), end.size or 0)
                round_number = end.round or 0
                result = TaskResult(mine, judgement, end.commit, end.parent, learned, round_number, candidate)
                found.append(result)
        return found

    def attempts_by_round(self, task: int) -> dict[int, list[tuple[int, AttemptEnded]]]:
        """Group the ended attempts by the number of the first attempt of their round."""
        found: dict[int, list[tuple[int, AttemptEnded]]] = {}
        for attempt, end in self.payloads_of_task(AttemptEnded, task):
            found.setdefault(attempt if end.round is None else end.round, []).append((attempt, end))
        return found

    def choices(self, task: int) -> list[tuple[int, AttemptChosen]]:
        return self.payloads_of_task(AttemptChosen, task)

    def open_round(self, task: int) -> int:
        """Return the last round, if it has parallel attempts and no choice was made."""
        begun = [started.round for _, started in self.payloads_of_task(AttemptStarted, task)]
        last = begun[-1] if begun else 0
        return 0 if any(each.round == last for _, each in self.choices(task)) else last

    def find_redacted_part(self) -> str:
        """Return what a resume lacks because a secret in it was redacted."""
        done, plan = self.done_results(), self.plan
        if plan is None:
            return "PRD" if any(map(is_redacted, self.payloads(PrdWritten)[:1])) else ""
        return "plan" if any(is_redacted(task) for task in plan.tasks if task.id not in done) else ""

    @property
    def combined_commit(self) -> str:
        """Return the last combination, unless an attempt has ended since."""
        steps = [each.payload for each in self.events if isinstance(each.payload, WorkCombined | AttemptEnded)]
        if not steps or not isinstance(steps[-1], WorkCombined) or self.applied_commit:
            return ""
        every = self.report.tasks.keys() <= self.done_results().keys()
        return steps[-1].commit if every else ""

    def reusable_replies(self) -> Recording:
        """Return paid replies to use again: of PRD and plan, and of attempts that did not fail because of them."""
        tape = Recording()
        for event in self.events:
            request = event.payload
            if not isinstance(request, RequestEnded) or request.failure or not is_unredacted(request):
                continue
            if self.is_reply_reusable(event, request):
                tape.add_reply(request.identity, reply_from_request(request, event.task))
        return tape

    def is_reply_reusable(self, event: Event, request: RequestEnded) -> bool:
        if event.task is None:
            return not (self.payloads(PrdWritten) if request.role == "prd" else self.payloads(PlanMade))
        ends = [end for attempt, end in self.payloads_of_task(AttemptEnded, event.task) if attempt == event.attempt]
        policy = policy_of(ends[-1].verdict if ends else "")
        # If an attempt is to end differently, the critic must be asked again.
        return policy.interrupted if request.role == CRITIC else policy.answers_stand


def lesson_of_attempt(end: AttemptEnded) -> TriedAttempt:
    learned = end.tried
    return TriedAttempt(end.verdict, end.cause, learned.diff, frozenset(learned.failing), learned.output)


def find_previous_sessions(logs: Path, stamp: str) -> PreviousSessions:
    """Find the sessions of the named run, or of the latest one."""
    known = jsonl.list_run_stamps(logs)
    if not known:
        raise UsageError(f"there are no runs in {logs}.")
    if stamp and stamp not in known:
        raise UsageError(f"there is no run {stamp} in {logs}.", hint=f"The latest are {', '.join(known[-3:])}.")
    stamp = stamp or known[-1]
    log = jsonl.read_run_log(logs, stamp)
    if not log.events or not isinstance(log.events[0].payload, RunStarted):
        raise UsageError(f"run {stamp} ended before it began: there is nothing to resume.")
    previous = PreviousSessions(stamp, log, report_from_log(log))
    if lost := previous.find_redacted_part():
        hint = "What is done is kept on its branches; start a new run for the rest."
        raise UsageError(f"run {previous.stamp} cannot be resumed: a secret was redacted from its {lost}.", hint=hint)
    return previous
