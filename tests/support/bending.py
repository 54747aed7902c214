"""Judge the tests of a change as a run does it, on real trees with real runners, without the rest of a run."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.conduct.checks.gating import compare_with_base
from orchestra.conduct.checks.judging import SuiteJudgement, gather_suite_evidence, judge_tests
from orchestra.gates.compare import Comparison, why_unproven
from orchestra.gates.run import ALL_TESTS, ChosenTests, GateContext, GateOutcome, run_gate
from orchestra.judge.permit import Permit
from orchestra.model import Gate
from orchestra.workspace.base_files import list_files
from orchestra.workspace.git import Git
from tests.support.load import LONGEST

TOOLS = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
ENV = {"PATH": TOOLS, "LANG": "C.UTF-8", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
WHO = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
Files = Mapping[str, str | None]
LINK = "link:"


@dataclass
class Bench:
    """A repository with a base and a result, and the gates that were run on its trees."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = LONGEST
    base: str = ""
    ran: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, Gate], GateOutcome] = field(default_factory=dict)
    installed: Path | None = None  # a node_modules

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *words],
            cwd=self.folder / "repo",
            env=ENV | WHO,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: Files) -> str:
        """None deletes a file; a text that begins with `link:` makes a link."""
        repo = self.folder / "repo"
        if not repo.exists():
            repo.mkdir(parents=True)
            self.git("init", "-q", "-b", "main")
        for name, text in files.items():
            path = repo / name
            if path.is_file() or path.is_symlink():
                path.unlink()
            if text is None:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith(LINK):
                path.symlink_to(text.removeprefix(LINK))
            else:
                path.write_text(text)
                path.chmod(0o755 if text.startswith("#!") else 0o644)
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")

    async def run(self, commit: str, gate: Gate, label: str, choice: ChosenTests = ALL_TESTS) -> GateOutcome:
        self.ran.append(label)
        tree = self.folder / "runs" / str(len(self.ran)) / "tree"
        tree.parent.mkdir(parents=True)
        self.git("worktree", "add", "-q", "--detach", str(tree), commit)
        if self.installed and not (tree / "node_modules").exists():
            (tree / "node_modules").symlink_to(self.installed)
        files = list((await list_files(Git(self.folder / "repo"), commit)).files)
        choice.write(tree)
        place = GateContext(tree, self.folder / "repo", files)
        output = tree.parent / "output.txt"
        env = ENV | dict(self.env)
        return await run_gate(gate, place, env=env, output=output, timeout=self.timeout, scrub=str, choice=choice)

    async def asked(self, commit: str, gate: Gate, label: str) -> GateOutcome:
        tree = self.git("rev-parse", f"{commit}^{{tree}}")
        if (tree, gate) not in self.outcomes:
            self.outcomes[tree, gate] = await self.run(commit, gate, label)
        return self.outcomes[tree, gate]

    async def compare(self, commit: str, gate: Gate, label: str) -> tuple[GateOutcome, Comparison]:
        first = await self.asked(commit, gate, label)
        if first.passed:
            return first, Comparison()
        return first, compare_with_base(first, await self.run_on_base(gate))

    async def run_on_base(self, gate: Gate) -> GateOutcome:
        return await self.asked(self.base, gate, "base")

    def recall_base_run(self, gate: Gate) -> GateOutcome | None:
        return self.outcomes.get((self.git("rev-parse", f"{self.base}^{{tree}}"), gate))

    def control_word(self, tree: str, gate: Gate) -> str:
        return secrets.token_hex(6)

    async def run_choice(self, commit: str, gate: Gate, label: str, choice: ChosenTests = ALL_TESTS) -> GateOutcome:
        return await self.run(commit, gate, label, choice)


@dataclass(frozen=True)
class Said:
    """`judged` is None where the gate said nothing of the result: `why`."""

    outcome: GateOutcome
    compared: Comparison
    why: str
    judged: SuiteJudgement | None

    @property
    def verified(self) -> bool:
        """Whether `verified by the tests` would be said."""
        return self.judged is not None and self.judged.holds

    @property
    def printed(self) -> str:
        return self.outcome.output.read_text()


def said_of(bench: Bench, base: Files, change: Files, gate: Gate, words: str = "", owned: Sequence[str] = ()) -> Said:
    """`words` are the user's, `owned` the files that tasks own."""
    bench.base = bench.commit(base)
    head = bench.commit(change)

    async def judge() -> Said:
        outcome, compared = await bench.compare(head, gate, "combined")
        why = ", ".join(sorted(compared.new)) or why_unproven(outcome, compared)
        if why:
            return Said(outcome, compared, why, None)
        git, index = Git(bench.folder / "repo"), bench.folder / "index"
        permit = Permit(frozenset(), (words,), dict.fromkeys(base))
        material = await gather_suite_evidence(git, index, bench.base, head, [gate], permit, owned)
        return Said(outcome, compared, why, await judge_tests(material, gate, outcome, bench))

    return asyncio.run(judge())
