"""Find the tasks that broke a combined tree: a search over sets of tasks with few questions, none asked twice.

It is a generator: it yields a set of tasks whose tree is to be gated, receives whether that passed, and returns the
verdict. A task always comes with its dependencies; tasks that need each other are one unit and never separated. Of
tasks that break the tree only together, the one is left out with which the least is lost.
"""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

TaskSet = frozenset[int]
GateQuery = Generator[TaskSet, bool, bool]


@dataclass(frozen=True)
class Blame:
    """`guilty`: each set breaks the tree together and, if a culprit is one of several, not without it.

    `dropped`: left out so that no guilty set is whole. `blocked`: need one of these. `green`: the rest, which passed.
    """

    green: TaskSet
    guilty: tuple[TaskSet, ...]
    dropped: TaskSet
    blocked: TaskSet
    questions: int


def find_culprits(
    order: Sequence[int],
    needs: Mapping[int, Collection[int]],
    known: Mapping[TaskSet, bool] | None = None,
    sizes: Mapping[int, int] | None = None,
) -> Generator[TaskSet, bool, Blame]:
    """Find the guilty sets. `known`: what was gated before; by default, that all tasks together fail and the base alone
    passes. `sizes`: those of the tasks' changes."""
    book = GateAnswers(dict(known or {}) | {frozenset(order): False, frozenset(): True})
    asked_before, most = len(book.answers), question_limit(len(order))
    units = order_units(order, needs)
    above = {unit: needs_closure(unit, needs) & frozenset(order) for unit in units}
    losses = [Loss(unit, union_of(other for other in units if unit <= above[other]), sizes or {}) for unit in units]
    left, conflicts, dropped = list(units), list[TaskSet](), frozenset[int]()
    while left and not (yield from book.passes(union_of(above[unit] for unit in left))):
        culprits = yield from find_smallest_failure(left, above, book)
        if len(book.answers) - asked_before < most:
            conflicts.append(union_of(culprits))
        else:
            # Finding a smaller set takes too long: leave out all of these.
            conflicts += culprits
        picked = choose_dropped_units(losses, conflicts)
        dropped = union_of(loss.unit for loss in picked)
        left = [unit for unit in units if not above[unit] & dropped]
    green = union_of(above[unit] for unit in left)
    held = frozenset(order) - green - dropped
    return Blame(green, tuple(conflicts), dropped, held, len(book.answers) - asked_before)


def question_limit(tasks: int) -> int:
    """Return how many trees are gated before the search stops being exact."""
    return 3 * tasks + 20


@dataclass(frozen=True)
class Loss:
    """What is lost with a unit: itself, and everything that needs it."""

    unit: TaskSet
    tasks: TaskSet
    sizes: Mapping[int, int] = field(repr=False)

    @property
    def size(self) -> int:
        return sum(self.sizes.get(task, 0) for task in self.tasks)


def choose_dropped_units(losses: Sequence[Loss], conflicts: Iterable[TaskSet]) -> list[Loss]:
    """Choose units so that no guilty set stays whole: few tasks, then small ones, then late ones. Greedy, because the
    best choice could take forever."""
    conflicts = list(conflicts)
    unsolved, picked = conflicts, list[Loss]()
    latest = {loss.unit: -at for at, loss in enumerate(losses)}

    def cost_per_conflict(loss: Loss) -> tuple[float, float, int]:
        solved = sum(bool(loss.tasks & conflict) for conflict in unsolved)
        return len(loss.tasks) / solved, loss.size / solved, latest[loss.unit]

    while unsolved:
        useful = [loss for loss in losses if any(loss.unit & conflict for conflict in unsolved)]
        picked.append(min(useful, key=cost_per_conflict))
        unsolved = [conflict for conflict in unsolved if not picked[-1].tasks & conflict]
    for loss in list(picked):
        others = union_of(other.tasks for other in picked if other is not loss)
        if all(others & conflict for conflict in conflicts):
            picked.remove(loss)
    return picked


def find_smallest_failure(
    units: Sequence[TaskSet], above: Mapping[TaskSet, TaskSet], book: "GateAnswers"
) -> Generator[TaskSet, bool, list[TaskSet]]:
    """Find a smallest set of units that fails: each is the last one without which the rest passes."""
    found: list[TaskSet] = []
    candidates = list(units)
    while True:
        sure = union_of(above[unit] for unit in found)
        if found and not (yield from book.passes(sure)):
            return found
        # The shortest prefix that fails together with the units found so far.
        good, bad = 0, len(candidates)
        while bad - good > 1:
            middle = (good + bad) // 2
            tree = sure | union_of(above[unit] for unit in candidates[:middle])
            good, bad = (middle, bad) if (yield from book.passes(tree)) else (good, middle)
        found.append(candidates[bad - 1])
        candidates = candidates[: bad - 1]
        if not candidates:
            return found


class GateAnswers:
    """The answers so far."""

    def __init__(self, answers: dict[TaskSet, bool]) -> None:
        self.answers = answers

    def passes(self, tree: TaskSet) -> GateQuery:
        if tree not in self.answers:
            self.answers[tree] = yield tree
        return self.answers[tree]


def order_units(order: Sequence[int], needs: Mapping[int, Collection[int]]) -> list[TaskSet]:
    """Order the units: dependencies first, otherwise as given."""
    above = {task: needs_closure({task}, needs) for task in order}
    units = dict.fromkeys(
        frozenset(other for other in above[task] & above.keys() if task in above[other]) for task in order
    )
    waiting, placed, done = list(units), list[TaskSet](), set[int]()
    while waiting:
        free = next(unit for unit in waiting if needs_closure(unit, needs) & above.keys() <= done | unit)
        waiting.remove(free)
        placed.append(free)
        done |= free
    return placed


def needs_closure(tasks: Collection[int], needs: Mapping[int, Collection[int]]) -> TaskSet:
    found, new = frozenset(tasks), frozenset(tasks)
    while new:
        new = frozenset(need for task in new for need in needs.get(task, ())) - found
        found |= new
    return found


def union_of(sets: Iterable[TaskSet]) -> TaskSet:
    return frozenset().union(*sets)
