"""The report: the state of a run and its tasks, and what can be derived from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from orchestra import events
from orchestra.events import Record
from orchestra.events.base import optional_field
from orchestra.model import Requirement, TaskState, Usage, Verdict, Verified
from orchestra.wording import join_some

LOST_KINDS = ("missing", "skipped", "expected")  # fields of LostTests
TESTS = "tests"  # the subject of a gate that runs tests
HandedOver = events.PatchWritten | events.ResultBranched | events.BranchPushed | events.PrOpened
T = TypeVar("T", bound=HandedOver)


class CandidateReport(Record, kw_only=True):
    """The outcome of one of several attempts side by side, and whether it was chosen."""

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
    proposed: tuple[events.ProposedTask, ...] | None = optional_field()
    answered: bool | None = optional_field()
    nothing_to_do: bool | None = optional_field()
    said: str | None = optional_field()
    review: str | None = optional_field()
    why: str | None = optional_field()


class TaskGate(Record):
    attempt: int | None
    result: events.GateEnded


class Review(Record):
    """A critic's verdict on an attempt."""

    attempt: int | None
    command: str
    ok: bool
    reasons: tuple[str, ...]
    missing: str


class DecisionMade(Record):
    """A person's decision, and the question."""

    asked: str
    action: str
    text: str
    source: str = optional_field("")


@dataclass
class TaskReport:
    """The state of one task."""

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
    # By path, with the reason: files that run by themselves and were not taken, and taken ones that need a look.
    protected: Mapping[str, str] = field(default_factory=dict)
    notable: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    branch: str = ""
    patch: str = ""
    held: str = ""
    integrated: bool = False
    gates: list[TaskGate] = field(default_factory=list)
    attempts: int = 0
    waits: str = ""  # the provider or agent it waits for, and why
    asks: str = ""  # why it waits for a person
    asked_at: int = 0  # the event that a decision answers: a failure or question since the last attempt
    decided_at: int = 0  # the event of the last decision
    replaced: int = 0  # the task that replaces it
    lent: events.WorktreeLent | None = None  # the worktree that a person got
    by_hand: bool = False
    # Of several attempts side by side: the number of the first, and the outcome of each.
    round: int = 0
    candidates: list[CandidateReport] = field(default_factory=list)
    role: str = ""
    kind: str = ""  # of its agent, if that is not Aider
    answered: bool = False  # a question, whose reply is its result
    nothing_to_do: bool = False  # its files may stay as they are, and the model said so
    said: str = ""  # the accepted reply without its edits
    proposed: tuple[events.ProposedTask, ...] = ()  # further tasks, by the agent
    estimate: events.TaskRange | None = None
    # Of all attempts:
    reviews: list[Review] = field(default_factory=list)
    decisions: list[DecisionMade] = field(default_factory=list)
    conflicts: list[events.ConflictDecided] = field(default_factory=list)
    # As planned, or changed by a person:
    needs: tuple[int, ...] = ()
    priority: int = 0
    brief: str = ""

    @property
    def hints(self) -> list[str]:
        return [decision.text for decision in self.decisions if decision.action == "retry" and decision.text]

    @property
    def agent(self) -> str:
        return f"agent{self.id}"

    @property
    def passed_over(self) -> set[int | None]:
        """The attempts that lost the selection among several."""
        chosen = {candidate.round for candidate in self.candidates if candidate.chosen}
        return {each.attempt for each in self.candidates if not each.chosen and each.round in chosen}

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do for the task but to combine it with the others."""
        return self.state in (TaskState.AWAITING_QA, TaskState.COMPLETE, TaskState.FAILED, TaskState.ABANDONED)

    @property
    def ends_well(self) -> bool:
        """Whether its last attempt was accepted, or had nothing to do."""
        return self.verdict == Verdict.APPLIED or self.nothing_to_do

    @property
    def success(self) -> bool:
        return self.ends_well and not self.held and (self.iterations > 0 or self.by_hand)


@dataclass
class Report:
    """The state of a run."""

    run: str = ""
    started: int = 0
    change: str = ""
    repository: str = ""
    branch: str = ""
    base: str = ""
    model: str = ""
    provider: str = ""
    agents: int = 0
    prd: events.PrdWritten | None = None
    plan_file: str = ""
    # The files that the user named one by one, and whether the change is in the user's own words.
    user_files: Sequence[str] = ()
    change_is_literal: bool = True
    decision_texts: list[str] = field(default_factory=list)  # that people gave with decisions about tasks
    # The estimate for its agents; how long they worked (ms), which attempts run now, and since when.
    estimate: events.PlanRange | None = None
    worked_ms: int = 0
    running_attempts: set[tuple[int | None, int | None]] = field(default_factory=set)
    working_since: int = 0
    # By the task of the proposing agent.
    proposals: dict[int, tuple[events.ProposedTask, ...]] = field(default_factory=dict)
    drafted_tasks: int = 0  # in a plan that this run wrote and did not carry out
    shard: str = ""  # the part of a plan that it does, such as 2/8; `combine` puts the parts together
    tasks: dict[int, TaskReport] = field(default_factory=dict)
    roles: dict[str, Usage] = field(default_factory=dict)
    gates: list[events.GateEnded] = field(default_factory=list)
    judged: dict[str, events.TestsJudged] = field(default_factory=dict)  # by the gate's name
    flaky: dict[str, tuple[events.FlakyTest, ...]] = field(default_factory=dict)  # over runs, by the gate's name
    strict: bool = False  # tests that agents changed do not verify enough
    require_tests: bool = False
    unusable: dict[str, events.GateUnusable] = field(default_factory=dict)  # by the name of the repository's gate
    delivery: events.ResultDelivered | None = None
    # Completed handovers by the kind of their event, and failed ones by what they are.
    handovers: dict[str, HandedOver] = field(default_factory=dict)
    refused: dict[str, events.NotHandedOver] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    exit_code: int | None = None
    error: str = ""
    signal: int = 0  # the signal that stopped it
    seconds: float = 0.0
    last_event_time: int = 0
    paused_ms: int = 0  # between its sessions
    # How long it waited for answers at the terminal and did nothing else, and since when it waits now.
    waited_ms: int = 0
    asking_since: int = 0
    asking_task: int | None = None  # the task of that question
    replayed: bool = False
    # Of a replayed run, by agent or role: requests that are not in the recording, and recorded replies not used.
    drift: dict[str, int] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)
    cancelled: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    limit_that_stopped: str = ""
    is_paused: bool = False  # by a person: no further attempt begins
    # By the number of a request that has no reply yet, what is reserved for it.
    pending_reservations: dict[int, list[tuple[int | None, events.MoneyReserved]]] = field(default_factory=dict)
    unreadable: int = 0  # events of the log that could not be read in full

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
        """The delivered commit."""
        return self.delivery.result if self.delivery else ""

    @property
    def applied(self) -> bool:
        return self.delivery is not None and self.delivery.applied

    @property
    def result_branch(self) -> str:
        """The branch with the result."""
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
            judged = [self.judged[gate.name] for gate in proving if gate.subject == TESTS and gate.name in self.judged]
            return Verified.TESTS if all(judgement.holds for judgement in judged) else Verified.CHANGED_TESTS
        return Verified.SYNTAX if Verified.SYNTAX in proven else Verified.NONE

    @property
    def tests_changed(self) -> list[str]:
        """The files through which agents may have decided the outcome of the tests."""
        return sorted({path for judgement in self.judged.values() for path in judgement.changed})

    @property
    def tests_lost(self) -> dict[str, list[str]]:
        """Tests of the base that are missing, skipped or expected to fail now."""
        lost = [judgement.lost for judgement in self.judged.values()]
        names = {kind: [name for each in lost for name in getattr(each, kind)] for kind in LOST_KINDS}
        return {kind: found for kind, found in names.items() if found}

    @property
    def is_under_verified(self) -> bool:
        """Whether the result is verified less than the user demands."""
        if not self.result:
            return False
        enough = [Verified.TESTS] if self.strict else [Verified.TESTS, Verified.CHANGED_TESTS]
        tested = bool(self.judged) or self.require_tests
        return (self.strict or self.require_tests) and tested and self.verified not in enough

    @property
    def failed_before(self) -> int:
        """The number of failures in the verifying tests that the base has too."""
        proving = [gate for gate in self.gates if gate.subject == TESTS and gate.verifies]
        return sum(gate.old_count or len(gate.old) for gate in proving)

    @property
    def unchecked(self) -> list[str]:
        """Why tests of the repository do not verify the result, a clause each."""
        ran = {gate.name for gate in self.gates}
        reasons = [gate.unproven for gate in self.gates if gate.subject == TESTS and gate.unproven]
        unjudged = [gate.name for gate in self.gates if gate.verifies and not gate.judged]
        reasons += [f"{name} passed, but the run ended before its tests were examined" for name in unjudged]
        return reasons + [gate.why for name, gate in self.unusable.items() if gate.about == TESTS and name not in ran]

    @property
    def succeeded(self) -> list[TaskReport]:
        return [task for task in self.tasks.values() if task.success]

    @property
    def changed_nothing(self) -> bool:
        """Whether every task was a question and is answered."""
        return bool(self.tasks) and all(
            task.answered and task.success for task in self.tasks.values() if not task.replaced
        )

    @property
    def failed(self) -> list[TaskReport]:
        return [task for task in self.tasks.values() if not (task.success or task.replaced)]

    @property
    def waiting(self) -> list[TaskReport]:
        """The tasks that wait for a person."""
        return [task for task in self.tasks.values() if task.asks]

    def last_handover(self, kind: type[T]) -> T | None:
        event = self.handovers.get(kind.kind)
        return event if isinstance(event, kind) else None

    @property
    def pushed(self) -> events.BranchPushed | None:
        """The last push, if it pushed the result."""
        last = self.last_handover(events.BranchPushed)
        return last if last and last.commit == self.result else None

    @property
    def pr_url(self) -> str:
        opened = self.last_handover(events.PrOpened)
        return opened.url if opened else ""


def gate_with_judgement(gate: events.GateEnded, judged: events.TestsJudged) -> events.GateEnded:
    """The gate after its tests were examined: with a bent runner it checked nothing."""
    if gate.name != judged.name or gate.judged:
        return gate
    why = bent_tests_reason(judged)
    return replace(gate, judged=True, verifies=not why, unproven=why)


def bent_tests_reason(judged: events.TestsJudged) -> str:
    """Why passing tests verify nothing; empty if they verify something."""
    name, changed, of = judged.name, join_some(judged.changed, 4), judged.lost.of
    why = judged.bent or (f"ran 0 of the base's {of:,} tests" if of and not judged.lost.ran else "")
    return f"{name} {why}" + (f"; the agents changed {changed}" if changed else "") if why else ""
