"""Who broke the combined tree: a search over sets of tasks that asks as little as it can, and nothing twice.

It is a generator: it yields a set of tasks whose tree is to be gated, is sent whether that passed, and returns the
verdict. A task always comes with what it needs; tasks that need each other (a change that only works as a whole) are
one unit, and are never torn apart. Of tasks that break the tree only together, one is left out: the one with which the
least is lost.
"""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

TaskSet = frozenset[int]
GateQuery = Generator[TaskSet, bool, bool]


@dataclass(frozen=True)
class Blame:
    """`guilty`: each set breaks the tree together and, when a culprit is one of several, not without it. `dropped` are
    the tasks that are left out so that no guilty set is whole, `held` those that need one of them. `green` is what is
    left, and it was seen to pass."""

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
    """`known` is what was gated before: without it, that all of them together failed and the base alone passes.
    `sizes` are those of the tasks' changes."""
    book = GateAnswers(dict(known or {}) | {frozenset(order): False, frozenset(): True})
    before, most = len(book.answers), question_limit(len(order))
    units = order_units(order, needs)
    above = {unit: needs_closure(unit, needs) & frozenset(order) for unit in units}
    losses = [Loss(unit, union_of(other for other in units if unit <= above[other]), sizes or {}) for unit in units]
    left, conflicts, dropped = list(units), list[TaskSet](), frozenset[int]()
    while left and not (yield from book.passes(union_of(above[unit] for unit in left))):
        culprits = yield from find_smallest_failure(left, above, book)
        if len(book.answers) - before < most:
            conflicts.append(union_of(culprits))
        else:
            # It takes too long to find the least: all of these are left out.
            conflicts += culprits
        picked = choose_dropped_units(losses, conflicts)
        dropped = union_of(loss.unit for loss in picked)
        left = [unit for unit in units if not above[unit] & dropped]
    green = union_of(above[unit] for unit in left)
    held = frozenset(order) - green - dropped
    return Blame(green, tuple(conflicts), dropped, held, len(book.answers) - before)


def question_limit(tasks: int) -> int:
    """How many trees are gated before the search takes the short way."""
    return 3 * tasks + 20


@dataclass(frozen=True)
class Loss:
    """What is lost with a unit: itself, and all that needs it."""

    unit: TaskSet
    tasks: TaskSet
    sizes: Mapping[int, int] = field(repr=False)

    @property
    def size(self) -> int:
        return sum(self.sizes.get(task, 0) for task in self.tasks)


def choose_dropped_units(losses: Sequence[Loss], conflicts: Iterable[TaskSet]) -> list[Loss]:
    """Units without which none of the conflicts is whole: few tasks, then small ones, then the last. Greedy, because
    the best choice could take for ever."""
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
    """A smallest set of units that fails. Each is the last one that was missing for the failure of all before it."""
    found: list[TaskSet] = []
    candidates = list(units)
    while True:
        sure = union_of(above[unit] for unit in found)
        if found and not (yield from book.passes(sure)):
            return found
        # The shortest beginning that fails together with those that are found already.
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
    """The units, each after all that it needs, else as they came."""
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
