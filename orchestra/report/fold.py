"""From events to the report: a fold, so that a run that died can be reported as well as one that ended."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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
    # With the reason of each: what acts by itself and was not taken, and what was taken and should be looked at.
    protected: dict[str, str] = field(default_factory=dict)
    notable: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    branch: str = ""
    patch: str = ""
    held: str = ""
    integrated: bool = False
    gates: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    waits: str = ""  # for whom, and why
    asks: str = ""  # why it waits for a person
    replaced: int = 0  # by which task
    lent: dict[str, Any] = field(default_factory=dict)  # to a person: where that one began
    by_hand: bool = False
    # Of several attempts side by side: what each came to, and whether it is the one that was chosen.
    round: int = 0
    candidates: list[dict[str, Any]] = field(default_factory=list)
    role: str = ""
    answered: bool = False  # its reply is its result: nothing was to be changed
    said: str = ""  # in the accepted reply, beside the edits
    proposed: list[dict[str, Any]] = field(default_factory=list)  # further tasks, by the agent
    estimate: dict[str, Any] = field(default_factory=dict)
    # Of all attempts: what a critic said (attempt, command, ok, reasons, missing), and what persons decided (asked,
    # action, text).
    reviews: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def hints(self) -> list[str]:
        return [one["text"] for one in self.decisions if one["action"] == "retry" and one["text"]]

    @property
    def agent(self) -> str:
        return f"agent{self.id}"

    @property
    def passed_over(self) -> set[int]:
        """The attempts beside which a better one was made."""
        chosen = {one["round"] for one in self.candidates if one["chosen"]}
        return {one["attempt"] for one in self.candidates if not one["chosen"] and one["round"] in chosen}

    @property
    def success(self) -> bool:
        return self.verdict == Verdict.APPLIED and not self.held and (self.iterations > 0 or self.by_hand)


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
    plan_file: str = ""
    # Which files a person has named one by one, and whether the change's words are the user's own.
    named: list[str] = field(default_factory=list)
    words_count: bool = True
    # What its agents were expected to take; how long they were at work (ms), which are now, and since when.
    estimate: dict[str, Any] = field(default_factory=dict)
    worked: int = 0
    at_work: set[tuple[int | None, int | None]] = field(default_factory=set)
    since: int = 0
    proposals: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # by the task whose agent made them
    drafted: int = 0  # tasks of a plan that this run has only written down
    tasks: dict[int, TaskReport] = field(default_factory=dict)
    roles: dict[str, Usage] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    # By gate, what its tests are worth: changed, wrote, lost, bent, fresh, weaker.
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    strict: bool = False  # tests that the agents changed are not enough
    require_tests: bool = False
    # By name, gates of the repository that are not used: about, why.
    unusable: dict[str, dict[str, str]] = field(default_factory=dict)
    delivery: dict[str, Any] = field(default_factory=dict)
    # What was handed over, by the event that says so; and what could not be.
    handed: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exit_code: int | None = None
    error: str = ""
    signal: int = 0  # that stopped it
    seconds: float = 0.0
    heard: int = 0  # the last event's time
    paused: int = 0  # ms between being stopped and being taken up again
    replayed: bool = False
    # With a replayed run: by agent or role, requests that are not the tape's, and the tape's replies nobody asked for.
    drift: dict[str, int] = field(default_factory=dict)
    unused: dict[str, int] = field(default_factory=dict)
    cancelled: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""  # by which limit
    # What is set aside for requests that are on their way: the event, and how much.
    on_way: dict[int, list[Event]] = field(default_factory=dict)

    @property
    def usage(self) -> Usage:
        return sum(self.roles.values(), Usage())

    @property
    def files(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = self.delivery.get("files", {})
        return found

    @property
    def verified(self) -> Verified:
        if not all(gate["ok"] for gate in self.gates):
            return Verified.NONE
        proving = [gate for gate in self.gates if gate.get("verifies", gate["ok"]) and gate.get("judged", True)]
        proven = {gate.get("about", gate["name"]) for gate in proving}
        if TESTS in proven:
            holds = all(self.judgement(gate).get("holds", True) for gate in proving if is_about_tests(gate))
            return Verified.TESTS if holds else Verified.CHANGED_TESTS
        return Verified.SYNTAX if Verified.SYNTAX in proven else Verified.NONE

    def judgement(self, gate: Mapping[str, Any]) -> dict[str, Any]:
        return self.judged.get(gate["name"], {}) if is_about_tests(gate) else {}

    @property
    def tests_changed(self) -> list[str]:
        """The files by which what the tests say may be the agents' doing."""
        return sorted({path for one in self.judged.values() for path in one.get("changed", ())})

    @property
    def tests_lost(self) -> dict[str, list[str]]:
        """Tests of the base that did not run as they did there: missing, skipped, expected to fail."""
        kinds = ("missing", "skipped", "expected")
        found = {kind: [n for one in self.judged.values() for n in one["lost"].get(kind, ())] for kind in kinds}
        return {kind: names for kind, names in found.items() if names}

    @property
    def falls_short(self) -> bool:
        """Whether the result is not checked as far as the user demands it."""
        if not self.delivery.get("result"):
            return False
        enough = [Verified.TESTS] if self.strict else [Verified.TESTS, Verified.CHANGED_TESTS]
        tested = bool(self.judged) or self.require_tests
        return (self.strict or self.require_tests) and tested and self.verified not in enough

    @property
    def failed_before(self) -> int:
        """Failures of the tests that verify the result, which the base has too."""
        proving = [gate for gate in self.gates if is_about_tests(gate) and gate.get("verifies")]
        return sum(int(gate.get("old_count") or len(gate.get("old") or ())) for gate in proving)

    @property
    def unchecked(self) -> list[str]:
        """Why tests that the repository has say nothing of the result, a clause each."""
        ran = {gate["name"] for gate in self.gates}
        found = [gate["unproven"] for gate in self.gates if is_about_tests(gate) and gate.get("unproven")]
        found += [
            f"{gate['name']} {UNJUDGED}" for gate in self.gates if gate.get("verifies") and not gate.get("judged", True)
        ]
        return found + [one["why"] for name, one in self.unusable.items() if one["about"] == TESTS and name not in ran]

    @property
    def succeeded(self) -> list[TaskReport]:
        return [task for task in self.tasks.values() if task.success]

    @property
    def changed_nothing(self) -> bool:
        """Because nothing was to be changed: every task was a question, and is answered."""
        return bool(self.tasks) and all(
            task.answered and task.success for task in self.tasks.values() if not task.replaced
        )

    @property
    def failed(self) -> list[TaskReport]:
        return [task for task in self.tasks.values() if not (task.success or task.replaced)]

    @property
    def applied(self) -> bool:
        return bool(self.delivery.get("applied"))

    @property
    def pushed(self) -> dict[str, Any]:
        """What was pushed, if it is what came of the run in the end."""
        last = self.handed.get("pushed", {})
        return last if last.get("commit") == self.delivery.get("result") else {}

    @property
    def pr_url(self) -> str:
        return str(self.handed.get("pr_opened", {}).get("url", ""))


# What is told of each of several attempts at one task.
CANDIDATE = (
    *("round", "verdict", "cause", "remedy", "commit", "branch", "patch", "size", "review", "seconds"),
    *("changed", "foreign", "refused", "left_out", "protected", "notable", "said", "answered", "proposed"),
)
UNJUDGED = "passed, but the run ended before it was seen whether its tests could be bent"
TESTS = "tests"  # what a gate of tests is about
LIMITS = ("budget", "task_budget", "max_tokens", "deadline")
REVIEW = "review"  # what a critic's gate is about
COMBINED = "combined"  # the tree of which a gate speaks, where it is not a task's or one of a search
Handler = Callable[[Report, Event], None]
HANDLERS: dict[str, Handler] = {}


def on(kind: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS[kind] = handler
        return handler

    return register


# What an event raises whose data is not what its kind says.
STRANGE = (LookupError, TypeError, ValueError, AttributeError, AssertionError)


def fold(events: Iterable[Event], report: Report | None = None) -> Report:
    """Reading is tolerant: unknown kinds, from a newer version, are passed over, and so is what a bad disk left."""
    report = report or Report()
    for event in events:
        with suppress(*STRANGE):
            step(report, event)
    return report


def step(report: Report, event: Event) -> None:
    report.run = report.run or event.run
    report.started = report.started or event.time
    if event.kind == "run_resumed":  # until then nobody was at it
        report.paused += event.time - (report.heard or event.time)
    report.heard = event.time
    report.seconds = (event.time - report.started - report.paused) / 1000
    handler = HANDLERS.get(event.kind)
    if handler is not None:
        handler(report, event)


@on("run_started")
def run_started(report: Report, event: Event) -> None:
    for name in ("change", "repository", "branch", "base", "model", "provider"):
        setattr(report, name, event.data[name])
    take_limits(report, event)


def take_limits(report: Report, event: Event) -> None:
    options = event.data.get("options") or report.limits
    report.limits = {name: options[name] for name in LIMITS if options.get(name)}
    asked = event.data.get("options") or {"strict": report.strict, "require_tests": report.require_tests}
    report.strict, report.require_tests = bool(asked.get("strict")), bool(asked.get("require_tests"))


@on("limit_reached")
def limit_reached(report: Report, event: Event) -> None:
    report.stopped = event.data["limit"]


@on("set_aside")
def set_aside(report: Report, event: Event) -> None:
    report.on_way.setdefault(event.data["number"], []).append(event)


def count_lost(report: Report) -> None:
    """The last orchestrator died with these on their way: they may be billed, so they count as paid."""
    for event in [event for events in report.on_way.values() for event in events]:
        used, role = Usage(assumed=event.data["dollars"], assumed_tokens=event.data["tokens"]), event.data["role"]
        report.roles[role] = report.roles.get(role, Usage()) + used
        if event.task is not None:
            own(report, event).usage += used
    report.on_way.clear()


@on("waiting")
def waiting(report: Report, event: Event) -> None:
    if event.task is not None:
        whom, why = event.data["on"], event.data["why"]
        own(report, event).waits = f"{whom} ({why})" if whom else ""


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
    report.plan_file = event.data.get("file", "")
    report.named, report.words_count = event.data.get("named", []), event.data.get("words", True)
    for task in event.data["tasks"]:
        paths = [file["path"] for file in task["files"]]
        report.tasks[task["id"]] = planned_task(task, paths)
    if expected := event.data.get("estimate"):
        take_estimate(report, expected)


def take_estimate(report: Report, expected: Mapping[str, Any]) -> None:
    report.estimate = {name: value for name, value in expected.items() if name != "tasks"}
    for one in expected["tasks"]:
        report.tasks[one["task"]].estimate = {name: value for name, value in one.items() if name != "task"}


def planned_task(task: Mapping[str, Any], paths: list[str]) -> TaskReport:
    return TaskReport(task["id"], task["title"], paths, task["requirements"], role=task.get("role", ""))


@on("drafted")
def drafted(report: Report, event: Event) -> None:
    report.plan_file, report.drafted = event.data["file"], event.data["tasks"]


@on("plan_changed")
def plan_changed(report: Report, event: Event) -> None:
    """By a person: what a task is to do, or a task that takes the place of another one."""
    for task in event.data["tasks"]:
        if task["id"] not in report.tasks:
            paths = [file["path"] for file in task["files"]]
            report.tasks[task["id"]] = planned_task(task, paths)
    if "replaces" in event.data:
        report.tasks[event.data["replaces"]].replaced = event.data["by"]


@on("human_needed")
def human_needed(report: Report, event: Event) -> None:
    own(report, event).asks = event.data["why"]


@on("tasks_proposed")
def tasks_proposed(report: Report, event: Event) -> None:
    report.proposals[event.task or 0] = event.data["tasks"]


@on("resolved")
def resolved(report: Report, event: Event) -> None:
    record = own(report, event)
    said = {"asked": record.asks or record.held or record.cause, "action": event.data["action"]}
    record.decisions.append(said | {"text": event.data["text"]})


@on("lent")
def lent(report: Report, event: Event) -> None:
    own(report, event).lent = event.data


@on("task_moved")
def task_moved(report: Report, event: Event) -> None:
    record = own(report, event)
    record.state = event.data["state"]
    if record.state != TaskState.WAITING_HUMAN:
        record.asks = ""


@on("attempt_started")
def attempt_started(report: Report, event: Event) -> None:
    if not report.at_work:
        report.since = event.time
    report.at_work.add((event.task, event.attempt))
    record = own(report, event)
    record.attempts = max(record.attempts, event.attempt or 1)
    record.round = event.data.get("round", 0)
    record.by_hand = bool(event.data.get("by_hand"))
    record.verdict = record.cause = record.remedy = record.held = record.said = ""
    record.answered, record.proposed = False, []
    record.integrated = False
    record.gates = [gate for gate in record.gates if record.round and gate.get("attempt", 0) >= record.round]


@on("aider_ready")
def aider_ready(report: Report, event: Event) -> None:
    """Who was at work until then had only a worktree made."""
    report.since = max(report.since, event.time - round(1000 * event.data.get("ago", 0)))


@on("request")
def request(report: Report, event: Event) -> None:
    used = Usage(**event.data["usage"])
    report.on_way.pop(event.data.get("number", 0), None)
    role = event.data["role"]
    report.roles[role] = report.roles.get(role, Usage()) + used
    report.replayed |= event.data.get("replayed", False)
    if event.data["failure"] == "drift" or event.data.get("drifted"):
        who = f"agent{event.task}" if event.task is not None else role
        report.drift[who] = report.drift.get(who, 0) + 1
    if event.task is not None:
        own(report, event).usage += used


@on("assistant_response")
def assistant_response(report: Report, event: Event) -> None:
    own(report, event).iterations += 1


@on("attempt_ended")
def attempt_ended(report: Report, event: Event) -> None:
    record = own(report, event)
    record.waits = ""
    if report.at_work == {(event.task, event.attempt)}:
        report.worked += event.time - report.since
    report.at_work.discard((event.task, event.attempt))
    if "round" in event.data:
        entry = {name: value for name, value in event.data.items() if name in CANDIDATE}
        blank = {"attempt": event.attempt, "chosen": False, "branch": "", "patch": "", "size": 0}
        record.candidates.append(blank | entry)
    if "round" not in event.data or event.data["verdict"] == Verdict.CANCELLED:
        take(record, event.data)


@on("chosen")
def chosen(report: Report, event: Event) -> None:
    """Of several attempts side by side this one is what the task has come to."""
    record = own(report, event)
    # A screen that shows a resumed run has not heard of what had ended before.
    entry = next((each for each in record.candidates if each["attempt"] == event.attempt), dict[str, Any]())
    take(record, {name: value for name, value in entry.items() if name != "branch"})
    entry |= {"chosen": True, "why": event.data["why"], "branch": ""}
    record.gates = [gate for gate in record.gates if gate.get("attempt") == event.attempt]


@on("command")
def command(report: Report, event: Event) -> None:
    report.cancelled |= event.data["name"] == "cancel" and event.task is None and not event.data.get("refused")


@on("run_resumed")
def run_resumed(report: Report, event: Event) -> None:
    report.exit_code, report.error, report.cancelled = None, "", False
    report.at_work.clear()
    report.gates, report.judged = [], {}
    report.refused = {}
    report.stopped = ""
    take_limits(report, event)
    count_lost(report)


@on("gates_found")
def gates_found(report: Report, event: Event) -> None:
    report.unusable = {one["name"]: one for one in event.data.get("unusable", [])}


@on("gate_unable")
def gate_unable(report: Report, event: Event) -> None:
    if not event.data["named"]:
        report.unusable[event.data["name"]] = event.data


@on("task_held")
def task_held(report: Report, event: Event) -> None:
    own(report, event).held, own(report, event).integrated = event.data["reason"], False


@on("task_integrated")
def task_integrated(report: Report, event: Event) -> None:
    own(report, event).commit = event.data["commit"]
    own(report, event).integrated, own(report, event).held = True, ""


@on("combined")
def combined(report: Report, event: Event) -> None:
    """What was said of an earlier combination is not said of this one, which may stand on newer commits."""
    report.gates, report.judged = [], {}
    report.base = event.data.get("base") or report.base


@on("branch_kept")
def branch_kept(report: Report, event: Event) -> None:
    own(report, event).branch = event.data["branch"]


@on("gate_ended")
def gate_ended(report: Report, event: Event) -> None:
    if not {"name", "ok"} <= event.data.keys():
        return
    if event.task is not None:
        own(report, event).gates.append(event.data | {"attempt": event.attempt})
        if event.data.get("about") == REVIEW:
            said = {"reasons": [], "missing": "", "command": ""} | event.data
            kept = {name: said[name] for name in ("command", "ok", "reasons", "missing")}
            own(report, event).reviews.append({"attempt": event.attempt, **kept})
    elif event.data.get("tree", COMBINED) == COMBINED:
        report.gates.append(event.data)


@on("tests_judged")
def tests_judged(report: Report, event: Event) -> None:
    report.judged[event.data["name"]] = event.data
    report.gates = [judged_gate(gate, event.data) for gate in report.gates]


def judged_gate(gate: dict[str, Any], judgement: Mapping[str, Any]) -> dict[str, Any]:
    """The gate with what its tests are worth: one whose runner is bent has checked nothing."""
    if gate["name"] != judgement["name"] or gate.get("judged", True):
        return gate
    why = why_bent(judgement)
    return gate | {"judged": True, "verifies": not why, "unproven": why}


def why_bent(judgement: Mapping[str, Any]) -> str:
    """Why tests that passed say nothing at all; empty if they say something."""
    name, lost, changed = judgement["name"], judgement.get("lost") or {}, some(judgement.get("changed", ()))
    of, ran = lost.get("of"), lost.get("ran")
    why = judgement.get("bent") or (f"ran 0 of the base's {of:,} tests" if of and not ran else "")
    return f"{name} {why}" + (f"; the agents changed {changed}" if changed else "") if why else ""


@on("delivered")
def delivered(report: Report, event: Event) -> None:
    report.delivery = event.data
    for task in report.tasks.values():
        # What the result holds needs no branch of its own any more.
        task.branch = "" if task.integrated else task.branch


@on("branched")
def branched(report: Report, event: Event) -> None:
    report.handed["branched"] = event.data
    own = {"side_branch": event.data["branch"], "take": f"git merge {event.data['branch']}"}
    report.delivery = report.delivery | own


@on("patch_written")
@on("pushed")
@on("pr_opened")
def handed(report: Report, event: Event) -> None:
    report.handed[event.kind] = event.data


@on("not_handed_over")
def not_handed_over(report: Report, event: Event) -> None:
    report.refused[event.data["what"]] = event.data


@on("replayed")
def replayed(report: Report, event: Event) -> None:
    report.replayed = True
    report.unused = event.data["unused"]


@on("run_ended")
def run_ended(report: Report, event: Event) -> None:
    report.exit_code = event.data["exit_code"]
    report.error = event.data["error"]
    report.signal = event.data.get("signal", 0)


def some(paths: Sequence[str], most: int = 4) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def is_about_tests(gate: Mapping[str, Any]) -> bool:
    return bool(gate.get("about", gate["name"]) == TESTS)


def own(report: Report, event: Event) -> TaskReport:
    assert event.task is not None
    return report.tasks.setdefault(event.task, TaskReport(event.task, "", []))


def take(record: TaskReport, data: Mapping[str, Any]) -> None:
    for name, value in data.items():
        if hasattr(TaskReport, name) or name in TaskReport.__dataclass_fields__:
            setattr(record, name, value)
