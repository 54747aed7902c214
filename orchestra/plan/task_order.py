"""In which order tasks are begun and put together."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from orchestra.model import Task, needs_by_task

RISK_ORDER = {"low": 0, "": 1, "normal": 1, "high": 2}
K = TypeVar("K", int, str)
Rank = tuple[int, int, int]


def rank_tasks(tasks: Sequence[Task]) -> dict[int, Rank]:
    """Who comes first of those that may begin, the smallest first: by priority, then by the longest way to the end."""
    needs = needs_by_task(tasks)
    depth = dependency_depths(needs)
    own = {task.id: max(task.tokens, 1) for task in tasks}
    way = dict(own)
    for task in sorted(tasks, key=lambda task: depth[task.id], reverse=True):
        for needed in needs[task.id]:
            way[needed] = max(way[needed], own[needed] + way[task.id])
    return {task.id: (-task.priority, -way[task.id], task.id) for task in tasks}


def order_tasks(tasks: Sequence[Task]) -> list[Task]:
    """What is needed first, then what risks least: the later ones are those that may have to be left out."""
    depth = dependency_depths(needs_by_task(tasks))
    return sorted(tasks, key=lambda task: (depth[task.id], RISK_ORDER.get(task.risk, 1), task.id))


def dependency_depths(needs: Mapping[K, Sequence[K]]) -> dict[K, int]:
    """How many tasks come before each, in a row."""
    found: dict[K, int] = {}
    while len(found) < len(needs):
        ready = [task for task in needs if task not in found and all(need in found for need in needs[task])]
        if not ready:  # a ring, which no checked plan has
            return found | dict.fromkeys(needs.keys() - found.keys(), len(needs))
        found |= {task: 1 + max((found[need] for need in needs[task]), default=-1) for task in ready}
    return found
