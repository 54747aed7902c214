"""Find the combination that passes the gates: all tasks, or all but the smallest set that breaks it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestra import events
from orchestra.conduct.checks.gating import GateResults
from orchestra.conduct.combine.merge_proofs import Conflict, MergeProofs
from orchestra.conduct.core.context import Context, Run, TaskResult
from orchestra.errors import GitFailed, SetUpFailed
from orchestra.judge.blame import Blame, TaskSet, find_culprits
from orchestra.judge.retry import CheckFailure
from orchestra.workspace.layers import CombinedPaths, Layer, apply_layers, read_layers
from orchestra.workspace.merge import ChooseMerge, combine_commit, diff_numstat


@dataclass
class CombinedCommits:
    """One linear commit per task on top of a base. `conflicts`: also those that a merge solved. What needs a task that
    is left out is `excluded`.

    `touched`: what has changed each file so far.
    """

    run: Run
    head: str
    choose: ChooseMerge
    commits: dict[int, str] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    excluded: dict[int, str] = field(default_factory=dict)
    touched: dict[str, list[TaskResult]] = field(default_factory=dict)

    @property
    def unsolved(self) -> list[Conflict]:
        """The conflicts that no merge solved: the later task is left out."""
        return [each for each in self.conflicts if not each.merge.taken]

    @property
    def left_out(self) -> set[int]:
        return {each.result.task.id for each in self.unsolved} | self.excluded.keys()

    async def apply(self, results: Sequence[TaskResult], changes: Mapping[str, Layer]) -> None:
        """Apply changes of separate files together, in one step."""
        context = self.run.context
        if results and parent_commit(context, results[0]) == self.head:  # its own commit is already in place
            self.head = self.commits[results[0].task.id] = results[0].commit
            results = results[1:]
        if not results:
            return
        wanted = [(changes[one.commit], self.run.commit_message(one.task)) for one in results]
        try:
            commits = await apply_layers(context.git, self.head, wanted)
        except GitFailed:  # some distributions package git without what this needs
            for one in results:
                await self.merge(one)
            return
        self.commits |= zip((one.task.id for one in results), commits, strict=True)
        self.head = commits[-1]

    async def merge(self, result: TaskResult) -> bool:
        """Merge one result and return whether it fits."""
        context, task, trees = self.run.context, result.task, self.run.services.trees
        parent, message, before = parent_commit(context, result), self.run.commit_message(task), self.head
        head, merged = await combine_commit(trees, before, parent, result.commit, message, self.choose)
        if merged.conflicts:
            others = {each.task.id: each for path in merged.conflicts for each in self.touched.get(path, [])}
            self.conflicts.append(Conflict(result, parent, before, head, merged, tuple(others.values())))
        if merged.tree:
            self.head = self.commits[task.id] = head
        return bool(merged.tree)


async def combine_commits(run: Run, base: str, results: Sequence[TaskResult], choose: ChooseMerge) -> CombinedCommits:
    """Combine results in the given order, dependencies first. Only changes that overlap are merged one by one."""
    made, ground, free, context = CombinedCommits(run, base, choose), CombinedPaths(), list[TaskResult](), run.context
    changes = await read_layers(context.git, [(one.commit, parent_commit(context, one)) for one in results])
    for result in results:
        task, record = result.task, run.state.report.tasks[result.task.id]
        if missing := [need for need in task.needs if need in made.left_out]:
            made.excluded[task.id] = f"it needs {run.state.report.tasks[missing[0]].agent}, which is left out"
            continue
        layer = changes[result.commit]
        if parent_commit(context, result) == base and ground.can_apply(layer):
            free.append(result)
        else:
            await made.apply(free, changes)
            free.clear()
            old_head = made.head
            if not await made.merge(result):
                continue
            # A merge follows renamed files: its changes may be in other paths.
            layer = (await read_layers(context.git, [(made.head, old_head)]))[made.head]
        ground.add(layer)
        for path in record.changed:
            made.touched.setdefault(path, []).append(result)
    await made.apply(free, changes)
    return made


def parent_commit(context: Context, result: TaskResult) -> str:
    return result.parent or context.repository.base


@dataclass(frozen=True)
class GuiltyResult:
    """A result that broke the combination, the sentence that says how, and the lesson for its next attempt."""

    result: TaskResult
    why: str
    lesson: CheckFailure | None = None


@dataclass(frozen=True)
class Combination:
    """The combined commit and its tasks. `failure` says why it does not pass; empty if it does."""

    head: str
    tasks: TaskSet = frozenset()
    failure: str = ""
    guilty: tuple[GuiltyResult, ...] = ()


async def combine_and_gate(
    proofs: MergeProofs, base: Combination, results: Sequence[TaskResult], combined: str = ""
) -> Combination:
    """Combine results on the current base and gate them. `combined`: their combination by an earlier session."""
    run, gating = proofs.run, proofs.gating
    stacked = await combine_proven(proofs, base.head, results)
    misfits = await exclude_conflicts(proofs, stacked)
    if not stacked.commits:
        return dataclasses.replace(base, guilty=misfits)
    if combined:
        stacked.head = combined
    else:
        emit_combined(run, stacked)
    mine = [one for one in results if one.task.id in stacked.commits]
    everyone = base.tasks | stacked.commits.keys()
    try:
        checked = await gating.check(stacked.head, "combined")
    except SetUpFailed as failed:
        run.emit(setup_failed_event(run.context, failed))
        return Combination(stacked.head, everyone, f"{failed}, so nothing could check it")
    if checked.ok:
        return Combination(stacked.head, everyone, guilty=misfits)
    blame, results_by_set = await find_guilty(proofs, base.head, mine, checked)
    sets = tuple(tuple(sorted(each)) for each in blame.guilty)
    run.emit(events.TasksBlamed(tuple(sorted(blame.green)), sets, tuple(sorted(blame.dropped)), blame.questions))
    dropped = [one for one in mine if one.task.id in blame.dropped]
    broken = tuple(explain_dropped_task(run, one, blame, results_by_set, checked) for one in dropped)
    guilty = (*broken, *misfits)
    if not (blame.green or base.tasks):
        # No good part exists: leave everything for the user to look at.
        names = [one.gate.name for one in checked.failed]
        bad = " and ".join("the tests" if name == "tests" else name for name in names)
        return Combination(stacked.head, everyone, f"{bad} failed on it", guilty)
    for each in broken:
        emit_task_held(run, each.result.task.id, each.why)
    for one in mine:
        if one.task.id in blame.blocked:
            emit_task_held(run, one.task.id, explain_missing_need(run, one, blame))
    green = await combine_proven(proofs, base.head, [one for one in mine if one.task.id in blame.green])
    guilty = (*guilty, *await exclude_conflicts(proofs, green))
    if green.commits:
        emit_combined(run, green)
        # The search gated this commit already; those outcomes are now the result's.
        await gating.check(green.head, "combined")
    return Combination(green.head, base.tasks | green.commits.keys(), guilty=guilty)


async def combine_proven(proofs: MergeProofs, base: str, results: Sequence[TaskResult]) -> CombinedCommits:
    """Combine results so that the gates prove each merge of a conflict. What no merge solves is left out."""
    while True:
        combined = await combine_commits(proofs.run, base, results, proofs.choose)
        try:
            if await proofs.prove(combined.head, combined.conflicts):
                return combined
        except SetUpFailed:  # nothing can be checked: the gates of the whole say so
            return combined


async def exclude_conflicts(proofs: MergeProofs, combined: CombinedCommits) -> tuple[GuiltyResult, ...]:
    """Emit the decided conflicts, and exclude the tasks that were left out; return those that conflict."""
    await proofs.emit_decisions(combined.conflicts)
    guilty = []
    for each in combined.unsolved:
        why = proofs.explain(each)
        emit_task_held(proofs.run, each.result.task.id, why)
        guilty.append(GuiltyResult(each.result, why, await proofs.teach(each)))
    for task, reason in combined.excluded.items():
        emit_task_held(proofs.run, task, reason)
    return tuple(guilty)


async def find_guilty(
    proofs: MergeProofs, base: str, results: Sequence[TaskResult], whole: GateResults
) -> tuple[Blame, dict[TaskSet, GateResults]]:
    """Gate sets of tasks until the guilty ones are known. Return the outcomes of each set too. `whole`: of all."""
    run, gating = proofs.run, proofs.gating
    results_by_set, sizes = dict[TaskSet, GateResults](), dict[int, int]()
    for one in results:
        counts = await diff_numstat(run.context.git, parent_commit(run.context, one), one.commit)
        sizes[one.task.id] = sum(map(sum, counts.values()))
    needs = {one.task.id: one.task.needs for one in results}
    asking = find_culprits([one.task.id for one in results], needs, sizes=sizes)
    answer = None
    while True:
        try:
            wanted = asking.send(answer) if answer is not None else next(asking)
        except StopIteration as known:
            blame: Blame = known.value
            return blame, results_by_set
        some = await combine_commits(run, base, [one for one in results if one.task.id in wanted], proofs.choose)
        label = "without-" + "-".join(str(one.task.id) for one in results if one.task.id not in wanted)
        # A task that does not merge without another one gives no verdict about the two apart.
        answer = not some.unsolved
        if answer:
            gates = gating.binding_gates
            results_by_set[wanted] = await gating.check(some.head, label[:60], gates=gates, confirmed=whole)
            answer = results_by_set[wanted].ok


def emit_combined(run: Run, combined: CombinedCommits) -> None:
    for task, commit in combined.commits.items():
        run.emit(events.TaskIntegrated(commit), task, run.state.report.tasks[task].attempts)
    run.emit(events.WorkCombined(combined.head))


def emit_task_held(run: Run, task: int, reason: str) -> None:
    run.emit(events.TaskExcluded(reason), task, run.state.report.tasks[task].attempts)


def explain_dropped_task(
    run: Run, result: TaskResult, blame: Blame, checks: Mapping[TaskSet, GateResults], whole: GateResults
) -> GuiltyResult:
    """Explain with which other tasks this one breaks the combination, by the outcomes of the smallest such set."""
    task = result.task.id
    together = next(each for each in blame.guilty if task in each)
    failed = [tasks for tasks, checked in checks.items() if together <= tasks and not checked.ok]
    checked = checks[min(failed, key=len)] if failed else whole
    why = f"it breaks: {checked.sentence}"
    if others := ", ".join(run.state.report.tasks[other].agent for other in sorted(together - {task})):
        why = f"together with {others} {why} Leaving it out loses the least."
    return GuiltyResult(result, why, checked.lesson)


def explain_missing_need(run: Run, result: TaskResult, blame: Blame) -> str:
    lost = blame.dropped | blame.blocked
    needed = next((need for need in result.task.needs if need in lost), None)
    return f"it needs {run.state.report.tasks[needed].agent if needed else 'a task'}, which is left out"


def setup_failed_event(context: Context, failed: SetUpFailed) -> events.GateEnded:
    """Report a failed set-up as a failed gate, because no gate could begin."""
    return events.GateEnded(
        name="set-up",
        about=events.ABOUT_SET_UP,
        command=context.settings.setup_cmd,
        tree=events.COMBINED_TREE,
        ok=False,
        verifies=False,
        code=1,
        output=os.path.relpath(failed.output, context.repository.root),
        remarks=(str(failed),),
    )
