"""A person decides about a task that waits: at this terminal, from another one, or after the run has ended."""

import dataclasses
import time
from functools import partial

from orchestra.conduct.attempt.kept import cut_diff, keep_branch
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.names import commit_message
from orchestra.conduct.core.results import Result

from orchestra import events
from orchestra.conduct.attempt.attempt import Facts, checked, tell
from orchestra.conduct.loop.scheduler import Agents, bring
from orchestra.conduct.loop.task_life import History, wait_for_human
from orchestra.conduct.previous.previous import Past
from orchestra.errors import Refused
from orchestra.journal.store import Command
from orchestra.model import Decision, Judgement, Task, TaskState, Verdict
from orchestra.workspace import by_hand
from orchestra.workspace.collect import diff

WAITING = (TaskState.FAILED, TaskState.WAITING_HUMAN)
HINT = "A person who has looked at the failed attempts says:"
INSTEAD = "This takes the place of a task that could not be done. That task was:"
PERSON = "a person"


def take_up(agents: Agents, past: Past | None) -> None:
    """Take decisions up from other terminals, and the one for whose sake the run was taken up."""

    def resolve(command: Command) -> str:
        said = command.data
        return decide(agents, Decision(command.task or 0, str(said.get("action")), str(said.get("text", ""))))

    agents.run.services.commands["resolve task"] = resolve
    if past is not None and past.decision is not None:
        agents.run.emit(events.Note(decide(agents, past.decision)))


async def consult(run: Run, agents: Agents) -> bool:
    """When nothing else is left to do, ask who sits at the terminal. Whether something can go on now."""
    for record in [record for record in run.state.report.tasks.values() if record.asks]:
        decision = await run.ask(record) if run.ask and record.id not in agents.put_off else None
        if decision is None:
            agents.put_off.add(record.id)
        elif record.asks:  # and nobody at another terminal was faster
            try:
                text = decide(agents, decision)
            except Refused as why:
                text = str(why)
            run.emit(events.Note(text))
    return agents.can_go_on()


def decide(agents: Agents, decision: Decision) -> str:
    """Begin what was decided, and say so in one sentence. Where it cannot be, raise Refused, and journal nothing."""
    run, number = agents.run, decision.task
    task = next((task for task in run.state.plan.tasks if task.id == number), None)
    if task is None:
        raise Refused(f"There is no task {number}.")
    if decision.action not in ACTIONS:
        raise Refused(f"There is no decision {decision.action!r}: {', '.join(ACTIONS)}.")
    state = run.state.report.tasks[number].state
    if state not in WAITING or number in agents.working:
        raise Refused(f"Task {number} is {state}: only one that failed, or waits for a person, can be resolved.")
    run.emit(events.Resolved(decision.action, decision.text), number)
    return ACTIONS[decision.action](agents, task, decision.text)


def retry(agents: Agents, task: Task, hint: str) -> str:
    if hint:
        change_plan(agents.run, dataclasses.replace(task, brief=f"{task.brief}\n\n{HINT}\n{hint}"))
    return begin(agents, task.id, "is tried again")


def edit_brief(agents: Agents, task: Task, brief: str) -> str:
    change_plan(agents.run, dataclasses.replace(task, brief=brief))
    agents.histories[task.id] = History()
    return begin(agents, task.id, "is tried again with its new brief")


def begin(agents: Agents, task: int, how: str) -> str:
    agents.histories[task].begin_anew()
    agents.begin_again(next(each for each in agents.run.state.plan.tasks if each.id == task))
    return f"Task {task} {how}."


def abandon(agents: Agents, task: Task, _: str) -> str:
    bring(agents.run, task.id, TaskState.WAITING_HUMAN)
    agents.run.move(task.id, TaskState.ABANDONED)
    return f"Task {task.id} is given up; what was done of it stays on its branch."


def spawn(agents: Agents, task: Task, text: str) -> str:
    """Another task with the same files in its place; who needed that one needs this one now."""
    run = agents.run
    number = max(each.id for each in run.state.plan.tasks) + 1
    title = next((line.strip() for line in text.splitlines() if line.strip()), task.title)
    new = dataclasses.replace(task, id=number, title=title[:100], brief=f"{text}\n\n{INSTEAD}\n{task.brief}")
    abandon(agents, task, "")
    others = [
        dataclasses.replace(each, needs=tuple(number if need == task.id else need for need in each.needs))
        for each in run.state.plan.tasks
        if task.id in each.needs
    ]
    change_plan(run, new, *others, replaces=task.id, by=number)
    agents.left |= {each.id: each for each in others if each.id in agents.left}
    agents.histories[number] = History()
    agents.begin_again(new)
    return f"Task {number} takes the place of task {task.id}."


def change_plan(run: Run, *tasks: Task, replaces: int = 0, by: int = 0) -> None:
    changed = {task.id: task for task in tasks}
    kept = tuple(changed.pop(task.id, task) for task in run.state.plan.tasks)
    run.state.plan = dataclasses.replace(run.state.plan, tasks=(*kept, *changed.values()))
    run.emit(events.PlanChanged(tasks=tasks, replaces=replaces, by=by))


# --- by hand --------------------------------------------------------------------------------------------------------


def take(agents: Agents, task: Task, _: str) -> str:
    """The first time it lends a worktree; when something was changed there, it takes that for the task's work."""
    run = agents.run
    bring(run, task.id, TaskState.WAITING_HUMAN)
    path = by_hand.place_of(run.context.logs, run.context.stamp, task.agent)
    if path.exists():
        agents.run_errand(task.id, partial(hand_back, agents, task))
        return f"What was changed in {path} is taken for task {task.id}, and checked."
    agents.run_errand(task.id, partial(lend, agents, task))
    patch = run.state.report.tasks[task.id].patch
    also = f" What its last attempt left is in {patch}." if patch else ""
    return f"Task {task.id} is yours in {path}.{also} When it is done: {command(run.context.stamp, task.id)} --take"


def command(stamp: str, task: int) -> str:
    return f"aider-orchestrator resolve {stamp} {task}"


def start_of(agents: Agents, task: Task) -> str:
    """Where the person begins: on what the task has so far, else on what the run has."""
    last = agents.results.get(task.id)
    return last.commit if last is not None and last.commit else agents.ground.head


async def lend(agents: Agents, task: Task) -> None:
    run = agents.run
    start, last = start_of(agents, task), agents.results.get(task.id)
    parent = last.parent if last is not None and last.commit and last.parent else agents.ground.head
    await by_hand.lend(
        run.context.repository.git, by_hand.place_of(run.context.logs, run.context.stamp, task.agent), start
    )
    run.emit(events.Lent(start, parent), task.id)
    wait_for_human(run, task.id, "A person has taken it.")


async def hand_back(agents: Agents, task: Task) -> None:
    run, git, started = agents.run, agents.run.context.repository.git, time.monotonic()
    path, facts = by_hand.place_of(run.context.logs, run.context.stamp, task.agent), Facts()
    lent = run.state.report.tasks[task.id].lent
    assert lent is not None
    left = await by_hand.look(git, path, lent.start)
    if not left.made:
        return wait_for_human(run, task.id, f"Nothing was changed in {path} yet.")
    number = run.state.report.tasks[task.id].attempts + 1
    bring(run, task.id, TaskState.READY)
    run.move(task.id, TaskState.ACTIVE, number)
    run.emit(events.AttemptStarted(model=PERSON, base=lent.start, by_hand=True), task.id, number)
    commit = await by_hand.committed(git, left.made, lent.parent, commit_message(run, task, by_aider=False))
    options = ("-r", "--name-only", "--no-renames", "--ignore-submodules=none", "-z")
    facts.changed = tuple(await git.paths("diff-tree", *options, lent.parent, commit))
    facts.diff = cut_diff(await diff(git, lent.parent, commit))
    await keep_branch(run, task.id, number, commit)
    done = Result(task, Judgement(Verdict.APPLIED, "A person did it."), commit, lent.parent)
    done = await checked(run, agents.gating, number, done, facts, parses=False)
    done = tell(run, task, number, done, started, facts)
    agents.results[task.id] = done
    agents.given_up.discard(task.id)
    await by_hand.take_down(git, path)
    if done.judgement.verdict is not Verdict.APPLIED:
        run.move(task.id, TaskState.FAILED)
        wait_for_human(run, task.id, done.judgement.cause)


ACTIONS = {"retry": retry, "brief": edit_brief, "abandon": abandon, "spawn": spawn, "take": take}
