"""Find the combination that passes: all tasks together, or without the smallest set of them that breaks it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestra import events
from orchestra.conduct.checks.gating import GateResults, Gating
from orchestra.conduct.combine.combine_commits import CombinedCommits, combine_commits, parent_commit
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.task_result import TaskResult
from orchestra.errors import SetUpFailed
from orchestra.judge.blame import Blame, TaskSet, find_culprits
from orchestra.judge.retry import CheckFailure
from orchestra.model import Gate
from orchestra.workspace.merge import diff_numstat


@dataclass(frozen=True)
class GuiltyResult:
    """A result that broke the combination, the sentence that says how, and what its next attempt should know of it."""

    result: TaskResult
    why: str
    lesson: CheckFailure | None = None


@dataclass(frozen=True)
class Combination:
    """The combined commit and the tasks that are in it. `bad` says why it is not good; nothing where it is."""

    head: str
    tasks: TaskSet = frozenset()
    failure: str = ""
    guilty: tuple[GuiltyResult, ...] = ()


async def combine_and_gate(
    run: Run, gating: Gating, base: Combination, results: Sequence[TaskResult], combined: str = ""
) -> Combination:
    """Bring results onto what is settled already. `combined` is their combination, if it was made before."""
    stacked = await combine_commits(run, base.head, results)
    for task, reason in (stacked.conflicts | stacked.excluded).items():
        emit_task_held(run, task, reason)
    misfits = tuple(
        GuiltyResult(one, stacked.conflicts[one.task.id]) for one in results if one.task.id in stacked.conflicts
    )
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
        return Combination(stacked.head, everyone, f"{failed}, so that nothing could check it")
    if checked.ok:
        return Combination(stacked.head, everyone, guilty=misfits)
    blame, said = await find_guilty(run, gating, base.head, mine)
    emit_blamed(run, blame)
    dropped = [one for one in mine if one.task.id in blame.dropped]
    broken = tuple(explain_dropped_task(run, one, blame, said, checked) for one in dropped)
    guilty = (*broken, *misfits)
    if not (blame.green or base.tasks):
        # Nothing good can be taken out of it: all of it is left for the user to look at.
        bad = f"{' and '.join(gate_title(one.gate) for one in checked.failed)} failed on it"
        return Combination(stacked.head, everyone, bad, guilty)
    for each in broken:
        emit_task_held(run, each.result.task.id, each.why)
    for one in mine:
        if one.task.id in blame.blocked:
            emit_task_held(run, one.task.id, explain_missing_need(run, one, blame))
    green = await combine_commits(run, base.head, [one for one in mine if one.task.id in blame.green])
    if green.commits:
        emit_combined(run, green)
        # It was gated in the search, and what was said of it is now said of the result.
        await gating.check(green.head, "combined")
    return Combination(green.head, base.tasks | blame.green, guilty=guilty)


async def find_guilty(
    run: Run, gating: Gating, base: str, results: Sequence[TaskResult]
) -> tuple[Blame, dict[TaskSet, GateResults]]:
    """Gate sets of tasks until it is known which of them break the combination; and what the gates said of each set."""
    said = dict[TaskSet, GateResults]()
    sizes = {one.task.id: await count_changed_lines(run.context, one) for one in results}
    needs = {one.task.id: one.task.needs for one in results}
    asking = find_culprits([one.task.id for one in results], needs, sizes=sizes)
    answer = None
    while True:
        try:
            wanted = asking.send(answer) if answer is not None else next(asking)
        except StopIteration as known:
            blame: Blame = known.value
            return blame, said
        some = await combine_commits(run, base, [one for one in results if one.task.id in wanted])
        label = "without-" + "-".join(str(one.task.id) for one in results if one.task.id not in wanted)
        # A task that does not even fit without another one says nothing good of the two apart.
        answer = not some.conflicts
        if answer:
            said[wanted] = await gating.check(some.head, label[:60], gates=gating.binding_gates)
            answer = said[wanted].ok


async def count_changed_lines(context: Context, result: TaskResult) -> int:
    counts = await diff_numstat(context.repository.git, parent_commit(context, result), result.commit)
    return sum(map(sum, counts.values()))


def emit_combined(run: Run, combined: CombinedCommits) -> None:
    for task, commit in combined.commits.items():
        run.emit(events.TaskIntegrated(commit), task, run.state.report.tasks[task].attempts)
    run.emit(events.WorkCombined(combined.head))


def emit_task_held(run: Run, task: int, reason: str) -> None:
    run.emit(events.TaskExcluded(reason), task, run.state.report.tasks[task].attempts)


def emit_blamed(run: Run, blame: Blame) -> None:
    guilty = tuple(tuple(sorted(each)) for each in blame.guilty)
    run.emit(events.TasksBlamed(tuple(sorted(blame.green)), guilty, tuple(sorted(blame.dropped)), blame.questions))


def explain_dropped_task(
    run: Run, result: TaskResult, blame: Blame, checks: Mapping[TaskSet, GateResults], whole: GateResults
) -> GuiltyResult:
    """Why a task is left out: with which others it breaks the combination, by what the gates said of the fewest."""
    task = result.task.id
    together = next(each for each in blame.guilty if task in each)
    failed = [tasks for tasks, checked in checks.items() if together <= tasks and not checked.ok]
    checked = checks[min(failed, key=len)] if failed else whole
    why = f"it breaks: {checked.sentence}"
    if others := ", ".join(run.state.report.tasks[other].agent for other in sorted(together - {task})):
        why = f"together with {others} {why} Of these, the least is lost without it."
    return GuiltyResult(result, why, checked.lesson)


def explain_missing_need(run: Run, result: TaskResult, blame: Blame) -> str:
    lost = blame.dropped | blame.blocked
    needed = next((need for need in result.task.needs if need in lost), None)
    return f"it needs {run.state.report.tasks[needed].agent if needed else 'a task'}, which is held back"


def setup_failed_event(context: Context, failed: SetUpFailed) -> events.GateEnded:
    """Told as a gate that has failed: no other could even begin."""
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


def gate_title(gate: Gate) -> str:
    return "the tests" if gate.name == "tests" else gate.name
