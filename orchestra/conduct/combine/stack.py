"""The tasks' commits put together, one on top of the other, in the object database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.names import commit_message
from orchestra.conduct.core.results import Result
from orchestra.errors import GitFailed
from orchestra.workspace.layers import Ground, Layer, lay, layers
from orchestra.workspace.merge import stack


@dataclass
class Stack:
    """One linear commit per task on top of a base. What does not fit on the others is named with the files, and what
    needs such a one is left out with it."""

    head: str
    commits: dict[int, str] = field(default_factory=dict)
    misfits: dict[int, str] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)


async def put_together(run: Run, base: str, results: Sequence[Result]) -> Stack:
    """In the given order, in which what is needed comes before what needs it. What treads on nothing before it is laid
    over that, many in one go; only the rest is merged, one by one."""
    made, ground, touched = Stack(base), Ground(), dict[str, str]()
    free: list[Result] = []
    changes = await layers(run.context.repository.git, [(one.commit, parent(run.context, one)) for one in results])
    for result in results:
        task, record = result.task, run.state.report.tasks[result.task.id]
        if missing := [need for need in task.needs if need in made.misfits | made.left_out]:
            made.left_out[task.id] = f"it needs {run.state.report.tasks[missing[0]].agent}, which is held back"
            continue
        layer = changes[result.commit]
        if parent(run.context, result) == base and ground.bears(layer):
            free.append(result)
        else:
            await lay_over(run, made, free, changes, touched)
            free.clear()
            before = made.head
            if not await merge_in(run, made, result, touched):
                continue
            # A merge follows files that were moved: what it has changed may lie elsewhere.
            layer = (await layers(run.context.repository.git, [(made.head, before)]))[made.head]
        ground.add(layer)
        touched |= dict.fromkeys(record.changed, record.agent)
    await lay_over(run, made, free, changes, touched)
    return made


def parent(context: Context, result: Result) -> str:
    return result.parent or context.repository.base


async def lay_over(
    run: Run, made: Stack, results: Sequence[Result], changes: Mapping[str, Layer], touched: Mapping[str, str]
) -> None:
    if results and parent(run.context, results[0]) == made.head:  # its own commit stands where it should
        made.head = made.commits[results[0].task.id] = results[0].commit
        results = results[1:]
    if not results:
        return
    wanted = [(changes[one.commit], commit_message(run.context, one.task)) for one in results]
    try:
        commits = await lay(run.context.repository.git, made.head, wanted)
    except GitFailed:  # some distributions leave out what it needs of git
        for one in results:
            await merge_in(run, made, one, touched)
        return
    made.commits |= zip((one.task.id for one in results), commits, strict=True)
    made.head = commits[-1]


async def merge_in(run: Run, made: Stack, result: Result, touched: Mapping[str, str]) -> bool:
    """Whether it fits. `touched` tells who has changed a file before."""
    task, message = result.task, commit_message(run.context, result.task)
    head, merged = await stack(run.services.trees, made.head, parent(run.context, result), result.commit, message)
    if merged.tree:
        made.head = made.commits[task.id] = head
    else:
        others = ", ".join(sorted({touched[path] for path in merged.conflicts if path in touched})) or "the others"
        made.misfits[task.id] = f"its change of {', '.join(merged.conflicts)} does not fit on that of {others}"
    return bool(merged.tree)
