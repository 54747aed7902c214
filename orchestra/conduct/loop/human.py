"""Decisions of a person about a waiting task: at this terminal, from another one, or after the run has ended."""

import asyncio
import dataclasses
from functools import partial
from pathlib import Path

from orchestra import events
from orchestra.conduct.attempt.attempt import Attempt, wait_despite_cancellation
from orchestra.conduct.attempt.saved_work import keep_branch, shorten_diff
from orchestra.conduct.core.context import AttemptStart, Run, TaskPrompt, TaskResult
from orchestra.conduct.loop.scheduler import Scheduler
from orchestra.conduct.loop.task_lifecycle import AttemptHistory, wait_for_human
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.errors import RequestRefused
from orchestra.journal.store import Command
from orchestra.model import DECISION_ACTIONS, Decision, Judgement, Task, TaskState, Verdict
from orchestra.report.phrases import decided_sentence, resolve_command
from orchestra.report.state import TaskReport
from orchestra.workspace import by_hand
from orchestra.workspace.collect import binary_diff

HINT = "A person who has seen the failed attempts says:"
INSTEAD = "This takes the place of a task that could not be done. That task was:"
PERSON = "a person"
DECIDABLE = (TaskState.FAILED, TaskState.WAITING_HUMAN)


def take_decisions(scheduler: Scheduler, previous: PreviousSessions | None) -> None:
    """Accept decisions from other terminals, and apply the one for which the run was resumed."""

    def resolve(command: Command) -> str:
        return scheduler.announce(apply_decision(scheduler, decision_of(command)))

    scheduler.run.services.commands["resolve task"] = resolve
    if previous is not None and previous.decision is not None:
        scheduler.run.emit(events.Note(apply_decision(scheduler, previous.decision)))


def decision_of(command: Command) -> Decision:
    action, text, question = str(command.data.get("action")), str(command.data.get("text", "")), None
    if type(command.data.get("question")) is int:
        question = command.data["question"]
    return Decision(command.task or 0, action, text, question, str(command.data.get("source", "")))


async def ask_about_waiting_tasks(scheduler: Scheduler, postponed: set[int]) -> bool:
    """Ask at the terminal about waiting tasks when nothing else is left to do. Return whether something can go on.

    `postponed`: tasks to decide about later. A decision from another terminal counts at once: the question gives way.
    """
    ask = scheduler.run.services.prompts.ask_about_task
    while ask and not scheduler.can_go_on():
        for record in list(scheduler.run.state.report.tasks.values()):
            if record.asks and record.id not in postponed and await ask_about(scheduler, record, ask, postponed):
                break  # decided elsewhere: look again at what waits
        else:
            break
    return scheduler.can_go_on()


async def ask_about(scheduler: Scheduler, record: TaskReport, ask: TaskPrompt, postponed: set[int]) -> bool:
    """Ask about one task, until there is an answer here or a decision elsewhere. Return whether it was elsewhere."""
    run, elsewhere = scheduler.run, asyncio.get_running_loop().create_future()
    scheduler.decision_elsewhere, text = elsewhere, ""
    run.emit(events.AgentWaiting("agent", events.PERSON, "a question at the terminal"), record.id)
    asking = asyncio.ensure_future(ask(record, resolve_command(run.state.report, record)))
    try:
        await asyncio.wait((asking, elsewhere), return_when=asyncio.FIRST_COMPLETED)
        if elsewhere.done():
            text = f"Decided elsewhere: {elsewhere.result()}"
        elif decision := asking.result():
            text = apply_decision(scheduler, decision)
        else:
            postponed.add(record.id)
    except RequestRefused as why:
        text = str(why)
    finally:
        scheduler.decision_elsewhere = None
        asking.cancel()
        await wait_despite_cancellation(asking)  # until the terminal is free
        run.emit(events.AgentWaiting("agent", "", ""), record.id)
    if text:
        run.emit(events.Note(text))
    return elsewhere.done()


def apply_decision(scheduler: Scheduler, decision: Decision) -> str:
    """Apply a decision and describe it in one sentence. If it is not possible, raise RequestRefused, emit nothing."""
    if decision.action not in ACTIONS:
        raise RequestRefused(f"There is no decision {decision.action!r}: {', '.join(ACTIONS)}.")
    if DECISION_ACTIONS[decision.action] and not decision.text.strip():
        raise RequestRefused(f"The decision {decision.action!r} needs a text.")
    refuse_late_decision(scheduler.run.state.report.tasks.get(decision.task), decision.question)
    task = scheduler.find_idle_task(decision.task, "a failed or waiting task can be resolved")
    scheduler.run.emit(events.TaskResolved(decision.action, decision.text, decision.source), task.id)
    return ACTIONS[decision.action](scheduler, task, decision.text)


def refuse_late_decision(record: TaskReport | None, question: int | None) -> None:
    """Refuse a decision about a question that another decision has answered."""
    if record is None:
        return
    answered = record.asked_at if question is None else question
    is_open = question is None and record.state in DECIDABLE
    if answered < record.decided_at and not is_open:
        raise RequestRefused(decided_sentence(record))
    if answered != record.asked_at:
        raise RequestRefused(f"Task {record.id} has another question now: {record.asks or record.cause}")


def retry_with_hint(scheduler: Scheduler, task: Task, hint: str) -> str:
    if hint:
        change_plan(scheduler.run, dataclasses.replace(task, brief=f"{task.brief}\n\n{HINT}\n{hint}"))
    return start_task_over(scheduler, task.id, "is tried again")


def retry_with_brief(scheduler: Scheduler, task: Task, brief: str) -> str:
    change_plan(scheduler.run, dataclasses.replace(task, brief=brief))
    scheduler.results.histories[task.id] = AttemptHistory()
    return start_task_over(scheduler, task.id, "is tried again with its new brief")


def start_task_over(scheduler: Scheduler, task: int, how: str) -> str:
    scheduler.results.histories[task].start_over()
    scheduler.start_again(scheduler.run.state.plan.by_id[task])
    return f"Task {task} {how}."


def abandon_task(scheduler: Scheduler, task: Task, _: str) -> str:
    scheduler.run.move_to(task.id, TaskState.WAITING_HUMAN)
    scheduler.run.move(task.id, TaskState.ABANDONED)
    branch = scheduler.run.state.report.tasks[task.id].branch
    return f"Task {task.id} is abandoned{f'; its work stays on {branch}' if branch else ''}."


def spawn_replacement(scheduler: Scheduler, task: Task, text: str) -> str:
    """Replace a task by a new one with the same files. Tasks that needed the old one now need the new one."""
    run = scheduler.run
    number = max(each.id for each in run.state.plan.tasks) + 1
    title = next((line.strip() for line in text.splitlines() if line.strip()), task.title)
    new = dataclasses.replace(task, id=number, title=title[:100], brief=f"{text}\n\n{INSTEAD}\n{task.brief}")
    abandon_task(scheduler, task, "")
    others = [
        dataclasses.replace(each, needs=tuple(number if need == task.id else need for need in each.needs))
        for each in run.state.plan.tasks
        if task.id in each.needs
    ]
    change_plan(run, new, *others, replaces=task.id, by=number)
    scheduler.pending |= {each.id: each for each in others if each.id in scheduler.pending}
    scheduler.results.histories[number] = AttemptHistory()
    scheduler.start_again(new)
    return f"Task {number} takes the place of task {task.id}."


def change_plan(run: Run, *tasks: Task, replaces: int = 0, by: int = 0) -> None:
    changed = {task.id: task for task in tasks}
    kept = tuple(changed.pop(task.id, task) for task in run.state.plan.tasks)
    run.state.plan = dataclasses.replace(run.state.plan, tasks=(*kept, *changed.values()))
    run.emit(events.PlanChanged(tasks=tasks, replaces=replaces, by=by))


def lent_path(run: Run, task: Task) -> Path:
    return by_hand.lent_path(run.context.logs, run.context.stamp, task.agent)


def take_by_hand(scheduler: Scheduler, task: Task, _: str) -> str:
    """Lend a worktree the first time; later take what was changed there as the task's work."""
    run, path = scheduler.run, lent_path(scheduler.run, task)
    run.move_to(task.id, TaskState.WAITING_HUMAN)
    if path.exists():
        scheduler.run_follow_up(task.id, partial(take_back_worktree, scheduler, task))
        return f"The changes in {path} are taken as task {task.id}'s work, and checked."
    scheduler.run_follow_up(task.id, partial(lend_worktree, scheduler, task))
    patch = run.state.report.tasks[task.id].patch
    also = f" Its last attempt's changes are in {patch}." if patch else ""
    command = f"aider-orchestrator resolve {run.context.stamp} {task.id} --take"
    return f"Task {task.id} is yours in {path}.{also} When it is done: {command}"


async def lend_worktree(scheduler: Scheduler, task: Task) -> None:
    """Lend a worktree that begins at the task's work so far, or else at the run's."""
    run, base, last = scheduler.run, scheduler.results.base.head, scheduler.results.by_task.get(task.id)
    start, parent = (last.commit, last.parent or base) if last is not None and last.commit else (base, base)
    await by_hand.lend_tree(run.context.git, lent_path(run, task), start)
    run.emit(events.WorktreeLent(start, parent), task.id)
    wait_for_human(run, task.id, "A person has taken it.")


async def take_back_worktree(scheduler: Scheduler, task: Task) -> None:
    """Take back the worktree, and record the person's work as an attempt."""
    run, git, path = scheduler.run, scheduler.run.context.git, lent_path(scheduler.run, task)
    lent, number = run.state.report.tasks[task.id].lent, run.state.report.tasks[task.id].attempts + 1
    assert lent is not None
    attempt = Attempt(run, scheduler.gating, task, number, AttemptStart(lent.start, lent.parent))
    made = await by_hand.write_lent_tree(git, path, lent.start)
    if not made:
        return wait_for_human(run, task.id, f"Nothing was changed in {path} yet.")
    run.move_to(task.id, TaskState.READY)
    run.move(task.id, TaskState.ACTIVE, number)
    run.emit(events.AttemptStarted(model=PERSON, base=lent.start, by_hand=True), task.id, number)
    commit = await git.commit_tree(made, lent.parent, run.commit_message(task, by_agent=False))
    options = ("-r", "--name-only", "--no-renames", "--ignore-submodules=none", "-z")
    attempt.record.changed = tuple(await git.paths("diff-tree", *options, lent.parent, commit))
    attempt.record.diff = shorten_diff(await binary_diff(git, lent.parent, commit))
    await keep_branch(run, task.id, number, commit)
    done = TaskResult(task, Judgement(Verdict.APPLIED, "A person did it."), commit, lent.parent)
    done = attempt.end(await attempt.check(done))
    scheduler.results.record(done)
    await by_hand.remove_lent(git, path)
    if done.judgement.verdict is not Verdict.APPLIED:
        run.move(task.id, TaskState.FAILED)
        wait_for_human(run, task.id, done.judgement.cause)


ACTIONS = {
    "retry": retry_with_hint,
    "brief": retry_with_brief,
    "abandon": abandon_task,
    "spawn": spawn_replacement,
    "take": take_by_hand,
}
