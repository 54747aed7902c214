"""Whether tests verify a result: they pass with the base's tests and set-up, none of the base's is lost, and the runner
reports a test that must fail."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from orchestra.errors import SetUpFailed
from orchestra.gates.compare import Comparison
from orchestra.gates.control import (
    PYTHON,
    candidates,
    control_files,
    control_name,
    find_runner,
    is_reported,
    needs_no_plugins,
    set_up_texts,
    steps_of,
)
from orchestra.gates.proof import unproven
from orchestra.gates.roll import PASSED, RAN, Lost, Roll, file_of, files_of, find_lost, function_of
from orchestra.gates.run import Choice, Outcome
from orchestra.judge.expected import plain_tests
from orchestra.judge.judging import (
    Change,
    Judging,
    asks_to_take_out,
    find_judging,
    foreign_imports,
    is_test,
    weakened,
    with_base_tests,
)
from orchestra.judge.manifests import reader_of
from orchestra.judge.permit import Permit
from orchestra.judge.protected import is_test_setup
from orchestra.model import Gate
from orchestra.workspace.base_files import Listing, differing, list_files, read_files, restore
from orchestra.workspace.git import Git

MOST_NAMED = 40
MOST_WEAKENED = 10
MOST_TESTS = 2_000  # files of tests that are read to know their tests without a run
LARGEST = 400_000  # bytes of a test file that is looked into
# Set-up files that may name others: scripts, plug-ins.
NAMING = ("conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml")


class Runs(Protocol):
    """Who runs gates. No tree is gated twice."""

    async def compare(self, commit: str, gate: Gate, label: str) -> tuple[Outcome, Comparison]:
        """What the gate says of a tree, and how that compares with the base."""
        ...

    async def on_base(self, gate: Gate) -> Outcome: ...

    def known_base(self, gate: Gate) -> Outcome | None:
        """The run on the base, if there was one."""
        ...

    async def once(self, commit: str, gate: Gate, label: str, choice: Choice) -> Outcome: ...


@dataclass(frozen=True)
class Judged:
    """What the tests of a gate are worth. `changed` are the files by which their outcome may be the agents' doing,
    `wrote`: the base has no tests, so that all of them are the agents'. `lost` are tests of the base that did not run
    as they did there, unasked. `bent` is why nothing at all is verified. `fresh` are new tests, each with what it says
    on the base and on the result; `weaker` the assertions that were taken out, by file."""

    changed: tuple[str, ...] = ()
    wrote: bool = False
    lost: Lost = field(default_factory=Lost)
    bent: str = ""
    runner: str = ""
    remarks: tuple[str, ...] = ()
    fresh: tuple[tuple[str, str, str], ...] = ()
    weaker: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def holds(self) -> bool:
        return not (self.changed or self.wrote or self.lost or self.bent)


@dataclass
class Material:
    """What is known of base and result before any test runs."""

    git: Git
    index: Path  # a file of our own for git's index
    base: str
    head: str
    before: Listing
    now: Listing
    change: Change
    texts: dict[str, bytes]  # the base's tests and set-up files
    commands: tuple[str, ...]
    permit: Permit
    owners: Collection[str]

    @cached_property
    def judging(self) -> Judging:
        named = [self.text(path) for path in self.texts if PurePosixPath(path).name in NAMING and is_naming(path)]
        texts = {path: self.text(path) for path in set_up_texts(self.texts)}
        steps = [step for command in self.commands for step in steps_of(command, texts)]
        return find_judging(self.change, [*self.commands, *steps], named)

    @cached_property
    def inline(self) -> dict[str, bytes]:
        """Product files with tests in them that were changed: with the base's tests."""
        found = dict[str, bytes]()
        for path in self.change.paths:
            before, after = self.change.before.get(path), self.change.after.get(path)
            if before and after and (content := with_base_tests(path, before, after)):
                found[path] = content
        return found

    def text(self, path: str) -> str:
        return self.texts.get(path, b"").decode("utf-8", "replace")

    def is_asked(self, path: str) -> bool:
        return path in self.owners or self.permit.covers(path)

    async def with_base(self, paths: Sequence[str]) -> str:
        return await restore(self.git, self.index, self.head, paths, self.before, self.now, self.inline)


def is_naming(path: str) -> bool:
    return path.count("/") < 3


async def gather(
    git: Git, index: Path, base: str, head: str, gates: Sequence[Gate], permit: Permit, owners: Collection[str]
) -> Material:
    before, now = await list_files(git, base), await list_files(git, head)
    changed = differing(before, now)
    looked_at = [
        path for path in changed if reader_of(path) or is_test(path) or is_test_setup(path) or path.endswith(".rs")
    ]
    old, new = await read_files(git, before, looked_at), await read_files(git, now, looked_at)
    told = [
        path for path in before.files if (is_test(path) and path.endswith(".py")) or PurePosixPath(path).name in NAMING
    ]
    told = told if len(told) <= MOST_TESTS else [path for path in told if not is_test(path)]
    texts = await read_files(git, before, [*told, *set_up_texts(before.files)])
    tests = [text.decode("utf-8", "replace") for path, text in texts.items() if path.endswith(".py")]
    asked = [path for path in changed if path in owners or permit.covers(path)]
    change = Change(
        {path: old.get(path, b"") for path in changed if path in before},
        {path: new.get(path, b"") for path in changed if path in now},
        before.files.keys(),
        asked,
        foreign_imports(tests, before.files.keys()),
    )
    commands = tuple(gate.command for gate in gates)
    return Material(git, index, base, head, before, now, change, texts, commands, permit, owners)


async def judge_tests(material: Material, gate: Gate, outcome: Outcome, runs: Runs) -> Judged:
    """`outcome` is that of the gate on the result, which it has passed."""
    return await Trial(material, gate, outcome, runs).judge()


class Trial:
    """One gate's tests on one result."""

    def __init__(self, material: Material, gate: Gate, outcome: Outcome, runs: Runs) -> None:
        self.material = material
        self.gate = gate
        self.outcome = outcome
        self.runs = runs
        self.last, self.commit = outcome, material.head  # with the base's tests, where they pass there
        self.remarks: list[str] = []

    async def judge(self) -> Judged:
        judging = self.material.judging
        touched = bool(judging.paths or self.material.inline)
        wrote = touched and not await self.has_base_tests()
        changed = await self.pass_with_base_tests(judging) if touched and not wrote else ()
        lost = Lost() if wrote else await self.find_lost()
        runner = self.runner
        bent = await self.check_control(runner)
        weaker = self.find_weaker(judging)
        fresh = await self.try_fresh(judging)
        return Judged(changed, wrote, lost, bent, runner, tuple(self.remarks), fresh, weaker)

    @property
    def runner(self) -> str:
        texts = {path: self.material.text(path) for path in set_up_texts(self.material.texts)}
        return find_runner(self.gate.command, texts, self.last.roll)

    # --- with the base's tests ---

    async def pass_with_base_tests(self, judging: Judging) -> tuple[str, ...]:
        """The changed files without whose change the tests do not pass; none where they do."""
        material, paths = self.material, judging.paths
        versions = [await material.with_base(paths)]
        if judging.sure and judging.doubtful:
            versions.insert(0, await material.with_base(judging.sure))
        for number, commit in enumerate(versions):
            if not await self.passes(commit, f"base-tests{number or ''}"):
                return tuple(sorted({*paths, *material.inline}))
        return ()

    async def has_base_tests(self) -> bool:
        """Only a run tells of tests that stand in product files."""
        if any(is_test(path) for path in self.material.before.files) or self.material.inline:
            return True
        return bool((await self.runs.on_base(self.gate)).reading.counts.ran)

    async def passes(self, commit: str, label: str) -> bool:
        try:
            outcome, compared = await self.runs.compare(commit, self.gate, label)
        except SetUpFailed:
            return False
        if compared.new or compared.unknown or unproven(outcome, compared):
            return False
        self.last, self.commit = outcome, commit
        return True

    # --- the base's tests by name ---

    async def find_lost(self) -> Lost:
        base = self.runs.known_base(self.gate)
        roll = base.roll if base else self.expected_roll()
        if not (roll or base or self.runner or self.last.roll or self.last.reading.counts.ran):
            return Lost()  # nor would the base's output tell
        if not roll:
            base = base or await self.runs.on_base(self.gate)
            roll = base.roll
        if roll and self.outcome.roll:
            here = self.without_asked(find_lost(roll, self.outcome.roll))
            there = find_lost(roll, self.last.roll) if self.last is not self.outcome and self.last.roll else Lost()
            return here if here or not there else there
        if roll.runner in PYTHON:  # which write the names down themselves
            return Lost(ran=0, of=len(roll.named(*RAN)))
        return self.find_lost_by_count(base)

    def find_lost_by_count(self, base: Outcome | None) -> Lost:
        """Where nothing tells the tests' names, as many must run as on the base."""
        of = base.reading.counts.ran if base else None
        runs = [self.last] if self.is_asked("") else [self.last, self.outcome]
        ran = min(one.reading.counts.ran or 0 for one in runs)
        return Lost(ran=ran, of=of) if of and ran < of else Lost()

    def expected_roll(self) -> Roll:
        """The base's tests without a run of the base: if its files say plainly which there are, and just these have
        passed with the base's tests."""
        roll = self.last.roll
        if roll.runner not in PYTHON or roll.named(PASSED) != roll.tests.keys():
            return Roll()
        if self.last is self.outcome and (self.material.judging.paths or self.material.inline):
            return Roll()
        found = set[str]()
        files = set(files_of(roll.tests, self.material.before.files))
        for path in files | {path for path in self.material.texts if is_python_test(path)}:
            tests = plain_tests(self.material.text(path)) if path else None
            if tests is None:
                return Roll()
            found |= {
                self.called(roll.runner, path, owner, name) for owner, name in tests if owner or roll.runner == "pytest"
            }
        return roll if found == {self.short(roll.runner, name) for name in roll.tests} else Roll()

    def called(self, runner: str, path: str, owner: str, name: str) -> str:
        stem = path if runner == "pytest" else PurePosixPath(path).stem
        return ("::" if runner == "pytest" else ".").join(filter(None, (stem, owner, name)))

    def short(self, runner: str, name: str) -> str:
        return function_of(name) if runner == "pytest" else ".".join(name.split(".")[-3:])

    def without_asked(self, lost: Lost) -> Lost:
        """Those that no task was asked to take out."""
        missing, skipped, expected = (
            tuple(name for name in names if not self.is_asked(name))
            for names in (lost.missing, lost.skipped, lost.expected)
        )
        return Lost(missing, skipped, expected)

    def is_asked(self, name: str) -> bool:
        """By its file, if that was changed and a task owns it or a person has named it, or by its own name."""
        material, files = self.material, self.material.change.paths
        path = file_of(name, set(files))
        if not path and not file_of(name, material.before.files):
            tests = [one for one in files if is_test(one)]
            return bool(tests) and all(map(material.is_asked, tests))
        words = function_of(name).replace("::", ".").rpartition(".")[2]
        return (bool(path) and material.is_asked(path)) or any(
            asks_to_take_out(text, words) for text in material.permit.words
        )

    # --- a test that must fail ---

    async def check_control(self, runner: str) -> str:
        """Why the runner cannot be believed; empty if it reports our test as failed, or nothing can be told."""
        material = self.material
        if runner == "pytest" and "::" in self.gate.command:
            self.remarks.append(f"{self.gate.name} names single tests, so that none of ours could be put beside them.")
            return ""
        if not runner:
            self.remarks.append(
                f"The runner behind {self.gate.name} is not known here: no test of ours that must fail was put beside "
                "its tests, so that its exit code alone counts."
            )
            return ""
        name = control_name(self.last.roll, secrets.token_hex(6))
        listing = material.now if self.commit == material.head else await list_files(material.git, self.commit)
        paths = candidates(runner, listing.files, self.last.roll)
        found = await read_files(material.git, listing, paths)
        texts = {path: text.decode("utf-8", "surrogateescape") for path, text in found.items()}
        made = control_files(runner, name, texts)
        if not made:
            self.remarks.append(f"No test of ours that must fail could be put beside the tests of {self.gate.name}.")
            return ""
        contents = {path: text.encode("utf-8", "surrogateescape") for path, text in made.items()}
        reported = await self.is_reported(Choice(control=name if runner == "pytest" else "", files=contents), name)
        return "" if reported else "did not report a test of ours that must fail"

    async def is_reported(self, choice: Choice, name: str) -> bool:
        """First without the plug-ins that are installed, where the project names none and the base's set-up stands."""
        material = self.material
        settled = self.commit != material.head or not material.judging.paths
        plain = settled and needs_no_plugins(self.gate.command, map(material.text, material.texts))
        for bare in [True, False] if choice.control and plain else [False]:
            try:
                outcome = await self.runs.once(self.commit, self.gate, "control", replace(choice, bare=bare))
            except SetUpFailed:
                return True
            if is_reported(outcome, name, choice.files):
                return True
        return False

    # --- what was made of the tests ---

    def find_weaker(self, judging: Judging) -> tuple[tuple[str, tuple[str, ...]], ...]:
        change = self.material.change
        found = []
        for path in [*judging.paths, *self.material.inline]:
            before, after = change.before.get(path), change.after.get(path)
            if before and after and is_test(path) and max(len(before), len(after)) < LARGEST:
                lines = weakened(before.decode("utf-8", "replace"), after.decode("utf-8", "replace"))
                found += [(path, tuple(lines))] if lines else []
        return tuple(found[:MOST_WEAKENED])

    async def try_fresh(self, judging: Judging) -> tuple[tuple[str, str, str], ...]:
        """New tests, with what they say on the base: they should fail there."""
        material, roll = self.material, self.outcome.roll
        touched = [path for path in judging.sure if path in material.now and is_test(path)]
        if not touched or not roll:
            return ()
        base = self.runs.known_base(self.gate)
        old = {function_of(name) for name in (base.roll.tests if base else self.last.roll.tests)}
        fresh = (
            [n for n in roll.tests if function_of(n) not in old and file_of(n, touched)] if self.knows_old(base) else []
        )
        if not fresh:
            return ()
        commit = await restore(material.git, material.index, material.base, judging.sure, material.now, material.before)
        try:
            choice = Choice(only=fresh if roll.runner == "pytest" else ())
            there = await self.runs.once(commit, self.gate, "new-tests", choice)
        except SetUpFailed:
            return ()
        return tuple(
            (name, there.roll.tests.get(name, "failed"), roll.tests[name]) for name in sorted(fresh)[:MOST_NAMED]
        )

    def knows_old(self, base: Outcome | None) -> bool:
        """Whether the names of the base's tests are known: from its run, or from a run with its tests."""
        return base is not None or self.last is not self.outcome


def is_python_test(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.endswith("_test.py") or (name.startswith("test") and name.endswith(".py"))
