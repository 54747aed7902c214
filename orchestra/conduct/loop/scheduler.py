"""Start each task when its dependencies are done, with a bounded number of attempts at once; keep their results."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from orchestra.conduct.attempt.attempt import CANCEL_ONE_TASK
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.combine.combine_and_gate import Combination, CombinedCommits, combine_proven, emit_task_held
from orchestra.conduct.combine.merge_proofs import MergeProofs
from orchestra.conduct.core.context import Run, TaskResult
from orchestra.conduct.core.slots import Slot, Slots, count_slots
from orchestra.conduct.loop.task_lifecycle import AttemptHistory, TaskLifecycle, cancelled_result, wait_for_human
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.errors import RequestRefused
from orchestra.journal.store import Command
from orchestra.judge.blame import needs_closure
from orchestra.model import Plan, Task, TaskState, Verdict
from orchestra.plan.task_order import Rank, order_tasks, rank_tasks

FollowUp = Callable[[], Coroutine[Any, Any, None]]


class Scheduler:
    """Runs the tasks; work that earlier sessions finished is not repeated. `pending` wait for a dependency.

    Other terminals may cancel or interrupt a running task, or retry a failed one.
    """

    def __init__(self, run: Run, gating: Gating, previous: PreviousSessions | None) -> None:
        self.run = run
        self.gating = gating
        self.results = TaskResults(MergeProofs(run, gating), previous)
        self.slots = Slots(count_slots(run.state.plan.agents, run.context.settings))
        self.pending = {task.id: task for task in run.state.plan.tasks if task.id not in self.results.by_task}
        self.ranked: tuple[Plan | None, dict[int, Rank]] = (None, {})
        self.working: dict[int, asyncio.Task[None]] = {}
        self.ended: list[int] = []  # tasks that ended since the last look
        self.stopped: dict[int, str] = {}  # by which command
        self.withdrawn: set[int] = set()  # before they began
        self.follow_ups: dict[int, FollowUp] = {}
        self.open = False
        self.woken = asyncio.Event()
        self.decision_elsewhere: asyncio.Future[str] | None = None  # while a person is asked: a decision from elsewhere
        run.services.commands["cancel task"] = self.cancel
        run.services.commands["interrupt task"] = self.cancel
        run.services.commands["retry task"] = self.retry

    async def work(self) -> None:
        """Run tasks until none can go on."""
        try:
            self.open = True
            self.start_ready()
            while self.working:
                await self.woken.wait()
                self.woken.clear()
                ended, self.ended = self.ended, []
                for task in ended:
                    self.take_ended(task)
                self.start_ready(ended)
        finally:
            self.open = False
            for working in self.working.values():
                working.cancel()
            await asyncio.gather(*self.working.values(), return_exceptions=True)
            self.working.clear()
            self.ended.clear()

    # --- what may begin

    def start_again(self, task: Task) -> None:
        self.run.move_to(task.id, TaskState.READY)
        self.results.forget(task.id)
        self.pending[task.id] = task
        self.start_ready()

    def run_follow_up(self, task: int, follow_up: FollowUp) -> None:
        """Run something for a task that is not an agent's work."""
        self.follow_ups[task] = follow_up
        self.start_ready()

    def can_go_on(self) -> bool:
        return bool(self.follow_ups) or any(self.is_ready(task) for task in self.pending.values())

    def is_ready(self, task: Task) -> bool:
        return task.id not in self.working and all(map(self.results.is_done, self.run.state.plan.needs[task.id]))

    def start_ready(self, ended: Iterable[int] | None = None) -> None:
        """Start what is ready, if the scheduler is open. `ended`: only these tasks and those that need them."""
        if not self.open:
            return
        while self.follow_ups:
            number, follow_up = self.follow_ups.popitem()
            self.start_work(number, self.finish_follow_up(number, follow_up))
        needed_by = self.run.state.plan.needed_by
        near = self.pending if ended is None else {each for task in ended for each in (task, *needed_by[task])}
        ready = [task for each in near if (task := self.pending.get(each)) and self.is_ready(task)]
        rank = self.current_ranks() if ready else {}
        for task in sorted(ready, key=lambda task: rank[task.id]):
            del self.pending[task.id]
            self.run.move_to(task.id, TaskState.READY)
            self.start_work(task.id, self.run_task(task, partial(self.slots.take_slot, rank[task.id])))

    def current_ranks(self) -> dict[int, Rank]:
        """Return the ranks of the tasks, computed once per plan: a person may change the plan."""
        if self.ranked[0] is not self.run.state.plan:
            self.ranked = (self.run.state.plan, rank_tasks(self.run.state.plan.tasks))
        return self.ranked[1]

    def find_unbegun(self, number: int) -> Task | None:
        """Find a task that waits for its dependencies, or for a slot for its first attempt."""
        record = self.run.state.report.tasks.get(number)
        if record is None or record.attempts or number in self.stopped or number in self.follow_ups:
            return None
        waits = number in self.pending or (number in self.working and record.state is TaskState.READY)
        return self.run.state.plan.by_id.get(number) if waits else None

    def withdraw(self, number: int) -> None:
        """Take back a task that has not begun. To begin later, it must be pending again."""
        self.pending.pop(number, None)
        if number in self.working and number not in self.withdrawn:
            self.withdrawn.add(number)
            self.working[number].cancel()

    def start_work(self, task: int, work: Coroutine[Any, Any, None]) -> None:
        def wake(_: object) -> None:
            self.ended.append(task)
            self.woken.set()

        self.working[task] = asyncio.create_task(work)
        self.working[task].add_done_callback(wake)

    async def run_task(self, task: Task, slot: Slot) -> None:
        try:
            below = await self.results.combine_dependencies(task)
            for conflict in below.unsolved:
                emit_task_held(self.run, task.id, f"its dependencies conflict: {self.results.proofs.explain(conflict)}")
                return
            history = self.results.histories[task.id]
            result = await TaskLifecycle(self.run, self.gating, task, slot, history, below.head).carry_out()
            self.results.record(result)
            if result.judgement.ends_well:
                self.run.complete_accepted_task(task.id)
        except asyncio.CancelledError:
            if not self.settle_cancellation(task):
                raise

    def take_ended(self, number: int) -> None:
        """Take a task that has ended. One that a command cancelled before its first step has not seen that itself."""
        work = self.working.pop(number)
        if not (work.cancelled() and self.settle_cancellation(self.run.state.plan.by_id[number])):
            work.result()

    def settle_cancellation(self, task: Task) -> bool:
        """Do what a command wanted when it cancelled the task's work. Return whether it was one."""
        if task.id in self.withdrawn:
            self.withdrawn.remove(task.id)
            return True
        if task.id not in self.stopped:
            return False
        self.results.record(cancelled_result(self.run, self.gating, task))
        if self.stopped.pop(task.id) == "interrupt":
            wait_for_human(self.run, task.id, "It was interrupted from another terminal.")
        return True

    async def finish_follow_up(self, task: int, follow_up: FollowUp) -> None:
        try:
            await follow_up()
        except asyncio.CancelledError:
            if self.stopped.pop(task, None) is None:
                raise
            if self.run.state.report.tasks[task].state in (TaskState.ACTIVE, TaskState.AWAITING_QA):
                self.run.move(task, TaskState.FAILED)
            wait_for_human(self.run, task, "Its follow-up was cancelled from another terminal.")

    # --- commands

    def refuse_commands(self) -> None:
        """Refuse commands from now on, because no further task is started; the run can still be cancelled."""
        for name in self.run.services.commands.keys() - {"cancel"}:
            del self.run.services.commands[name]

    def cancel(self, command: Command) -> str:
        task = command.task or 0
        if task not in self.working or task in self.withdrawn:
            raise RequestRefused(f"Task {task} is not running.")
        if task not in self.stopped:
            self.stopped[task] = command.kind
            self.working[task].cancel(CANCEL_ONE_TASK)
        return f"Task {task} is being stopped; other tasks go on."

    def retry(self, command: Command) -> str:
        task = self.find_idle_task(command.task or 0, "a failed task can be retried")
        self.start_again(task)
        return self.announce(f"Task {task.id} is tried again.")

    def announce(self, decision: str) -> str:
        """Let a question at the terminal give way to a decision from another one."""
        if self.decision_elsewhere and not self.decision_elsewhere.done():
            self.decision_elsewhere.set_result(decision)
        return decision

    def find_idle_task(self, number: int, rule: str) -> Task:
        """Find a task that has failed or waits for a person. Refuse any other, by the rule."""
        task = self.run.state.plan.by_id.get(number)
        if task is None:
            raise RequestRefused(f"There is no task {number}.")
        state = self.run.state.report.tasks[number].state
        if state not in (TaskState.FAILED, TaskState.WAITING_HUMAN) or number in self.working:
            raise RequestRefused(f"Task {number} is {state}: only {rule}.")
        return task


class TaskResults:
    """The results and histories of the tasks. `base`: what new work begins on, a commit and the tasks that it holds."""

    def __init__(self, proofs: MergeProofs, previous: PreviousSessions | None) -> None:
        run = self.run = proofs.run
        self.proofs = proofs
        self.base = Combination(run.context.repository.base)
        self.by_task: dict[int, TaskResult] = previous.done_results() if previous else {}
        self.histories = {task.id: AttemptHistory() for task in run.state.plan.tasks}
        self.given_up: set[int] = set()  # tasks that broke the combination and are not retried
        if previous:
            for task, history in self.histories.items():
                # If the run died between two attempts, the next one has the lessons; a new round begins without any.
                history.tried = previous.lessons(task) if previous.report.exit_code is None else []
                history.earlier = previous.lessons(task) if previous.decision else []
                history.finished = previous.finished_candidates(task)
        for task, result in self.by_task.items():
            if result.judgement.ends_well:
                run.move_to(task, TaskState.AWAITING_QA)
                run.complete_accepted_task(task)

    def record(self, result: TaskResult) -> None:
        self.by_task[result.task.id] = result
        self.given_up.discard(result.task.id)

    def forget(self, task: int) -> None:
        """Forget the result of a task that is retried."""
        self.by_task.pop(task, None)
        self.given_up.discard(task)

    def is_done(self, task: int) -> bool:
        """Whether other tasks can build on this one."""
        result = self.by_task.get(task)
        return task in self.base.tasks or (result is not None and result.judgement.ends_well)

    async def combine_dependencies(self, task: Task) -> CombinedCommits:
        """Combine everything that the task needs on top of the base."""
        needs = self.run.state.plan.needs
        needed, tasks = needs_closure(needs[task.id], needs) - self.base.tasks, self.run.state.plan.by_id
        results = [self.by_task[each.id] for each in order_tasks([tasks[each] for each in needed])]
        # A result that an earlier delivery brought to the user's branch has no commit left.
        return await combine_proven(self.proofs, self.base.head, [result for result in results if result.commit])

    def list_accepted(self, base: Combination) -> list[TaskResult]:
        """Return the results that can be combined with the base, in their order."""
        needs = self.run.state.plan.needs
        results = [self.by_task[task.id] for task in order_tasks(self.run.state.plan.tasks) if task.id in self.by_task]
        return [
            result
            for result in results
            if result.commit
            and result.judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)
            and result.task.id not in base.tasks
            and self.given_up.isdisjoint(needs_closure({result.task.id}, needs))
        ]

    def exclude(self, tasks: Iterable[Task]) -> None:
        """Exclude tasks that never began, with what they waited for."""
        for task in tasks:
            missing = [need for need in self.run.state.plan.needs[task.id] if not self.is_done(need)]
            names = " and ".join(self.run.state.report.tasks[need].agent for need in missing)
            emit_task_held(self.run, task.id, f"it needs {names}, which is not complete")
