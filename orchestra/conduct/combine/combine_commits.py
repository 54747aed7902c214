"""Combine the tasks' commits, one on top of the other, in the object database."""

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
    """One linear commit per task on top of a base.

    Tasks that conflict are listed with the files; tasks that need them are left out too.
    """

    head: str
    commits: dict[int, str] = field(default_factory=dict)
    conflicts: dict[int, str] = field(default_factory=dict)
    excluded: dict[int, str] = field(default_factory=dict)


async def combine_commits(run: Run, base: str, results: Sequence[TaskResult]) -> CombinedCommits:
    """Combine results in the given order, dependencies first.

    Changes of separate files are applied together in one step; only overlapping ones are merged one by one.
    """
    made, ground, touched = CombinedCommits(base), CombinedPaths(), dict[str, str]()
    free: list[TaskResult] = []
    changes = await read_layers(
        run.context.repository.git, [(one.commit, parent_commit(run.context, one)) for one in results]
    )
    for result in results:
        task, record = result.task, run.state.report.tasks[result.task.id]
        if missing := [need for need in task.needs if need in made.conflicts | made.excluded]:
            made.excluded[task.id] = f"it needs {run.state.report.tasks[missing[0]].agent}, which is left out"
            continue
        layer = changes[result.commit]
        if parent_commit(run.context, result) == base and ground.can_apply(layer):
            free.append(result)
        else:
            await apply_result_layers(run, made, free, changes, touched)
            free.clear()
            old_head = made.head
            if not await merge_result(run, made, result, touched):
                continue
            # A merge follows renamed files: its changes may be in other paths.
            layer = (await read_layers(run.context.repository.git, [(made.head, old_head)]))[made.head]
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
    if results and parent_commit(run.context, results[0]) == combined.head:  # its own commit is already in place
        combined.head = combined.commits[results[0].task.id] = results[0].commit
        results = results[1:]
    if not results:
        return
    wanted = [(changes[one.commit], commit_message(run.context, one.task)) for one in results]
    try:
        commits = await apply_layers(run.context.repository.git, combined.head, wanted)
    except GitFailed:  # some distributions package git without what this needs
        for one in results:
            await merge_result(run, combined, one, touched)
        return
    combined.commits |= zip((one.task.id for one in results), commits, strict=True)
    combined.head = commits[-1]


async def merge_result(run: Run, combined: CombinedCommits, result: TaskResult, touched: Mapping[str, str]) -> bool:
    """Merge one result and return whether it fits. `touched`: who has changed each file before."""
    task, message = result.task, commit_message(run.context, result.task)
    head, merged = await combine_commit(
        run.services.trees, combined.head, parent_commit(run.context, result), result.commit, message
    )
    if merged.tree:
        combined.head = combined.commits[task.id] = head
    else:
        others = ", ".join(sorted({touched[path] for path in merged.conflicts if path in touched})) or "the others"
        combined.conflicts[task.id] = f"its change of {', '.join(merged.conflicts)} conflicts with that of {others}"
    return bool(merged.tree)
