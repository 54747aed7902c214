"""The tasks' commits put together, one on top of the other, in the object database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.names import commit_message
from orchestra.conduct.core.task_result import TaskResult
from orchestra.errors import GitFailed
from orchestra.workspace.layers import CombinedPaths, Layer, apply_layers, read_layers
from orchestra.workspace.merge import combine_commit


@dataclass
class CombinedCommits:
    """One linear commit per task on top of a base. What does not fit on the others is named with the files, and what
    needs such a one is left out with it."""

    head: str
    commits: dict[int, str] = field(default_factory=dict)
    conflicts: dict[int, str] = field(default_factory=dict)
    excluded: dict[int, str] = field(default_factory=dict)


async def combine_commits(run: Run, base: str, results: Sequence[TaskResult]) -> CombinedCommits:
    """In the given order, in which what is needed comes before what needs it. What treads on nothing before it is laid
    over that, many in one go; only the rest is merged, one by one."""
    made, ground, touched = CombinedCommits(base), CombinedPaths(), dict[str, str]()
    free: list[TaskResult] = []
    changes = await read_layers(
        run.context.repository.git, [(one.commit, parent_commit(run.context, one)) for one in results]
    )
    for result in results:
        task, record = result.task, run.state.report.tasks[result.task.id]
        if missing := [need for need in task.needs if need in made.conflicts | made.excluded]:
            made.excluded[task.id] = f"it needs {run.state.report.tasks[missing[0]].agent}, which is held back"
            continue
        layer = changes[result.commit]
        if parent_commit(run.context, result) == base and ground.can_apply(layer):
            free.append(result)
        else:
            await apply_result_layers(run, made, free, changes, touched)
            free.clear()
            before = made.head
            if not await merge_result(run, made, result, touched):
                continue
            # A merge follows files that were moved: what it has changed may lie elsewhere.
            layer = (await read_layers(run.context.repository.git, [(made.head, before)]))[made.head]
        ground.add(layer)
        touched |= dict.fromkeys(record.changed, record.agent)
    await apply_result_layers(run, made, free, changes, touched)
    return made


def parent_commit(context: Context, result: TaskResult) -> str:
    return result.parent or context.repository.base


async def apply_result_layers(
    run: Run,
    combined: CombinedCommits,
    results: Sequence[TaskResult],
    changes: Mapping[str, Layer],
    touched: Mapping[str, str],
) -> None:
    if results and parent_commit(run.context, results[0]) == combined.head:  # its own commit stands where it should
        combined.head = combined.commits[results[0].task.id] = results[0].commit
        results = results[1:]
    if not results:
        return
    wanted = [(changes[one.commit], commit_message(run.context, one.task)) for one in results]
    try:
        commits = await apply_layers(run.context.repository.git, combined.head, wanted)
    except GitFailed:  # some distributions leave out what it needs of git
        for one in results:
            await merge_result(run, combined, one, touched)
        return
    combined.commits |= zip((one.task.id for one in results), commits, strict=True)
    combined.head = commits[-1]


async def merge_result(run: Run, combined: CombinedCommits, result: TaskResult, touched: Mapping[str, str]) -> bool:
    """Whether it fits. `touched` tells who has changed a file before."""
    task, message = result.task, commit_message(run.context, result.task)
    head, merged = await combine_commit(
        run.services.trees, combined.head, parent_commit(run.context, result), result.commit, message
    )
    if merged.tree:
        combined.head = combined.commits[task.id] = head
    else:
        others = ", ".join(sorted({touched[path] for path in merged.conflicts if path in touched})) or "the others"
        combined.conflicts[task.id] = f"its change of {', '.join(merged.conflicts)} does not fit on that of {others}"
    return bool(merged.tree)
