"""One attempt at one task: the order for a host, what comes back, and the verdict."""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from orchestra import events
from orchestra.answers.conversation import pack_turns, reply_prose, turns_from_exchanges
from orchestra.answers.shape import MisshapenAnswer
from orchestra.conduct.attempt.order import make_attempt_order
from orchestra.conduct.attempt.prompt import can_propose
from orchestra.conduct.attempt.record import AttemptRecord
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
from orchestra.conduct.core.models import requestable_names
from orchestra.conduct.core.money import LIMIT_REMEDY
from orchestra.conduct.core.names import candidate_branch
from orchestra.conduct.core.task_result import AttemptStart, TaskResult
from orchestra.dialects import CUT_OFF_FINISHES
from orchestra.errors import AiderMissing, OrchestraError, SetUpFailed
from orchestra.gateway.billing import ClientPass
from orchestra.hosts.base import AttemptResult, GatewayAccess
from orchestra.judge.verdict import AttemptObservation, LastExchange, format_paths, judge_attempt
from orchestra.model import Judgement, Task, TaskState, Verdict
from orchestra.plan.proposals import read_proposals, strip_proposals
from orchestra.providers import catalogue
from orchestra.workspace import collect, merge

SET_UP_REMEDY = "Set --setup-cmd right: it is run in each new worktree, and the named file holds all that it printed."
SAID = 6_000  # characters
CANCEL_ONE_TASK = "this task and no other"  # said with a cancellation


class Attempt:
    """One attempt. It is the head's side of what a host does: it admits the agent to the gateway, and stops it."""

    def __init__(self, run: Run, gating: Gating, task: Task, number: int, start: AttemptStart) -> None:
        self.run = run
        self.gating = gating
        self.task = task
        self.number = number
        self.start = start
        self.record = AttemptRecord(start.round or None)
        self.started = time.monotonic()
        self.preparing: asyncio.Timeout | None = None  # until the agent is admitted
        self.ticket: ClientPass | None = None
        self.stopping = asyncio.Event()
        self.timed_out = 0.0  # after how many seconds

    async def carry_out(self) -> TaskResult:
        """Make the attempt. Raises only CancelledError and AiderMissing: all else is the attempt's verdict."""
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
        """Emit the attempt's end, and return the result with all that the next attempt may learn from it."""
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
        if self.start.carried and not result.commit:  # what it began with is still there
            return replace(result, commit=self.start.base, parent=self.start.parent)
        return result

    async def wait_for_host(self, work: Coroutine[Any, Any, AttemptResult]) -> AttemptResult:
        """Wait for the host. When the attempt is cancelled or its time is up, keep what the agent had changed."""
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
        """Have the host end its work, and keep what the agent had changed. A second cancellation changes nothing."""
        if self.ticket is None:
            working.cancel()
        self.stopping.set()
        await wait_despite_cancellation(asyncio.ensure_future(self.keep_unfinished(working)))

    async def keep_unfinished(self, working: "asyncio.Future[AttemptResult]") -> None:
        with contextlib.suppress(OrchestraError, OSError, asyncio.CancelledError):
            self.record.patch = await self.keep_everything(await working)

    async def admit(self, root: str) -> GatewayAccess:
        """Let the agent in. Worktrees are made while agents warm up, and the agent's clock begins here."""
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
        """Return when the agent's time or the run's is up, or it is stopped. The agent's clock stands still while the
        gateway makes it wait; the run's never does."""
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
        """Close the gateway to the agent, and keep what was said for `show` and for the next attempt."""
        if self.ticket is None:
            return
        self.run.services.gateway.remove_client(self.ticket)
        limit = self.run.context.settings.conversation_kb << 10
        said = turns_from_exchanges((list(exchange.asked), exchange.reply) for exchange in self.ticket.exchanges)
        if said and limit:
            self.run.emit(pack_turns(said, self.run.context.secrets.scrub, limit), self.task.id, self.number)

    # --- what came of it

    def collect_facts(self, host_result: AttemptResult) -> AttemptObservation:
        """All that the verdict is made of."""
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
        """Record what of an accepted reply is more than its edits."""
        exchanges = self.ticket.exchanges if self.ticket else []
        replies = [exchange.reply for exchange in exchanges if not exchange.failure]
        if judgement.verdict is not Verdict.APPLIED or not replies:
            return
        said = strip_proposals(replies[-1])
        self.record.proposed = self.parse_proposals(replies[-1])
        if self.run.context.role_of(self.task).only_answers:
            # A file that it changed all the same is not taken.
            self.record.answered, self.record.changed, self.record.said = True, (), said[:SAID]
        else:
            self.record.said = reply_prose(said)[:SAID]

    def parse_proposals(self, reply: str) -> tuple[events.ProposedTask, ...]:
        """The further tasks that the agent proposes. A block that cannot be read is noted, and nothing else is lost."""
        try:
            proposed = read_proposals(reply) if can_propose(self.run, self.task) else ()
            return tuple(events.ProposedTask(one.title, one.brief, one.files) for one in proposed)
        except MisshapenAnswer as error:
            text = f"{self.task.agent} proposed tasks in a block that cannot be read: {error}."
            self.run.emit(events.Note(text))
            return ()

    async def keep_work(self, host_result: AttemptResult, judgement: Judgement) -> TaskResult:
        """Keep accepted work as a commit on the task's branch, and all else that was changed as a patch."""
        context = self.run.context
        git, record, commit = context.repository.git, self.record, host_result.commit
        # If a file that was asked for is missing, the others that an accepted reply changed are good all the same.
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
            record.branch = candidate_branch(self.run.context, self.task.id, self.number)
            await merge.set_branch(git, record.branch, commit)
        else:
            await keep_branch(self.run, self.task.id, self.number, commit)
        return TaskResult(self.task, judgement, commit, parent)

    async def keep_everything(self, host_result: AttemptResult) -> str:
        """Keep all that the agent changed as a patch."""
        if not host_result.everything:
            return ""
        return await keep_patch(self.run.context, self.task, self.number, self.start.base, host_result.everything)

    # --- checks

    async def check(self, result: TaskResult) -> TaskResult:
        """Return the same result, or one that fails by the gates which this task's own worktree can decide."""
        task, record = result.task, self.record
        if self.run.state.report.tasks[task.id].state != TaskState.AWAITING_QA:  # another candidate may have come first
            self.run.move(task.id, TaskState.AWAITING_QA, self.number)
        parses = record.outcome is not None and not record.outcome.unparsed
        try:
            checked = await self.gating.check_task(task, result.commit, result.parent, self.number, parses=parses)
        except SetUpFailed:
            # That says nothing of this task; the combination is set up too, and there it is told.
            checked = GateResults()
        if checked.ok:
            return await self.review(result)
        record.failure = checked.lesson
        outputs = (str(one.output.relative_to(self.run.context.repository.root)) for one in checked.failed)
        judgement = Judgement(Verdict.GATES_FAILED, checked.sentence, f"See {', '.join(outputs)}.")
        return replace(result, judgement=judgement)

    async def review(self, result: TaskResult) -> TaskResult:
        """Return the same result, or one whose verdict is the critic's: that it fails, or could not be reviewed."""
        if self.gating.critic is None:
            return result
        diff = await collect.binary_diff(self.run.context.repository.git, result.parent, result.commit)
        opinion = await self.gating.critic.give_opinion(result.task, self.number, diff)
        self.record.review = opinion.outcome
        if opinion.lesson:
            self.record.failure = opinion.lesson
        return replace(result, judgement=opinion.judgement or result.judgement)


async def wait_despite_cancellation(work: "asyncio.Future[None]") -> None:
    """Wait until it is done, also if this is cancelled meanwhile: the caller ends in any case."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})


def judge_cancellation(context: Context, task: Task, only_this: bool) -> Judgement:
    what = (
        f"{task.agent} was cancelled from another terminal."
        if only_this
        else (f"The run was stopped while {task.agent} was at work.")
    )
    remedy = f"Have it done with `retry {context.stamp} {task.id}`." if only_this else "Take it up again with `resume`."
    return Judgement(Verdict.CANCELLED, what, remedy)
