"""A run as spans for a tracing system: the run, its tasks, their attempts, and in these the requests and checks. The
names of attributes are those of OpenTelemetry's conventions for generative AI. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra import events
from orchestra.events import Event

SYSTEM = "aider-orchestrator"
SpanKey = tuple[int, ...]  # (): the run; (task,); (task, attempt); (task, attempt, event), also (event,) with a minus
MS = 1_000_000  # nanoseconds


@dataclass
class SpanRecord:
    """One span. `parent` is the key of another; None for the run. Times are nanoseconds since 1970."""

    key: SpanKey
    parent: SpanKey | None
    name: str
    start: int
    end: int
    attributes: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def build_spans(log: Iterable[Event]) -> list[SpanRecord]:
    """Return the spans of a run, each after its parent. What has not ended ends with the last event."""
    spans: dict[SpanKey, SpanRecord] = {}
    for event in log:
        add_event(spans, event)
    return [span for _, span in sorted(spans.items(), key=lambda each: (len(each[0]), each[1].start))]


def add_event(spans: dict[SpanKey, SpanRecord], event: Event) -> None:
    now = event.time * MS
    run = spans.setdefault((), SpanRecord((), None, f"run {event.run}", now, now, {"orchestrator.run": event.run}))
    run.end = max(run.end, now)
    match event.payload:
        case events.RunStarted() as started:
            run.attributes |= {"gen_ai.operation.name": "invoke_workflow", "gen_ai.request.model": started.model}
            run.attributes |= {"orchestrator.change": started.change[:500], "gen_ai.provider.name": started.provider}
        case events.PlanMade() as plan:
            for task in plan.tasks:
                open_task(spans, task.id, now).attributes |= {"orchestrator.task.title": task.title}
        case events.RunEnded() as ended:
            run.attributes["orchestrator.exit_code"] = ended.exit_code
            run.error = ended.error or (f"exit code {ended.exit_code}" if ended.exit_code else "")
        case events.RequestEnded() as request:
            add_request(spans, event, request)
        case events.GateEnded() as gate:
            add_gate(spans, event, gate)
        case _ if event.task:
            add_task_event(spans, event, event.task)


def open_task(spans: dict[SpanKey, SpanRecord], task: int, now: int) -> SpanRecord:
    found = spans.setdefault((task,), SpanRecord((task,), (), f"task {task}", now, now, {"orchestrator.task": task}))
    found.end = max(found.end, now)
    return found


def add_task_event(spans: dict[SpanKey, SpanRecord], event: Event, task: int) -> None:
    now, record = event.time * MS, open_task(spans, task, event.time * MS)
    match event.payload:
        case events.TaskMoved(state=state):
            record.attributes["orchestrator.task.state"] = str(state)
        case events.AttemptStarted() as started:
            key = (task, event.attempt or 1)
            spans[key] = SpanRecord(key, (task,), f"invoke_agent agent{task}", now, now)
            spans[key].attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"agent{task}"}
            spans[key].attributes |= {"gen_ai.request.model": started.model, "orchestrator.attempt": key[1]}
        case events.AttemptEnded() as ended:
            if attempt := spans.get((task, event.attempt or 1)):
                attempt.end = now
                attempt.attributes["orchestrator.verdict"] = str(ended.verdict)
                attempt.error = "" if ended.verdict == "applied" else f"{ended.verdict}: {ended.cause}"


def find_parent(spans: Mapping[SpanKey, SpanRecord], event: Event) -> SpanKey:
    """Return the attempt of the event, else its task, else the run."""
    wanted = [(event.task or 0, event.attempt or 0), (event.task or 0,)]
    return next((key for key in wanted if key in spans), ())


def add_request(spans: dict[SpanKey, SpanRecord], event: Event, request: events.RequestEnded) -> None:
    start, used = event.time - round(1000 * request.seconds), request.usage
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.provider,
        "gen_ai.request.model": request.model,
        "gen_ai.usage.input_tokens": used.input,
        "gen_ai.usage.output_tokens": used.output,
        "orchestrator.role": request.role,
        "orchestrator.dollars": used.paid or 0.0,
    }
    attributes |= {"http.response.status_code": request.status} if request.status else {}
    attributes |= {"error.type": request.failure} if request.failure else {}
    add_child(spans, event, f"chat {request.model}", start, attributes, request.failure)


def add_gate(spans: dict[SpanKey, SpanRecord], event: Event, gate: events.GateEnded) -> None:
    attributes = {"orchestrator.gate": gate.name, "orchestrator.tree": gate.tree, "orchestrator.ok": gate.ok}
    start = event.time - round(1000 * gate.seconds)
    add_child(spans, event, f"gate {gate.name}", start, attributes, "" if gate.ok else "it failed")


def add_child(
    spans: dict[SpanKey, SpanRecord], event: Event, name: str, start: int, attributes: dict[str, Any], error: str
) -> None:
    parent = find_parent(spans, event)
    key = (*parent, -event.seq)
    spans[key] = SpanRecord(key, parent, name, start * MS, event.time * MS, attributes, error)
    for above in (parent[:length] for length in range(1, len(parent) + 1)):
        spans[above].end = max(spans[above].end, event.time * MS)
