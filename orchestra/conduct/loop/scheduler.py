"""All agents: each task's life begins when what it needs is done, and at most so many attempts are made at once."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from orchestra.conduct.core.context import Run
from orchestra.conduct.core.results import Result

from orchestra import events
from orchestra.conduct.attempt.attempt import ONLY_THIS
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.combine.settle import Settled, hold
from orchestra.conduct.combine.stack import Stack, put_together
from orchestra.conduct.core.slots import Place, Places, places
from orchestra.conduct.loop.task_life import History, cancelled, live, wait_for_human
from orchestra.conduct.previous.previous import Past
from orchestra.errors import Refused
from orchestra.journal.store import Command
from orchestra.judge.blame import closure
from orchestra.model import Plan, Task, TaskState, Verdict
from orchestra.plan.order import Rank, in_order, ranks

Errand = Callable[[], Coroutine[Any, Any, None]]
STEPS = {
    TaskState.PLANNED: TaskState.READY,
    TaskState.READY: TaskState.ACTIVE,
    TaskState.ACTIVE: TaskState.FAILED,
    TaskState.AWAITING_QA: TaskState.FAILED,
    TaskState.FAILED: TaskState.READY,
    TaskState.WAITING_HUMAN: TaskState.READY,
}


def bring(run: Run, task: int, wanted: TaskState) -> None:
    """Move a task, from wherever it was left, to where it is wanted, step by step along the table."""
    steps = STEPS | ({TaskState.ACTIVE: TaskState.AWAITING_QA} if wanted is TaskState.AWAITING_QA else {})
    steps |= {TaskState.FAILED: wanted} if wanted is TaskState.WAITING_HUMAN else {}
    while (now := run.state.report.tasks[task].state) not in (wanted, TaskState.COMPLETE):
        run.move(task, steps[now])


def is_accepted(result: Result) -> bool:
    return bool(result.commit) and result.judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)


def wrap_up(run: Run, task: int) -> None:
    """What is known of an accepted task before it is combined with others: an answer needs not be."""
    record = run.state.report.tasks[task]
    if record.answered:
        bring(run, task, TaskState.AWAITING_QA)
    if record.answered and record.state != TaskState.COMPLETE:
        run.move(task, TaskState.COMPLETE)
    if record.proposed and record.proposed != run.state.report.proposals.get(task):
        run.emit(events.TasksProposed(record.proposed), task, record.attempts)


def history(past: Past | None, task: int) -> History:
    if past is None:
        return History()
    return History(past.tried(task), past.lessons(task) if past.decision else [], past.finished(task))


class Agents:
    """The tasks of a run. `results` are the last attempts' of those that are done, `left` waits for its turn or its
    needs. Other terminals may cancel or interrupt one that is at work, or have a failed one tried again."""

    def __init__(self, run: Run, gating: Gating, past: Past | None) -> None:
        self.run = run
        self.gating = gating
        self.results: dict[int, Result] = past.done() if past else {}
        self.histories = {task.id: history(past, task.id) for task in run.state.plan.tasks}
        self.places = Places(places(run.state.plan.agents, run.context.settings))
        self.ground = Settled(run.context.repository.base)
        self.left: dict[int, Task] = {}
        self.ranked: tuple[Plan | None, dict[int, Rank]] = (None, {})
        self.working: dict[int, asyncio.Task[None]] = {}
        self.stopped: dict[int, str] = {}  # by which command
        self.given_up: set[int] = set()  # broke the combination, and are not tried again
        self.put_off: set[int] = set()  # about which the person at the terminal wants to decide later
        self.errands: dict[int, Errand] = {}
        self.open = False
        self.woken = asyncio.Event()
        for task in run.state.plan.tasks:
            if task.id not in self.results:
                self.left[task.id] = task
            elif self.results[task.id].judgement.verdict is Verdict.APPLIED:
                bring(run, task.id, TaskState.AWAITING_QA)
                wrap_up(run, task.id)
        run.services.commands |= {"cancel task": self.cancel, "interrupt task": self.cancel, "retry task": self.retry}

    async def work(self, ground: Settled | None = None) -> None:
        """Until nothing can go on. New work begins on `ground`, and on what else it needs."""
        self.ground = ground or self.ground
        try:
            self.open = True
            self.start_ready()
            while self.working:
                await self.woken.wait()
                self.woken.clear()
                for task in [task for task, work in self.working.items() if work.done()]:
                    self.working.pop(task).result()
                self.start_ready()
        finally:
            self.open = False
            for working in self.working.values():
                working.cancel()
            await asyncio.gather(*self.working.values(), return_exceptions=True)
            self.working.clear()

    # --- who may begin

    def begin_again(self, task: Task) -> None:
        bring(self.run, task.id, TaskState.READY)
        self.results.pop(task.id, None)
        self.given_up.discard(task.id)
        self.left[task.id] = task
        self.start_ready()

    def run_errand(self, task: int, errand: Errand) -> None:
        """Something else than an agent's work that is to be done for a task."""
        self.errands[task] = errand
        self.start_ready()

    def can_go_on(self) -> bool:
        return bool(self.errands) or any(self.is_ready(task) for task in self.left.values())

    def is_ready(self, task: Task) -> bool:
        return task.id not in self.working and all(map(self.is_done, self.run.state.plan.needs[task.id]))

    def is_done(self, task: int) -> bool:
        """Well enough for others to stand on."""
        result = self.results.get(task)
        return task in self.ground.tasks or (result is not None and result.judgement.verdict is Verdict.APPLIED)

    def start_ready(self) -> None:
        """While nobody is at work, what is combined is being checked: new work begins after that."""
        if not self.open:
            return
        while self.errands:
            number, errand = self.errands.popitem()
            self.begin(number, errand())
        ready = list(filter(self.is_ready, self.left.values()))
        rank = self.ranks() if ready else {}
        for task in sorted(ready, key=lambda task: rank[task.id]):
            del self.left[task.id]
            bring(self.run, task.id, TaskState.READY)
            self.begin(task.id, self.one(task, partial(self.places.at, rank[task.id])))

    def ranks(self) -> dict[int, Rank]:
        """Worked out once for each plan: a person may change it."""
        if self.ranked[0] is not self.run.state.plan:
            self.ranked = (self.run.state.plan, ranks(self.run.state.plan.tasks))
        return self.ranked[1]

    def begin(self, task: int, work: Coroutine[Any, Any, None]) -> None:
        self.working[task] = asyncio.create_task(work)
        self.working[task].add_done_callback(lambda _: self.woken.set())

    async def one(self, task: Task, place: Place) -> None:
        try:
            below = await self.below(task)
            for misfit in below.misfits.values():
                hold(self.run, task.id, f"what it needs does not go together: {misfit}")
                return
            self.results[task.id] = await live(self.run, self.gating, task, place, self.histories[task.id], below.head)
            if self.results[task.id].judgement.verdict is Verdict.APPLIED:
                wrap_up(self.run, task.id)
        except asyncio.CancelledError:
            if task.id not in self.stopped:
                raise
            self.results[task.id] = cancelled(self.run, task)
            if self.stopped.pop(task.id) == "interrupt":
                wait_for_human(self.run, task.id, "It was interrupted from another terminal.")

    async def below(self, task: Task) -> Stack:
        """The ground, with all that the task needs on top."""
        needs = self.run.state.plan.needs
        needed = closure(needs[task.id], needs) - self.ground.tasks
        # What the user's branch holds since an earlier delivery has no commit left to stand on.
        results = [self.results[each.id] for each in in_order([t for t in self.run.state.plan.tasks if t.id in needed])]
        return await put_together(self.run, self.ground.head, [result for result in results if result.commit])

    # --- what came of it

    def accepted(self, ground: Settled) -> list[Result]:
        """What can be combined with the ground, in the order in which it is."""
        needs = self.run.state.plan.needs
        found = [self.results[task.id] for task in in_order(self.run.state.plan.tasks) if task.id in self.results]
        return [
            one
            for one in found
            if is_accepted(one)
            and one.task.id not in ground.tasks
            and self.given_up.isdisjoint(closure({one.task.id}, needs))
        ]

    def hold_back(self) -> None:
        """Say of who never began what it waited for."""
        for task in self.left.values():
            missing = [need for need in self.run.state.plan.needs[task.id] if not self.is_done(need)]
            names = " and ".join(self.run.state.report.tasks[need].agent for need in missing)
            hold(self.run, task.id, f"it needs {names}, which is not done")

    # --- commands

    def cancel(self, command: Command) -> str:
        task = command.task or 0
        if task not in self.working:
            raise Refused(f"Task {task} is not at work.")
        self.stopped[task] = command.kind
        self.working[task].cancel(ONLY_THIS)
        return f"Task {task} is being stopped; the others go on."

    def retry(self, command: Command) -> str:
        task = next((task for task in self.run.state.plan.tasks if task.id == command.task), None)
        if task is None:
            raise Refused(f"There is no task {command.task}.")
        state = self.run.state.report.tasks[task.id].state
        if state not in (TaskState.FAILED, TaskState.WAITING_HUMAN) or task.id in self.working:
            raise Refused(f"Task {task.id} is {state}: only a failed one can be tried again.")
        self.begin_again(task)
        return f"Task {task.id} is tried again."
