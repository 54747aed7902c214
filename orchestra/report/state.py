"""The report: everything that is said about a run and its tasks, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from orchestra.events import (
    ABOUT_REVIEW,
    BranchPushed,
    GateEnded,
    GateUnusable,
    MoneyReserved,
    NotHandedOver,
    PatchWritten,
    PlanRange,
    PrdWritten,
    PrOpened,
    ProposedTask,
    Record,
    ResultBranched,
    ResultDelivered,
    TaskRange,
    TestsJudged,
    WorktreeLent,
)
from orchestra.events.base import optional_field
from orchestra.model import Requirement, TaskState, Usage, Verdict, Verified

UNJUDGED_REASON = "passed, but the run ended before it was seen whether its tests could be bent"
TESTS = "tests"  # what a gate of tests is about
HandedOver = PatchWritten | ResultBranched | BranchPushed | PrOpened
T = TypeVar("T", bound=HandedOver)


class CandidateReport(Record, kw_only=True):
    """One of several attempts that were made side by side: what it came to, and whether it was chosen."""

    attempt: int | None
    chosen: bool = False
    branch: str
    patch: str
    size: int
    verdict: Verdict
    cause: str
    remedy: str
    commit: str
    seconds: float
    round: int
    changed: tuple[str, ...] | None = optional_field()
    foreign: tuple[str, ...] | None = optional_field()
    refused: tuple[str, ...] | None = optional_field()
    protected: Mapping[str, str] | None = optional_field()
    notable: Mapping[str, str] | None = optional_field()
    left_out: tuple[str, ...] | None = optional_field()
    proposed: tuple[ProposedTask, ...] | None = optional_field()
    answered: bool | None = optional_field()
    said: str | None = optional_field()
    review: str | None = optional_field()
    why: str | None = optional_field()


class TaskGate(Record):
    """A gate of an attempt."""

    attempt: int | None
    result: GateEnded


class Review(Record):
    """What a critic said of an attempt."""

    attempt: int | None
    command: str
    ok: bool
    reasons: tuple[str, ...]
    missing: str


class DecisionMade(Record):
    """What a person decided, and what they were asked."""

    asked: str
    action: str
    text: str


@dataclass
class TaskReport:
    """One task as far as it came."""

    id: int
    title: str
    files: Sequence[str]
    requirements: Sequence[str] = ()
    state: TaskState = TaskState.PLANNED
    verdict: str = ""
    cause: str = ""
    remedy: str = ""
    iterations: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    changed: Sequence[str] = ()
    foreign: Sequence[str] = ()
    refused: Sequence[str] = ()
    left_out: Sequence[str] = ()
    # With the reason of each: what acts by itself and was not taken, and what was taken and should be looked at.
    protected: Mapping[str, str] = field(default_factory=dict)
    notable: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    branch: str = ""
    patch: str = ""
    held: str = ""
    integrated: bool = False
    gates: list[TaskGate] = field(default_factory=list)
    attempts: int = 0
    waits: str = ""  # for which provider or agent, and why
    asks: str = ""  # why it waits for a person
    replaced: int = 0  # by which task
    lent: WorktreeLent | None = None  # to a person: where that one began
    by_hand: bool = False
    # Of several attempts side by side: the number of the first, and what each came to.
    round: int = 0
    candidates: list[CandidateReport] = field(default_factory=list)
    role: str = ""
    answered: bool = False  # its reply is its result: nothing was to be changed
    said: str = ""  # in the accepted reply, beside the edits
    proposed: tuple[ProposedTask, ...] = ()  # further tasks, by the agent
    estimate: TaskRange | None = None
    # Of all attempts.
    reviews: list[Review] = field(default_factory=list)
    decisions: list[DecisionMade] = field(default_factory=list)
    # As planned; a person may change it.
    needs: tuple[int, ...] = ()
    priority: int = 0
    brief: str = ""

    @property
    def hints(self) -> list[str]:
        return [one.text for one in self.decisions if one.action == "retry" and one.text]

    @property
    def agent(self) -> str:
        return f"agent{self.id}"

    @property
    def passed_over(self) -> set[int | None]:
        """The attempts beside which a better one was made."""
        chosen = {one.round for one in self.candidates if one.chosen}
        return {one.attempt for one in self.candidates if not one.chosen and one.round in chosen}

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
    prd: PrdWritten | None = None
    plan_file: str = ""
    # Which files a person has named one by one, and whether the change's words are the user's own.
    user_files: Sequence[str] = ()
    change_is_literal: bool = True
    decision_texts: list[str] = field(default_factory=list)  # by persons, when they decided about tasks
    # What its agents were expected to take; how long they were at work (ms), which are now, and since when.
    estimate: PlanRange | None = None
    worked_ms: int = 0
    running_attempts: set[tuple[int | None, int | None]] = field(default_factory=set)
    working_since: int = 0
    proposals: dict[int, tuple[ProposedTask, ...]] = field(default_factory=dict)  # by the task whose agent made them
    drafted_tasks: int = 0  # tasks of a plan that this run has only written down
    tasks: dict[int, TaskReport] = field(default_factory=dict)
    roles: dict[str, Usage] = field(default_factory=dict)
    gates: list[GateEnded] = field(default_factory=list)
    judged: dict[str, TestsJudged] = field(default_factory=dict)  # by gate, what its tests are worth
    strict: bool = False  # tests that the agents changed are not enough
    require_tests: bool = False
    unusable: dict[str, GateUnusable] = field(default_factory=dict)  # by name, gates of the repository
    delivery: ResultDelivered | None = None
    # What was handed over, by the kind of the event that says so; and what could not be.
    handovers: dict[str, HandedOver] = field(default_factory=dict)
    refused: dict[str, NotHandedOver] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    exit_code: int | None = None
    error: str = ""
    signal: int = 0  # that stopped it
    seconds: float = 0.0
    last_event_time: int = 0  # the last event's time
    paused_ms: int = 0  # ms between being stopped and being taken up again
    replayed: bool = False
    # With a replayed run, by agent or role: requests that are not the recording's, replies of it that were not used.
    drift: dict[str, int] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)
    cancelled: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    limit_that_stopped: str = ""  # by which limit
    # What is reserved for requests that are on their way, by their number.
    pending_reservations: dict[int, list[tuple[int | None, MoneyReserved]]] = field(default_factory=dict)
    unreadable: int = 0  # events of the log that could not be read

    @property
    def usage(self) -> Usage:
        return sum(self.roles.values(), Usage())

    @property
    def prd_path(self) -> str:
        return self.prd.path if self.prd else ""

    @property
    def requirements(self) -> Sequence[Requirement]:
        return self.prd.requirements if self.prd else ()

    @property
    def result(self) -> str:
        """The commit that was delivered."""
        return self.delivery.result if self.delivery else ""

    @property
    def applied(self) -> bool:
        return self.delivery is not None and self.delivery.applied

    @property
    def result_branch(self) -> str:
        """The branch that has the result."""
        if self.delivery is None:
            return ""
        return self.delivery.branch if self.delivery.applied else self.delivery.side_branch

    @property
    def files(self) -> Mapping[str, tuple[int, int]]:
        return self.delivery.files if self.delivery else {}

    @property
    def verified(self) -> Verified:
        if not all(gate.ok for gate in self.gates):
            return Verified.NONE
        proving = [gate for gate in self.gates if (gate.ok if gate.verifies is None else gate.verifies) and gate.judged]
        proven = {gate.subject for gate in proving}
        if TESTS in proven:
            judged = [self.tests_judgement(gate) for gate in proving]
            return Verified.TESTS if all(one.holds for one in judged if one) else Verified.CHANGED_TESTS
        return Verified.SYNTAX if Verified.SYNTAX in proven else Verified.NONE

    def tests_judgement(self, gate: GateEnded) -> TestsJudged | None:
        return self.judged.get(gate.name) if gate.subject == TESTS else None

    @property
    def tests_changed(self) -> list[str]:
        """The files by which what the tests say may be the agents' doing."""
        return sorted({path for one in self.judged.values() for path in one.changed})

    @property
    def tests_lost(self) -> dict[str, list[str]]:
        """Tests of the base that did not run as they did there: missing, skipped, expected to fail."""
        lost = [one.lost for one in self.judged.values()]
        found = {
            "missing": [name for one in lost for name in one.missing],
            "skipped": [name for one in lost for name in one.skipped],
            "expected": [name for one in lost for name in one.expected],
        }
        return {kind: names for kind, names in found.items() if names}

    @property
    def is_under_verified(self) -> bool:
        """Whether the result is not checked as far as the user demands it."""
        if not self.result:
            return False
        enough = [Verified.TESTS] if self.strict else [Verified.TESTS, Verified.CHANGED_TESTS]
        tested = bool(self.judged) or self.require_tests
        return (self.strict or self.require_tests) and tested and self.verified not in enough

    @property
    def failed_before(self) -> int:
        """Failures of the tests that verify the result, which the base has too."""
        proving = [gate for gate in self.gates if gate.subject == TESTS and gate.verifies]
        return sum(gate.old_count or len(gate.old) for gate in proving)

    @property
    def unchecked(self) -> list[str]:
        """Why tests that the repository has say nothing of the result, a clause each."""
        ran = {gate.name for gate in self.gates}
        found = [gate.unproven for gate in self.gates if gate.subject == TESTS and gate.unproven]
        found += [f"{gate.name} {UNJUDGED_REASON}" for gate in self.gates if gate.verifies and not gate.judged]
        return found + [one.why for name, one in self.unusable.items() if one.about == TESTS and name not in ran]

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

    def last_handover(self, kind: type[T]) -> T | None:
        """The last event of this kind that says what was handed over."""
        found = self.handovers.get(kind.kind)
        return found if isinstance(found, kind) else None

    @property
    def pushed(self) -> BranchPushed | None:
        """What was pushed, if it is what came of the run in the end."""
        last = self.last_handover(BranchPushed)
        return last if last and last.commit == self.result else None

    @property
    def pr_url(self) -> str:
        opened = self.last_handover(PrOpened)
        return opened.url if opened else ""


def is_review(gate: GateEnded) -> bool:
    return gate.about == ABOUT_REVIEW


def gate_with_judgement(gate: GateEnded, judged: TestsJudged) -> GateEnded:
    """The gate with what its tests are worth: one whose runner is bent has checked nothing."""
    if gate.name != judged.name or gate.judged:
        return gate
    why = bent_tests_reason(judged)
    return replace(gate, judged=True, verifies=not why, unproven=why)


def bent_tests_reason(judged: TestsJudged) -> str:
    """Why tests that passed say nothing at all; empty if they say something."""
    name, changed, of = judged.name, join_some(judged.changed), judged.lost.of
    why = judged.bent or (f"ran 0 of the base's {of:,} tests" if of and not judged.lost.ran else "")
    return f"{name} {why}" + (f"; the agents changed {changed}" if changed else "") if why else ""


def join_some(paths: Sequence[str], limit: int = 4) -> str:
    return ", ".join(paths[:limit]) + (f" and {len(paths) - limit:,} more" if len(paths) > limit else "")
