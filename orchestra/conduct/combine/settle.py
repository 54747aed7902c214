"""Find the combination that passes: all tasks together, or without the smallest set of them that breaks it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestra import events
from orchestra.conduct.checks.gating import Checked, Gating
from orchestra.conduct.combine.stack import Stack, parent, put_together
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.results import Result
from orchestra.errors import SetUpFailed
from orchestra.judge.blame import Blame, Tasks, search
from orchestra.judge.retry import Failure
from orchestra.model import Gate
from orchestra.workspace.merge import numstat


@dataclass(frozen=True)
class Guilty:
    """A result that broke the combination, the sentence that says how, and what its next attempt should know of it."""

    result: Result
    why: str
    lesson: Failure | None = None


@dataclass(frozen=True)
class Settled:
    """The combined commit and the tasks that are in it. `bad` says why it is not good; nothing where it is."""

    head: str
    tasks: Tasks = frozenset()
    bad: str = ""
    guilty: tuple[Guilty, ...] = ()


async def settle(run: Run, gating: Gating, ground: Settled, results: Sequence[Result], combined: str = "") -> Settled:
    """Bring results onto what is settled already. `combined` is their combination, if it was made before."""
    stacked = await put_together(run, ground.head, results)
    for task, reason in (stacked.misfits | stacked.left_out).items():
        hold(run, task, reason)
    misfits = tuple(Guilty(one, stacked.misfits[one.task.id]) for one in results if one.task.id in stacked.misfits)
    if not stacked.commits:
        return dataclasses.replace(ground, guilty=misfits)
    if combined:
        stacked.head = combined
    else:
        tell(run, stacked)
    mine = [one for one in results if one.task.id in stacked.commits]
    everyone = ground.tasks | stacked.commits.keys()
    try:
        checked = await gating.check(stacked.head, "combined")
    except SetUpFailed as failed:
        run.emit(not_set_up(run.context, failed))
        return Settled(stacked.head, everyone, f"{failed}, so that nothing could check it")
    if checked.ok:
        return Settled(stacked.head, everyone, guilty=misfits)
    blame, said = await find_guilty(run, gating, ground.head, mine)
    emit_blamed(run, blame)
    dropped = [one for one in mine if one.task.id in blame.dropped]
    broken = tuple(dropped_for(run, one, blame, said, checked) for one in dropped)
    guilty = (*broken, *misfits)
    if not (blame.green or ground.tasks):
        # Nothing good can be taken out of it: all of it is left for the user to look at.
        bad = f"{' and '.join(named(one.gate) for one in checked.failed)} failed on it"
        return Settled(stacked.head, everyone, bad, guilty)
    for each in broken:
        hold(run, each.result.task.id, each.why)
    for one in mine:
        if one.task.id in blame.held:
            hold(run, one.task.id, needing(run, one, blame))
    green = await put_together(run, ground.head, [one for one in mine if one.task.id in blame.green])
    if green.commits:
        tell(run, green)
        # It was gated in the search, and what was said of it is now said of the result.
        await gating.check(green.head, "combined")
    return Settled(green.head, ground.tasks | blame.green, guilty=guilty)


async def find_guilty(
    run: Run, gating: Gating, ground: str, results: Sequence[Result]
) -> tuple[Blame, dict[Tasks, Checked]]:
    """Gate sets of tasks until it is known which of them break the combination; and what the gates said of each set."""
    said = dict[Tasks, Checked]()
    sizes = {one.task.id: await size_of(run.context, one) for one in results}
    needs = {one.task.id: one.task.needs for one in results}
    asking = search([one.task.id for one in results], needs, sizes=sizes)
    answer = None
    while True:
        try:
            wanted = asking.send(answer) if answer is not None else next(asking)
        except StopIteration as known:
            blame: Blame = known.value
            return blame, said
        some = await put_together(run, ground, [one for one in results if one.task.id in wanted])
        label = "without-" + "-".join(str(one.task.id) for one in results if one.task.id not in wanted)
        # A task that does not even fit without another one says nothing good of the two apart.
        answer = not some.misfits
        if answer:
            said[wanted] = await gating.check(some.head, label[:60], gates=gating.binding)
            answer = said[wanted].ok


async def size_of(context: Context, result: Result) -> int:
    counts = await numstat(context.repository.git, parent(context, result), result.commit)
    return sum(map(sum, counts.values()))


def tell(run: Run, stacked: Stack) -> None:
    for task, commit in stacked.commits.items():
        run.emit(events.TaskIntegrated(commit), task, run.state.report.tasks[task].attempts)
    run.emit(events.Combined(stacked.head))


def hold(run: Run, task: int, reason: str) -> None:
    run.emit(events.TaskHeld(reason), task, run.state.report.tasks[task].attempts)


def emit_blamed(run: Run, blame: Blame) -> None:
    guilty = tuple(tuple(sorted(each)) for each in blame.guilty)
    run.emit(events.Blamed(tuple(sorted(blame.green)), guilty, tuple(sorted(blame.dropped)), blame.asked))


def dropped_for(run: Run, result: Result, blame: Blame, said: Mapping[Tasks, Checked], whole: Checked) -> Guilty:
    """Why a task is left out: with which others it breaks the combination, by what the gates said of the fewest."""
    task = result.task.id
    together = next(each for each in blame.guilty if task in each)
    failed = [tasks for tasks, checked in said.items() if together <= tasks and not checked.ok]
    checked = said[min(failed, key=len)] if failed else whole
    why = f"it breaks: {checked.sentence}"
    if others := ", ".join(run.state.report.tasks[other].agent for other in sorted(together - {task})):
        why = f"together with {others} {why} Of these, the least is lost without it."
    return Guilty(result, why, checked.lesson)


def needing(run: Run, result: Result, blame: Blame) -> str:
    lost = blame.dropped | blame.held
    needed = next((need for need in result.task.needs if need in lost), None)
    return f"it needs {run.state.report.tasks[needed].agent if needed else 'a task'}, which is held back"


def not_set_up(context: Context, failed: SetUpFailed) -> events.GateEnded:
    """Told as a gate that has failed: no other could even begin."""
    return events.GateEnded(
        name="set-up",
        about=events.SET_UP,
        command=context.settings.setup_cmd,
        tree=events.COMBINED,
        ok=False,
        verifies=False,
        code=1,
        output=os.path.relpath(failed.output, context.repository.root),
        remarks=(str(failed),),
    )


def named(gate: Gate) -> str:
    return "the tests" if gate.name == "tests" else gate.name
