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
    """Whether no other task works on the same requirement.

    Work without a named requirement may be part of any task's change.
    """
    others = (other for other in tasks if other.id != task.id and may_share_requirement(task, other))
    return not any(can_run_beside(task.id, other.id, needs) for other in others)


def can_run_beside(one: int, other: int, needs: Mapping[int, Collection[int]]) -> bool:
    """Whether two tasks may run at the same time, as neither needs the other."""
    return other not in needs_closure({one}, needs) and one not in needs_closure({other}, needs)


def may_share_requirement(one: Task, other: Task) -> bool:
    return not (one.requirements and other.requirements and set(one.requirements).isdisjoint(other.requirements))
