"""A plan cut into shards, each for a job of its own: its tasks, their base, its share of the money and the rate."""

import dataclasses
import hashlib
import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestra.errors import PlanError, UsageError
from orchestra.model import Plan

MOST_SHARDS = 256  # as many jobs as a matrix of GitHub has
CENT = 100


@dataclass(frozen=True)
class Shard:
    """The tasks of one job, their estimated tokens, and its share of the run's money and rate. 0: no limit."""

    tasks: tuple[str, ...] = ()
    tokens: int = 0
    budget: float = 0.0
    rpm: int = 0


@dataclass(frozen=True)
class Shards:
    """The table `[shards]` of a plan's file. `digest` is that of the tasks and of this table."""

    base: str = ""
    digest: str = ""
    budget: float = 0.0
    shard: tuple[Shard, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.shard)

    @property
    def task_ids(self) -> list[str]:
        return [task for shard in self.shard for task in shard.tasks]


NOT_CUT = Shards()


@dataclass(frozen=True)
class ShardNumber:
    """One shard of a plan: the first of four is 1/4."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard_number(text: str) -> ShardNumber:
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= MOST_SHARDS):
        raise UsageError(f"--shard must be I/N, such as 1/4 (at most {MOST_SHARDS}), or auto, not {text!r}.")
    return ShardNumber(int(number), int(of))


def pack_shards(components: Iterable[Sequence[str]], tokens: Mapping[str, int], many: int) -> list[Shard]:
    """Give each group of tasks, the heaviest first, to the lightest shard."""
    loads = [(0, number) for number in range(many)]
    tasks: list[list[str]] = [[] for _ in range(many)]
    for component in sorted(components, key=lambda each: (-group_weight(each, tokens), each)):
        load, number = heapq.heappop(loads)
        tasks[number] += component
        heapq.heappush(loads, (load + group_weight(component, tokens), number))
    return [Shard(tuple(ids), group_weight(ids, tokens)) for ids in tasks]


def group_weight(ids: Iterable[str], tokens: Mapping[str, int]) -> int:
    return sum(tokens[id] for id in ids)


def enough_shards(components: Sequence[Sequence[str]], tokens: Mapping[str, int], many: int) -> int:
    """Return the smallest number of shards with which the largest is as small as with `many`."""

    def largest(number: int) -> int:
        return max(shard.tokens for shard in pack_shards(components, tokens, number))

    least, low, high = largest(many), 1, many
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if largest(middle) <= least else (middle + 1, high)
    return low


def group_tasks(plan: Plan) -> list[tuple[str, ...]]:
    """Group the tasks that must stay together: by needs, a common requirement or file, and strongly coupled files."""
    parents = {task.id: task.id for task in plan.tasks}

    def find_root(task: int) -> int:
        while parents[task] != task:
            parents[task] = task = parents[parents[task]]
        return task

    for one, other in sorted(linked_tasks(plan)):
        parents[max(find_root(one), find_root(other))] = min(find_root(one), find_root(other))
    groups: dict[int, list[str]] = {}
    for task in plan.tasks:
        groups.setdefault(find_root(task.id), []).append(task.name)
    return [tuple(names) for names in groups.values()]


def linked_tasks(plan: Plan) -> Iterator[tuple[int, int]]:
    first: dict[tuple[str, str], int] = {}
    for task in plan.tasks:
        yield from ((task.id, need) for need in plan.needs[task.id])
        common = [("file", path) for path in task.paths] + [("requirement", name) for name in task.requirements]
        yield from ((task.id, first.setdefault(key, task.id)) for key in common)
    for link in plan.basis.apart:
        yield plan.owners[link.one], plan.owners[link.other]


def share_limits(shards: Sequence[Shard], budget: float, rpm: int) -> list[Shard]:
    """Share the money by weight, rounded down to cents, and the rate evenly among those that have tasks."""
    busy, total = sum(bool(shard.tasks) for shard in shards), sum(shard.tokens for shard in shards) or 1
    if rpm and rpm < busy:
        raise PlanError(f"{busy} shards cannot share --rpm {rpm}: make at most {rpm} of them.")
    result = []
    for shard in shards:
        dollars = math.floor(round(budget * CENT * shard.tokens / total, 6)) / CENT if shard.tasks else 0.0
        if budget and shard.tasks and not dollars:
            raise PlanError(f"--budget {budget:g} leaves less than a cent for a shard: make fewer.")
        result.append(dataclasses.replace(shard, budget=dollars, rpm=rpm // busy if shard.tasks and rpm else 0))
    return result


def digest_shards(tasks: Sequence[object], goal: str, prd: str, shards: Shards) -> str:
    """Return the digest of what a shard does: the tasks, all that they are told, and the table without its digest."""
    table = dataclasses.asdict(dataclasses.replace(shards, digest=""))
    record = {"goal": goal, "prd": prd, "tasks": tasks, "shards": table}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def describe_groups(groups: Sequence[Sequence[str]], tokens: Mapping[str, int], many: int) -> str:
    """Tell how many shards pay off, if fewer than asked for."""
    enough, total = enough_shards(groups, tokens, many), sum(map(len, groups))
    if enough == many:
        return ""
    heaviest = max(groups, key=lambda group: group_weight(group, tokens))
    largest = max(shard.tokens for shard in pack_shards(groups, tokens, many))
    if len(groups) <= enough and total <= enough:
        why = "There is 1 task" if total == 1 else f"There are only {total:,} tasks"
    elif len(heaviest) > 1 and group_weight(heaviest, tokens) == largest:
        why = f"{len(heaviest):,} of {total:,} tasks hang together"
    else:
        why = f"More than {enough} would not be faster"
    return f"{why}: {'1 shard is' if enough == 1 else f'{enough} shards are'} enough."
