"""The order in which tasks begin and are combined."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from orchestra.model import Task, needs_by_task

RISK_ORDER = {"low": 0, "": 1, "normal": 1, "high": 2}
K = TypeVar("K", int, str)
Rank = tuple[int, int, int]


def rank_tasks(tasks: Sequence[Task]) -> dict[int, Rank]:
    """Rank tasks that may begin, the smallest rank first: by priority, then by the longest chain behind them."""
    needs = needs_by_task(tasks)
    depth = dependency_depths(needs)
    own = {task.id: max(task.tokens, 1) for task in tasks}
    way = dict(own)
    for task in sorted(tasks, key=lambda task: depth[task.id], reverse=True):
        for needed in needs[task.id]:
            way[needed] = max(way[needed], own[needed] + way[task.id])
    return {task.id: (-task.priority, -way[task.id], task.id) for task in tasks}


def order_tasks(tasks: Sequence[Task]) -> list[Task]:
    """Order tasks for combination: dependencies first, then the least risk, as later ones are left out more often."""
    depth = dependency_depths(needs_by_task(tasks))
    return sorted(tasks, key=lambda task: (depth[task.id], RISK_ORDER.get(task.risk, 1), task.id))


def dependency_depths(needs: Mapping[K, Sequence[K]]) -> dict[K, int]:
    """Longest dependency chain before each task."""
    needed_by: dict[K, list[K]] = {task: [] for task in needs}
    missing = {task: len(set(needed)) for task, needed in needs.items()}
    for task, needed in needs.items():
        for need in set(needed) & needs.keys():
            needed_by[need].append(task)
    found: dict[K, int] = {}
    level = [task for task in needs if not missing[task]]
    while level:
        found |= {task: 1 + max((found[need] for need in needs[task]), default=-1) for task in level}
        freed = [each for task in level for each in needed_by[task]]
        for task in freed:
            missing[task] -= 1
        level = [task for task in dict.fromkeys(freed) if not missing[task]]
    return found | dict.fromkeys(needs.keys() - found.keys(), len(needs))  # a cycle, which no checked plan has


def find_path(needs: Mapping[int, Sequence[int]], start: int, goal: int) -> list[int]:
    """Return the shortest chain of needs from one task to another, both included; empty if there is none."""
    came_from, level = {start: start}, [start]
    while level and goal not in came_from:
        steps = {need: task for task in reversed(level) for need in needs.get(task, ()) if need not in came_from}
        came_from |= steps
        level = list(steps)
    path = [goal] if goal in came_from else []
    while path and path[0] != start:
        path.insert(0, came_from[path[0]])
    return path
