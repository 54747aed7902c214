"""Decide whether tests verify a result.

They do if they pass with the base's tests and set-up, if no test of the base is lost, and if the runner reports a test
that must fail.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from orchestra.errors import SetUpFailed
from orchestra.gates.compare import Comparison, why_unproven
from orchestra.gates.control import (
    PYTHON,
    command_steps,
    control_candidates,
    control_files,
    control_name,
    find_runner,
    find_set_up_files,
    is_control_reported,
    needs_no_plugins,
)
from orchestra.gates.readers import PASSED
from orchestra.gates.recorded_tests import (
    RAN,
    LostTestNames,
    RecordedTests,
    file_of_test,
    files_of_tests,
    find_lost_tests,
    function_of,
)
from orchestra.gates.run import ChosenTests, GateOutcome
from orchestra.judge.decisive_files import (
    DecisiveFiles,
    TreeChange,
    asks_to_remove_test,
    find_decisive_files,
    is_test_path,
    list_weakened_asserts,
    restore_inline_tests,
    third_party_imports,
)
from orchestra.judge.manifests import manifest_reader
from orchestra.judge.permit import Permit
from orchestra.judge.protected import is_test_setup
from orchestra.judge.static_tests import static_tests
from orchestra.model import Gate
from orchestra.workspace.base_files import FileListing, commit_base_versions, differing_paths, list_files, read_files
from orchestra.workspace.git import Git

MOST_NAMED = 40
MOST_WEAKENED = 10
MOST_TESTS = 2_000  # test files that are read to list their tests without a run
LARGEST = 400_000  # bytes of a test file that is read
# Set-up files that may name others: scripts, plug-ins.
NAMING = ("conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml")


class GateRuns(Protocol):
    """Runs gates; no tree is gated twice. `compare` is with the base's outcome; a run of the base may be recalled. Code
    under test cannot guess a control word."""

    async def compare(self, commit: str, gate: Gate, label: str) -> tuple[GateOutcome, Comparison]: ...
    async def run_on_base(self, gate: Gate) -> GateOutcome: ...
    def recall_base_run(self, gate: Gate) -> GateOutcome | None: ...
    async def run_choice(self, commit: str, gate: Gate, label: str, choice: ChosenTests) -> GateOutcome: ...
    def control_word(self, tree: str, gate: Gate) -> str: ...


@dataclass(frozen=True)
class SuiteJudgement:
    """What a gate's tests are worth.

    `changed`: files by which agents may have influenced the outcome. `wrote`: the base has no tests, so all tests are
    the agents'. `lost`: tests of the base that did not run as before, without a request. `bent`: why nothing is
    verified at all. `fresh`: new tests, each with its outcome on base and result. `weaker`: assertions that were
    removed, by file.
    """

    changed: tuple[str, ...] = ()
    wrote: bool = False
    lost: LostTestNames = field(default_factory=LostTestNames)
    bent: str = ""
    runner: str = ""
    remarks: tuple[str, ...] = ()
    fresh: tuple[tuple[str, str, str], ...] = ()
    weaker: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def holds(self) -> bool:
        return not (self.changed or self.wrote or self.lost or self.bent)


@dataclass
class SuiteEvidence:
    """What is known about base and result before any test runs."""

    git: Git
    index: Path  # an index file for git, apart from the user's
    base: str
    head: str
    before: FileListing
    now: FileListing
    change: TreeChange
    texts: dict[str, bytes]  # the base's tests and set-up files
    commands: tuple[str, ...]
    permit: Permit
    owners: Collection[str]

    @cached_property
    def judging(self) -> DecisiveFiles:
        """The files that decide the outcome. Of set-up files that name others, only those near the root are read."""
        naming = [path for path in self.texts if PurePosixPath(path).name in NAMING and path.count("/") < 3]
        steps = [step for command in self.commands for step in command_steps(command, self.set_up_texts)]
        return find_decisive_files(self.change, [*self.commands, *steps], [self.text(path) for path in naming])

    @property
    def set_up_texts(self) -> dict[str, str]:
        return {path: self.text(path) for path in find_set_up_files(self.texts)}

    @cached_property
    def inline(self) -> dict[str, bytes]:
        """Changed product files that contain tests, with the base's tests in them."""
        found = dict[str, bytes]()
        for path in self.change.paths:
            before, after = self.change.before.get(path), self.change.after.get(path)
            if before and after and (content := restore_inline_tests(path, before, after)):
                found[path] = content
        return found

    def text(self, path: str) -> str:
        return self.texts.get(path, b"").decode("utf-8", "replace")

    def is_requested(self, path: str) -> bool:
        return path in self.owners or self.permit.covers(path)

    async def restore_base_files(self, paths: Sequence[str]) -> str:
        return await commit_base_versions(self.git, self.index, self.head, paths, self.before, self.now, self.inline)


async def gather_suite_evidence(
    git: Git, index: Path, base: str, head: str, gates: Sequence[Gate], permit: Permit, owners: Collection[str]
) -> SuiteEvidence:
    before, now = await list_files(git, base), await list_files(git, head)
    changed = differing_paths(before, now)
    looked_at = [
        path
        for path in changed
        if manifest_reader(path) or is_test_path(path) or is_test_setup(path) or path.endswith(".rs")
    ]
    old, new = await read_files(git, before, looked_at), await read_files(git, now, looked_at)
    python_tests = {path for path in before.files if is_test_path(path) and path.endswith(".py")}
    test_paths = [path for path in before.files if path in python_tests or PurePosixPath(path).name in NAMING]
    if len(test_paths) > MOST_TESTS:
        test_paths = [path for path in test_paths if not is_test_path(path)]
    texts = await read_files(git, before, [*test_paths, *find_set_up_files(before.files)])
    tests = [text.decode("utf-8", "replace") for path, text in texts.items() if path.endswith(".py")]
    asked = [path for path in changed if path in owners or permit.covers(path)]
    change = TreeChange(
        {path: old.get(path, b"") for path in changed if path in before},
        {path: new.get(path, b"") for path in changed if path in now},
        before.files.keys(),
        asked,
        third_party_imports(tests, before.files.keys()),
    )
    commands = tuple(gate.command for gate in gates)
    return SuiteEvidence(git, index, base, head, before, now, change, texts, commands, permit, owners)


async def judge_tests(evidence: SuiteEvidence, gate: Gate, outcome: GateOutcome, runs: GateRuns) -> SuiteJudgement:
    """Judge the tests of a gate that passed on the result with `outcome`."""
    return await SuiteTrial(evidence, gate, outcome, runs).judge()


class SuiteTrial:
    """The trial of one gate's tests on one result."""

    def __init__(self, material: SuiteEvidence, gate: Gate, outcome: GateOutcome, runs: GateRuns) -> None:
        self.evidence = material
        self.gate = gate
        self.outcome = outcome
        self.runs = runs
        self.last, self.commit = outcome, material.head  # with the base's tests, if they pass there
        self.remarks: list[str] = []

    async def judge(self) -> SuiteJudgement:
        judging = self.evidence.judging
        touched = bool(judging.paths or self.evidence.inline)
        wrote = touched and not await self.has_base_tests()
        changed = await self.find_needed_changes(judging) if touched and not wrote else ()
        lost = LostTestNames() if wrote else await self.find_lost()
        runner = self.runner
        bent = await self.check_control(runner)
        weaker = self.find_weaker(judging)
        fresh = await self.try_new_tests(judging)
        return SuiteJudgement(changed, wrote, lost, bent, runner, tuple(self.remarks), fresh, weaker)

    @property
    def runner(self) -> str:
        return find_runner(self.gate.command, self.evidence.set_up_texts, self.last.roll)

    # --- with the base's tests ---

    async def find_needed_changes(self, judging: DecisiveFiles) -> tuple[str, ...]:
        """List the changed files without which the tests fail; empty if they pass without any."""
        material, paths = self.evidence, judging.paths
        versions = [await material.restore_base_files(paths)]
        if judging.sure and judging.doubtful:
            versions.insert(0, await material.restore_base_files(judging.sure))
        for number, commit in enumerate(versions):
            if not await self.passes(commit, f"base-tests{number or ''}"):
                return tuple(sorted({*paths, *material.inline}))
        return ()

    async def has_base_tests(self) -> bool:
        """Whether the base has tests. Tests inside product files are known only from a run."""
        if any(is_test_path(path) for path in self.evidence.before.files) or self.evidence.inline:
            return True
        return bool((await self.runs.run_on_base(self.gate)).reading.counts.ran)

    async def passes(self, commit: str, label: str) -> bool:
        try:
            outcome, compared = await self.runs.compare(commit, self.gate, label)
        except SetUpFailed:
            return False
        if compared.new or compared.unknown or why_unproven(outcome, compared):
            return False
        self.last, self.commit = outcome, commit
        return True

    # --- the base's tests by name ---

    async def find_lost(self) -> LostTestNames:
        base = self.runs.recall_base_run(self.gate)
        roll = base.roll if base else self.expected_roll()
        if not (roll or base or self.runner or self.last.roll or self.last.reading.counts.ran):
            return LostTestNames()  # the base's output would not list them either
        if not roll:
            base = base or await self.runs.run_on_base(self.gate)
            roll = base.roll
        if roll and self.outcome.roll:
            here = self.without_requested(find_lost_tests(roll, self.outcome.roll))
            if here or self.last is self.outcome or not self.last.roll:
                return here
            return find_lost_tests(roll, self.last.roll) or here
        if roll.runner in PYTHON:  # Python's runners record the names themselves
            return LostTestNames(ran=0, of=len(roll.names_with(*RAN)))
        return self.find_lost_by_count(base)

    def find_lost_by_count(self, base: GateOutcome | None) -> LostTestNames:
        """Compare the number of tests if the runner names none: as many must run as on the base."""
        of = base.reading.counts.ran if base else None
        runs = [self.last] if self.is_requested("") else [self.last, self.outcome]
        ran = min(one.reading.counts.ran or 0 for one in runs)
        return LostTestNames(ran=ran, of=of) if of and ran < of else LostTestNames()

    def expected_roll(self) -> RecordedTests:
        """Return the base's tests without running the base: if its files list just those that passed with them."""
        roll = self.last.roll
        if roll.runner not in PYTHON or roll.names_with(PASSED) != roll.tests.keys():
            return RecordedTests()
        if self.last is self.outcome and (self.evidence.judging.paths or self.evidence.inline):
            return RecordedTests()
        listed, pytest = set[str](), roll.runner == "pytest"
        files = set(files_of_tests(roll.tests, self.evidence.before.files))
        for path in files | {path for path in self.evidence.texts if is_python_test(path)}:
            tests = static_tests(self.evidence.text(path)) if path else None
            if tests is None:
                return RecordedTests()
            stem = path if pytest else PurePosixPath(path).stem
            names = ((stem, owner, name) for owner, name in tests if owner or pytest)
            listed |= {("::" if pytest else ".").join(filter(None, parts)) for parts in names}
        passed = {function_of(name) if pytest else ".".join(name.split(".")[-3:]) for name in roll.tests}
        return roll if listed == passed else RecordedTests()

    def without_requested(self, lost: LostTestNames) -> LostTestNames:
        """Leave out the tests whose removal a task was asked for."""
        kinds = (lost.missing, lost.skipped, lost.expected)
        missing, skipped, expected = (tuple(n for n in names if not self.is_requested(n)) for names in kinds)
        return LostTestNames(missing, skipped, expected)

    def is_requested(self, name: str) -> bool:
        """Whether the removal of a test was requested: by its changed file, or by the test's own name."""
        material, files = self.evidence, self.evidence.change.paths
        path = file_of_test(name, set(files))
        if not path and not file_of_test(name, material.before.files):
            tests = [one for one in files if is_test_path(one)]
            return bool(tests) and all(map(material.is_requested, tests))
        test = function_of(name).replace("::", ".").rpartition(".")[2]
        by_file = bool(path) and material.is_requested(path)
        return by_file or any(asks_to_remove_test(text, test) for text in material.permit.words)

    # --- a test that must fail ---

    async def check_control(self, runner: str) -> str:
        """Return why the runner cannot be trusted; empty if it reports our failing test, or cannot be tested."""
        material = self.evidence
        if runner == "pytest" and "::" in self.gate.command:
            self.remarks.append(f"{self.gate.name} names single tests, so no control test could be added.")
            return ""
        if not runner:
            why = "no control test was added, so only its exit code counts"
            self.remarks.append(f"The runner behind {self.gate.name} is unknown: {why}.")
            return ""
        tree = await material.git.text("rev-parse", f"{self.commit}^{{tree}}")
        name = control_name(self.last.roll, self.runs.control_word(tree, self.gate))
        listing = material.now if self.commit == material.head else await list_files(material.git, self.commit)
        paths = control_candidates(runner, listing.files, self.last.roll)
        found = await read_files(material.git, listing, paths)
        texts = {path: text.decode("utf-8", "surrogateescape") for path, text in found.items()}
        made = control_files(runner, name, texts)
        if not made:
            self.remarks.append(f"No control test could be added to the tests of {self.gate.name}.")
            return ""
        contents = {path: text.encode("utf-8", "surrogateescape") for path, text in made.items()}
        reported = await self.is_reported(ChosenTests(control=name if runner == "pytest" else "", files=contents), name)
        return "" if reported else "did not report a control test that must fail"

    async def is_reported(self, choice: ChosenTests, name: str) -> bool:
        """Whether the failing test is reported: first without plug-ins, if none is named, with the base's set-up."""
        material = self.evidence
        settled = self.commit != material.head or not material.judging.paths
        plain = settled and needs_no_plugins(self.gate.command, map(material.text, material.texts))
        for bare in [True, False] if choice.control and plain else [False]:
            try:
                outcome = await self.runs.run_choice(self.commit, self.gate, "control", replace(choice, bare=bare))
            except SetUpFailed:
                return True
            if is_control_reported(outcome, name, choice.files):
                return True
        return False

    # --- what was made of the tests ---

    def find_weaker(self, judging: DecisiveFiles) -> tuple[tuple[str, tuple[str, ...]], ...]:
        change = self.evidence.change
        found = []
        for path in [*judging.paths, *self.evidence.inline]:
            before, after = change.before.get(path), change.after.get(path)
            if before and after and is_test_path(path) and max(len(before), len(after)) < LARGEST:
                lines = list_weakened_asserts(before.decode("utf-8", "replace"), after.decode("utf-8", "replace"))
                found += [(path, tuple(lines))] if lines else []
        return tuple(found[:MOST_WEAKENED])

    async def try_new_tests(self, judging: DecisiveFiles) -> tuple[tuple[str, str, str], ...]:
        """Run new tests on the base too, where they should fail."""
        material, roll = self.evidence, self.outcome.roll
        touched = [path for path in judging.sure if path in material.now and is_test_path(path)]
        if not touched or not roll:
            return ()
        base = self.runs.recall_base_run(self.gate)
        old = {function_of(name) for name in (base.roll.tests if base else self.last.roll.tests)}
        fresh = [name for name in roll.tests if function_of(name) not in old and file_of_test(name, touched)]
        # The names of the base's tests are known only from its own run or from a run with its tests.
        if not fresh or (base is None and self.last is self.outcome):
            return ()
        git, now, before = material.git, material.now, material.before
        commit = await commit_base_versions(git, material.index, material.base, judging.sure, now, before)
        try:
            choice = ChosenTests(only=fresh if roll.runner == "pytest" else ())
            there = await self.runs.run_choice(commit, self.gate, "new-tests", choice)
        except SetUpFailed:
            return ()
        on_base, on_result = there.roll.tests, roll.tests
        return tuple((name, on_base.get(name, "failed"), on_result[name]) for name in sorted(fresh)[:MOST_NAMED])


def is_python_test(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.endswith("_test.py") or (name.startswith("test") and name.endswith(".py"))
