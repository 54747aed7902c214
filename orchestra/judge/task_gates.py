"""Decide which gates count on a task's own worktree, and which only on the combined tree."""

from collections.abc import Collection, Mapping, Sequence

from orchestra.judge.blame import needs_closure
from orchestra.model import Gate, Task

# A gate that checks single files can be applied to any worktree.
BY_FILE = ("syntax", "lint")


def gates_for_task(
    task: Task,
    tasks: Sequence[Task],
    gates: Sequence[Gate],
    needs: Mapping[int, Collection[int]],
    bound: Collection[str] = (),
) -> list[Gate]:
    """Return the gates that the task's own worktree can decide.

    All others count on the combined tree only, except those that its role is `bound` by.
    Tests, types and commands check the whole program: in one worktree they can fail only because a sibling's half of
    the same change is in another one.
    """
    whole = is_self_contained(task, tasks, needs)
    return [gate for gate in gates if whole or gate.kind in BY_FILE or gate.name in bound]


def is_self_contained(task: Task, tasks: Sequence[Task], needs: Mapping[int, Collection[int]]) -> bool:
    """Whether no task that may run at the same time, as neither needs the other, works on the same requirement. Work
    without a named requirement may be part of any task's change."""

    def may_share_requirement(other: Task) -> bool:
        return not (task.requirements and other.requirements) or bool({*task.requirements} & {*other.requirements})

    def is_ordered(other: Task) -> bool:
        return other.id in needs_closure({task.id}, needs) or task.id in needs_closure({other.id}, needs)

    return not any(each.id != task.id and may_share_requirement(each) and not is_ordered(each) for each in tasks)
