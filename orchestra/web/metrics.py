"""/metrics for Prometheus: counters and spans of time from the events of all runs, gauges from their state now.

No label holds a run, a task or a path, so the number of series does not grow with the work.
"""

import re
import threading
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from orchestra import __version__, events
from orchestra.cli.find import KnownRun, RunIndex
from orchestra.events import Event
from orchestra.model import TaskState
from orchestra.plan.roles import CODER
from orchestra.report.fold import fold_event
from orchestra.report.run_status import ENDED, INTERRUPTED, RUNNING
from orchestra.report.state import Report
from orchestra.report.summary import SCHEMA_VERSION
from orchestra.web.event_pages import read_page
from orchestra.web.repositories import FoundRun, Repositories
from orchestra.web.rows import run_state, sum_reserved

PREFIX = "aider_orchestrator"
CACHE_SECONDS = 5.0
LONGEST_LABEL = 80
UNKNOWN = "unknown"  # the provider and model of requests that were lost with their session
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
FAILING = re.compile(r"(?!rate_limit)[a-z_]+: ")  # why an agent waits while requests fail: their failure, then words
SHORT_TIMES = (0.005, 0.025, 0.1, 0.5, 1, 5)
LONG_TIMES = (1, 5, 15, 60, 300, 1800, 7200, 86400)


@dataclass
class FollowedRun:
    """A run as far as it was counted. The starts of waiting are by task (ms)."""

    seq: int = 0
    report: Report = field(default_factory=Report)
    ready_since: dict[int, int] = field(default_factory=dict)
    asked_since: dict[int, int] = field(default_factory=dict)
    # By task and attempt, the provider that it waits for because requests to it fail.
    failing: dict[tuple[int | None, int | None], str] = field(default_factory=dict)


class RunFigures:
    """What is counted from events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", words, labels, registry=registry)

        def histogram(name: str, words: str, *labels: str) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", words, labels, registry=registry, buckets=LONG_TIMES)

        self.events = counter("events", "Events of all runs")
        self.runs_ended = counter("runs_ended", "Sessions that ended, by exit code", "exit_code")
        self.attempts = counter("attempts", "Attempts that ended", "verdict", "role")
        self.attempt_seconds = histogram("attempt_seconds", "How long attempts took", "role")
        self.retries = counter("retries", "Further attempts at a task")
        self.queue_seconds = histogram("queue_seconds", "How long tasks that were ready waited for a slot")
        self.human_wait_seconds = histogram("human_wait_seconds", "How long tasks waited for a person's decision")
        self.requests = counter("requests", "Requests to models", "provider", "model", "status_class")
        self.request_seconds = histogram("request_seconds", "How long requests to models took", "provider")
        self.tokens = counter("tokens", "Tokens; cached ones are a part of the input", "provider", "model", "kind")
        self.dollars = counter("dollars", "Dollars that count as paid", "provider", "model")
        self.rate_limited = counter("rate_limited", "Requests that a provider refused as too many", "provider")
        self.gates = counter("gates", "Checks that ended", "kind", "ok")
        self.gate_seconds = histogram("gate_seconds", "How long checks took", "kind")
        self.merge_conflicts = counter("merge_conflicts", "Times that a task's work was left out for a conflict")
        self.excluded = counter("excluded", "Times that a task's work was left out of the combination")
        self.blamed = counter("blamed", "Tasks that a search found guilty of a failed combination")

    def count(self, run: FollowedRun, event: Event) -> None:
        """Count an event, before it changes the run's report."""
        self.events.inc()
        match event.payload:
            case events.RequestEnded() as request:
                self.count_request(request)
            case events.GateEnded() as gate:
                self.gates.labels(label_text(gate.subject), str(gate.ok).lower()).inc()
                self.gate_seconds.labels(label_text(gate.subject)).observe(gate.seconds)
            case events.RunEnded(exit_code=code):
                self.runs_ended.labels(code).inc()
            case events.RunResumed():
                # The requests that the last session left without a reply count as paid.
                self.dollars.labels(UNKNOWN, UNKNOWN).inc(max(0.0, sum_reserved(run.report)))
            case events.TaskExcluded(reason=reason):
                self.excluded.inc()
                self.merge_conflicts.inc(" conflicts with that of " in reason)
            case events.AgentWaiting(on=provider, why=why):
                run.failing.pop((event.task, event.attempt), None)
                if FAILING.match(why):
                    run.failing[event.task, event.attempt] = provider
            case events.TasksBlamed(guilty=guilty):
                self.blamed.inc(len({task for tasks in guilty for task in tasks}))
            case _ if event.task is not None:
                self.count_task_event(run, event, event.task)

    def count_request(self, request: events.RequestEnded) -> None:
        names, used = (label_text(request.provider), label_text(request.model)), request.usage
        self.requests.labels(*names, f"{request.status // 100}xx" if request.status else "none").inc()
        self.request_seconds.labels(names[0]).observe(request.seconds)
        for kind, number in (("input", used.input), ("cached", used.cached), ("output", used.output)):
            self.tokens.labels(*names, kind).inc(max(0, number))
        self.dollars.labels(*names).inc(max(0.0, used.paid or 0.0))
        if request.status == 429:
            self.rate_limited.labels(names[0]).inc()

    def count_task_event(self, run: FollowedRun, event: Event, task: int) -> None:
        record = run.report.tasks.get(task)
        role = label_text((record.role if record else "") or CODER)
        match event.payload:
            case events.TaskMoved(state=TaskState.READY):
                run.ready_since[task] = event.time
            case events.AttemptStarted():
                if since := run.ready_since.pop(task, 0):
                    self.queue_seconds.observe(max(0, event.time - since) / 1000)
            case events.AttemptEnded() as ended:
                self.attempts.labels(label_text(ended.verdict), role).inc()
                self.attempt_seconds.labels(role).observe(ended.seconds)
            case events.TaskRetried():
                self.retries.inc()
            case events.HumanNeeded():
                run.asked_since[task] = event.time
            case events.TaskResolved():
                if since := run.asked_since.pop(task, 0):
                    self.human_wait_seconds.observe(max(0, event.time - since) / 1000)


def label_text(text: str) -> str:
    """Return a text of an event as a label: not all of a long one, and no lone surrogate, which has no UTF-8."""
    return text[:LONGEST_LABEL].encode("utf-8", "replace").decode()


def run_identity(index: RunIndex, run: KnownRun) -> tuple[str, str]:
    """Return what names the run among all repositories. In a repository's own database all have the same key."""
    return (run.key if index.shared else str(index.root)), run.name


def store_lag(index: RunIndex, run: KnownRun, report: Report) -> float:
    """Return how much later the log files were written than the last event in the store happened (s)."""
    names = ["run", *(task.agent for task in report.tasks.values())]
    paths = [index.logs / f"{name}_{run.name}.jsonl" for name in names]
    times = [path.stat().st_mtime for path in paths if path.is_file()]
    return max(0.0, max(times, default=0.0) - report.last_event_time / 1000)


class StateFigures:
    """What is the case now."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", words, labels, registry=registry)

        self.runs = gauge("runs", "Runs by state", "state")
        self.tasks = gauge("tasks", "Tasks of all runs by state", "state")
        self.human_waiting = gauge("human_waiting", "Tasks that wait for a person")
        self.leases = gauge("leases", "Files that runs hold")
        self.breaker_open = gauge("breaker_open", "Whether agents wait because requests to it fail", "provider")
        self.store_lag = gauge("store_lag_seconds", "How far the store of a run at work is behind its log files")
        self.reserved = gauge("budget_reserved_dollars", "Dollars reserved for requests on their way")
        self.spent_ratio = gauge("budget_spent_ratio", "The largest part of a budget that a run at work has spent")

    def set(self, reports: Iterable[tuple[Report, str]]) -> None:
        states, tasks = Counts[str](), Counts[str]()
        waiting, reserved, ratio = 0, 0.0, 0.0
        for report, state in reports:
            states[state] += 1
            tasks.update(str(task.state) for task in report.tasks.values())
            waiting += sum(bool(task.asks) for task in report.tasks.values())
            if state == RUNNING:
                reserved += sum_reserved(report)
                ratio = max(ratio, (report.usage.paid or 0.0) / report.limits.get("budget", float("inf")))
        for name in (RUNNING, ENDED, INTERRUPTED):
            self.runs.labels(name).set(states[name])
        for task_state in TaskState:
            self.tasks.labels(task_state).set(tasks[task_state])
        self.human_waiting.set(waiting)
        self.reserved.set(reserved)
        self.spent_ratio.set(ratio)


class Metrics:
    """The figures of the runs and of this server."""

    def __init__(self, repositories: Repositories, clock: Callable[[], float] = time.monotonic) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.repositories, self.clock = repositories, clock
        self.registry = CollectorRegistry()
        self.run_figures, self.state_figures = RunFigures(self.registry), StateFigures(self.registry)
        self.http_requests = Counter(
            f"{PREFIX}_http_requests", "Requests to this server", ("route", "method", "code"), registry=self.registry
        )
        self.http_seconds = Histogram(
            f"{PREFIX}_http_seconds", "Until an answer began", ("route",), registry=self.registry, buckets=SHORT_TIMES
        )
        self.viewers = Gauge(f"{PREFIX}_viewers", "Open streams of rows", ("kind",), registry=self.registry)
        self.stream_lag = Histogram(
            f"{PREFIX}_stream_lag_seconds",
            "From an event to the message with its row",
            registry=self.registry,
            buckets=SHORT_TIMES,
        )
        self.stream_rows = Counter(f"{PREFIX}_stream_rows", "Rows sent to streams", registry=self.registry)
        build = Gauge(f"{PREFIX}_build_info", "Version", ("version", "schema"), registry=self.registry)
        build.labels(__version__, SCHEMA_VERSION).set(1)
        self.followed: dict[tuple[str, str], FollowedRun] = {}
        self.lock = threading.Lock()
        self.reports: list[tuple[Report, str]] = []
        self.refs: list[str] = []  # how the API names the run of each report
        self.text, self.made = b"", float("-inf")

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer. `route` is the pattern of its path, not the path."""
        self.http_requests.labels(route, method if method in METHODS else "other", status).inc()
        self.http_seconds.labels(route).observe(seconds)

    def observe_stream(self, seconds: float, rows: int) -> None:
        """Count a message with changed rows, and how long after the first of their events it was made."""
        self.stream_lag.observe(seconds)
        self.stream_rows.inc(rows)

    def render(self) -> bytes:
        """Return all figures as text."""
        self.read_reports()
        return self.text

    def read_reports(self) -> list[tuple[Report, str]]:
        """Return the report and state of each run. They are read again when they are 5 s old. Called in a thread."""
        with self.lock:
            if self.clock() - self.made >= CACHE_SECONDS:
                # A shared store shows a run in each clone: the repository that it ran in comes last, and counts.
                runs = sorted(self.repositories.list_runs(), key=lambda each: not each[1].elsewhere)
                by_identity = {run_identity(index, run): (index, run) for index, run in runs}
                self.reports = [self.follow(*found) for found in by_identity.values()]
                self.refs = [self.repositories.ref(*found) for found in by_identity.values()]
                self.state_figures.set(self.reports)
                self.set_figures_of_running(by_identity)
                self.state_figures.leases.set(sum(len(i.store.list_leases(i.key)) for i in self.repositories.indexes))
                self.text, self.made = generate_latest(self.registry), self.clock()
            return self.reports

    def read_named_reports(self) -> list[tuple[Report, str, str]]:
        """Return the report and state of each run, and how the API names it. Called in a thread."""
        reports = self.read_reports()
        return [(*found, ref) for found, ref in zip(reports, self.refs, strict=True)]

    def set_figures_of_running(self, runs: Mapping[tuple[str, str], FoundRun]) -> None:
        """Set what is known of runs at work alone: providers that fail, and how far their store is behind."""
        self.state_figures.breaker_open.clear()
        lag = 0.0
        for (identity, (index, run)), (report, state) in zip(runs.items(), self.reports, strict=True):
            if state == RUNNING:
                for provider in self.followed[identity].failing.values():
                    self.state_figures.breaker_open.labels(label_text(provider)).set(1)
                lag = max(lag, store_lag(index, run, report))
        self.state_figures.store_lag.set(lag)

    def follow(self, index: RunIndex, run: KnownRun) -> tuple[Report, str]:
        """Count the run's new events. Return its report and state. A run that ended is read once."""
        followed = self.followed.setdefault(run_identity(index, run), FollowedRun())
        last = run.run.last
        if not (last and last.seq <= followed.seq):
            seq = -1
            while seq < followed.seq and (news := read_page(index, run, followed.seq)):
                seq = followed.seq  # a forged log may have no numbers that grow
                for event in news:
                    self.run_figures.count(followed, event)
                    fold_event(followed.report, event)
                    followed.seq = max(followed.seq, event.seq)
        has_owner = followed.report.exit_code is None and index.find_owner(run) is not None
        return followed.report, run_state(followed.report, has_owner)
