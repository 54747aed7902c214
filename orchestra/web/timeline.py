"""The timeline of a run for the page: what each agent did and when, without the breaks between sessions. Pure."""

from orchestra.report.detail import Phase, RunDetail, Span, task_phase
from orchestra.report.page.timeline import MAX_ROWS, SPAN_KINDS, pack_rows
from orchestra.report.state import Report
from orchestra.web.rows import Row

# What an attempt does whose last request has ended, by the phase of its task.
OPEN_KINDS = {
    Phase.ASKING: "model",
    Phase.STARTING: "waiting",
    Phase.WAITING_PROVIDER: "waiting",
    Phase.WAITING_BUDGET: "waiting",
}


def timeline_record(report: Report, detail: RunDetail, now: int, *, packed: bool | None = None) -> Row:
    """Return the lanes. Times are ms of work since the start. `packed`: a lane for each slot in place of each task, as
    it is with very many tasks by default."""
    spans = [
        *detail.spans,
        *(open_span(report, detail, span) for span in detail.open_spans(now) if span.end > span.start),
    ]
    by_task: dict[int, list[Span]] = {task: [] for task in report.tasks}
    for span in spans:
        if span.task is not None:
            by_task.setdefault(span.task, []).append(span)
    lanes = [lane_record("run", None, [span for span in spans if span.task is None], detail)]
    packed = len(by_task) > MAX_ROWS if packed is None else packed
    if packed:
        lanes += [lane_record(f"slot {n}", None, own, detail) for n, own in enumerate(pack_rows(by_task.values()), 1)]
    else:
        lanes += [lane_record(f"agent{task}", task, own, detail) for task, own in sorted(by_task.items())]
    return {
        "started": detail.started,
        "total": max(0, detail.working_ms(now)),
        "packed": packed,
        "kinds": {kind: words for kind, (words, _) in SPAN_KINDS.items()},
        "lanes": lanes,
        "breaks": [{"at": detail.working_ms(pause.at), "length": pause.length} for pause in detail.breaks],
        "attempts": [
            {"task": task, "attempt": attempt.number, "start": detail.working_ms(attempt.started)}
            for task in sorted(detail.attempts_by_task)
            for attempt in detail.attempts(task)
            if attempt.started
        ],
    }


def open_span(report: Report, detail: RunDetail, span: Span) -> Span:
    """Return the span as what its task is at: between two requests, or in one that has not ended."""
    task = report.tasks.get(span.task or 0)
    if span.kind != "edit" or task is None:
        return span
    return span._replace(kind=OPEN_KINDS.get(task_phase(report, detail, task), "edit"))


def lane_record(name: str, task: int | None, spans: list[Span], detail: RunDetail) -> Row:
    return {
        "name": name,
        "task": task,
        "spans": [
            [span.kind, detail.working_ms(span.start), detail.working_ms(span.end), span.task]
            for span in sorted(spans, key=lambda each: each.start)
        ],
    }
