"""One attempt at one task: a worktree, an Aider in it, what it changed, and the verdict."""

import asyncio
import contextlib
import dataclasses
import hashlib
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.agents.base import Outcome
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.deadline import nothing_left, reached, time_is_up

from orchestra import events
from orchestra.agents.seat import Job
from orchestra.answers.conversation import pack, prose, turns
from orchestra.answers.shape import Misshapen
from orchestra.conduct.attempt.job import make_job
from orchestra.conduct.attempt.prompt import in_full, may_propose
from orchestra.conduct.checks.gating import Checked, Gating
from orchestra.conduct.core.gateway_events import AGENT
from orchestra.conduct.core.models import names
from orchestra.conduct.core.money import REMEDY
from orchestra.conduct.core.permits import permit_of
from orchestra.dialects import CUT_OFF
from orchestra.errors import AiderMissing, GitFailed, OrchestraError, SetUpFailed
from orchestra.gateway.ledger import Pass
from orchestra.hosts.set_up import set_up, sets_up
from orchestra.judge.candidates import Candidate
from orchestra.judge.machine import OBJECTS, ROOM, remedy_for
from orchestra.judge.retry import Failure, Tried
from orchestra.judge.verdict import Heard, Seen, judge, named
from orchestra.model import Judgement, Task, TaskState, Verdict
from orchestra.plan.proposals import proposals, without_proposals
from orchestra.providers import catalogue
from orchestra.workspace import collect, merge
from orchestra.workspace.collect import Changes
from orchestra.workspace.trees import Tree

SET_UP_REMEDY = "Set --setup-cmd right: it is run in each new worktree, and the named file holds all that it printed."
DIFF_LIMIT = 6_000  # bytes
SAID = 6_000  # characters
FULL = 64 << 10  # bytes; with so little left, what failed is the disk
CUT_SHORT = ("stopped", "crashed")  # ends of an Aider that did not come of itself
ONLY_THIS = "this task and no other"  # said with a cancellation


@dataclass(frozen=True)
class Result:
    """What an attempt leaves: a commit when the work was accepted, a patch when there is something that was not."""

    task: Task
    judgement: Judgement
    commit: str = ""
    parent: str = ""
    tried: Tried = field(default_factory=lambda: Tried(Verdict.CANCELLED, ""))
    # Of one of several side by side: in which round, and what the choice looks at.
    round: int = 0
    candidate: Candidate | None = None


@dataclass(frozen=True)
class Start:
    """Where an attempt begins: the commit, what earlier attempts had changed up to there, and what they teach.
    `parent` is what the task's commit stands on, which is before `base` when that holds earlier work of the task."""

    base: str
    parent: str
    carried: tuple[str, ...] = ()
    lesson: str = ""
    # Of attempts that are made side by side: the number of the first. 0 where it is made alone.
    round: int = 0


@dataclass
class Facts:
    """What is known of an attempt as it goes on, so that it is told however it ends. None: it did not come to that."""

    round: int | None = None
    changed: tuple[str, ...] | None = None
    foreign: tuple[str, ...] | None = None
    refused: tuple[str, ...] | None = None
    protected: Mapping[str, str] | None = None
    notable: Mapping[str, str] | None = None
    left_out: tuple[str, ...] | None = None
    aider: events.AiderOutcome | None = None
    proposed: tuple[events.ProposedTask, ...] | None = None
    answered: bool | None = None
    said: str | None = None
    patch: str | None = None
    size: int | None = None
    branch: str | None = None
    review: str | None = None
    # For the next attempt.
    diff: str = field(default="", metadata={"aside": True})
    failure: Failure = field(default=Failure(), metadata={"aside": True})

    def told(self) -> dict[str, Any]:
        """What the event says of them."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if not each.metadata}


async def attempt(run: Run, gating: Gating, task: Task, number: int, start: Start) -> Result:
    """Never raises but to be cancelled, or for all where no Aider can work: what goes wrong in one attempt is that
    attempt's verdict."""
    started = time.monotonic()
    facts = Facts(round=start.round or None)
    begun = events.AttemptStarted(model=run.context.model_of(task).name, base=start.base, round=start.round)
    run.emit(begun, task.id, number)
    try:
        left = nothing_left(run, task)
        result = Result(task, left) if left else await work(run, task, number, start, facts)
        if result.commit and result.judgement.verdict is Verdict.APPLIED:
            parses = not (facts.aider and facts.aider.unparsed)
            result = await checked(run, gating, number, result, facts, parses=parses)
    except TimeoutError:
        reached(run)
        result = Result(task, Judgement(Verdict.BUDGET, f"{time_is_up(run)} while {task.agent} was set up.", REMEDY))
    except (asyncio.CancelledError, AiderMissing) as stop:
        result = Result(task, cancellation(run, task, ONLY_THIS in stop.args))
        tell(run, task, number, result, max(started, run.ready_at), facts)
        raise
    except (OrchestraError, OSError) as error:
        cause = f"The attempt on {named(task.paths)} could not be carried out: {error}"
        crashed = Judgement(Verdict.CRASHED, cause, SET_UP_REMEDY)
        result = Result(
            task,
            crashed
            if isinstance(error, SetUpFailed)
            else explained(run, crashed, run.services.journal.agent_log(task.id)),
        )
    return tell(run, task, number, result, max(started, run.ready_at), facts)


def cancellation(run: Run, task: Task, only_this: bool) -> Judgement:
    what = (
        f"{task.agent} was cancelled from another terminal."
        if only_this
        else (f"The run was stopped while {task.agent} was at work.")
    )
    remedy = (
        f"Have it done with `retry {run.context.stamp} {task.id}`." if only_this else "Take it up again with `resume`."
    )
    return Judgement(Verdict.CANCELLED, what, remedy)


def tell(run: Run, task: Task, number: int, result: Result, started: float, facts: Facts) -> Result:
    """Write the attempt's end down, and give the result back with all that the next attempt may learn from it."""
    judged = result.judgement
    failing, output = facts.failure.failing, facts.failure.output
    learned = Tried(judged.verdict, judged.cause, facts.diff, failing, output, final=judged.final)
    ended = events.AttemptEnded(
        verdict=judged.verdict,
        cause=judged.cause,
        remedy=judged.remedy,
        commit=result.commit,
        parent=result.parent,
        seconds=round(time.monotonic() - started, 3),
        tried=events.Lesson(learned.diff, tuple(sorted(learned.failing)), learned.output),
        **facts.told(),
    )
    run.emit(ended, task.id, number)
    return dataclasses.replace(
        result, tried=learned, round=ended.round or 0, candidate=candidate(number, learned, ended)
    )


def candidate(number: int, learned: Tried, ended: events.AttemptEnded) -> Candidate:
    return Candidate(number, learned.verdict, ended.review or "", len(learned.failing), ended.size or 0)


async def work(run: Run, task: Task, number: int, start: Start, facts: Facts) -> Result:
    """The result; on the way the facts are filled in, so that they are there even when it comes to none."""
    name = f"task{task.id}-{number}"
    tree = await run.services.trees.add(name, start.base)
    done_with = run.services.trees.discard
    try:
        async with asyncio.timeout_at(None if run.context.deadline == math.inf else run.context.deadline):
            await set_up(run, tree, name)
        furnished = sets_up(run.context.settings)
        tree = await run.services.trees.remembered(tree, task.paths, furnished=furnished)
        # The worktrees are made while Aider warms up, and its clock has not begun yet.
        await run.aider()
        full = in_full(run, task, tree.path)
        model = run.context.model_of(task)
        models = names(model, catalogue.weak_model(model))
        limit = run.context.settings.max_iterations
        ticket = run.services.gateway.admit(Pass(AGENT, task.id, number, limit, str(tree.path), models=models))
        try:
            outcome, timed_out = await seated(run, ticket, make_job(run, full, tree, ticket, start.lesson))
        except asyncio.CancelledError:
            await asyncio.shield(keep_unfinished(run, task, number, tree, facts))
            raise
        finally:
            run.services.gateway.dismiss(ticket)
            remember(run, ticket)
        if not (tree.path / ".git").exists():
            raise OrchestraError("its worktree was deleted while it was at work.")
        if outcome.end not in CUT_SHORT and not (furnished or run.context.settings.aider_args):
            done_with = run.services.trees.leave
        changes = await collect.changes(tree, task.paths, run.state.plan.owners, permit_of(run))
        judgement = judge(seen(run, task, start, outcome, ticket, changes, timed_out))
        if timed_out and time.monotonic() >= run.context.deadline:
            reached(run)
        if judgement.verdict is Verdict.CRASHED:
            judgement = explained(run, judgement, keep_output(run, task, number, tree))
        take_changes(facts, start, changes, outcome)
        take_words(run, task, ticket, judgement, facts)
        kept = await keep(run, task, number, tree, start, changes, judgement, facts)
        # What it had begun with and left as it was is still there.
        return (
            kept
            if kept.commit or not start.carried
            else dataclasses.replace(kept, commit=start.base, parent=start.parent)
        )
    finally:
        done_with(tree)


async def checked(run: Run, gating: Gating, number: int, result: Result, facts: Facts, *, parses: bool) -> Result:
    """The same result, or one whose verdict is that of the gates which this task's own worktree can decide."""
    task = result.task
    if run.state.report.tasks[task.id].state != TaskState.AWAITING_QA:  # another one made beside it may have come first
        run.move(task.id, TaskState.AWAITING_QA, number)
    try:
        said = await gating.check_own(task, result.commit, result.parent, number, parses=parses)
    except SetUpFailed:
        # That says nothing of this task; the combination is set up too, and there it is told.
        said = Checked()
    if said.ok:
        return await reviewed(run, gating, number, result, facts)
    facts.failure = said.lesson
    remedy = f"See {', '.join(str(one.output.relative_to(run.context.repository.root)) for one in said.failed)}."
    return dataclasses.replace(result, judgement=Judgement(Verdict.GATES_FAILED, said.sentence, remedy))


async def reviewed(run: Run, gating: Gating, number: int, result: Result, facts: Facts) -> Result:
    """The same result, or one whose verdict is the critic's: that it fails, or that nobody could review it."""
    if gating.critic is None:
        return result
    diff = await collect.diff(run.context.repository.git, result.parent, result.commit)
    opinion = await gating.critic.opinion(result.task, number, diff)
    facts.review, facts.failure = opinion.outcome, opinion.lesson or facts.failure
    return dataclasses.replace(result, judgement=opinion.judgement or result.judgement)


async def seated(run: Run, ticket: Pass, job: Job) -> tuple[Outcome, float]:
    """Let Aider work until it ends, or its clock or the run's runs out. Its clock stands still while the gateway makes
    it wait; the run's never does."""
    started, allowed = time.monotonic(), run.context.settings.agent_timeout
    seat = asyncio.create_task(run.seats.run(job))
    try:
        while True:
            now = time.monotonic()
            left = min(allowed + ticket.waited - (now - started), run.context.deadline - now)
            if left <= 0:
                return Outcome("stopped"), time.monotonic() - started
            done, _ = await asyncio.wait({seat}, timeout=left)
            if done:
                return seat.result(), 0.0
    finally:
        seat.cancel()
        with contextlib.suppress(asyncio.CancelledError, OrchestraError):
            await seat


def remember(run: Run, ticket: Pass) -> None:
    """What was said, for `show` and for the next attempt."""
    limit = run.context.settings.conversation_kb << 10
    said = turns((list(exchange.asked), exchange.reply) for exchange in ticket.exchanges)
    if said and limit:
        run.emit(pack(said, run.context.secrets.scrub, limit), ticket.task, ticket.attempt)


# --- the work -------------------------------------------------------------------------------------------------------


def seen(
    run: Run, task: Task, start: Start, outcome: Outcome, ticket: Pass, changes: Changes, timed_out: float
) -> Seen:
    last = ticket.exchanges[-1] if ticket.exchanges else None
    answered = [exchange for exchange in ticket.exchanges if not exchange.failure]
    return Seen(
        model=run.context.model_of(task).name,
        end=outcome.end,
        replies=len(answered),
        owned=task.paths,
        required=tuple(file.path for file in task.files if file.required and file.path not in start.carried),
        changed=changes.own,
        foreign=changes.foreign,
        refused=outcome.refused,
        protected=changes.protected,
        heard=Heard(last.status, last.failure, last.message) if last else None,
        empty=bool(answered) and not answered[-1].reply.strip(),
        cut_off=bool(answered) and answered[-1].finish in CUT_OFF,
        complaint=outcome.complaint,
        failure=outcome.failure,
        timed_out=timed_out,
        time_is_up=time_is_up(run) if timed_out and time.monotonic() >= run.context.deadline else "",
        only_answers=run.context.role(task).only_answers,
    )


def take_changes(facts: Facts, start: Start, changes: Changes, outcome: Outcome) -> None:
    """What the log says of an attempt beside its verdict."""
    facts.changed = tuple(sorted({*start.carried, *changes.own}))
    facts.foreign, facts.refused, facts.left_out = changes.foreign, outcome.refused, changes.left_out
    facts.protected, facts.notable = changes.protected, changes.notable
    facts.aider = events.AiderOutcome(**vars(outcome))


def take_words(run: Run, task: Task, ticket: Pass, judgement: Judgement, facts: Facts) -> None:
    """What of an accepted reply is more than its edits."""
    replies = [exchange.reply for exchange in ticket.exchanges if not exchange.failure]
    if judgement.verdict is not Verdict.APPLIED or not replies:
        return
    said = without_proposals(replies[-1])
    facts.proposed = proposed_by(run, task, replies[-1])
    if run.context.role(task).only_answers:
        # A file that it changed all the same is not taken.
        facts.answered, facts.changed, facts.said = True, (), said[:SAID]
    else:
        facts.said = prose(said)[:SAID]


def proposed_by(run: Run, task: Task, reply: str) -> tuple[events.ProposedTask, ...]:
    """Nothing is lost but a wish where it cannot be read."""
    try:
        found = proposals(reply) if may_propose(run, task) else ()
        return tuple(events.ProposedTask(one.title, one.brief, one.files) for one in found)
    except Misshapen as error:
        run.emit(events.Note(f"{task.agent} proposed tasks in a block that cannot be read: {error}."))
        return ()


async def keep(
    run: Run,
    task: Task,
    number: int,
    tree: Tree,
    start: Start,
    changes: Changes,
    judgement: Judgement,
    facts: Facts,
) -> Result:
    """Accepted work becomes a commit on the task's branch, all else that was changed a patch. Nothing is dropped."""
    # Where an asked for file is missing, the others that an accepted reply changed are good all the same.
    accepted = judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)
    taken = accepted and not run.context.role(task).only_answers
    loose = changes.loose if taken else (*changes.own, *changes.loose)
    facts.patch = await keep_patch(run, task, number, tree, loose)
    if not (taken and changes.own):
        facts.diff = read_text(run.context.repository.root / facts.patch) if facts.patch else ""
        return Result(task, judgement)
    commit = await collect.commit(tree, changes, commit_message(run, task), start.parent)
    facts.diff = cut_diff(await collect.diff(run.context.repository.git, start.parent, commit))
    if start.round:
        facts.size = sum(map(sum, (await merge.numstat(run.context.repository.git, start.parent, commit)).values()))
        facts.branch = candidate_branch(run, task.id, number)
        await merge.keep(run.context.repository.git, facts.branch, commit)
    else:
        await keep_branch(run, task.id, number, commit)
    return Result(task, judgement, commit, start.parent)


async def keep_branch(run: Run, task: int, number: int, commit: str) -> None:
    """The task's own."""
    branch = run.context.branch(f"task{task}")
    await merge.keep(run.context.repository.git, branch, commit)
    run.emit(events.BranchKept(branch), task, number)


def candidate_branch(run: Run, task: int, number: int) -> str:
    return run.context.branch(f"task{task}-{number}")


async def keep_patch(run: Run, task: Task, number: int, tree: Tree, paths: tuple[str, ...]) -> str:
    try:
        content = await collect.loose_diff(tree, paths)
    except (GitFailed, OSError):
        return ""
    if not content:
        return ""
    path = run.context.logs / f"{task.agent}_{run.context.stamp}_attempt{number}.patch"
    path.write_bytes(content)
    return str(path.relative_to(run.context.repository.root))


def read_text(patch: Path) -> str:
    try:
        return cut_diff(patch.read_bytes())
    except OSError:
        return ""


def cut_diff(diff: bytes) -> str:
    """The next attempt sees no more than the beginning; the digest tells whether two were the same."""
    text = diff[:DIFF_LIMIT].decode("utf-8", "replace")
    return text if len(diff) <= DIFF_LIMIT else f"{text}\n(and more: {hashlib.sha256(diff).hexdigest()[:16]})"


async def keep_unfinished(run: Run, task: Task, number: int, tree: Tree, facts: Facts) -> None:
    """What a stopped agent had already written."""
    with contextlib.suppress(GitFailed, OSError):
        changes = await collect.changes(tree, task.paths, run.state.plan.owners, permit_of(run))
        facts.patch = await keep_patch(run, task, number, tree, (*changes.own, *changes.loose))


def keep_output(run: Run, task: Task, number: int, tree: Tree) -> Path:
    """Where one finds what the agent printed; its log, where it has printed nothing or the disk is full."""
    output, kept = (
        tree.path.parent / "aider.out",
        run.context.logs / f"{task.agent}_{run.context.stamp}_attempt{number}.out",
    )
    with contextlib.suppress(OSError):
        if output.exists() and output.stat().st_size:
            kept.write_text(run.context.secrets.scrub(output.read_text("utf-8", "replace")), "utf-8")
            return kept
    return run.services.journal.agent_log(task.id)


def explained(run: Run, crashed: Judgement, log: Path) -> Judgement:
    """The remedy: what to do about the machine, where that is what failed, else which file tells more."""
    places = (run.context.folder, run.context.repository.root)
    fullest = min(places, key=free_space)
    remedy = remedy_for(crashed.cause) or (ROOM if free_space(fullest) < FULL else "")
    if not remedy:
        path = log.relative_to(run.context.repository.root)
        return dataclasses.replace(
            crashed, remedy=f"See {path}; if it happens again, report it as a bug with that file."
        )
    guessed = next((each for each in places if str(each) in crashed.cause), places[-1])
    place = {ROOM: fullest, OBJECTS: run.context.repository.root}.get(remedy, guessed)
    return dataclasses.replace(crashed, remedy=remedy.format(place=place), final=True)


def free_space(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.inf


def commit_message(run: Run, task: Task, *, by_aider: bool = True) -> str:
    about = task.title if task.name else run.context.settings.change
    first = next((line.strip() for line in about.splitlines() if line.strip()), "Change")
    first = run.context.secrets.scrub(first)
    subject = first if len(first) <= 72 else first[:71] + "…"
    files = "\n".join(f"- {path}" for path in task.paths[:50])
    trailers = [
        f"Task: {task.id}",
        f"Run: {run.context.stamp}",
        *([f"Co-authored-by: aider ({run.context.model_of(task).name}) <aider@aider.chat>"] if by_aider else []),
    ]
    return f"{subject}\n\n{files}\n\n" + "\n".join(trailers) + "\n"
