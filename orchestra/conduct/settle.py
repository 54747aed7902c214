"""Find the combination that passes: all tasks together, or without the smallest set of them that breaks it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.conduct.attempt import Result
from orchestra.conduct.gating import Checked, Gating
from orchestra.conduct.run import Run
from orchestra.conduct.stacking import Stack, put_together
from orchestra.errors import SetUpFailed
from orchestra.judge.blame import Blame, Tasks, search
from orchestra.model import Gate


@dataclass(frozen=True)
class Guilty:
    """A result that broke the combination, the sentence that says how, and what its next attempt should know of it."""

    result: Result
    why: str
    lesson: Mapping[str, Any] = field(default_factory=dict)


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
        run.emit("gate_ended", **not_set_up(run, failed))
        return Settled(stacked.head, everyone, f"{failed}, so that nothing could check it")
    if checked.ok:
        return Settled(stacked.head, everyone, guilty=misfits)
    blame = await find_guilty(run, gating, ground.head, mine)
    run.emit("blamed", green=sorted(blame.green), guilty=[sorted(each) for each in blame.guilty], asked=blame.asked)
    why = {task: guilt(run, task, each, checked) for each in blame.guilty for task in each}
    guilty = (*(Guilty(one, why[one.task.id], checked.lesson) for one in mine if one.task.id in why), *misfits)
    if not (blame.green or ground.tasks):
        # Nothing good can be taken out of it: all of it is left for the user to look at.
        bad = f"{' and '.join(named(one.gate) for one in checked.failed)} failed on it"
        return Settled(stacked.head, everyone, bad, guilty)
    for task, reason in (why | dict.fromkeys(blame.held, "it needs a task that is held back")).items():
        hold(run, task, reason)
    green = await put_together(run, ground.head, [one for one in mine if one.task.id in blame.green])
    if green.commits:
        tell(run, green)
        # It was gated in the search, and what was said of it is now said of the result.
        await gating.check(green.head, "combined")
    return Settled(green.head, ground.tasks | blame.green, guilty=guilty)


async def find_guilty(run: Run, gating: Gating, ground: str, results: Sequence[Result]) -> Blame:
    """Ask about sets of tasks until it is known which of them break the combination."""
    asking = search([one.task.id for one in results], {one.task.id: one.task.needs for one in results})
    answer = None
    while True:
        try:
            wanted = asking.send(answer) if answer is not None else next(asking)
        except StopIteration as known:
            blame: Blame = known.value
            return blame
        some = await put_together(run, ground, [one for one in results if one.task.id in wanted])
        label = "without-" + "-".join(str(one.task.id) for one in results if one.task.id not in wanted)
        # A task that does not even fit without another one says nothing good of the two apart.
        answer = not some.misfits and (await gating.check(some.head, label[:60])).ok


def tell(run: Run, stacked: Stack) -> None:
    for task, commit in stacked.commits.items():
        run.emit("task_integrated", task, run.report.tasks[task].attempts, commit=commit)
    run.emit("combined", commit=stacked.head)


def hold(run: Run, task: int, reason: str) -> None:
    run.emit("task_held", task, run.report.tasks[task].attempts, reason=reason)


def guilt(run: Run, task: int, together: Tasks, checked: Checked) -> str:
    others = ", ".join(run.report.tasks[other].agent for other in sorted(together - {task}))
    return f"together with {others} it breaks: {checked.sentence}" if others else f"it breaks: {checked.sentence}"


def not_set_up(run: Run, failed: SetUpFailed) -> dict[str, Any]:
    """Told as a gate that has failed: no other could even begin."""
    return {
        "name": "set-up", "about": "setup", "command": run.settings.setup_cmd, "tree": "combined", "ok": False,
        "verifies": False, "code": 1, "timed_out": False, "seconds": 0.0,
        "output": os.path.relpath(failed.output, run.repository.root), "remarks": [str(failed)],
    }  # fmt: skip


def named(gate: Gate) -> str:
    return "the tests" if gate.name == "tests" else gate.name
