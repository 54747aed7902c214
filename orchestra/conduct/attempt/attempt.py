"""One attempt at a task: send the order to a host, read the result, decide the verdict."""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from orchestra import events
from orchestra.agents.base import AgentOutcome
from orchestra.answers.conversation import pack_turns, reply_prose, turns_from_exchanges
from orchestra.answers.shape import MisshapenAnswer
from orchestra.conduct.attempt.prompt import can_propose, make_attempt_order
from orchestra.conduct.attempt.saved_work import (
    keep_branch,
    keep_output,
    keep_patch,
    read_patch,
    shorten_diff,
    with_crash_remedy,
)
from orchestra.conduct.checks.gating import GateResults, Gating
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.deadline import deadline_sentence, emit_deadline_reached, find_used_up_limit
from orchestra.conduct.core.gateway_events import AGENT
from orchestra.conduct.core.models import LIMIT_REMEDY, requestable_names
from orchestra.conduct.core.task_result import AttemptStart, TaskResult
from orchestra.dialects import CUT_OFF_FINISHES
from orchestra.errors import AiderMissing, OrchestraError, SetUpFailed
from orchestra.gateway.billing import ClientPass
from orchestra.hosts.base import AttemptResult, GatewayAccess
from orchestra.judge.candidates import Candidate
from orchestra.judge.retry import CheckFailure, TriedAttempt
from orchestra.judge.verdict import AttemptObservation, LastExchange, format_paths, judge_attempt
from orchestra.model import Judgement, Task, TaskState, Verdict
from orchestra.plan.proposals import read_proposals, strip_proposals
from orchestra.providers import catalogue
from orchestra.workspace import collect, merge
from orchestra.workspace.collect import Changes

SET_UP_REMEDY = "Correct --setup-cmd: it runs in each new worktree, and its output is in the named file."
SAID = 6_000  # characters
CANCEL_ONE_TASK = "this task and no other"  # said with a cancellation


class Attempt:
    """One attempt at a task, seen from the head: it admits the agent to the gateway and stops it."""

    def __init__(self, run: Run, gating: Gating, task: Task, number: int, start: AttemptStart) -> None:
        self.run = run
        self.gating = gating
        self.task = task
        self.number = number
        self.start = start
        self.record = AttemptRecord(start.round or None)
        self.started = time.monotonic()
        self.preparing: asyncio.Timeout | None = None  # set until the agent is admitted
        self.ticket: ClientPass | None = None
        self.stopping = asyncio.Event()
        self.timed_out = 0.0  # seconds after which the agent was stopped; 0 if it was not

    async def carry_out(self) -> TaskResult:
        """Make the attempt. Raise only CancelledError and AiderMissing; every other failure becomes the verdict."""
        run, task = self.run, self.task
        model = run.context.model_of(task).name
        started = events.AttemptStarted(model=model, base=self.start.base, round=self.start.round)
        run.emit(started, task.id, self.number)
        try:
            left = find_used_up_limit(run, task)
            result = TaskResult(task, left) if left else await self.work()
            if result.commit and result.judgement.verdict is Verdict.APPLIED:
                result = await self.check(result)
        except TimeoutError:
            emit_deadline_reached(run)
            cause = f"{deadline_sentence(run.context)} while {task.agent} was set up."
            result = TaskResult(task, Judgement(Verdict.BUDGET, cause, LIMIT_REMEDY))
        except (asyncio.CancelledError, AiderMissing) as stop:
            self.end(TaskResult(task, judge_cancellation(run.context, task, CANCEL_ONE_TASK in stop.args)))
            raise
        except (OrchestraError, OSError) as error:
            result = TaskResult(task, self.judge_crash(error))
        return self.end(result)

    def judge_crash(self, error: Exception) -> Judgement:
        cause = f"The attempt on {format_paths(self.task.paths)} could not be carried out: {error}"
        crashed = Judgement(Verdict.CRASHED, cause, SET_UP_REMEDY)
        if isinstance(error, SetUpFailed):
            return crashed
        return with_crash_remedy(self.run.context, crashed, self.run.services.journal.agent_log(self.task.id))

    def end(self, result: TaskResult) -> TaskResult:
        """Emit the attempt's last event and return the result, with what the next attempt may learn from it."""
        judged, record = result.judgement, self.record
        tried = record.as_lesson(judged)
        seconds = round(time.monotonic() - max(self.started, self.run.services.readiness.since), 3)
        ended = events.AttemptEnded(
            verdict=judged.verdict,
            cause=judged.cause,
            remedy=judged.remedy,
            commit=result.commit,
            parent=result.parent,
            seconds=seconds,
            tried=events.Lesson(tried.diff, tuple(sorted(tried.failing)), tried.output),
            **record.event_data(),
        )
        self.run.emit(ended, self.task.id, self.number)
        return replace(result, tried=tried, round=record.round or 0, candidate=record.candidate(self.number, judged))

    # --- the work

    async def work(self) -> TaskResult:
        order = await make_attempt_order(self.run, self.task, self.number, self.start)
        try:
            brought = await self.wait_for_host(self.run.services.host.run_attempt(order, self))
        finally:
            self.dismiss()
        await self.run.services.host.receive_commit(brought.commit, brought.pack)
        judgement = judge_attempt(self.collect_facts(brought))
        if self.timed_out and time.monotonic() >= self.run.context.deadline:
            emit_deadline_reached(self.run)
        if judgement.verdict is Verdict.CRASHED:
            log = keep_output(self.run, self.task, self.number, brought.printed)
            judgement = with_crash_remedy(self.run.context, judgement, log)
        self.record.changes, self.record.outcome = brought.changes, brought.outcome
        self.record.changed = tuple(sorted({*self.start.carried, *brought.changes.own}))
        self.read_reply(judgement)
        result = await self.keep_work(brought, judgement)
        if self.start.carried and not result.commit:  # the work that the attempt began with is still there
            return replace(result, commit=self.start.base, parent=self.start.parent)
        return result

    async def wait_for_host(self, work: Coroutine[Any, Any, AttemptResult]) -> AttemptResult:
        """Wait for the host. On cancellation or timeout, keep what the agent has changed."""
        deadline = self.run.context.deadline
        working = asyncio.ensure_future(work)
        try:
            async with asyncio.timeout_at(None if deadline == math.inf else deadline) as self.preparing:
                return await asyncio.shield(working)
        except (asyncio.CancelledError, TimeoutError):
            await self.stop(working)
            raise
        finally:
            working.cancel()

    async def stop(self, working: "asyncio.Future[AttemptResult]") -> None:
        """Stop the host's work and keep what the agent has changed. A second cancellation has no effect."""
        if self.ticket is None:
            working.cancel()
        self.stopping.set()
        await wait_despite_cancellation(asyncio.ensure_future(self.keep_unfinished(working)))

    async def keep_unfinished(self, working: "asyncio.Future[AttemptResult]") -> None:
        with contextlib.suppress(OrchestraError, OSError, asyncio.CancelledError):
            self.record.patch = await self.keep_everything(await working)

    async def admit(self, root: str) -> GatewayAccess:
        """Admit the agent to the gateway and start its clock. Worktrees are made while agents warm up."""
        if self.preparing is not None and not self.preparing.expired():
            self.preparing.reschedule(None)
        await self.run.wait_for_agents()
        model, limit = self.run.context.model_of(self.task), self.run.context.settings.max_iterations
        models, repeats = (
            requestable_names(model, catalogue.weak_model(model)),
            self.run.context.agent_of(self.task).repeats_requests,
        )
        self.ticket = ClientPass(AGENT, self.task.id, self.number, limit, root, models=models, repeats=repeats)
        self.run.services.gateway.add_client(self.ticket)
        return GatewayAccess(self.run.services.gateway.client_url(self.ticket, model.provider.name), self.ticket.token)

    async def wait_for_stop(self) -> None:
        """Return when the agent's time or the run's time is up, or when the agent is stopped.

        Time in which the gateway holds requests back counts for the run, not for the agent.
        """
        assert self.ticket is not None
        began, allowed = time.monotonic(), self.run.context.settings.agent_timeout
        while not self.stopping.is_set():
            now = time.monotonic()
            left = min(allowed + self.ticket.waited_seconds - (now - began), self.run.context.deadline - now)
            if left <= 0:
                self.timed_out = now - began
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), left)

    def dismiss(self) -> None:
        """Close the gateway to the agent, and keep the conversation for `show` and for the next attempt."""
        if self.ticket is None:
            return
        self.run.services.gateway.remove_client(self.ticket)
        limit = self.run.context.settings.conversation_kb << 10
        turns = turns_from_exchanges((list(exchange.asked), exchange.reply) for exchange in self.ticket.exchanges)
        if turns and limit:
            self.run.emit(pack_turns(turns, self.run.context.secrets.scrub, limit), self.task.id, self.number)

    # --- the result

    def collect_facts(self, host_result: AttemptResult) -> AttemptObservation:
        """Collect the facts that decide the verdict."""
        run, task, outcome = self.run, self.task, host_result.outcome
        exchanges = self.ticket.exchanges if self.ticket else []
        last = exchanges[-1] if exchanges else None
        answered = [exchange for exchange in exchanges if not exchange.failure]
        return AttemptObservation(
            model=run.context.model_of(task).name,
            end=outcome.end,
            replies=len(answered),
            owned=task.paths,
            required=tuple(file.path for file in task.files if file.required and file.path not in self.start.carried),
            changed=host_result.changes.own,
            foreign=host_result.changes.foreign,
            refused=outcome.refused,
            protected=host_result.changes.protected,
            exchange=LastExchange(last.status, last.failure, last.message) if last else None,
            empty=bool(answered) and not answered[-1].reply.strip(),
            cut_off=bool(answered) and answered[-1].finish in CUT_OFF_FINISHES,
            complaint=outcome.complaint,
            failure=outcome.failure,
            timed_out=self.timed_out,
            time_is_up=deadline_sentence(run.context)
            if self.timed_out and time.monotonic() >= run.context.deadline
            else "",
            only_answers=run.context.role_of(task).only_answers,
        )

    def read_reply(self, judgement: Judgement) -> None:
        """Record the parts of an accepted reply that are not edits."""
        exchanges = self.ticket.exchanges if self.ticket else []
        replies = [exchange.reply for exchange in exchanges if not exchange.failure]
        if judgement.verdict is not Verdict.APPLIED or not replies:
            return
        reply = strip_proposals(replies[-1])
        self.record.proposed = self.parse_proposals(replies[-1])
        if self.run.context.role_of(self.task).only_answers:
            # A file that the attempt changed against its rules is not taken.
            self.record.answered, self.record.changed, self.record.said = True, (), reply[:SAID]
        else:
            self.record.said = reply_prose(reply)[:SAID]

    def parse_proposals(self, reply: str) -> tuple[events.ProposedTask, ...]:
        """Read the further tasks that the agent proposes.

        An unreadable block becomes a note; the rest of the reply counts.
        """
        try:
            return read_proposals(reply) if can_propose(self.run, self.task) else ()
        except MisshapenAnswer as error:
            self.run.emit(events.Note(f"{self.task.agent} proposed tasks in an unreadable block: {error}."))
            return ()

    async def keep_work(self, host_result: AttemptResult, judgement: Judgement) -> TaskResult:
        """Keep accepted work as a commit on the task's branch, and every other change as a patch."""
        context = self.run.context
        git, record, commit = context.repository.git, self.record, host_result.commit
        # A missing requested file does not spoil the other files of an accepted reply.
        accepted = judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)
        if not (accepted and commit and not context.role_of(self.task).only_answers):
            record.patch = await self.keep_everything(host_result)
            if record.patch:
                record.diff = read_patch(context.repository.root / record.patch)
            return TaskResult(self.task, judgement)
        record.patch = await keep_patch(self.run.context, self.task, self.number, commit, host_result.everything)
        parent = self.start.parent
        record.diff = shorten_diff(await collect.binary_diff(git, parent, commit))
        if self.start.round:
            record.size = sum(map(sum, (await merge.diff_numstat(git, parent, commit)).values()))
            record.branch = self.run.context.branch(f"task{self.task.id}-{self.number}")
            await merge.set_branch(git, record.branch, commit)
        else:
            await keep_branch(self.run, self.task.id, self.number, commit)
        return TaskResult(self.task, judgement, commit, parent)

    async def keep_everything(self, host_result: AttemptResult) -> str:
        """Keep all changes of the agent as a patch."""
        if not host_result.everything:
            return ""
        return await keep_patch(self.run.context, self.task, self.number, self.start.base, host_result.everything)

    # --- checks

    async def check(self, result: TaskResult) -> TaskResult:
        """Return the result, or a failed one if the gates that this task's worktree can decide fail."""
        task, record = result.task, self.record
        if self.run.state.report.tasks[task.id].state != TaskState.AWAITING_QA:  # another candidate was chosen first
            self.run.move(task.id, TaskState.AWAITING_QA, self.number)
        parses = record.outcome is not None and not record.outcome.unparsed
        try:
            checked = await self.gating.check_task(task, result.commit, result.parent, self.number, parses=parses)
        except SetUpFailed:
            # A failed set-up says nothing about this task. The combination is set up too and reports it.
            checked = GateResults()
        if checked.ok:
            return await self.review(result)
        record.failure = checked.lesson
        outputs = (str(one.output.relative_to(self.run.context.repository.root)) for one in checked.failed)
        judgement = Judgement(Verdict.GATES_FAILED, checked.sentence, f"See {', '.join(outputs)}.")
        return replace(result, judgement=judgement)

    async def review(self, result: TaskResult) -> TaskResult:
        """Return the result, or one with the critic's verdict: failed, or not reviewable."""
        if self.gating.critic is None:
            return result
        diff = await collect.binary_diff(self.run.context.repository.git, result.parent, result.commit)
        opinion = await self.gating.critic.give_opinion(result.task, self.number, diff)
        self.record.review = opinion.outcome
        if opinion.lesson:
            self.record.failure = opinion.lesson
        return replace(result, judgement=opinion.judgement or result.judgement)


async def wait_despite_cancellation(work: "asyncio.Future[None]") -> None:
    """Wait until the future is done, even if the caller is cancelled meanwhile."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})


def judge_cancellation(context: Context, task: Task, only_this: bool) -> Judgement:
    what = (
        f"{task.agent} was cancelled from another terminal."
        if only_this
        else (f"The run was stopped while {task.agent} was at work.")
    )
    remedy = f"Retry it: `retry {context.stamp} {task.id}`." if only_this else "Go on: `resume`."
    return Judgement(Verdict.CANCELLED, what, remedy)


EVENT_FIELDS = ("round", "answered", "changed", "proposed", "said", "patch", "size", "branch", "review")


@dataclass
class AttemptRecord:
    """The facts about an attempt.

    None: the attempt did not reach that point. `diff` and `failure` are for the next attempt.
    """

    round: int | None = None
    changes: Changes | None = None
    outcome: AgentOutcome | None = None
    changed: tuple[str, ...] | None = None
    proposed: tuple[events.ProposedTask, ...] | None = None
    answered: bool | None = None
    said: str | None = None
    patch: str | None = None
    size: int | None = None
    branch: str | None = None
    review: str | None = None
    diff: str = ""
    failure: CheckFailure = field(default_factory=CheckFailure)

    def as_lesson(self, judged: Judgement) -> TriedAttempt:
        """Return what the next attempt learns from this one."""
        failing, output = self.failure.failing, self.failure.output
        return TriedAttempt(judged.verdict, judged.cause, self.diff, failing, output, final=judged.final)

    def candidate(self, number: int, judged: Judgement) -> Candidate:
        return Candidate(number, judged.verdict, self.review or "", len(self.failure.failing), self.size or 0)

    def event_data(self) -> dict[str, Any]:
        """Return the fields of the attempt's last event."""
        known = (
            outcome_data(self.changes, self.outcome) if self.changes is not None and self.outcome is not None else {}
        )
        return known | {name: value for name in EVENT_FIELDS if (value := getattr(self, name)) is not None}


def outcome_data(changes: Changes, outcome: AgentOutcome) -> dict[str, Any]:
    return {
        "changed": changes.own,
        "foreign": changes.foreign,
        "refused": outcome.refused,
        "protected": changes.protected,
        "notable": changes.notable,
        "left_out": changes.left_out,
        "aider": events.AiderOutcome(**vars(outcome)),
    }
