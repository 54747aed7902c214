"""The gates of a run: found once, run on one tree at a time, never twice on the same, and held against the base."""

import asyncio
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestra import events
from orchestra.agents.seat import find_python
from orchestra.conduct.checks.critic import Critic
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.models import critic_model
from orchestra.conduct.core.set_up import set_up_of
from orchestra.errors import SettingsError
from orchestra.events import Event
from orchestra.gates.chosen import chosen, left_out
from orchestra.gates.compare import Comparison, compare, noise_between
from orchestra.gates.counts import Counts
from orchestra.gates.detect import Detected, Unusable, detect
from orchestra.gates.failures import Names
from orchestra.gates.look import look, program_missing, syntax_gate
from orchestra.gates.proof import unproven
from orchestra.gates.reading import Reading, why_not_started
from orchestra.gates.run import ALL, Choice, Outcome, some
from orchestra.hosts.base import Check
from orchestra.judge.critic import NAME
from orchestra.judge.gates import own_gates
from orchestra.judge.retry import Failure
from orchestra.model import Gate, Task
from orchestra.process import Ended, tail

TOLD = 20
CHECKS_NOTHING = "Nothing is checked by it: give another command, or install what it needs."
LESSON = 20_000  # bytes of a gate's output


@dataclass(frozen=True)
class Checked:
    """What the gates said of a tree, and by gate how that compares with the base."""

    outcomes: tuple[Outcome, ...] = ()
    compared: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if self.new_of(outcome))

    def new_of(self, outcome: Outcome) -> Names:
        return self.compared[outcome.gate.name].new

    @property
    def sentence(self) -> str:
        """Which gates failed, and the first of what is new."""
        return "; ".join(f"{one.gate.name} failed: {some(sorted(self.new_of(one)))}" for one in self.failed) + "."

    @property
    def lesson(self) -> Failure:
        """What the next attempt should know of this one."""
        names = frozenset(name for one in self.failed for name in self.new_of(one))
        printed = "\n".join(f"$ {one.gate.command}\n{tail(one.output, LESSON)}" for one in self.failed)
        return Failure(names, printed)


def find_gates(context: Context) -> tuple[list[Gate], tuple[Unusable, ...]]:
    """The gates of this run, and those that the repository has but that cannot be used here."""
    detected = Detected()
    if context.settings.detect:
        detected = detect(look(context.repository.root, context.entries, os.environ))
    syntax = syntax_gate(find_python(os.environ), context.entries) if context.settings.detect else []
    return chosen(context.settings, [*syntax, *detected.gates]), left_out(context.settings, detected.unusable)


def check_bound(run: Run, gates: Sequence[Gate]) -> None:
    """A gate that a role is bound by and that is not there would be passed by everybody."""
    names = [gate.name for gate in gates]
    for role in {task.role: run.context.role(task) for task in run.state.plan.tasks}.values():
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
        self.base = run.context.repository.base
        self.gates, self.unusable = find_gates(run.context)
        check_bound(run, self.gates)
        reviewer = critic_model(run.context.settings)
        self.critic = Critic(run, reviewer) if reviewer else None
        self.said: dict[tuple[str, Gate, tuple[str, ...]], Outcome] = {}
        # By base and gate: why the run of the base says nothing. A gate that was only found is dropped for it.
        self.unable: dict[tuple[str, Gate], str] = {}
        self.hanging = set[tuple[str, Gate]]()  # those that did not end in time there
        self.second_base: dict[tuple[str, Gate], Outcome] = {}
        told = [event.payload for event in before]
        passed = [each for each in told if isinstance(each, events.GateEnded) and each.about_tree and each.verifies]
        self.passed = {passing_key(each): each for each in passed}
        self.judged = {each.key: each for each in told if isinstance(each, events.TestsJudged)}
        # One tree after the other: tests that run beside others fail for want of a port or of time.
        self.turn = asyncio.Lock()

    async def announce(self) -> None:
        await self.leave_out_untrusted()
        found = [events.GateFound(gate.name, gate.command, gate.why) for gate in self.gates]
        if self.critic:
            found.append(events.GateFound(NAME, self.critic.words, "--critic"))
        notes = tuple(one.note for one in self.unusable)
        unusable = tuple(events.GateUnusable(one.gate.name, one.gate.kind, one.why) for one in self.unusable)
        self.run.emit(events.GatesFound(tuple(found), notes, unusable))
        for gate in [] if set_up_of(self.run.context.settings) else self.gates:
            if gate.named and (program := program_missing(gate.command, os.environ)):
                text = f"{gate.name} could not start: {program} is not found here. {CHECKS_NOTHING}"
                self.run.emit(events.Note(text))

    async def leave_out_untrusted(self) -> None:
        """A stranger's commands are run in a whole sandbox or not at all; the syntax is looked at by ourselves."""
        commands = [gate for gate in self.gates if gate.kind != "syntax"]
        if not (commands or self.run.context.settings.setup_cmd):
            return
        facts = await self.run.services.host.open()
        if facts.untrusted:
            self.gates = [gate for gate in self.gates if gate not in commands]
            why = f"no tests: not trusted, because {facts.untrusted}"
            self.unusable = (*self.unusable, *(Unusable(gate, why) for gate in commands))
        if note := facts.note:
            self.run.emit(events.Note(f"{note[0].upper()}{note[1:]}."))

    async def check_own(self, task: Task, commit: str, parent: str, number: int, *, parses: bool) -> Checked:
        """What the task's own worktree can decide. What the seat saw to parse is not looked at again for this."""
        plan, bound = self.run.state.plan, self.run.context.role(task).gates
        gates = own_gates(task, plan.tasks, self.binding, plan.needs, bound)
        gates = [gate for gate in gates if gate.kind != "syntax" or not parses]
        if not gates:
            return Checked()
        return await self.check(commit, f"task{task.id}-{number}", parent, gates, (task.id, number))

    @property
    def binding(self) -> list[Gate]:
        """All but those that the base has shown to be none, and those that hang there."""
        unable, hanging = self.unable, self.hanging
        return [gate for gate in self.gates if (self.base, gate) not in (hanging if gate.named else unable)]

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
        git = self.run.context.repository.git
        paths = await git.paths("diff", "--name-only", "--no-renames", "-z", parent or self.base, commit)
        async with self.turn:
            checked = await self.ask_all(commit, self.gates if gates is None else gates, paths, label)
        for outcome in checked.outcomes:
            self.tell(outcome, checked.compared[outcome.gate.name], label, about)
        return checked

    async def ask_all(self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str) -> Checked:
        # One that hangs on the base is not waited for again, unless the user wants it.
        gates = [gate for gate in gates if gate.named or (self.base, gate) not in self.hanging]
        first = await self.ask(commit, gates, paths, label)
        failing = [outcome.gate for outcome in first if not outcome.passed]
        base = {each.gate: each for each in await self.ask(self.base, failing, paths, "base")}
        self.note_unable(base.values())
        compared = {each.gate.name: held_against(each, base.get(each.gate)) for each in first}
        # One that hangs is not waited for a second time.
        suspect = [each.gate for each in first if compared[each.gate.name].new and not each.ended.timed_out]
        again = {each.gate: each for each in await self.run_all(commit, suspect, paths, f"{label}-again")}
        # Lines may differ between two runs of the same tree; names do not.
        await self.run_base_again([gate for gate in suspect if base[gate].failing and not base[gate].reading.by_name])
        for each in [one for one in first if one.gate in again]:
            others = base.get(each.gate), again[each.gate], self.second_base.get((self.base, each.gate))
            compared[each.gate.name] = held_against(each, *others)
        return Checked(tuple(first), compared)

    async def run_base_again(self, gates: Iterable[Gate]) -> None:
        left = [gate for gate in gates if (self.base, gate) not in self.second_base and not gate.endings]
        for outcome in await self.run_all(self.base, left, (), "base-again"):
            self.second_base[self.base, outcome.gate] = outcome

    def note_unable(self, base: Iterable[Outcome]) -> None:
        """On the base alone, so that no change turns off a gate that it breaks."""
        for outcome in base:
            gate = outcome.gate
            why = why_not_started(gate, outcome.reading)
            if not why or (self.base, gate) in self.unable:
                continue
            self.unable[self.base, gate] = why
            if outcome.ended.timed_out:
                self.hanging.add((self.base, gate))
            end = CHECKS_NOTHING if gate.named else "It is not used as a check."
            output = str(outcome.output.relative_to(self.run.context.repository.root))
            told = events.GateUnable(name=gate.name, about=gate.kind, why=why, named=gate.named, output=output)
            self.run.emit(told)
            self.run.emit(events.Note(f"Before any change, {why} ({output}). {end}"))

    async def ask(self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str) -> list[Outcome]:
        tree = await self.run.context.repository.git.text("rev-parse", f"{commit}^{{tree}}")
        keys = {gate: (tree, gate, tuple(paths) if gate.endings else ()) for gate in gates}
        for gate in gates:
            if before := self.passed.get((tree, gate.name, gate.command, *keys[gate][2])):
                self.said.setdefault(keys[gate], remembered(gate, before, self.run.context.repository.root))
        left = [gate for gate in gates if keys[gate] not in self.said]
        for outcome in await self.run_all(commit, left, paths, label):
            self.said[keys[outcome.gate]] = dataclasses.replace(outcome, about=(tree, *keys[outcome.gate][2]))
        return [self.said[keys[gate]] for gate in gates]

    async def run_all(
        self,
        commit: str,
        gates: Sequence[Gate],
        paths: Sequence[str],
        label: str,
        choice: Choice = ALL,
    ) -> Sequence[Outcome]:
        run = self.run
        if not gates:
            return []
        check = Check(
            run=run.context.stamp,
            commit=commit,
            label=label,
            gates=tuple(gates),
            paths=tuple(paths),
            planned=tuple(run.state.plan.owners),
            choice=choice,
            timeout=run.context.settings.gate_timeout,
            set_up=set_up_of(run.context.settings),
        )
        return await run.services.host.check(check, partial(self.emit_started, label))

    def emit_started(self, label: str, gate: Gate) -> None:
        self.run.emit(events.GateStarted(name=gate.name, command=gate.command, tree=label))

    def tell(self, outcome: Outcome, compared: Comparison, label: str, about: tuple[int, int] | None) -> None:
        gate, ended, counts, ok = outcome.gate, outcome.ended, outcome.reading.counts, not compared.new
        why_not = unproven(outcome, compared) if ok else ""
        told = events.GateEnded(
            name=gate.name,
            about=gate.kind,
            command=gate.command,
            tree=label,
            ok=ok,
            verifies=ok and not why_not,
            unproven=why_not,
            judged=label != "combined" or gate.kind != "tests",
            code=ended.code,
            timed_out=ended.timed_out,
            seconds=round(ended.seconds, 3),
            output=str(outcome.output.relative_to(self.run.context.repository.root)),
            ran=counts.ran,
            passed=counts.passed,
            new=named(compared.new),
            old=named(compared.old),
            old_count=len(compared.old),
            unknown=named(compared.unknown),
            flaky=named(compared.flaky),
            remarks=(*outcome.remarks, *([f"Nothing was checked: {why_not}."] if why_not else [])),
            about_tree=outcome.about if outcome.passed else (),
        )
        self.run.emit(told, *(about or ()))


def named(failures: Names) -> tuple[str, ...]:
    return tuple(sorted(failures)[:TOLD])


def held_against(
    first: Outcome, base: Outcome | None, again: Outcome | None = None, base_again: Outcome | None = None
) -> Comparison:
    noise = noise_between(base.reading, base_again.reading) if base and base_again else frozenset()
    return compare(
        first.gate,
        first.reading,
        base.reading if base else Reading(),
        second=again.reading if again else None,
        base_files=base.files if base else (),
        noise=noise,
    )


def passing_key(passed: events.GateEnded) -> tuple[str, ...]:
    tree, *paths = passed.about_tree
    return (tree, passed.name, passed.command, *paths)


def remembered(gate: Gate, passed: events.GateEnded, root: Path) -> Outcome:
    """A gate that passed on this very tree before the run was taken up again."""
    ended = Ended(passed.code, passed.seconds, passed.timed_out)
    reading = Reading(counts=Counts(passed.ran, passed.passed))
    return Outcome(gate, ended, root / passed.output, reading, about=passed.about_tree)


async def open_gates(run: Run, before: Iterable[Event]) -> Gating:
    """Find the gates of a run, and tell which they are. `before` are the events of its earlier sessions."""
    gating = Gating(run, before)
    await gating.announce()
    return gating
