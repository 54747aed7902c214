"""Events of the gates, and of the examination of their tests."""

from collections.abc import Sequence
from dataclasses import field

from orchestra.events.base import Payload, Record, optional_field, value_if_absent

COMBINED_TREE = "combined"  # the tree of the combined work
ABOUT_REVIEW, ABOUT_SET_UP = "review", "setup"  # the `about` of a critic's gate, and of a failed set-up


class GateFound(Record, needs=("name",)):
    """A gate of the run, and why it was chosen."""

    name: str
    command: str
    why: str


class GateUnusable(Record, needs=("name",)):
    """A gate of the repository that cannot be used here, and why."""

    name: str
    about: str
    why: str


class GatesFound(Payload, kind="gates_found"):
    """The gates of this session are known."""

    gates: tuple[GateFound, ...]
    notes: tuple[str, ...]
    unusable: tuple[GateUnusable, ...]


class GateUnable(Payload, kind="gate_unable", kw_only=True, needs=("name",)):
    """A gate cannot start on the base, before any change. `named`: the user asked for it, so it stays one."""

    name: str
    about: str
    why: str
    named: bool
    output: str


class GateStarted(Payload, kind="gate_started", kw_only=True, needs=("name",)):
    """A gate began to run on a tree: `combined`, `task3-1`, `base`. `output`: the file that gets its output live."""

    name: str
    command: str
    tree: str
    output: str = optional_field("")


# The keys of a line, by what the gate is about.
HEAD_KEYS = ("name", "about", "command", "tree", "ok", "verifies")
COMMAND_KEYS = (
    *(*HEAD_KEYS, "unproven", "judged", "code", "timed_out", "seconds", "output", "ran", "passed"),
    *("new", "old", "old_count", "unknown", "flaky", "remarks", "about_tree"),
)
SET_UP_KEYS = (*HEAD_KEYS, "code", "timed_out", "seconds", "output", "remarks")
REVIEW_KEYS = (*HEAD_KEYS, "timed_out", "seconds", "output", "new", "old", "flaky", "remarks", "about_tree")


class GateEnded(Payload, kind="gate_ended", kw_only=True, needs=("name", "ok")):
    """A gate ended: a command, a critic's review, or the set-up of a tree that failed. `about` says which.

    `ok`: all failures are failures of the base too. `verifies`: it checked something; `unproven` is the reason if not.
    `judged`: its tests were examined. Names of failures: `new` because of the change, `old` on the base too, `unknown`
    perhaps on the base too, `flaky`. `about_tree`: the git tree that passed, and the files that it checked. A review
    has `reasons`, or in `missing` why there is no review. `remembered`: the run whose outcome on the same tree this is.
    `why_run`: why a remembered outcome could not be used.
    """

    name: str
    about: str
    command: str
    tree: str = field(metadata=value_if_absent(COMBINED_TREE))
    ok: bool
    verifies: bool | None
    unproven: str = ""
    judged: bool = True
    code: int = 0
    timed_out: bool = False
    seconds: float = 0.0
    output: str = ""
    ran: int | None = None
    passed: int | None = None
    new: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    old_count: int = 0
    unknown: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    about_tree: tuple[str, ...] = ()
    missing: str = ""
    reasons: tuple[str, ...] = ()
    remembered: str = optional_field("")
    why_run: str = optional_field("")

    @property
    def is_review(self) -> bool:
        return self.about == ABOUT_REVIEW

    def written_fields(self) -> Sequence[str]:
        if self.is_review:
            return (*REVIEW_KEYS, "missing", "code") if self.missing else (*REVIEW_KEYS, "code", "reasons")
        if self.about == ABOUT_SET_UP:
            return SET_UP_KEYS
        return (*COMMAND_KEYS, *(name for name in ("remembered", "why_run") if getattr(self, name)))

    @property
    def subject(self) -> str:
        """tests, lint, types, syntax or command. In the oldest logs it is the gate's name."""
        return self.about or self.name


class FlakyTest(Record, needs=("name",)):
    """A test that failed without cause in `runs` of the `of` runs that are remembered."""

    name: str
    runs: int
    of: int


class FlakyTests(Payload, kind="flaky_tests", needs=("name",)):
    """The tests of a gate that have had two verdicts on the same tree, in this run or an earlier one."""

    name: str
    tests: tuple[FlakyTest, ...]


class LostTests(Record):
    """Tests of the base with another outcome now. `ran` of `of`: the numbers, if the names are unknown."""

    missing: tuple[str, ...]
    skipped: tuple[str, ...]
    expected: tuple[str, ...]
    ran: int | None
    of: int | None


class NewTest(Record, needs=("name",)):
    """A new test, and how it ended on the base and on the result."""

    name: str
    base: str
    result: str


class WeakenedTest(Record, needs=("file",)):
    """Assertions that were removed from a test file, or changed."""

    file: str
    lines: tuple[str, ...]


class TestsJudged(Payload, kind="tests_judged", kw_only=True, needs=("name",)):
    """The passing tests of a gate were examined.

    `changed` are files by which the agents may have decided the outcome, `wrote`: all tests are theirs. `bent`: why
    the tests verify nothing. `key`: the trees of result and base, and the gate.
    """

    __test__ = False  # otherwise pytest collects it by its name

    name: str
    key: tuple[str, ...]
    holds: bool = field(metadata=value_if_absent(True))
    changed: tuple[str, ...]
    wrote: bool
    lost: LostTests
    bent: str
    runner: str
    remarks: tuple[str, ...]
    fresh: tuple[NewTest, ...]
    weaker: tuple[WeakenedTest, ...]
