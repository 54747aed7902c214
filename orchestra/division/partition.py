"""Divide files among agents so that what belongs together stays together and everybody gets about as much.

Think of the files as balls, each as heavy as it is long, tied to one another by rubber bands, the stronger the more
they belong together. We want so many heaps of about equal weight, with as little rubber as possible stretched between
heaps. Finding the best is out of reach for any program, but this comes close:

1. Glue (`coarsen_graph`): tie each ball to the one it is bound to most, and treat the two as one; again and again,
   until only a few lumps are left.
2. Deal (`deal_lumps`): from a lump at random grow a heap by what is bound to it most, until it is heavy enough; then
   the next. Try that from several beginnings.
3. Mend (`improve_heaps`): move the lump whose move relaxes most rubber, even if that stretches some, and each only
   once; then take back the moves after the best moment.
4. Unglue one step, mend again, until the balls are single again.
5. Glue anew within the heaps that were found, in another way, and mend and unglue once more.
6. Shake (`shake_heaps`): push a ball and a few that hang on it into another heap, let that heap hand on what it can
   best spare, mend around, and keep the outcome if it stretches no more rubber; hundreds of times. Heaps as full as
   these leave little room for single moves: this finds the exchanges.

Random choices come from a generator with a fixed seed: the same files give the same answer, everywhere.
"""

import heapq
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

SLACK = (11, 10)  # the heaviest heap may weigh 1.1 times the mean
LUMPS_PER_PART = 12
FEWEST_LUMPS = 60
STARTS = 4
ROUNDS = 6
PATIENCE = 20  # moves without a new best moment
MOST_PUSHED = 6  # balls at once
MOST_AGAIN = 6_000  # balls
SEED = 1

Graph = Sequence[Mapping[int, int]]


class Level(NamedTuple):
    """The balls, or the lumps of them: their weights, their bands, and in which lump of the next level each lies."""

    weights: list[int]
    graph: Graph
    inside: list[int]


def partition(weights: Sequence[int], graph: Graph, parts: int, *, roughly: bool = False) -> list[int]:
    """Return the heap of each ball. No heap is empty, and none is heavier than `heap_capacity`."""
    weights = [max(weight, 1) for weight in weights]
    parts = max(min(parts, len(weights)), 1)
    if parts == 1 or parts == len(weights):
        return list(range(len(weights))) if parts > 1 else [0] * len(weights)
    cap = heap_capacity(weights, parts)
    dice = random.Random(SEED)
    # For up to a few hundred balls several attempts are cheap.
    attempts = 1 if roughly else max(1, min(3, 1_500 // len(weights)))
    found = [partition_once(weights, graph, parts, cap, dice) for _ in range(attempts)]
    best = min(found, key=lambda heaps: cut_weight(graph, heaps))
    if roughly:
        return best
    if FEWEST_LUMPS < len(weights) <= MOST_AGAIN:
        # Never worse: whole lumps within a heap are moved while that gains.
        levels = coarsen_graph(weights, graph, parts, cap, dice, best)
        best = uncoarsen_heaps(levels, improve_heaps(levels[-1], heaps_of_lumps(levels, best), parts, cap), parts, cap)
    # Fewer shakes for more balls, for about the same time.
    return shake_heaps(Level(weights, graph, []), best, parts, cap, dice, min(500, 400_000 // len(weights)))


def partition_once(weights: list[int], graph: Graph, parts: int, cap: int, dice: random.Random) -> list[int]:
    levels = coarsen_graph(weights, graph, parts, cap, dice)
    heaps = uncoarsen_heaps(levels, deal_lumps(levels[-1], parts, cap, dice), parts, cap)
    if not all(0 < load <= cap for load in heap_loads(weights, heaps, parts)):
        heaps = improve_heaps(levels[0], pack_greedily(weights, parts), parts, cap)
    return heaps


def uncoarsen_heaps(levels: Sequence[Level], heaps: list[int], parts: int, cap: int) -> list[int]:
    for level in reversed(levels[:-1]):
        heaps = improve_heaps(level, [heaps[lump] for lump in level.inside], parts, cap)
    return heaps


def heaps_of_lumps(levels: Sequence[Level], heaps: Sequence[int]) -> list[int]:
    for level in levels[:-1]:
        of_lump = dict(zip(level.inside, heaps, strict=True))
        heaps = [of_lump[lump] for lump in range(len(of_lump))]
    return list(heaps)


def cut_weight(graph: Graph, heaps: Sequence[int]) -> int:
    return sum(w for n, bands in enumerate(graph) for other, w in bands.items() if heaps[n] != heaps[other]) // 2


def heap_capacity(weights: Sequence[int], parts: int) -> int:
    """Return the greatest weight of a heap: a tenth above the mean, the heaviest ball, or what few balls need."""
    fair = max(sum(weights) * SLACK[0] // (parts * SLACK[1]), max(weights))  # rounded down
    return max(fair, max(heap_loads(weights, pack_greedily(weights, parts), parts)))


def pack_greedily(weights: Sequence[int], parts: int) -> list[int]:
    """Put the heaviest ball first, always into the lightest heap."""
    heaps = [0] * len(weights)
    lightest = [(0, part) for part in range(parts)]
    for n in sorted(range(len(weights)), key=lambda n: (-weights[n], n)):
        load, part = heapq.heappop(lightest)
        heaps[n] = part
        heapq.heappush(lightest, (load + weights[n], part))
    return heaps


def heap_loads(weights: Sequence[int], heaps: Sequence[int], parts: int) -> list[int]:
    found = [0] * parts
    for weight, heap in zip(weights, heaps, strict=True):
        found[heap] += weight
    return found


def coarsen_graph(
    weights: list[int], graph: Graph, parts: int, cap: int, dice: random.Random, heaps: Sequence[int] = ()
) -> list[Level]:
    """Glue balls into lumps. If there are heaps already, only within a heap."""
    levels = [Level(weights, graph, [])]
    enough = max(FEWEST_LUMPS, LUMPS_PER_PART * parts)
    heaviest = max(cap // 4, 1)
    while len(levels[-1].weights) > enough:
        partner = pair_lumps(levels[-1], heaviest, dice, heaps_of_lumps(levels, heaps) if heaps else [])
        coarser, inside = glue_pairs(levels[-1], partner)
        if len(coarser.weights) > 0.95 * len(levels[-1].weights):
            break
        levels[-1] = levels[-1]._replace(inside=inside)
        levels.append(coarser)
    return levels


def pair_lumps(level: Level, heaviest: int, dice: random.Random, heaps: Sequence[int]) -> list[int]:
    """Return each lump's partner: the most strongly tied one for its weight among those still alone; or itself."""
    partner = [-1] * len(level.weights)
    order = list(range(len(level.weights)))
    dice.shuffle(order)
    for n in order:
        if partner[n] >= 0:
            continue
        best, best_score = n, 0.0
        for other, band in level.graph[n].items():
            alike = not heaps or heaps[n] == heaps[other]
            if alike and partner[other] < 0 and level.weights[n] + level.weights[other] <= heaviest:
                score = band / math.sqrt(level.weights[other])
                if score > best_score or (score == best_score and other < best):
                    best, best_score = other, score
        partner[n], partner[best] = best, n
    return partner


def glue_pairs(level: Level, partner: Sequence[int]) -> tuple[Level, list[int]]:
    inside, lumps = [-1] * len(partner), 0
    for n, other in enumerate(partner):
        if inside[n] < 0:
            inside[n] = inside[other] = lumps
            lumps += 1
    weights = heap_loads(level.weights, inside, lumps)
    return Level(weights, contract_graph(level.graph, inside, lumps), []), inside


def contract_graph(graph: Graph, group_of: Sequence[int], groups: int) -> list[dict[int, int]]:
    """Return the bands between groups of balls. A ball of group -1 has none."""
    contracted: list[dict[int, int]] = [{} for _ in range(groups)]
    for n, group in enumerate(group_of):
        if group < 0:
            continue
        mine = contracted[group]
        for other, band in graph[n].items():
            if (there := group_of[other]) != group and there >= 0:
                mine[there] = mine.get(there, 0) + band
    return contracted


def deal_lumps(level: Level, parts: int, cap: int, dice: random.Random) -> list[int]:
    """Take the best of several mended beginnings. Overweight counts before rubber."""
    best: tuple[int, int] | None = None
    chosen: list[int] = []
    for _ in range(STARTS):
        heaps = improve_heaps(level, grow_heaps(level, parts, dice), parts, cap)
        over = sum(max(load - cap, 0) for load in heap_loads(level.weights, heaps, parts))
        if best is None or (over, cut_weight(level.graph, heaps)) < best:
            best, chosen = (over, cut_weight(level.graph, heaps)), heaps
    return chosen


def grow_heaps(level: Level, parts: int, dice: random.Random) -> list[int]:
    heaps = [-1] * len(level.weights)
    left, left_weight = list(range(len(heaps))), sum(level.weights)
    dice.shuffle(left)
    for part in range(parts - 1):
        goal = left_weight / (parts - part)
        left_weight -= grow_heap(level, heaps, part, goal, left, parts - part - 1)
        left = [n for n in left if heaps[n] < 0]
    return [part if part >= 0 else parts - 1 for part in heaps]


def grow_heap(level: Level, heaps: list[int], part: int, goal: float, left: Iterable[int], keep: int) -> int:
    """Grow a heap by what is tied to it most, or by the next lump. `keep` lumps stay for others."""
    free = [n for n in left if heaps[n] < 0]
    pull: dict[int, int] = {}
    queue: list[tuple[int, int]] = []
    following = iter(free)
    load = taken = 0
    while len(free) - taken > keep:
        n = pop_strongest(queue, pull, heaps)
        if n < 0:
            n = next(n for n in following if heaps[n] < 0)
        weight = level.weights[n]
        # The last lump may exceed the limit by half.
        if taken and load + weight / 2 > goal:
            break
        heaps[n], load, taken = part, load + weight, taken + 1
        for other, band in level.graph[n].items():
            if heaps[other] < 0:
                pull[other] = pull.get(other, 0) + band
                heapq.heappush(queue, (-pull[other], other))
    return load


def pop_strongest(queue: list[tuple[int, int]], pull: Mapping[int, int], heaps: Sequence[int]) -> int:
    while queue:
        strength, n = heapq.heappop(queue)
        if heaps[n] < 0 and pull[n] == -strength:
            return n
    return -1


def improve_heaps(level: Level, heaps: Sequence[int], parts: int, cap: int) -> list[int]:
    work = HeapMender(level, heaps, parts, cap)
    work.relieve()
    for _ in range(ROUNDS):
        if not work.run_round():
            break
    return work.heaps


def shake_heaps(level: Level, heaps: Sequence[int], parts: int, cap: int, dice: random.Random, times: int) -> list[int]:
    work = HeapMender(level, heaps, parts, cap)
    for _ in range(times):
        work.shake(dice)
    return work.heaps


class HeapMender:
    """Heaps during mending, with what each lump is tied to in every heap."""

    def __init__(self, level: Level, heaps: Sequence[int], parts: int, cap: int) -> None:
        self.weights, self.graph = level.weights, level.graph
        self.heaps, self.cap = list(heaps), cap
        self.loads = heap_loads(level.weights, heaps, parts)
        self.count = [0] * parts
        for heap in heaps:
            self.count[heap] += 1
        self.bound: list[dict[int, int]] = []
        for bands in self.graph:
            mine: dict[int, int] = {}
            for other, band in bands.items():
                mine[heaps[other]] = mine.get(heaps[other], 0) + band
            self.bound.append(mine)

    def best_move(self, n: int) -> tuple[int, int] | None:
        """Return how much rubber the lump's best move relaxes, and to which heap; None if there is no room."""
        here = self.heaps[n]
        if self.count[here] == 1:
            return None
        room, loads = self.cap - self.weights[n], self.loads
        best, best_band = -1, 0
        for there, band in self.bound[n].items():
            if (band > best_band or (band == best_band and there < best)) and there != here and loads[there] <= room:
                best, best_band = there, band
        return (best_band - self.bound[n].get(here, 0), best) if best >= 0 else None

    def move(self, n: int, there: int) -> None:
        here = self.heaps[n]
        self.heaps[n] = there
        self.loads[here] -= self.weights[n]
        self.loads[there] += self.weights[n]
        self.count[here] -= 1
        self.count[there] += 1
        for other, band in self.graph[n].items():
            bound = self.bound[other]
            bound[here] -= band
            bound[there] = bound.get(there, 0) + band

    def run_round(self) -> bool:
        """Move each lump at most once, the most useful move first. Return whether anything was gained."""
        queue: list[tuple[int, int, int]] = []
        for n in range(len(self.heaps)):
            self.enqueue(queue, n)
        done: set[int] = set()
        log: list[tuple[int, int]] = []
        gained = best = best_at = 0
        while queue and len(log) - best_at < PATIENCE:
            gain, n, there = heapq.heappop(queue)
            if n in done:
                continue
            now = self.best_move(n)
            if now != (-gain, there):
                if now:
                    heapq.heappush(queue, (-now[0], n, now[1]))
                continue
            done.add(n)
            log.append((n, self.heaps[n]))
            self.move(n, there)
            gained -= gain
            if gained > best:
                best, best_at = gained, len(log)
            for other in self.graph[n]:
                if other not in done:
                    self.enqueue(queue, other)
        for n, before in reversed(log[best_at:]):
            self.move(n, before)
        return best > 0

    def enqueue(self, queue: list[tuple[int, int, int]], n: int) -> None:
        bound = self.bound[n]
        if not (len(bound) == 1 and self.heaps[n] in bound) and (move := self.best_move(n)):
            heapq.heappush(queue, (-move[0], n, move[1]))

    def relieve(self) -> None:
        """Take from overweight heaps, and give to empty ones, what costs the least rubber for its weight."""
        for part in range(len(self.loads)):
            if not self.count[part]:
                rich = [n for n, heap in enumerate(self.heaps) if self.count[heap] > 1]
                self.move(min(rich, key=lambda n: (self.bound[n].get(self.heaps[n], 0), n)), part)
            while self.loads[part] > self.cap and self.count[part] > 1:
                moves = [move for n, heap in enumerate(self.heaps) if heap == part and (move := self.cheapest_exit(n))]
                if not moves:
                    break
                _, n, there = min(moves)
                self.move(n, there)

    def cheapest_exit(self, n: int) -> tuple[float, int, int] | None:
        here, weight = self.heaps[n], self.weights[n]
        room = [there for there, load in enumerate(self.loads) if there != here and load + weight <= self.cap]
        if not room:
            return None
        there = max(room, key=lambda there: (self.bound[n].get(there, 0), -self.loads[there]))
        lost = self.bound[n].get(here, 0) - self.bound[n].get(there, 0)
        return lost / weight, n, there

    def shake(self, dice: random.Random) -> None:
        """Shake; never worse: what stretched more rubber than it relaxed is undone."""
        first = dice.randrange(len(self.heaps))
        ways = [heap for heap, band in self.bound[first].items() if band and heap != self.heaps[first]]
        if not ways:
            return
        there = ways[dice.randrange(len(ways))]
        pushed = self.with_closest(first, dice.randrange(MOST_PUSHED))
        before = [(n, self.heaps[n]) for n in pushed]
        gained = sum(self.shift(n, there) for n in pushed)
        for n, to in self.choose_spared(there, set(pushed)):
            before.append((n, there))
            gained += self.shift(n, to)
        if self.loads[there] <= self.cap:
            gained += self.relax_around(before)
        if gained < 0 or self.loads[there] > self.cap:
            for n, heap in reversed(before):
                self.move(n, heap)

    def shift(self, n: int, there: int) -> int:
        """Move a lump, and return how much rubber it relaxes."""
        gain = self.bound[n].get(there, 0) - self.bound[n].get(self.heaps[n], 0)
        self.move(n, there)
        return gain

    def with_closest(self, n: int, many: int) -> list[int]:
        """Return the ball and those in its heap that are tied to it most, but not all of the heap."""
        here = self.heaps[n]
        near = [(-band, other) for other, band in self.graph[n].items() if self.heaps[other] == here]
        return [n, *(other for _, other in sorted(near)[:many])][: self.count[here] - 1]

    def choose_spared(self, heap: int, pushed: Collection[int]) -> Iterator[tuple[int, int]]:
        """Choose what an overweight heap hands on, and to which: what costs the least rubber for its weight."""
        if self.loads[heap] <= self.cap:
            return
        inside = [n for n, where in enumerate(self.heaps) if where == heap and n not in pushed]
        for _, n, there in sorted(way for n in inside if (way := self.cheapest_exit(n))):
            if self.loads[there] + self.weights[n] <= self.cap:
                yield n, there
                if self.loads[heap] <= self.cap:
                    return

    def relax_around(self, before: list[tuple[int, int]]) -> int:
        """Make every move that relaxes rubber around what was moved."""
        queue: list[tuple[int, int, int]] = []
        self.enqueue_gains(queue, {near for n, _ in before for near in (n, *self.graph[n])})
        gained = 0
        while queue:
            gain, n, there = heapq.heappop(queue)
            if self.best_move(n) == (-gain, there):
                before.append((n, self.heaps[n]))
                gained += self.shift(n, there)
                self.enqueue_gains(queue, self.graph[n])
        return gained

    def enqueue_gains(self, queue: list[tuple[int, int, int]], balls: Iterable[int]) -> None:
        heaps, bounds = self.heaps, self.bound
        for n in balls:
            bound = bounds[n]
            if max(bound.values()) > bound.get(heaps[n], 0):
                move = self.best_move(n)
                if move and move[0] > 0:
                    heapq.heappush(queue, (-move[0], n, move[1]))
