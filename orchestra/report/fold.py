"""From events to the report: a fold, so that a run that died can be reported as well as one that ended."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.model import Event, TaskState, Usage, Verdict, Verified


@dataclass
class TaskReport:
    """One task as far as it came."""

    id: int
    title: str
    files: list[str]
    requirements: list[str] = field(default_factory=list)
    state: str = TaskState.PLANNED
    verdict: str = ""
    cause: str = ""
    remedy: str = ""
    iterations: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    changed: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    commit: str = ""
    branch: str = ""
    patch: str = ""
    held: str = ""
    attempts: int = 0

    @property
    def agent(self) -> str:
        return f"agent{self.id}"

    @property
    def success(self) -> bool:
        return self.verdict == Verdict.APPLIED and not self.held and self.iterations > 0


@dataclass
class Report:
    """Everything that is said about a run."""

    run: str = ""
    started: int = 0
    change: str = ""
    repository: str = ""
    branch: str = ""
    base: str = ""
    model: str = ""
    provider: str = ""
    agents: int = 0
    prd: dict[str, Any] = field(default_factory=dict)
    tasks: dict[int, TaskReport] = field(default_factory=dict)
    roles: dict[str, Usage] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    delivery: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exit_code: int | None = None
    error: str = ""
    seconds: float = 0.0
    replayed: bool = False

    @property
    def usage(self) -> Usage:
        return sum(self.roles.values(), Usage())

    @property
    def files(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = self.delivery.get("files", {})
        return found

    @property
    def verified(self) -> Verified:
        return Verified.TESTS if any(gate["name"] == "tests" and gate["ok"] for gate in self.gates) else Verified.NONE

    @property
    def succeeded(self) -> list[TaskReport]:
        return [task for task in self.tasks.values() if task.success]

    @property
    def failed(self) -> list[TaskReport]:
        return [task for task in self.tasks.values() if not task.success]

    @property
    def applied(self) -> bool:
        return bool(self.delivery.get("applied"))


Handler = Callable[[Report, Event], None]
HANDLERS: dict[str, Handler] = {}


def on(kind: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS[kind] = handler
        return handler

    return register


def fold(events: Iterable[Event]) -> Report:
    """Unknown kinds, from a newer version, are passed over."""
    report = Report()
    for event in events:
        step(report, event)
    return report


def step(report: Report, event: Event) -> None:
    report.run = report.run or event.run
    report.started = report.started or event.time
    report.seconds = (event.time - report.started) / 1000
    handler = HANDLERS.get(event.kind)
    if handler is not None:
        handler(report, event)


@on("run_started")
def run_started(report: Report, event: Event) -> None:
    for name in ("change", "repository", "branch", "base", "model", "provider"):
        setattr(report, name, event.data[name])


@on("note")
def note(report: Report, event: Event) -> None:
    report.notes.append(event.data["text"])


@on("prd_written")
def prd_written(report: Report, event: Event) -> None:
    report.prd = event.data


@on("plan_made")
def plan_made(report: Report, event: Event) -> None:
    report.agents = event.data["agents"]
    report.skipped = event.data["skipped"]
    for task in event.data["tasks"]:
        paths = [file["path"] for file in task["files"]]
        report.tasks[task["id"]] = TaskReport(task["id"], task["title"], paths, task["requirements"])


@on("task_moved")
def task_moved(report: Report, event: Event) -> None:
    own(report, event).state = event.data["state"]


@on("attempt_started")
def attempt_started(report: Report, event: Event) -> None:
    record = own(report, event)
    record.attempts = event.attempt or 1
    record.verdict = record.cause = record.remedy = record.held = ""


@on("request")
def request(report: Report, event: Event) -> None:
    used = Usage(**event.data["usage"])
    role = event.data["role"]
    report.roles[role] = report.roles.get(role, Usage()) + used
    report.replayed |= event.data.get("replayed", False)
    if event.task is not None:
        own(report, event).usage += used


@on("assistant_response")
def assistant_response(report: Report, event: Event) -> None:
    own(report, event).iterations += 1


@on("attempt_ended")
def attempt_ended(report: Report, event: Event) -> None:
    take(own(report, event), event.data)


@on("run_resumed")
def run_resumed(report: Report, event: Event) -> None:
    report.exit_code, report.error = None, ""
    report.gates = []


@on("task_held")
def task_held(report: Report, event: Event) -> None:
    own(report, event).held = event.data["reason"]


@on("task_integrated")
def task_integrated(report: Report, event: Event) -> None:
    own(report, event).commit = event.data["commit"]


@on("branch_kept")
def branch_kept(report: Report, event: Event) -> None:
    own(report, event).branch = event.data["branch"]


@on("gate_ended")
def gate_ended(report: Report, event: Event) -> None:
    report.gates.append(event.data)


@on("delivered")
def delivered(report: Report, event: Event) -> None:
    report.delivery = event.data
    for task in report.tasks.values():
        # What the result holds needs no branch of its own any more.
        task.branch = task.branch if task.held else ""


@on("run_ended")
def run_ended(report: Report, event: Event) -> None:
    report.exit_code = event.data["exit_code"]
    report.error = event.data["error"]


def own(report: Report, event: Event) -> TaskReport:
    assert event.task is not None
    return report.tasks.setdefault(event.task, TaskReport(event.task, "", []))


def take(record: TaskReport, data: Mapping[str, Any]) -> None:
    for name, value in data.items():
        if hasattr(TaskReport, name) or name in TaskReport.__dataclass_fields__:
            setattr(record, name, value)
