"""Who did what when: a row for each agent, or with very many tasks for each seat that agents took one after another."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestra.report.detail import RunDetail, Span
from orchestra.report.labels import format_duration
from orchestra.report.page.markup import Html, escape_html, html_section, join_html, tag
from orchestra.report.state import Report

MOST_ROWS = 60
WIDTH = 1000.0
# Kind: what it says, and the band of the row's height that it fills. The band tells kinds apart without colours.
SPAN_KINDS = {
    "waiting": ("waiting", (9, 2)),
    "retry": ("lost to failures and retries", (7, 6)),
    "model": ("the model answers", (2, 16)),
    "edit": ("Aider edits", (5, 10)),
    "gate": ("a gate checks", (2, 16)),
    "merge": ("combining", (5, 10)),
}
TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800)


class TimelineRow(NamedTuple):
    name: str
    link: str
    spans: Sequence[Span]


def timeline_section(report: Report, detail: RunDetail) -> Html:
    total = max(1, detail.working_ms(detail.ended))
    shown = timeline_rows(report, detail)
    if not any(row.spans for row in shown):
        return html_section("timeline", "Timeline", tag("p", "Nothing had begun yet."))
    chart = tag("div", *(draw_row(row, detail, total) for row in shown), draw_axis(total), class_="timeline")
    return html_section("timeline", "Timeline", timeline_legend(detail), *timeline_notes(report, detail, shown), chart)


def timeline_rows(report: Report, detail: RunDetail) -> list[TimelineRow]:
    run = TimelineRow("run", "", [span for span in detail.spans if span.task is None])
    by_task: dict[int, list[Span]] = {task: [] for task in report.tasks}
    for span in detail.spans:
        if span.task is not None:
            by_task.setdefault(span.task, []).append(span)
    if len(by_task) <= MOST_ROWS:
        return [run, *(TimelineRow(f"agent{task}", f"#task-{task}", spans) for task, spans in sorted(by_task.items()))]
    return [run, *(TimelineRow(f"seat {n}", "", spans) for n, spans in enumerate(pack_rows(by_task.values()), 1))]


def pack_rows(tasks: Iterable[list[Span]]) -> list[list[Span]]:
    """Attempts that did not overlap, in one row; waiting takes no seat."""
    work = [[span for span in spans if span.kind != "waiting"] for spans in tasks]
    taken: list[list[Span]] = []
    for spans in sorted(filter(None, work), key=lambda spans: spans[0].start):
        free = next((seat for seat in taken if seat[-1].end <= spans[0].start), None)
        if free is None and len(taken) < MOST_ROWS:
            taken.append(list(spans))
        else:
            (free if free is not None else taken[-1]).extend(spans)
    return taken


def draw_row(row: TimelineRow, detail: RunDetail, total: int) -> Html:
    name = tag("a", row.name, href=row.link) if row.link else tag("span", row.name)
    paths = join_html(draw_spans(kind, row.spans, detail, total) for kind in SPAN_KINDS)
    pauses = join_html(pause(detail.working_ms(each.at) / total) for each in detail.breaks)
    svg = tag(
        "svg",
        paths,
        pauses,
        viewBox=f"0 0 {WIDTH:.0f} 20",
        preserveAspectRatio="none",
        role="img",
        aria_label=describe_row(row),
    )
    return tag("div", name, svg, class_="row")


def draw_spans(kind: str, spans: Iterable[Span], detail: RunDetail, total: int) -> Html:
    """All stretches of one kind as one shape. Even the shortest can be seen."""
    top, height = SPAN_KINDS[kind][1]
    boxes = []
    for span in spans:
        if span.kind == kind:
            left, right = (WIDTH * detail.working_ms(time) / total for time in (span.start, span.end))
            width = max(right - left, 1.5)
            boxes.append(f"M{min(left, WIDTH - width):.1f} {top}h{width:.1f}v{height}h-{width:.1f}z")
    return tag("path", class_=kind, d="".join(boxes)) if boxes else Html()


def pause(share: float) -> Html:
    return tag("path", class_="pause", d=f"M{WIDTH * share:.1f} 0v20")


def describe_row(row: TimelineRow) -> str:
    """The row in words, for who cannot see it."""
    sums: Counter[str] = Counter()
    for span in row.spans:
        sums[span.kind] += span.end - span.start
    parts = [f"{SPAN_KINDS[kind][0]} {format_duration(sums[kind] / 1000)}" for kind in SPAN_KINDS if sums[kind]]
    return f"{row.name}: {', '.join(parts) or 'nothing'}"


def draw_axis(total: int) -> Html:
    """Marks at round times, few enough to be read on a phone."""
    seconds = total / 1000
    step = next((tick for tick in TICK_STEPS if seconds / tick <= 5), TICK_STEPS[-1])
    marks = [n * step for n in range(int(seconds / step) + 1)] if seconds >= 1 else [0]
    labels = (
        tag("text", escape_html(format_duration(mark) if mark else "0"), x=f"{100 * mark / seconds:.2f}%", y="14")
        for mark in marks
        if mark / seconds < 0.94 or not mark
    )
    return tag("div", tag("span"), tag("svg", *labels, class_="axis", aria_hidden="true"), class_="row")


def timeline_legend(detail: RunDetail) -> Html:
    there = {span.kind for span in detail.spans}
    items = (
        tag("li", legend_sample(kind, band), f" {words}", class_="key")
        for kind, (words, band) in SPAN_KINDS.items()
        if kind in there
    )
    return tag("ul", *items, class_="legend")


def legend_sample(kind: str, band: tuple[int, int]) -> Html:
    shape = tag("path", class_=kind, d=f"M0 {band[0]}h20v{band[1]}h-20z")
    return tag("svg", shape, viewBox="0 0 20 20", aria_hidden="true")


def timeline_notes(report: Report, detail: RunDetail, shown: Sequence[TimelineRow]) -> list[Html]:
    found = []
    if len(report.tasks) > MOST_ROWS:
        words = f"{len(report.tasks):,} tasks took {len(shown) - 1} seats, one after another; waiting is not drawn."
        found.append(tag("p", words, class_="quiet"))
    if detail.breaks:
        pauses = ", ".join(format_duration(pause.length / 1000) for pause in detail.breaks)
        found.append(
            tag("p", f"Dashed lines: the run was stopped and taken up again ({pauses} left out).", class_="quiet")
        )
    return found
