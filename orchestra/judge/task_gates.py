"""Which gate binds where: on a task's own worktree, or only on the tree that holds what all of them did."""

from collections.abc import Collection, Mapping, Sequence

from orchestra.judge.blame import needs_closure
from orchestra.model import Gate, Task

# What looks at one file at a time can be said of a single worktree at any time.
BY_FILE = ("syntax", "lint")


def gates_for_task(
    task: Task,
    tasks: Sequence[Task],
    gates: Sequence[Gate],
    needs: Mapping[int, Collection[int]],
    bound: Collection[str] = (),
) -> list[Gate]:
    """The gates that the task's own worktree can decide. All others bind on the combined tree only, but for those that
    its role is `bound` by.

    Tests, types and commands look at the whole program: they can fail in one worktree only because a sibling's half of
    the same change is in another one.
    """
    whole = is_self_contained(task, tasks, needs)
    return [gate for gate in gates if whole or gate.kind in BY_FILE or gate.name in bound]


def is_self_contained(task: Task, tasks: Sequence[Task], needs: Mapping[int, Collection[int]]) -> bool:
    """Whether no task beside this one works on the same requirement. What no requirement is named for may be
    anybody's share of the change."""
    others = (other for other in tasks if other.id != task.id and may_share_requirement(task, other))
    return not any(can_run_beside(task.id, other.id, needs) for other in others)


def can_run_beside(one: int, other: int, needs: Mapping[int, Collection[int]]) -> bool:
    """Whether neither waits for the other."""
    return other not in needs_closure({one}, needs) and one not in needs_closure({other}, needs)


def may_share_requirement(one: Task, other: Task) -> bool:
    return not (one.requirements and other.requirements and set(one.requirements).isdisjoint(other.requirements))
