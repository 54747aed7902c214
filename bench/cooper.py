"""Merge pairs of right features that git cannot merge, and let their own tests judge the result.

python -m bench.cooper DATASET --repositories FOLDER [--task NAME ...] [--pairs 100] [--show]

DATASET is a clone of CooperBench: tasks on real repositories, each with several features, which are patches with tests
of their own. FOLDER has the clones of these repositories, as `NAME`, `OWNER/NAME` or `OWNER+NAME/repo`. Nothing of
either is changed or kept.

Of each pair in conflict, the program's proposals are proven as in a run. The proof sees one half of each feature's
tests, by a fixed hash of their names, and the tests that were there before; the other half judges what was accepted.
Features with a single test have no other half, so their pairs are counted apart.
"""

import argparse
import asyncio
import hashlib
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

from orchestra.judge.merge_proof import MergeCheck, Side, prove_merge
from orchestra.merging.trust import Trust
from orchestra.workspace.git import Git
from orchestra.workspace.merge import ask_git_version, merge_objects
from orchestra.workspace.reconcile import ProposedMerge, drop_edit, propose_trees
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Trees

COLUMNS = ("pairs", "git", "conflicts", "by form", "accepted", "wrong", "refused", "no proposal", "single", "seconds")
TIMEOUT = 300
SEED = 7
# Packages that the tests of these repositories import, beside what they need themselves.
TOOLS = ("pytest", "pytest-mock", "pytz", "pydantic", "trio", "hypothesis", "regex")
HEADER = re.compile(r"^\+\+\+ b/(.+)$", re.MULTILINE)
CLONED = re.compile(r"git clone \S*github\.com/([\w.-]+)/([\w-]+)")
BASE = re.compile(r"git (?:checkout|reset --hard) ([0-9a-f]{40})")


@dataclass(frozen=True)
class Feature:
    number: int
    patch: bytes
    tests: bytes

    @property
    def test_files(self) -> list[str]:
        files = HEADER.findall(self.tests.decode("utf-8", "replace"))
        return [path for path in files if path.endswith(".py") and "conftest" not in path]


@dataclass
class Tally:
    """What became of the pairs of one repository."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        self.counts += other.counts
        self.seconds += other.seconds
        self.wrong += other.wrong
        self.refused += other.refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--task", nargs="+", default=[], help="only tasks whose name has one of these texts")
    parser.add_argument("--pairs", type=int, default=100, help="of all tasks, drawn by a fixed seed; 0: all")
    parser.add_argument("--no-tests", action="store_true", help="only count what is proposed")
    parser.add_argument("--show", action="store_true", help="print each pair")
    arguments = parser.parse_args()
    dataset = Dataset(arguments.dataset.resolve())
    names = [name for name in dataset.tasks if not arguments.task or any(text in name for text in arguments.task)]
    pairs = [(name, pair) for name in names for pair in combinations(dataset.features(name), 2)]
    if arguments.pairs and len(pairs) > arguments.pairs:
        pairs = sorted(random.Random(SEED).sample(pairs, arguments.pairs), key=lambda each: names.index(each[0]))
    whole = Tally()
    print(" ".join(f"{column:>11}" for column in COLUMNS))
    for name in dict.fromkeys(name for name, _ in pairs):
        with tempfile.TemporaryDirectory() as folder:
            project = make_project(dataset, name, arguments.repositories, Path(folder))
            if project is None:
                continue
            own = [pair for each, pair in pairs if each == name]
            tally = asyncio.run(merge_pairs(project, own, tests=not arguments.no_tests, show=arguments.show))
        print(format_row(tally), name, flush=True)
        whole.add(tally)
    print(format_row(whole), "all")
    report(whole)
    return 0


def report(whole: Tally) -> None:
    counts = whole.counts
    decided = counts["accepted"] + counts["refused"] + counts["no proposal"]
    print(f"accepted of the conflicts: {share(counts['accepted'], decided)}")
    print(f"wrong of the accepted: {share(counts['wrong'], counts['accepted'])}")
    for why, count in whole.refused.most_common():
        print(f"{count:>4} refused: {why}")
    for each in whole.wrong:
        print(f"wrong: {each}")


def share(part: int, of: int) -> str:
    """A share with its 95 % interval after Wilson."""
    if not of:
        return "none"
    z, p = 1.96, part / of
    middle, width = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    low, high = (max(0.0, (middle + sign * width) / (1 + z * z / of)) for sign in (-1, 1))
    return f"{part} of {of}, {p:.1%} ({low:.1%} to {high:.1%})"


def format_row(tally: Tally) -> str:
    cells = [f"{tally.counts[column]:>11}" for column in COLUMNS[:-1]]
    return " ".join([*cells, f"{tally.seconds:>11.0f}"])


@dataclass(frozen=True)
class Dataset:
    """The data set in git, read at HEAD."""

    root: Path

    def read(self, path: str) -> bytes:
        return git(self.root, "show", f"HEAD:dataset/{path}")

    @cached_property
    def files(self) -> list[str]:
        return git(self.root, "ls-tree", "-r", "--name-only", "HEAD", "dataset").decode().splitlines()

    @cached_property
    def tasks(self) -> list[str]:
        found = (path.split("/")[1:3] for path in self.files if path.endswith("/feature.patch"))
        return sorted({"/".join(parts) for parts in found})

    def features(self, task: str) -> list[Feature]:
        numbers = [int(number) for path in self.files for number in re.findall(f"{task}/feature(\\d+)/feature.p", path)]
        return [
            Feature(n, self.read(f"{task}/feature{n}/feature.patch"), self.read(f"{task}/feature{n}/tests.patch"))
            for n in sorted(numbers)
        ]


def make_project(dataset: Dataset, task: str, repositories: Path, folder: Path) -> "Project | None":
    """Clone the repository of a task at its base; none if its clone is not there, or has not that commit."""
    docker = dataset.read(f"{task}/Dockerfile").decode()
    place, base = CLONED.search(docker), BASE.search(docker)
    assert place and base, f"{task}: its Dockerfile names no repository and commit"
    owner, name = place[1], place[2]
    choices = (name, f"{owner}/{name}", f"{owner}+{name}/repo", f"{name}.git")
    found = next((repositories / each for each in choices if (repositories / each).exists()), None)
    if found is None:
        print(f"{task}: there is no clone of {owner}/{name} in {repositories}", file=sys.stderr)
        return None
    root = folder / "clone"
    subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", str(found), str(root)], check=True)
    try:
        git(root, "checkout", "-q", "--detach", base[1])
    except subprocess.CalledProcessError:
        print(f"{task}: the clone of {owner}/{name} has no commit {base[1]}", file=sys.stderr)
        return None
    return Project(task, root, base[1], folder)


Outcomes = Mapping[str, bool]


@dataclass
class Project:
    """A repository at the base of a task, and what was run in it."""

    task: str
    root: Path
    base: str
    folder: Path
    ran: dict[tuple[str, int], Outcomes] = field(default_factory=dict)

    @cached_property
    def python(self) -> Path:
        """An environment with what the tests need; the package itself is imported from the worktree."""
        made = self.folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
        python = made / "bin" / "python"
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, *TOOLS], check=True, capture_output=True)
        subprocess.run([*install, str(self.root)], check=True, capture_output=True)
        return python

    def apply(self, tree: str, patch: bytes) -> str:
        """Return the tree with a patch; raises if it does not apply."""
        index = self.folder / "index"
        git(self.root, "read-tree", tree, index=index)
        git(self.root, "apply", "--cached", "--ignore-whitespace", "-", input=patch, index=index)
        return git(self.root, "write-tree", index=index).decode().strip()

    def commit(self, tree: str) -> str:
        return git(self.root, "commit-tree", tree, "-p", self.base, "-m", "feature").decode().strip()

    def run(self, tree: str, feature: Feature) -> Outcomes:
        """Run the files of a feature's tests on a tree with them, and return which tests passed."""
        key = (tree, feature.number)
        if key not in self.ran:
            self.ran[key] = self.run_tests(self.apply(tree, feature.tests), feature.test_files)
        return self.ran[key]

    def run_tests(self, tree: str, files: Sequence[str]) -> Outcomes:
        git(self.root, "read-tree", "--reset", "-u", tree)
        git(self.root, "clean", "-ffdxq")
        report = self.folder / "junit.xml"
        report.unlink(missing_ok=True)
        command = [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        path = os.pathsep.join(str(each) for each in (self.root / "src", self.root) if each.is_dir())
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            subprocess.run(command, cwd=self.root, env=env, capture_output=True, timeout=TIMEOUT)
            cases = ElementTree.parse(report).getroot().iter("testcase")
        except (subprocess.TimeoutExpired, OSError, ElementTree.ParseError):
            return {}
        found: dict[str, bool] = {}
        for case in cases:  # the parameters of a test may have another name in the next run
            name = f"{case.get('classname')}::{str(case.get('name')).partition('[')[0]}"
            found[name] = found.get(name, True) and not list(case)
        return found


@dataclass(frozen=True)
class OwnTests:
    """The tests of a feature: what the proof may see, what judges, and what passed before and must still pass."""

    seen: frozenset[str]
    hidden: frozenset[str]
    old: frozenset[str]


def find_own_tests(project: Project, feature: Feature, tree: str) -> OwnTests:
    base = f"{project.base}^{{tree}}"
    base_tree = git(project.root, "rev-parse", base).decode().strip()
    before, after = (project.run(each, feature) for each in (base_tree, tree))
    passing = {name for name, passed in after.items() if passed}
    own = sorted((name for name in passing if not before.get(name)), key=digest_name)
    half = (len(own) + 1) // 2
    return OwnTests(frozenset(own[:half]), frozenset(own[half:]), frozenset(passing - {*own}))


def digest_name(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


async def merge_pairs(project: Project, pairs: Sequence[tuple[Feature, Feature]], *, tests: bool, show: bool) -> Tally:
    trees, tally = Trees(await open_repository(project.root), project.folder / "trees"), Tally()
    version = await ask_git_version(trees)
    assert version >= (2, 38), "git 2.38 or newer is needed"
    made: dict[int, str] = {}
    own: dict[int, OwnTests] = {}
    for ours, theirs in pairs:
        for each in (ours, theirs):
            if each.number not in made:
                made[each.number] = project.commit(project.apply(project.base, each.patch))
        one, two = made[ours.number], made[theirs.number]
        tally.counts["pairs"] += 1
        if not (await merge_objects(trees.repository.git, project.base, one, two)).conflicts:
            tally.counts["git"] += 1
            continue
        if tests:
            for each in (ours, theirs):
                if each.number not in own:
                    tree = git(project.root, "rev-parse", f"{made[each.number]}^{{tree}}").decode().strip()
                    own[each.number] = find_own_tests(project, each, tree)
            if not all(own[each.number].seen for each in (ours, theirs)):
                tally.counts["not run here"] += 1
                continue
        began = time.monotonic()
        proposals = await propose_trees(trees, project.base, one, two)
        tally.counts["conflicts"] += 1
        tally.counts["by form"] += bool(proposals and proposals[0].trust < Trust.BY_TESTS)
        said = await decide(project, (ours, theirs), own, proposals, tally) if tests else f"{len(proposals)} proposals"
        tally.counts["no proposal"] += not proposals
        tally.seconds += time.monotonic() - began
        if show:
            print(f"  {project.task} {ours.number} and {theirs.number}: {said}", flush=True)
    return tally


async def decide(
    project: Project,
    pair: tuple[Feature, Feature],
    own: Mapping[int, OwnTests],
    proposals: Sequence[ProposedMerge],
    tally: Tally,
) -> str:
    """Prove one proposal after the other, as a run does, and judge the first that is proven by the hidden tests."""
    sides = [own[each.number] for each in pair]
    single = not all(side.hidden for side in sides)
    why = ""
    for proposal in proposals:
        why = await prove(project, pair, own, proposal)
        if why:
            continue
        failed = failing(project, pair, proposal.tree, [side.hidden for side in sides])
        if single:
            tally.counts["single"] += 1
            return f"accepted ({proposal.name}); a feature has one test only"
        tally.counts["accepted"] += 1
        if failed:
            tally.counts["wrong"] += 1
            about = f"{project.task} {pair[0].number} and {pair[1].number} ({proposal.name}): {', '.join(failed[:3])}"
            tally.wrong.append(about)
        return f"{'wrong' if failed else 'right'} ({proposal.name}) {', '.join(failed[:3])}"
    if proposals and single:
        tally.counts["single"] += 1
    elif proposals:
        tally.counts["refused"] += 1
        tally.refused[re.sub(r"feature\d+", "a feature", why)] += 1
    return f"refused: {why}" if proposals else "no proposal"


async def prove(
    project: Project, pair: tuple[Feature, Feature], own: Mapping[int, OwnTests], proposal: ProposedMerge
) -> str:
    asking = prove_merge(proposal.trust, (f"feature{pair[0].number}", f"feature{pair[1].number}"))
    side = next(asking)
    while True:
        tree = proposal.tree
        if side is not Side.NEITHER:
            index = project.folder / "index"
            tree = await drop_edit(Git(project.root), index, tree, proposal.files, ours=side is Side.OURS)
        seen = [
            own[each.number].seen | (own[each.number].old if side is Side.NEITHER else frozenset()) for each in pair
        ]
        failed = failing(project, pair, tree, seen)
        try:
            side = asking.send(MergeCheck("tests fail" if failed else "", ran=True))
        except StopIteration as known:
            return str(known.value)


def failing(project: Project, pair: tuple[Feature, Feature], tree: str, wanted: Sequence[frozenset[str]]) -> list[str]:
    """Return which of the wanted tests do not pass on the tree."""
    found = []
    for feature, names in zip(pair, wanted, strict=True):
        outcomes = project.run(tree, feature) if names else {}
        found += sorted(name for name in names if not outcomes.get(name))
    return found


def git(root: Path, *words: str, input: bytes = b"", index: Path | None = None) -> bytes:
    command = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", *words]
    env = os.environ | ({"GIT_INDEX_FILE": str(index)} if index else {})
    return subprocess.run(command, cwd=root, input=input, env=env, check=True, capture_output=True).stdout


if __name__ == "__main__":
    sys.exit(main())
