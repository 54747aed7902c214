"""Write docs/reference-api.md from the routes of `serve` and from its metrics.

usage: python -m tools.write_api
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import Counter, Gauge, Histogram

from orchestra.web.app import build_app
from orchestra.web.envelope import CODES
from orchestra.web.metrics import Metrics
from tools.write_reference import table

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference-api.md"
HEAD = """\
# The API of `serve`

<!-- Written by `make reference` from orchestra/web: do not edit. -->

Every path stands under `/api/v1`, and under `/api` too. The token that `serve` prints goes with each request as
`Authorization: Bearer TOKEN`. Bodies and answers are JSON: `{"data": …}`, lists with `"page": {…}`, and errors
`{"error": {"code": …, "message": …, "details": …, "requestId": …}}` (problem+json if the request accepts it). RUN is a
run's name, enough of its beginning or end, or `latest`. Commands to a run are answered by the process that works on it:
without one they are refused with 409 `NOT_RUNNING`.
"""
SEEDS = """\
## Coming from another orchestrator

The paths of three other orchestrators, and where they are here. The platform's agents are registered machines; here an
agent is one attempt at a task, from its start to its end.
"""
METRICS = """\
## Metrics

`/metrics` (not under `/api`) is text for Prometheus, with the same token. The figures are read from the events of all
runs at most every 5 seconds. No label holds a run, a task or a path.
[examples/grafana.json](../examples/grafana.json) is a Grafana board of them.
"""
FRAMEWORK, PLATFORM, OTHER = "agent-framework", "agent-orchestrator-platform", "100x-orchestrator"
# Whose, their path, ours with its method; empty if there is none, and then why.
MAPPED = (
    (FRAMEWORK, "GET /runs", "GET /runs", ""),
    (FRAMEWORK, "GET /runs/{id}", "GET /runs/{run}", ""),
    (FRAMEWORK, "POST /runs", "POST /runs", ""),
    (FRAMEWORK, "POST /runs/{id}/restart", "POST /runs/{run}/resume", "from where it stopped; `restart` begins anew"),
    (FRAMEWORK, "POST /runs/{id}/cancel", "POST /runs/{run}/{command}", "`cancel`"),
    (FRAMEWORK, "POST /runs/{id}/replan", "POST /runs/{run}/{command}", "`replan`"),
    (FRAMEWORK, "PATCH /runs/{id}/tasks/{task_id}", "PATCH /runs/{run}/tasks/{task}", ""),
    (FRAMEWORK, "DELETE /runs/{id}/tasks/{task_id}", "DELETE /runs/{run}/tasks/{task}", ""),
    (FRAMEWORK, "GET /runs/{id}/interrupts", "GET /runs/{run}/interrupts", ""),
    (FRAMEWORK, "POST /runs/{id}/resolve", "POST /runs/{run}/resolve", ""),
    (FRAMEWORK, "POST /runs/{id}/tasks/{task_id}/interrupt", "POST /runs/{run}/tasks/{task}/{command}", "`interrupt`"),
    (FRAMEWORK, "GET /runs/{id}/tasks/{task_id}/memories", "GET /runs/{run}/tasks/{task}/memories", ""),
    (FRAMEWORK, "POST /runs/{id}/pause, /resume", "POST /runs/{run}/{command}", "`pause`; `POST /runs/{run}/resume`"),
    (FRAMEWORK, "/ws", "GET /ws", "a WebSocket; with `?compat=1` it sends `state_update`"),
    (PLATFORM, "GET /api/health", "GET /health", ""),
    (PLATFORM, "GET /api/tasks", "GET /tasks", "the list that `run` carries out; `?scope=runs`: tasks of runs"),
    (PLATFORM, "POST /api/tasks", "POST /tasks", "as `submit`"),
    (PLATFORM, "GET /api/tasks/:id", "GET /tasks/{id}", "`s:NAME`, or `RUN:NUMBER` of a run"),
    (PLATFORM, "PATCH /api/tasks/:id", "PATCH /tasks/{id}", ""),
    (PLATFORM, "DELETE /api/tasks/:id", "DELETE /tasks/{id}", ""),
    (PLATFORM, "GET /api/agents", "GET /agents", ""),
    (PLATFORM, "GET /api/agents/:id", "GET /agents/{agent}", ""),
    (PLATFORM, "GET /api/agents/:id/logs", "GET /agents/{agent}/logs", ""),
    (PLATFORM, "GET /api/exceptions", "GET /exceptions", ""),
    (PLATFORM, "GET /api/exceptions/:id", "GET /exceptions/{exception}", ""),
    (PLATFORM, "PATCH /api/exceptions/:id", "PATCH /exceptions/{exception}", ""),
    (PLATFORM, "GET /api/locks", "GET /locks", ""),
    (PLATFORM, "POST /api/locks/check", "POST /locks/check", ""),
    (PLATFORM, "GET /api/dashboard/stats", "GET /dashboard/stats", ""),
    (OTHER, "POST /agents", "POST /agents", "a run; `agents_per_task` attempts work at each task"),
    (OTHER, "DELETE /agents/{id}", "DELETE /agents/{agent}", "what it used is removed by itself"),
    (OTHER, "GET /debug/run/{id}", "GET /debug/run/{run}", ""),
    (OTHER, "GET /debug/stream", "GET /debug/stream", ""),
)


SOCKET = {
    "tags": ["live"],
    "summary": "A WebSocket that shows runs",
    "description": """Also under /api/v1. A page opens it with the protocols `ao.v1` and `ticket.T`, T from
    `POST /tickets` for its path; a program with the token. It sends `{"type": "subscribe", "run_id": RUN, "after": N}`
    and `unsubscribe`; without `run_id` they are about the list of runs. It gets `subscribed`, `snapshot` (the rows that
    changed after event N), `rows` (what has changed), `toast`, `gone` (the run was deleted), `runs`, `error`, and each
    5 seconds without news `beat`.""",
}


class NoRepositories:
    """A server without runs."""

    indexes, store = (), ""

    def list_runs(self) -> list[Any]:
        return []


def describe_app() -> dict[str, Any]:
    app: FastAPI = build_app(NoRepositories())  # type: ignore[arg-type]
    return app.openapi()


def list_endpoints(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each method, path and operation of the API, without its prefix."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path.removeprefix("/api/v1"), operation
    yield "GET", "/ws", SOCKET


def text() -> str:
    parts = [HEAD, *endpoint_sections(describe_app()), SEEDS, table(("", "There", "Here", ""), map(seed_row, MAPPED))]
    codes = [(str(status), f"`{code}`") for status, code in CODES.items()]
    codes += [("409", "`NOT_RUNNING`, `CYCLE`, `AMBIGUOUS_RUN`, `AMBIGUOUS_PLAN`, `AMBIGUOUS_TASK`")]
    parts += ["## Codes of errors\n", table(("Status", "Code"), sorted(codes)), METRICS]
    return "\n".join([*parts, table(("Name", "Kind", "Labels", ""), metric_rows())])


def endpoint_sections(document: dict[str, Any]) -> Iterator[str]:
    by_tag: dict[str, list[tuple[str, ...]]] = {}
    for method, path, operation in list_endpoints(document):
        by_tag.setdefault(operation["tags"][0], []).append(endpoint_row(method, path, operation))
    for tag, rows in by_tag.items():
        yield f"## {tag.capitalize()}\n"
        yield table(("", "Path", "Query", ""), rows)


def endpoint_row(method: str, path: str, operation: dict[str, Any]) -> tuple[str, ...]:
    query = [f"`{each['name']}`" for each in operation.get("parameters", []) if each["in"] == "query"]
    words = f"{operation['summary']}. {' '.join(operation.get('description', '').split())}".strip()
    return f"`{method}`", f"`{path}`", " ".join(query), words


def seed_row(mapped: tuple[str, str, str, str]) -> tuple[str, ...]:
    seed, theirs, ours, remark = mapped
    return seed, f"`{theirs}`" if "/" in theirs else theirs, f"`{ours}`" if ours else "–", remark


def metric_rows() -> list[tuple[str, ...]]:
    registry = Metrics(NoRepositories()).registry  # type: ignore[arg-type]
    rows: list[tuple[str, ...]] = []
    for metric in dict.fromkeys(registry._collector_to_names):
        assert isinstance(metric, Counter | Gauge | Histogram)
        name = f"{metric._name}_total" if isinstance(metric, Counter) else metric._name
        labels = " ".join(f"`{label}`" for label in metric._labelnames)
        rows.append((f"`{name}`", metric._type, labels, metric._documentation))
    return rows


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(list(list_endpoints(describe_app())))} endpoints\n")
