"""One attempt at a task: send the order to a host, read the result, decide the verdict."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from orchestra import events
from orchestra.agents import AGENTS, DEFAULT_AGENT
from orchestra.agents.base import Agent, AgentOutcome, AttemptOrder
from orchestra.answers.conversation import pack_turns, reply_prose, turns_from_exchanges
from orchestra.answers.shape import MisshapenAnswer
from orchestra.conduct.attempt.prompt import can_propose, make_attempt_order
from orchestra.conduct.attempt.saved_work import (
    keep_branch,
    keep_output,
    keep_patch,
    shorten_diff,
    with_crash_remedy,
)
from orchestra.conduct.checks.gating import GateResults, Gating
from orchestra.conduct.checks.guardian import Guardian
from orchestra.conduct.core.context import AttemptStart, Context, Run, TaskResult
from orchestra.conduct.core.deadline import (
    deadline_sentence,
    emit_deadline_reached,
    find_used_up_limit,
    timeout_at_deadline,
)
from orchestra.conduct.core.models import LIMIT_REMEDY, requestable_names
from orchestra.dialects import CUT_OFF_FINISHES
from orchestra.errors import AiderMissing, ClusterGone, HostLost, OrchestraError, SetUpFailed
from orchestra.gateway.billing import AGENT, ClientPass, Exchange
from orchestra.hosts.base import AttemptResult, GatewayAccess
from orchestra.judge.candidates import Candidate
from orchestra.judge.guardian import drift_failure
from orchestra.judge.retry import CheckFailure, TriedAttempt
from orchestra.judge.verdict import AttemptObservation, LastExchange, format_paths, judge_attempt, says_nothing_to_do
from orchestra.model import Judgement, Task, TaskState, Verdict
from orchestra.plan.proposals import read_proposals, strip_proposals
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.workspace import collect, merge
from orchestra.workspace.collect import Changes

SET_UP_REMEDY = "Correct --setup-cmd: it runs in each new worktree, and its output is in the named file."
LOSS_REMEDY = "Look at the memory and the logs of these machines; it may need more than one of them has."
MOST_LOSSES = 3  # of one task
AIDER_ITERATIONS = AGENTS[DEFAULT_AGENT].iterations
SAID = 6_000  # characters
CANCEL_ONE_TASK = "this task and no other"  # said with a cancellation
EVENT_FIELDS = (
    *("round", "answered", "nothing_to_do", "changed", "proposed", "said", "patch", "size", "branch", "review"),
)


@dataclass
class AttemptRecord:
    """The facts about an attempt. None: it did not reach that point. `diff` and `failure` are for the next attempt."""

    round: int | None = None
    changes: Changes | None = None
    outcome: AgentOutcome | None = None
    changed: tuple[str, ...] | None = None
    proposed: tuple[events.ProposedTask, ...] | None = None
    answered: bool | None = None
    nothing_to_do: bool | None = None
    said: str | None = None
    patch: str | None = None
    size: int | None = None
    branch: str | None = None
    review: str | None = None
    diff: str = ""
    failure: CheckFailure = field(default_factory=CheckFailure)

    def event_data(self) -> dict[str, Any]:
        """Return the fields of the attempt's last event."""
        changes, outcome, known = self.changes, self.outcome, dict[str, Any]()
        if changes is not None and outcome is not None:
            known = {name: getattr(changes, name) for name in ("foreign", "protected", "notable", "left_out")}
            known |= {"changed": changes.own, "refused": outcome.refused, "aider": events.AiderOutcome(**vars(outcome))}
        return known | {name: value for name in EVENT_FIELDS if (value := getattr(self, name)) is not None}


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
        self.guarding: asyncio.Task[None] | None = None
        self.drift = ""  # why the guardian stopped it
        self.timed_out = 0.0  # seconds after which the agent was stopped; 0 if it was not

    async def carry_out(self) -> TaskResult:
        """Make the attempt. Raise only CancelledError and AiderMissing; every other failure becomes the verdict."""
        run, task = self.run, self.task
        model = run.context.model_of(task).name
        agent = run.context.agent_of(task)
        kind = agent.name if agent.name != DEFAULT_AGENT else ""
        started = events.AttemptStarted(model=model, base=self.start.base, round=self.start.round, agent_kind=kind)
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
        except ClusterGone as gone:
            remedy = "Start its nodes again and `resume`, or `resume` without --cluster."
            result = TaskResult(task, Judgement(Verdict.BUDGET, str(gone), remedy))
        except (OrchestraError, OSError) as error:
            cause = f"The attempt on {format_paths(task.paths)} could not be carried out: {error}"
            crashed = Judgement(Verdict.CRASHED, cause, SET_UP_REMEDY)
            if not isinstance(error, SetUpFailed):
                crashed = with_crash_remedy(run.context, crashed, run.services.journal.agent_log(task.id))
            result = TaskResult(task, crashed)
        return self.end(result)

    def end(self, result: TaskResult) -> TaskResult:
        """Emit the attempt's last event and return the result, with what the next attempt may learn from it."""
        judged, record = result.judgement, self.record
        verdict, failing, output = judged.verdict, record.failure.failing, record.failure.output
        ended = events.AttemptEnded(
            verdict=verdict,
            cause=judged.cause,
            remedy=judged.remedy,
            commit=result.commit,
            parent=result.parent,
            seconds=round(time.monotonic() - max(self.started, self.run.services.readiness.since), 3),
            tried=events.Lesson(record.diff, tuple(sorted(failing)), output),
            **record.event_data(),
        )
        self.run.emit(ended, self.task.id, self.number)
        tried = TriedAttempt(verdict, judged.cause, record.diff, failing, output, final=judged.final)
        candidate = Candidate(self.number, verdict, record.review or "", len(failing), record.size or 0)
        return replace(result, tried=tried, round=record.round or 0, candidate=candidate)

    # --- the work

    async def work(self) -> TaskResult:
        order = await make_attempt_order(self.run, self.task, self.number, self.start)
        try:
            brought = await self.run_on_host(order)
        except HostLost as loss:
            return await self.recover_from_loss(loss)
        await self.run.services.host.receive_commit(brought.commit, brought.pack)
        judgement = self.judge_drift() or judge_attempt(self.collect_facts(brought))
        if self.timed_out and time.monotonic() >= self.run.context.deadline:
            emit_deadline_reached(self.run)
        if judgement.verdict is Verdict.CRASHED:
            log = keep_output(self.run, self.task, self.number, brought.printed)
            judgement = with_crash_remedy(self.run.context, judgement, log)
        self.record.changes, self.record.outcome = brought.changes, brought.outcome
        self.record.changed = tuple(sorted({*self.start.carried, *brought.changes.own}))
        self.record.nothing_to_do = judgement.nothing_to_do or None
        self.read_reply(judgement)
        result = await self.keep_work(brought, judgement)
        if self.start.carried and not result.commit:  # the work that the attempt began with is still there
            return replace(result, commit=self.start.base, parent=self.start.parent)
        return result

    async def run_on_host(self, order: AttemptOrder) -> AttemptResult:
        try:
            return await self.wait_for_host(self.run.services.host.run_attempt(order, self))
        finally:
            self.dismiss()

    async def recover_from_loss(self, loss: HostLost) -> TaskResult:
        """Let the next attempt have what this one has paid. A task that loses too many hosts is taken for the cause."""
        if self.ticket is not None:
            await self.run.services.gateway.recall_replies(self.ticket)
        if self.start.losses + 1 >= MOST_LOSSES:
            cause = f"{self.start.losses + 1} hosts were lost during attempts at this task; the last time: {loss}"
            return TaskResult(self.task, Judgement(Verdict.CRASHED, cause, LOSS_REMEDY, final=True))
        return TaskResult(self.task, Judgement(Verdict.CANCELLED, str(loss)), lost=True)

    async def wait_for_host(self, work: Coroutine[Any, Any, AttemptResult]) -> AttemptResult:
        """Wait for the host. On cancellation or timeout, keep what the agent has changed."""
        working = asyncio.ensure_future(work)
        try:
            async with timeout_at_deadline(self.run.context) as self.preparing:
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

        async def keep_unfinished() -> None:
            with contextlib.suppress(OrchestraError, OSError, asyncio.CancelledError):
                self.record.patch = await self.keep_everything(await working)

        await wait_despite_cancellation(asyncio.ensure_future(keep_unfinished()))

    async def admit(self, root: str) -> GatewayAccess:
        """Admit the agent to the gateway and start its clock. Worktrees are made while agents warm up."""
        if self.preparing is not None and not self.preparing.expired():
            self.preparing.reschedule(None)
        context = self.run.context
        model, agent = context.model_of(self.task), context.agent_of(self.task)
        if not agent.is_command:
            await self.run.wait_for_agents()
        models = requestable_names(model, catalogue.weak_model(model))
        how: dict[str, Any] = {"models": models, "repeats": agent.repeats_requests}
        how |= {"shares_prompt": bool(self.start.round), "ends_at_failure": agent.is_command}
        limit = iteration_limit(context.settings, agent)
        self.ticket = ClientPass(AGENT, self.task.id, self.number, limit, root, **how)
        self.run.services.gateway.add_client(self.ticket)
        if context.settings.guardian:
            self.guarding = asyncio.create_task(self.guard(self.ticket))
        return GatewayAccess(self.run.services.gateway.client_url(self.ticket, model.provider.name), self.ticket.token)

    async def guard(self, ticket: ClientPass) -> None:
        """Stop the attempt if it leaves its task."""
        self.drift = await Guardian(self.run, self.task, self.number, ticket).watch()
        if self.drift:
            self.stopping.set()

    def judge_drift(self) -> Judgement | None:
        """Return the verdict on an attempt that the guardian stopped; the next one is told the reason."""
        if not self.drift:
            return None
        self.record.failure = drift_failure(self.drift)
        cause = f"The guardian stopped the attempt on {format_paths(self.task.paths)}: {self.drift}"
        return Judgement(Verdict.GATES_FAILED, cause, "Say more precisely what must change, or leave --guardian out.")

    async def wait_for_stop(self) -> None:
        """Return when the run's time or the agent's, less what the gateway held back, is up, or when it is stopped."""
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
        if self.guarding is not None:
            self.guarding.cancel()
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
        context, task, outcome, changes = self.run.context, self.task, host_result.outcome, host_result.changes
        last = self.ticket.exchanges[-1] if self.ticket and self.ticket.exchanges else None
        answered = self.answered_exchanges
        run_is_over = self.timed_out and time.monotonic() >= context.deadline
        return AttemptObservation(
            model=context.model_of(task).name,
            end=outcome.end,
            replies=len(answered),
            owned=task.paths,
            required=tuple(file.path for file in task.files if file.required and file.path not in self.start.carried),
            changed=changes.own,
            foreign=changes.foreign,
            refused=outcome.refused,
            protected=changes.protected,
            exchange=LastExchange(last.status, last.failure, last.message) if last else None,
            empty=bool(answered) and not answered[-1].reply.strip(),
            cut_off=bool(answered) and answered[-1].finish in CUT_OFF_FINISHES,
            complaint=outcome.complaint,
            failure=outcome.failure,
            timed_out=self.timed_out,
            time_is_up=deadline_sentence(context) if run_is_over else "",
            only_answers=context.role_of(task).only_answers,
            says_nothing_to_do=says_nothing_to_do([exchange.reply for exchange in answered]),
            must_change=self.start.must_change or bool(changes.left_out),
            agent=context.agent_of(task).title,
        )

    @property
    def answered_exchanges(self) -> list[Exchange]:
        return [exchange for exchange in (self.ticket.exchanges if self.ticket else []) if not exchange.failure]

    def read_reply(self, judgement: Judgement) -> None:
        """Record the parts of an accepted reply that are not edits."""
        if judgement.verdict is not Verdict.APPLIED or not self.answered_exchanges:
            return
        record, reply = self.record, self.answered_exchanges[-1].reply
        try:
            record.proposed = read_proposals(reply) if can_propose(self.run, self.task) else ()
        except MisshapenAnswer as error:  # the rest of the reply counts
            record.proposed = ()
            self.run.emit(events.Note(f"{self.task.agent} proposed tasks in an unreadable block: {error}."))
        if self.run.context.role_of(self.task).only_answers:
            # A file that the attempt changed against its rules is not taken.
            record.answered, record.changed, record.said = True, (), strip_proposals(reply)[:SAID]
        else:
            record.said = reply_prose(strip_proposals(reply))[:SAID]

    async def keep_work(self, host_result: AttemptResult, judgement: Judgement) -> TaskResult:
        """Keep accepted work as a commit on the task's branch, and every other change as a patch."""
        context, record, commit, parent = self.run.context, self.record, host_result.commit, self.start.parent
        git = context.git
        # A missing requested file does not spoil the other files of an accepted reply.
        accepted = judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)
        if not (accepted and commit and not context.role_of(self.task).only_answers):
            record.patch = await self.keep_everything(host_result)
            if record.patch:
                with contextlib.suppress(OSError):
                    record.diff = shorten_diff((context.repository.root / record.patch).read_bytes())
            return TaskResult(self.task, judgement)
        record.patch = await keep_patch(context, self.task, self.number, commit, host_result.everything)
        record.diff = shorten_diff(await collect.binary_diff(git, parent, commit))
        if self.start.round:
            record.size = sum(map(sum, (await merge.diff_numstat(git, parent, commit)).values()))
            record.branch = context.branch(f"task{self.task.id}-{self.number}")
            await self.run.services.branches.set_branch(record.branch, commit)
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
        checks_syntax = not self.run.context.agent_of(task).is_command
        parses = checks_syntax and record.outcome is not None and not record.outcome.unparsed
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
        diff = await collect.binary_diff(self.run.context.git, result.parent, result.commit)
        opinion = await self.gating.critic.give_opinion(result.task, self.number, diff)
        self.record.review = opinion.outcome
        if opinion.lesson:
            self.record.failure = opinion.lesson
        return replace(result, judgement=opinion.judgement or result.judgement)


def iteration_limit(settings: Settings, agent: Agent) -> int:
    """Return how many replies an attempt may take: as the user says, or else as this kind of agent needs."""
    is_default = settings.source_of("max_iterations") == "default" and settings.max_iterations == AIDER_ITERATIONS
    return agent.iterations if is_default else settings.max_iterations


async def wait_despite_cancellation(work: "asyncio.Future[Any]") -> None:
    """Wait until the future is done, even if the caller is cancelled meanwhile."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})


def judge_cancellation(context: Context, task: Task, only_this: bool) -> Judgement:
    if only_this:
        remedy = f"Retry it: `retry {context.stamp} {task.id}`."
        return Judgement(Verdict.CANCELLED, f"{task.agent} was cancelled from another terminal.", remedy)
    return Judgement(Verdict.CANCELLED, f"The run was stopped while {task.agent} was at work.", "Go on: `resume`.")
