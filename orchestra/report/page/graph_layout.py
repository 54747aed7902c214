"""The layout of the task graph, for the page, the report and the API: from left to right, each task in the first column
after all that it needs, and in each column the order with fewer crossings."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestra.plan.task_order import dependency_depths

BOX_WIDTH, BOX_HEIGHT = 190, 40  # as in page.html
COLUMN_WIDTH, ROW_HEIGHT = BOX_WIDTH + 60, BOX_HEIGHT + 16
MOST_ROWS = 60  # of a column; more tasks of one depth take several columns
SWEEPS = 4
Needs = Mapping[int, Sequence[int]]


class TaskGraph(NamedTuple):
    """`boxes`: each task with the left upper corner of its box. `edges`: SVG paths."""

    width: int
    height: int
    boxes: list[tuple[int, int, int]]
    edges: list[str]


def lay_out_graph(needs: Needs) -> TaskGraph | None:
    """None if there is nothing to draw. The needs must be keys too."""
    if not needs:
        return None
    corners = {
        task: (column * COLUMN_WIDTH + 2, row * ROW_HEIGHT + 2)
        for column, tasks in enumerate(split_columns(order_columns(needs)))
        for row, task in enumerate(tasks)
    }
    edges = []
    for start, end in ((corners[need], corners[task]) for task, needed in needs.items() for need in needed):
        # From the right side of a box to the left side of another.
        x1, y1, x2, y2 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2, end[0], end[1] + BOX_HEIGHT // 2
        middle = (x1 + x2) // 2
        edges.append(f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}")
    return TaskGraph(
        max(x for x, _ in corners.values()) + BOX_WIDTH + 2,
        max(y for _, y in corners.values()) + BOX_HEIGHT + 2,
        [(task, *corners[task]) for task in sorted(corners)],
        edges,
    )


def split_columns(columns: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """Split columns that are too long to be read."""
    return [tasks[n : n + MOST_ROWS] for tasks in columns for n in range(0, len(tasks), MOST_ROWS)]


def order_columns(needs: Needs) -> list[list[int]]:
    """Return the tasks of each depth in the order with the fewest crossings that some sweeps find."""
    depths = dependency_depths(needs)
    by_depth: dict[int, list[int]] = defaultdict(list)
    for task in sorted(depths):
        by_depth[depths[task]].append(task)
    columns = [by_depth[depth] for depth in sorted(by_depth)]
    needed_by: dict[int, list[int]] = {task: [] for task in needs}
    for task, needed in needs.items():
        for need in needed:
            needed_by[need].append(task)
    best, fewest = columns, count_crossings(columns, needs)
    for n in range(SWEEPS):
        if not fewest:
            break
        columns = sweep_columns(columns, needs) if n % 2 == 0 else sweep_columns(columns[::-1], needed_by)[::-1]
        if (crossings := count_crossings(columns, needs)) < fewest:
            best, fewest = columns, crossings
    return best


def sweep_columns(columns: Sequence[list[int]], neighbours: Needs) -> list[list[int]]:
    """Sort each column by the mean place of its tasks' neighbours in the columns before it."""
    places: dict[int, float] = {}
    swept = []
    for tasks in columns:
        means = mean_places(tasks, places, neighbours)
        swept.append(sorted(tasks, key=means.__getitem__))
        places |= {task: (n + 0.5) / len(tasks) for n, task in enumerate(swept[-1])}
    return swept


def mean_places(tasks: Sequence[int], places: Mapping[int, float], neighbours: Needs) -> dict[int, float]:
    """Return where the neighbours of each task stand on average; without neighbours, where it stands itself."""
    means = {}
    for n, task in enumerate(tasks):
        near = [places[each] for each in neighbours[task] if each in places]
        means[task] = sum(near) / len(near) if near else (n + 0.5) / len(tasks)
    return means


def count_crossings(columns: Sequence[Sequence[int]], needs: Needs) -> int:
    """Count the crossings of edges between the same two columns."""
    at = {task: (column, row) for column, tasks in enumerate(columns) for row, task in enumerate(tasks)}
    edges: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for task, needed in needs.items():
        for need in needed:
            edges[at[need][0], at[task][0]].append((at[need][1], at[task][1]))
    crossings = 0
    for between in edges.values():
        ends: list[int] = []
        for _, end in sorted(between, reverse=True):
            crossings += bisect_left(ends, end)
            insort(ends, end)
    return crossings
