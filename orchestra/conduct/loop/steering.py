"""Change a run that goes on, from another terminal: tasks that have not begun, new tasks, the pace, the budget.

Each change is an event, so that a resumed run knows it. What is not possible is refused with the reason, and nothing
is changed.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from orchestra import events
from orchestra.conduct.core.context import TaskResult
from orchestra.conduct.core.models import check_prices, role_models
from orchestra.conduct.loop.human import change_plan
from orchestra.conduct.loop.scheduler import Scheduler
from orchestra.conduct.loop.task_lifecycle import AttemptHistory
from orchestra.conduct.planning.lead import make_world
from orchestra.conduct.planning.survey import classify_by_mode
from orchestra.conduct.previous.sessions import GIVEN_UP
from orchestra.errors import RequestRefused, SettingsError
from orchestra.journal.store import Command
from orchestra.judge.blame import needs_closure
from orchestra.model import Judgement, Plan, Prd, Task, TaskState, Verdict, needs_by_task
from orchestra.plan.brief import make_brief
from orchestra.plan.check import check_draft, item_targets
from orchestra.plan.draft import PRIORITIES, Draft, PlanItem
from orchestra.plan.replan import rebuild_needs
from orchestra.plan.task_order import find_path
from orchestra.report.phrases import format_usd
from orchestra.workspace.evidence import read_sources

ENDED = (TaskState.COMPLETE, TaskState.ABANDONED)
MANY = 10  # as many changed tasks are named
CHANGES = ("title", "brief", "priority", "files", "link", "unlink")


def accept_steering(scheduler: Scheduler) -> None:
    """Accept these commands from now on."""
    for name, steer in STEERING.items():
        scheduler.run.services.commands[name] = partial(steer, scheduler)


def edit_task(scheduler: Scheduler, command: Command) -> str:
    """Change a task that has not begun: its title, brief, priority, files, and which tasks it needs."""
    task = find_waiting_task(scheduler, command)
    given = {name: command.data[name] for name in CHANGES if command.data.get(name)}
    if not given:
        raise RequestRefused(f"Nothing was given to change: {', '.join(CHANGES)}.")
    if "files" in given and "brief" not in given:
        raise RequestRefused("With other files the task needs another brief: give both.")
    checked = check_given(scheduler, task.id, given | {"title": given.get("title", task.title)})
    changed = dataclasses.replace(task, title=checked.title, needs=changed_needs(scheduler, task, given))
    if "priority" in given:
        changed = dataclasses.replace(changed, priority=PRIORITIES[checked.priority])
    if "files" in given:
        changed = with_files(scheduler, changed, checked)
    if "brief" in given:
        changed = with_brief(scheduler, changed, checked.brief)
    if not given.keys().isdisjoint(("files", "unlink")):
        refuse_overlap(scheduler, changed)
    change_plan(scheduler.run, changed)
    scheduler.withdraw(task.id)
    scheduler.pending[task.id] = changed
    scheduler.start_ready()
    return announce_if_ready(scheduler, changed, f"Task {task.id} is changed: {', '.join(given)}.")


def add_task(scheduler: Scheduler, command: Command) -> str:
    """Add a task with files of its own."""
    plan, data = scheduler.run.state.plan, command.data
    number = max((task.id for task in plan.tasks), default=0) + 1
    checked = check_given(scheduler, number, data)
    if not (checked.brief and checked.files):
        raise RequestRefused("A new task needs a text and files.")
    task = Task(number, checked.title, (), role=checked.role, priority=PRIORITIES[checked.priority])
    task = with_files(scheduler, dataclasses.replace(task, needs=changed_needs(scheduler, task, data)), checked)
    if role_models(scheduler.run.context.settings, [task.role]):
        raise RequestRefused(f"The role {task.role} has a model of its own, which this run has not opened.")
    task = with_brief(scheduler, task, checked.brief)
    refuse_overlap(scheduler, task)
    change_plan(scheduler.run, task)
    scheduler.results.histories[number] = AttemptHistory()
    scheduler.pending[number] = task
    scheduler.start_ready()
    return announce_if_ready(scheduler, task, f"Task {number} is added: {task.title}.")


def abandon_task(scheduler: Scheduler, command: Command) -> str:
    """Give up a task that has not begun."""
    task = find_waiting_task(scheduler, command)
    scheduler.withdraw(task.id)
    scheduler.run.move(task.id, TaskState.ABANDONED)
    scheduler.results.record(TaskResult(task, Judgement(Verdict.CANCELLED, GIVEN_UP)))
    waiting = [each for each in scheduler.run.state.plan.needed_by[task.id] if each in scheduler.pending]
    also = f" {join_tasks(waiting)} cannot begin without it: `replan`, or `edit --unlink {task.id}`." if waiting else ""
    return f"Task {task.id} is abandoned.{also}"


def pause_run(scheduler: Scheduler, _: Command) -> str:
    """Begin no further attempt; those that are running end."""
    if scheduler.slots.paused:
        raise RequestRefused("The run is paused already.")
    scheduler.slots.pause()
    scheduler.run.emit(events.RunPaused(paused=True))
    running = sum(task.state is TaskState.ACTIVE for task in scheduler.run.state.report.tasks.values())
    return f"The run is paused: no attempt begins until `unpause`; {running} still running."


def unpause_run(scheduler: Scheduler, _: Command) -> str:
    if not scheduler.slots.paused:
        raise RequestRefused("The run is not paused.")
    scheduler.run.emit(events.RunPaused(paused=False))
    scheduler.slots.unpause()
    return "The run goes on."


def set_budget(scheduler: Scheduler, command: Command) -> str:
    """Raise or lower what the run may spend in all."""
    run, dollars = scheduler.run, command.data.get("dollars")
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 < dollars < float("inf"):
        raise RequestRefused(f"The budget must be dollars above 0, not {dollars!r}.")
    settings, roles = run.context.settings, [task.role for task in run.state.plan.tasks]
    try:
        limited = settings.with_values(budget=float(dollars))
        check_prices(limited, run.context.model, roles=role_models(settings, roles), asks_gemini=False)
    except SettingsError as error:
        raise RequestRefused(error.detail or str(error)) from None
    run.emit(events.BudgetChanged(float(dollars)))
    run.services.gateway.limits.budget.set_dollars(float(dollars))
    spent = run.services.gateway.limits.budget.run.spent.dollars
    return f"The budget is {format_usd(dollars)}; {format_usd(spent)} of it is spent."


async def replan(scheduler: Scheduler, _: Command) -> str:
    """Work out anew what the tasks need that have not begun."""
    context = scheduler.run.context
    paths = {path for task in list_unbegun(scheduler) for path in task.paths if path in context.entries}
    sources = await read_sources(context.git, [context.entries[path] for path in sorted(paths)])
    plan, records = scheduler.run.state.plan, scheduler.run.state.report.tasks
    abandoned = {number for number, record in records.items() if record.state is TaskState.ABANDONED}
    waiting = [task.id for task in list_unbegun(scheduler)]
    if not waiting or "replan" not in scheduler.run.services.commands:
        raise RequestRefused("No task is left that has not begun.")
    needs = rebuild_needs(plan.tasks, waiting, abandoned, sources)
    changed = [dataclasses.replace(plan.by_id[number], needs=needs[number]) for number in needs]
    if not changed:
        return "Nothing changes: the tasks that have not begun wait for the right ones."
    change_plan(scheduler.run, *changed)
    for task in changed:
        scheduler.withdraw(task.id)
        scheduler.pending[task.id] = task
    scheduler.start_ready()
    sentences = [f"Task {task.id} {describe_needs(task.needs)}." for task in changed]
    more = [f"{len(changed) - MANY} more tasks are changed."] if len(changed) > MANY else []
    answer = " ".join((*sentences[:MANY], *more))
    return scheduler.announce(answer) if any(map(scheduler.is_ready, changed)) else answer


def list_unbegun(scheduler: Scheduler) -> list[Task]:
    found = (scheduler.find_unbegun(task.id) for task in scheduler.run.state.plan.tasks)
    return [task for task in found if task is not None]


def describe_needs(needs: Sequence[int]) -> str:
    return f"begins after {join_tasks(needs).lower()}" if needs else "needs no other task"


STEERING: Mapping[str, Callable[[Scheduler, Command], str | Awaitable[str]]] = {
    "edit task": edit_task,
    "add": add_task,
    "abandon task": abandon_task,
    "pause": pause_run,
    "unpause": unpause_run,
    "budget": set_budget,
    "replan": replan,
}


def announce_if_ready(scheduler: Scheduler, task: Task, answer: str) -> str:
    """Let a question at the terminal give way to a task that can begin."""
    return scheduler.announce(answer) if scheduler.is_ready(task) else answer


def find_waiting_task(scheduler: Scheduler, command: Command) -> Task:
    """Find a task that has not begun."""
    number, record = command.task or 0, scheduler.run.state.report.tasks.get(command.task or 0)
    if record is None:
        raise RequestRefused(f"There is no task {number}.")
    if (task := scheduler.find_unbegun(number)) is None:
        raise RequestRefused(f"Task {number} is {record.state}: only a task that has not begun can be changed.")
    return task


def check_given(scheduler: Scheduler, number: int, data: Mapping[str, Any]) -> PlanItem:
    """Check what was given for a task by the rules for plans. Return it with known words and paths."""
    texts = {name: data.get(name) or "" for name in ("title", "brief", "role", "priority")}
    files = data.get("files") or []
    if not all(isinstance(text, str) for text in texts.values()) or not is_list_of(files, str):
        raise RequestRefused("Title, brief, role and priority are texts, and files a list of texts.")
    title = texts["title"].strip() or next(iter(texts["brief"].strip().splitlines()), "")
    item = PlanItem(f"task-{number}", title[:100], texts["brief"].strip(), tuple(files), role=texts["role"])
    item = dataclasses.replace(item, priority=texts["priority"] or "normal")
    if item.priority not in PRIORITIES:
        raise RequestRefused(f"The priority must be {', '.join(PRIORITIES)}, not {item.priority!r}.")
    if not item.files:
        return item
    context = scheduler.run.context
    checked = check_draft(Draft("", task=(item,)), make_world(context, classify_by_mode(context.entries), Prd("")))
    if checked.problems:
        raise RequestRefused(f"{checked.problem_text[0].upper()}{checked.problem_text[1:]}.")
    return checked.draft.task[0]


def with_files(scheduler: Scheduler, task: Task, item: PlanItem) -> Task:
    """Give the task files, unless they act by themselves."""
    run = scheduler.run
    if kept_back := [path for path in item.files if run.permit.refusal_for(path)]:
        raise RequestRefused(f"{kept_back[0]} acts by itself: only the change of a run can name it.")
    return dataclasses.replace(task, files=item_targets(item, classify_by_mode(run.context.entries)))


def are_ordered(one: int, other: int, needs: Mapping[int, Sequence[int]]) -> bool:
    return one in needs_closure({other}, needs) or other in needs_closure({one}, needs)


def may_overlap(plan: Plan, one: int, other: int, shared: Collection[str]) -> bool:
    """Whether the plan let the two tasks change these files at once before the change."""
    known = {one, other} <= plan.by_id.keys() and not are_ordered(one, other, plan.needs)
    return known and all({*shared} <= {*plan.by_id[each].paths} for each in (one, other))


def refuse_overlap(scheduler: Scheduler, changed: Task) -> None:
    """Refuse a change of the plan after which two tasks that do not wait for each other have the same file."""
    plan, records = scheduler.run.state.plan, scheduler.run.state.report.tasks
    tasks = {each.id: each for each in (*plan.tasks, changed)}
    has_ended = {number for number, record in records.items() if record.state in ENDED}
    paths = {number: frozenset(task.paths) for number, task in tasks.items() if number not in has_ended}
    needs = needs_by_task(list(tasks.values()))
    for one, other in combinations(paths, 2):
        shared = paths[one] & paths[other]
        if not shared or are_ordered(one, other, needs) or may_overlap(plan, one, other, shared):
            continue
        if changed.id not in (one, other):
            raise RequestRefused(f"{min(shared)} is a file of tasks {one} and {other}, which must not run at once.")
        whom = f"task {changed.id}" if changed.id in plan.by_id else "the new task"
        raise RequestRefused(f"{min(shared)} is a file of task {one + other - changed.id}: link {whom} to it.")


def with_brief(scheduler: Scheduler, task: Task, text: str) -> Task:
    run = scheduler.run
    others = [other for other in run.state.plan.tasks if other.id != task.id]
    return dataclasses.replace(task, brief=make_brief(run.context.settings.change, Prd(""), task, others, part=text))


def changed_needs(scheduler: Scheduler, task: Task, data: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the needs with those of `link` and without those of `unlink`. Refuse a circle."""
    link, unlink, plan = data.get("link") or [], data.get("unlink") or [], scheduler.run.state.plan
    if not (is_list_of(link, int) and is_list_of(unlink, int)):
        raise RequestRefused("`link` and `unlink` are lists of task numbers.")
    for number in [*link, *unlink]:
        if number not in plan.by_id:
            raise RequestRefused(f"There is no task {number}.")
    for number in link:
        if scheduler.run.state.report.tasks[number].state is TaskState.ABANDONED:
            raise RequestRefused(f"Task {number} is abandoned, so task {task.id} cannot wait for it.")
        if circle := find_path(plan.needs, number, task.id):
            steps = " needs ".join(map(str, (task.id, *circle)))
            raise RequestRefused(f"Task {task.id} cannot need task {number}, because that is a circle: {steps}.")
    return tuple(dict.fromkeys(need for need in (*task.needs, *link) if need not in unlink))


def is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(type(each) is kind for each in value)


def join_tasks(tasks: Sequence[int]) -> str:
    return " and ".join(f"Task {task}" for task in tasks)
