"""The timeline of the page: a row for each agent, or if there are very many tasks, for each slot."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestra.report.detail import RunDetail, Span
from orchestra.report.phrases import format_duration
from orchestra.report.state import Report

MAX_ROWS = 60
WIDTH = 1000.0  # as in page.html
# By kind: its words, and the band of the row's height that it fills. Bands tell kinds apart without colours.
SPAN_KINDS = {
    "waiting": ("waiting", (9, 2)),
    "person": ("waiting for you", (7, 6)),
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
    words: str  # the row for screen readers
    paths: list[tuple[str, str]]  # by kind, SVG paths


class Timeline(NamedTuple):
    """`pauses`: x of each break between sessions. `ticks`: x in percent, and the time."""

    legend: list[tuple[str, str, str]]  # kind, words, SVG path
    notes: list[str]
    rows: list[TimelineRow]
    pauses: list[str]
    ticks: list[tuple[str, str]]


def build_timeline(report: Report, detail: RunDetail) -> Timeline | None:
    """None if nothing had begun."""
    total = max(1, detail.working_ms(detail.ended))
    rows = timeline_rows(report, detail)
    if not any(row.spans for row in rows):
        return None
    kinds = {span.kind for span in detail.spans}
    notes = []
    if len(report.tasks) > MAX_ROWS:
        slots = f"{len(report.tasks):,} tasks took {len(rows) - 1} slots, one after another"
        notes.append(f"{slots}; waiting is not drawn.")
    if detail.breaks:
        lengths = ", ".join(format_duration(pause.length / 1000) for pause in detail.breaks)
        notes.append(f"Dashed lines: the run was stopped and resumed ({lengths} left out).")
    return Timeline(
        [(kind, words, box_path(0, 20, *band)) for kind, (words, band) in SPAN_KINDS.items() if kind in kinds],
        notes,
        rows,
        [f"{WIDTH * detail.working_ms(pause.at) / total:.1f}" for pause in detail.breaks],
        axis_ticks(total / 1000),
    )


def timeline_rows(report: Report, detail: RunDetail) -> list[TimelineRow]:
    by_task: dict[int, list[Span]] = {task: [] for task in report.tasks}
    for span in detail.spans:
        if span.task is not None:
            by_task.setdefault(span.task, []).append(span)
    rows = [("run", "", [span for span in detail.spans if span.task is None])]
    if len(by_task) <= MAX_ROWS:
        rows += [(f"agent{task}", f"#task-{task}", spans) for task, spans in sorted(by_task.items())]
    else:
        rows += [(f"slot {n}", "", spans) for n, spans in enumerate(pack_rows(by_task.values()), 1)]
    return [TimelineRow(*row, describe_row(row[0], row[2]), draw_row(row[2], detail)) for row in rows]


def pack_rows(tasks: Iterable[list[Span]]) -> list[list[Span]]:
    """Tasks that did not overlap, in one row. Waiting takes no slot."""
    work = [[span for span in spans if span.kind not in ("waiting", "person")] for spans in tasks]
    rows: list[list[Span]] = []
    for spans in sorted(filter(None, work), key=lambda spans: spans[0].start):
        free = next((row for row in rows if row[-1].end <= spans[0].start), None)
        if free is None and len(rows) < MAX_ROWS:
            rows.append(list(spans))
        else:
            (free if free is not None else rows[-1]).extend(spans)
    return rows


def draw_row(spans: Sequence[Span], detail: RunDetail) -> list[tuple[str, str]]:
    """All spans of a kind as one path. The shortest span is still visible."""
    total = max(1, detail.working_ms(detail.ended))
    boxes: dict[str, list[str]] = {kind: [] for kind in SPAN_KINDS}
    for span in spans:
        left, right = (WIDTH * detail.working_ms(time) / total for time in (span.start, span.end))
        width = max(right - left, 1.5)
        boxes[span.kind].append(box_path(min(left, WIDTH - width), width, *SPAN_KINDS[span.kind][1]))
    return [(kind, "".join(paths)) for kind, paths in boxes.items() if paths]


def box_path(left: float, width: float, top: int, height: int) -> str:
    return f"M{left:.1f} {top}h{width:.1f}v{height}h-{width:.1f}z"


def describe_row(name: str, spans: Sequence[Span]) -> str:
    sums: Counter[str] = Counter()
    for span in spans:
        sums[span.kind] += span.end - span.start
    parts = [f"{SPAN_KINDS[kind][0]} {format_duration(sums[kind] / 1000)}" for kind in SPAN_KINDS if sums[kind]]
    return f"{name}: {', '.join(parts) or 'nothing'}"


def axis_ticks(seconds: float) -> list[tuple[str, str]]:
    """Round times, few enough to be read on a phone."""
    step = next((tick for tick in TICK_STEPS if seconds / tick <= 5), TICK_STEPS[-1])
    times = [n * step for n in range(int(seconds / step) + 1)] if seconds >= 1 else [0]
    return [
        (f"{100 * time / seconds:.2f}", format_duration(time) if time else "0")
        for time in times
        if time / seconds < 0.94 or not time
    ]
