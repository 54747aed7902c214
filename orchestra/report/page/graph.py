"""Which task needs which: drawn from left to right, each task in the first column after all that it needs."""

from orchestra.report.detail import RunDetail
from orchestra.report.labels import task_status, task_tone
from orchestra.report.page.markup import Html, html_section, html_table, join_html, tag
from orchestra.report.sanitize import safe_line
from orchestra.report.state import Report

MOST_NODES = 60
BOX_SIZE, BOX_GAP = (190, 40), (60, 16)


def graph_section(report: Report, detail: RunDetail) -> Html:
    needs = {task: [need for need in detail.needs.get(task, ()) if need in report.tasks] for task in report.tasks}
    if len(report.tasks) < 2:
        return Html()
    if not any(needs.values()):
        return html_section("graph", "Task graph", tag("p", "No task needed another: all could run side by side."))
    if len(needs) > MOST_NODES:
        return html_section("graph", "Task graph", needs_table(needs))
    return html_section("graph", "Task graph", draw_graph(report, needs))


def needs_table(needs: dict[int, list[int]]) -> Html:
    rows = (
        (tag("a", f"agent{task}", href=f"#task-{task}"), ", ".join(f"agent{need}" for need in wanted))
        for task, wanted in needs.items()
        if wanted
    )
    return tag("details", tag("summary", "What each task needs"), html_table(("task", "needs"), rows))


def task_columns(needs: dict[int, list[int]]) -> dict[int, int]:
    """The column of each task. A circle, which no plan has, is cut where it is found."""
    found: dict[int, int] = {}

    def find_column(task: int, above: frozenset[int]) -> int:
        if task not in found:
            below = [find_column(need, above | {task}) for need in needs[task] if need not in above | {task}]
            found[task] = 1 + max(below, default=-1)
        return found[task]

    for task in needs:
        find_column(task, frozenset())
    return found


def draw_graph(report: Report, needs: dict[int, list[int]]) -> Html:
    at: dict[int, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    for task, column in sorted(task_columns(needs).items()):
        row = filled[column] = filled.get(column, -1) + 1
        at[task] = (column * (BOX_SIZE[0] + BOX_GAP[0]) + 2, row * (BOX_SIZE[1] + BOX_GAP[1]) + 2)
    width = max(x for x, _ in at.values()) + BOX_SIZE[0] + 2
    height = max(y for _, y in at.values()) + BOX_SIZE[1] + 2
    lines = join_html(draw_edge(at[need], at[task]) for task, wanted in needs.items() for need in wanted)
    nodes = join_html(draw_node(report, task, *at[task]) for task in at)
    svg = tag("svg", lines, nodes, viewBox=f"0 0 {width} {height}", width=width, height=height, class_="graph")
    return tag("div", svg, class_="scroll", tabindex=0, role="region", aria_label="Task graph")


def draw_edge(start: tuple[int, int], end: tuple[int, int]) -> Html:
    x1, y1 = start[0] + BOX_SIZE[0], start[1] + BOX_SIZE[1] // 2
    x2, y2 = end[0], end[1] + BOX_SIZE[1] // 2
    middle = (x1 + x2) // 2
    return tag("path", d=f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}")


def draw_node(report: Report, task: int, x: int, y: int) -> Html:
    record = report.tasks[task]
    words = safe_line(record.title, 26)
    box = tag("rect", x=x, y=y, width=BOX_SIZE[0], height=BOX_SIZE[1], rx=6)
    name = tag("text", f"{record.agent}, {task_status(record)}", x=x + 10, y=y + 16)
    title = tag("text", words, x=x + 10, y=y + 32, class_="quiet")
    return tag("a", box, name, title, href=f"#task-{task}", class_=task_tone(record))
