"""Work out anew what tasks need that have not begun: from the imports of their files, and after tasks were given up."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestra.division.imports import ModuleIndex, Source
from orchestra.model import Task, needs_by_task
from orchestra.plan.task_order import find_path

Needs = Mapping[int, Sequence[int]]


def rebuild_needs(
    tasks: Sequence[Task], unbegun: Collection[int], abandoned: Collection[int], sources: Mapping[str, Source]
) -> dict[int, tuple[int, ...]]:
    """Return the needs of the tasks whose needs change.

    A need of an abandoned task becomes the needs of that task. A task needs each other one whose files its own files
    import, unless that would be a circle; of two that import each other, the one with the higher number waits.
    """
    needs: dict[int, tuple[int, ...]] = needs_by_task(tasks)
    before = dict(needs)
    imported = imported_tasks(tasks, sources)
    for task in sorted(unbegun, reverse=True):
        needs[task] = tuple(dict.fromkeys(bypass_abandoned(needs, task, abandoned)))
        for other in sorted(imported[task]):
            if other not in abandoned and other not in needs[task] and not find_path(needs, other, task):
                needs[task] = (*needs[task], other)
    return {task: needs[task] for task in sorted(unbegun) if needs[task] != before[task]}


def bypass_abandoned(needs: Needs, task: int, abandoned: Collection[int]) -> Iterable[int]:
    for need in needs[task]:
        if need in abandoned:
            yield from bypass_abandoned(needs, need, abandoned)
        else:
            yield need


def imported_tasks(tasks: Sequence[Task], sources: Mapping[str, Source]) -> dict[int, set[int]]:
    """Return for each task the others whose files its files import."""
    owners: dict[str, list[int]] = {}
    for task in tasks:
        for path in task.paths:
            owners.setdefault(path, []).append(task.id)
    modules = ModuleIndex(owners)

    def owners_of_imports(path: str) -> Iterable[int]:
        for name in sources[path].imports if path in sources else ():
            for meant in modules.resolve(name, path):
                yield from owners[meant]

    return {task.id: {owner for path in task.paths for owner in owners_of_imports(path)} - {task.id} for task in tasks}
