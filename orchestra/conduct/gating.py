"""The gates of a run: found once, run on one tree at a time, never twice on the same, and held against the base."""

import asyncio
import contextlib
import dataclasses
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.conduct.critic import Critic
from orchestra.conduct.isolation import without_sockets
from orchestra.conduct.models import critic_model
from orchestra.conduct.run import Run
from orchestra.conduct.setting_up import set_up
from orchestra.errors import SettingsError
from orchestra.gates.chosen import chosen
from orchestra.gates.detect import Detected, detect
from orchestra.gates.failures import Names, new_failures
from orchestra.gates.furnish import furnish_gate
from orchestra.gates.look import look, syntax_gate
from orchestra.gates.run import Outcome, Place, run_gate, some
from orchestra.judge.critic import NAME
from orchestra.judge.gates import own_gates
from orchestra.model import Event, Gate, Task
from orchestra.process import Ended, tail
from orchestra.seat import find_python
from orchestra.workspace.trees import passing

TOLD = 20
LESSON = 20_000  # bytes of a gate's output


@dataclass(frozen=True)
class Checked:
    """What the gates said of a tree. By gate: `new` is what the base did not have, `old` what it had, `flaky` what
    failed once and not the other time."""

    outcomes: tuple[Outcome, ...] = ()
    new: Mapping[str, Names] = field(default_factory=dict)
    old: Mapping[str, Names] = field(default_factory=dict)
    flaky: Mapping[str, Names] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if self.new[outcome.gate.name])

    @property
    def sentence(self) -> str:
        """Which gates failed, and the first of what is new."""
        return (
            "; ".join(f"{one.gate.name} failed: {some(sorted(self.new[one.gate.name]))}" for one in self.failed) + "."
        )

    @property
    def lesson(self) -> dict[str, Any]:
        """What the next attempt should know of this one, as `Tried` has it."""
        names = frozenset(name for one in self.failed for name in self.new[one.gate.name])
        printed = "\n".join(f"$ {one.gate.command}\n{tail(one.output, LESSON)}" for one in self.failed)
        return {"failing": names, "output": printed}


def find_gates(run: Run) -> tuple[list[Gate], tuple[str, ...]]:
    """The gates of this run, and why others that the repository has are not used."""
    detected = Detected()
    if run.settings.detect:
        detected = detect(look(run.repository.root, run.entries, os.environ))
    syntax = syntax_gate(find_python(os.environ), run.entries) if run.settings.detect else []
    return chosen(run.settings, [*syntax, *detected.gates]), detected.notes


def check_bound(run: Run, gates: Sequence[Gate]) -> None:
    """A gate that a role is bound by and that is not there would be passed by everybody."""
    names = [gate.name for gate in gates]
    for role in {task.role: run.role(task) for task in run.plan.tasks}.values():
        if missing := [name for name in role.gates if name not in names]:
            raise SettingsError(
                f"the role {role.name} is bound by the check {missing[0]!r}, which this run does not have.",
                hint=f"It has: {', '.join(names) or 'none'}. Give it with --gate {missing[0]}=CMD, or --test-cmd.",
            )


class Gating:
    """Asks the gates, and remembers what they said: no tree is gated twice, and the base only where it is needed."""

    def __init__(self, run: Run, before: Iterable[Event] = ()) -> None:
        """`before` are the events of a run that is taken up again: what passed then needs not be run again."""
        self.run = run
        self.base = run.repository.base
        self.gates, self.notes = find_gates(run)
        check_bound(run, self.gates)
        reviewer = critic_model(run.settings)
        self.critic = Critic(run, reviewer) if reviewer else None
        self.said: dict[tuple[str, Gate, tuple[str, ...]], Outcome] = {}
        self.passed = {passing_key(event.data): event.data for event in before if has_passed(event)}
        # One tree after the other: tests that run beside others fail for want of a port or of time.
        self.turn = asyncio.Lock()

    def announce(self) -> None:
        found = [{"name": gate.name, "command": gate.command, "why": gate.why} for gate in self.gates]
        if self.critic:
            found.append({"name": NAME, "command": self.critic.words, "why": "--critic"})
        self.run.emit("gates_found", gates=found, notes=list(self.notes))

    async def check_own(self, task: Task, commit: str, parent: str, number: int, *, parses: bool) -> Checked:
        """What the task's own worktree can decide. What the seat saw to parse is not looked at again for this."""
        plan, bound = self.run.plan, self.run.role(task).gates
        gates = own_gates(task, plan.tasks, self.gates, plan.needs, bound)
        gates = [gate for gate in gates if gate.kind != "syntax" or not parses]
        if not gates:
            return Checked()
        return await self.check(commit, f"task{task.id}-{number}", parent, gates, (task.id, number))

    async def check(
        self,
        commit: str,
        label: str,
        parent: str = "",
        gates: Sequence[Gate] | None = None,
        about: tuple[int, int] | None = None,
    ) -> Checked:
        """`label` names the tree in the logs: `combined`, `task3-1`. Files that a gate is asked about one by one are
        those changed since `parent`."""
        git = self.run.repository.git
        paths = await git.paths("diff", "--name-only", "--no-renames", "-z", parent or self.base, commit)
        async with self.turn:
            checked = await self.ask_all(commit, self.gates if gates is None else gates, paths, label)
        for outcome in checked.outcomes:
            self.tell(outcome, checked, label, about)
        return checked

    async def ask_all(self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str) -> Checked:
        first = await self.ask(commit, gates, paths, label)
        failing = [outcome.gate for outcome in first if not outcome.passed]
        base = {each.gate.name: each.failing for each in await self.ask(self.base, failing, paths, "base")}
        # One that hangs is not waited for a second time.
        doubtful = [outcome for outcome in first if not (outcome.passed or outcome.ended.timed_out)]
        suspect = [o.gate for o in doubtful if new_failures(base[o.gate.name], o.failing)]
        again = {each.gate.name: each for each in await self.run_all(commit, suspect, paths, f"{label}-again")}
        return held_against(first, again, base)

    async def ask(self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str) -> list[Outcome]:
        tree = await self.run.repository.git.text("rev-parse", f"{commit}^{{tree}}")
        keys = {gate: (tree, gate, tuple(paths) if gate.endings else ()) for gate in gates}
        for gate in gates:
            if before := self.passed.get((tree, gate.name, gate.command, *keys[gate][2])):
                self.said.setdefault(keys[gate], remembered(gate, before, self.run.repository.root))
        left = [gate for gate in gates if keys[gate] not in self.said]
        for outcome in await self.run_all(commit, left, paths, label):
            self.said[keys[outcome.gate]] = dataclasses.replace(outcome, about=(tree, *keys[outcome.gate][2]))
        return [self.said[keys[gate]] for gate in gates]

    async def run_all(self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str) -> list[Outcome]:
        """In one worktree, or in a new one where a gate has spoiled it for the next."""
        left, found = list(gates), []
        while left:
            async with self.furnished(commit, label) as place:
                while left:
                    found.append(await self.one(left.pop(0), place, paths, label))
                    if found[-1].spoiled:
                        break
        return found

    async def one(self, gate: Gate, place: Place, paths: Sequence[str], label: str) -> Outcome:
        run = self.run
        run.emit("gate_started", name=gate.name, command=gate.command, tree=label)
        # Asked only about what is there: in the base, what a task has added is not.
        there = [path for path in paths if (place.tree / path).is_file()]
        return await run_gate(
            gate,
            place,
            env=without_sockets(run.secrets.free(os.environ)),
            output=run.logs / output_name(gate, label, run.stamp),
            timeout=run.settings.gate_timeout,
            scrub=run.secrets.scrub,
            paths=there or ["none"],
        )

    @contextlib.asynccontextmanager
    async def furnished(self, commit: str, label: str) -> AsyncIterator[Place]:
        run, git = self.run, self.run.repository.git
        async with passing(run.trees, f"gate-{label}", commit) as tree:
            await set_up(run, tree, f"gate-{label}")
            files = await git.paths("ls-tree", "-r", "-z", "--name-only", commit)
            ignored = await git.paths("ls-files", "--others", "--ignored", "--exclude-standard", "-z")
            root = run.repository.root
            await asyncio.to_thread(furnish_gate, tree.path, root, files, ignored, self.holds_key)
            yield Place(tree.path, root, files, sandbox=await run.isolation.sandbox())

    def holds_key(self, content: bytes) -> bool:
        return any(key.encode() in content for key in self.run.secrets.values)

    def tell(self, outcome: Outcome, checked: Checked, label: str, about: tuple[int, int] | None) -> None:
        gate, ended, name = outcome.gate, outcome.ended, outcome.gate.name
        ok = not checked.new[name]
        self.run.emit(
            "gate_ended",
            *(about or ()),
            name=name,
            about=gate.kind,
            command=gate.command,
            tree=label,
            ok=ok,
            verifies=ok and verifies(outcome),
            code=ended.code,
            timed_out=ended.timed_out,
            seconds=round(ended.seconds, 3),
            output=str(outcome.output.relative_to(self.run.repository.root)),
            new=sorted(checked.new[name])[:TOLD],
            old=sorted(checked.old[name])[:TOLD],
            flaky=sorted(checked.flaky[name])[:TOLD],
            remarks=[*outcome.remarks, *unproven(outcome)],
            about_tree=list(outcome.about) if outcome.passed else [],
        )


def held_against(first: Sequence[Outcome], again: Mapping[str, Outcome], base: Mapping[str, Names]) -> Checked:
    """What failed twice and not on the base is new; what failed only once is flaky."""
    new, old, flaky = {}, {}, {}
    for outcome in first:
        name, before = outcome.gate.name, base.get(outcome.gate.name, frozenset())
        second = again[name].failing if name in again else outcome.failing
        # Where it failed twice, each time in another way, that is no good sign either.
        new[name] = new_failures(before, outcome.failing & second) or new_failures(before, second)
        old[name] = outcome.failing & before
        flaky[name] = new_failures(before, outcome.failing ^ second)
    return Checked(tuple(first), new, old, flaky)


def has_passed(event: Event) -> bool:
    return event.kind == "gate_ended" and bool(event.data.get("about_tree")) and bool(event.data.get("verifies"))


def passing_key(data: Mapping[str, Any]) -> tuple[str, ...]:
    tree, *paths = data["about_tree"]
    return (tree, data["name"], data["command"], *paths)


def remembered(gate: Gate, data: Mapping[str, Any], root: Path) -> Outcome:
    """A gate that passed on this very tree before the run was taken up again."""
    ended = Ended(data["code"], data["seconds"], data["timed_out"])
    return Outcome(gate, ended, root / data["output"], about=tuple(data["about_tree"]))


def verifies(outcome: Outcome) -> bool:
    """Whether passing proves anything of this tree: its code was run, by at least one test where that can be told."""
    return not outcome.stale and outcome.ran != 0 and not (outcome.failing and outcome.ran is None)


def unproven(outcome: Outcome) -> list[str]:
    name = outcome.gate.name
    if outcome.stale:
        return [
            f"{name} ran {', '.join(outcome.stale[:3])} from elsewhere than the worktree: it proves nothing of them."
        ]
    return [f"{name} ran no test."] if outcome.ran == 0 and outcome.gate.kind == "tests" else []


def output_name(gate: Gate, label: str, stamp: str) -> str:
    """tests_<stamp>.txt for the result, tests_base_<stamp>.txt for the base."""
    plain = re.sub(r"[^\w.-]+", "-", gate.name)
    return f"{plain}_{stamp}.txt" if label == "combined" else f"{plain}_{label}_{stamp}.txt"
