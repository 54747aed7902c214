"""Who broke the combined tree: a search over sets of tasks that asks as little as it can, and nothing twice.

It is a generator: it yields a set of tasks whose tree is to be gated, is sent whether that passed, and returns the
verdict. A task always comes with what it needs; tasks that need each other (a change that only works as a whole) are
one unit, and are never torn apart.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass

Tasks = frozenset[int]
Asking = Generator[Tasks, bool, bool]


@dataclass(frozen=True)
class Blame:
    """`guilty`: each set breaks the tree together and, when a culprit is one of several, not without it. `held` need
    a guilty task. `green` is what is left, and it was seen to pass."""

    green: Tasks
    guilty: tuple[Tasks, ...]
    held: Tasks
    asked: int


def search(
    order: Sequence[int], needs: Mapping[int, Collection[int]], known: Mapping[Tasks, bool] | None = None
) -> Generator[Tasks, bool, Blame]:
    """`known` is what was gated before: without it, that all of them together failed and the base alone passes."""
    book = Book(dict(known or {}) | {frozenset(order): False, frozenset(): True})
    before = len(book.answers)
    units = in_order(order, needs)
    above = {unit: closure(unit, needs) & frozenset(order) for unit in units}
    left, guilty = list(units), []
    while left and not (yield from book.passes(union(above[unit] for unit in left))):
        culprits = yield from culprits_among(left, above, book)
        guilty.append(union(culprits))
        out = union(guilty)
        left = [unit for unit in left if not above[unit] & out]
    green = union(above[unit] for unit in left)
    held = frozenset(order) - green - union(guilty)
    return Blame(green, tuple(guilty), held, len(book.answers) - before)


def culprits_among(
    units: Sequence[Tasks], above: Mapping[Tasks, Tasks], book: "Book"
) -> Generator[Tasks, bool, list[Tasks]]:
    """A smallest set of units that fails. Each is the last one that was missing for the failure of all before it."""
    found: list[Tasks] = []
    candidates = list(units)
    while True:
        sure = union(above[unit] for unit in found)
        if found and not (yield from book.passes(sure)):
            return found
        # The shortest beginning that fails together with those that are found already.
        good, bad = 0, len(candidates)
        while bad - good > 1:
            middle = (good + bad) // 2
            tree = sure | union(above[unit] for unit in candidates[:middle])
            good, bad = (middle, bad) if (yield from book.passes(tree)) else (good, middle)
        found.append(candidates[bad - 1])
        candidates = candidates[: bad - 1]
        if not candidates:
            return found


class Book:
    """The answers so far."""

    def __init__(self, answers: dict[Tasks, bool]) -> None:
        self.answers = answers

    def passes(self, tree: Tasks) -> Asking:
        if tree not in self.answers:
            self.answers[tree] = yield tree
        return self.answers[tree]


def in_order(order: Sequence[int], needs: Mapping[int, Collection[int]]) -> list[Tasks]:
    """The units, each after all that it needs, else as they came."""
    above = {task: closure({task}, needs) for task in order}
    units = dict.fromkeys(
        frozenset(other for other in above[task] & above.keys() if task in above[other]) for task in order
    )
    waiting, placed, done = list(units), list[Tasks](), set[int]()
    while waiting:
        free = next(unit for unit in waiting if closure(unit, needs) & above.keys() <= done | unit)
        waiting.remove(free)
        placed.append(free)
        done |= free
    return placed


def closure(tasks: Collection[int], needs: Mapping[int, Collection[int]]) -> Tasks:
    found, new = frozenset(tasks), frozenset(tasks)
    while new:
        new = frozenset(need for task in new for need in needs.get(task, ())) - found
        found |= new
    return found


def union(sets: "Collection[Tasks] | Generator[Tasks, None, None]") -> Tasks:
    return frozenset().union(*sets)
