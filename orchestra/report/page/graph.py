"""The task graph from left to right: each task is in the first column after all that it needs."""

from typing import NamedTuple

from orchestra.plan.task_order import dependency_depths

MAX_BOXES = 60
BOX_WIDTH, BOX_HEIGHT = 190, 40  # as in page.html
COLUMN_WIDTH, ROW_HEIGHT = BOX_WIDTH + 60, BOX_HEIGHT + 16


class TaskGraph(NamedTuple):
    """`boxes`: each task with the left upper corner of its box. `edges`: SVG paths."""

    width: int
    height: int
    boxes: list[tuple[int, int, int]]
    edges: list[str]


def lay_out_graph(needs: dict[int, list[int]]) -> TaskGraph | None:
    """None if there is nothing to draw, or more than can be read."""
    if not any(needs.values()) or len(needs) > MAX_BOXES:
        return None
    corners: dict[int, tuple[int, int]] = {}
    rows: dict[int, int] = {}
    for task, column in sorted(dependency_depths(needs).items()):
        row = rows[column] = rows.get(column, -1) + 1
        corners[task] = (column * COLUMN_WIDTH + 2, row * ROW_HEIGHT + 2)
    return TaskGraph(
        max(x for x, _ in corners.values()) + BOX_WIDTH + 2,
        max(y for _, y in corners.values()) + BOX_HEIGHT + 2,
        [(task, x, y) for task, (x, y) in corners.items()],
        [edge_path(corners[need], corners[task]) for task, needed in needs.items() for need in needed],
    )


def edge_path(start: tuple[int, int], end: tuple[int, int]) -> str:
    """From the right side of a box to the left side of another."""
    x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
