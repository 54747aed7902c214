"""Run the gates: found once, run on one tree at a time, once per tree, and compared with their outcome on the base."""

import asyncio
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestra import events
from orchestra.agents.seat import find_grammar_python
from orchestra.conduct.checks.critic import Critic
from orchestra.conduct.checks.gate_memory import GateKey, GateMemory
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.models import critic_model
from orchestra.errors import SettingsError
from orchestra.gates.compare import Comparison, compare_readings, noise_between, why_unproven
from orchestra.gates.detect import DetectedGates, UnusableGate, choose_gates, detect_gates, remaining_unusable
from orchestra.gates.inspection import inspect_repository, make_syntax_gate, missing_program
from orchestra.gates.reading import Names, Reading, why_not_started
from orchestra.gates.run import ALL_TESTS, ChosenTests, GateOutcome
from orchestra.hosts.base import GateOrder
from orchestra.judge.critic import NAME
from orchestra.judge.retry import CheckFailure
from orchestra.judge.task_gates import gates_for_task
from orchestra.model import Gate, Task
from orchestra.process import read_tail
from orchestra.wording import join_some

MOST_FAILURES = 20
PROVING = ("tests", "command")  # kinds of gates that run what was changed
CHECKS_NOTHING = "It checks nothing: give another command, or install what it needs."
LESSON = 20_000  # bytes of a gate's output that the next attempt sees


@dataclass(frozen=True)
class GateResults:
    """The outcomes of the gates on a tree, each with its comparison with the base."""

    outcomes: tuple[GateOutcome, ...] = ()
    compared: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[GateOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if self.new_failure_names(outcome))

    @property
    def failing(self) -> Names:
        """The names of all new failures, with their gates."""
        return frozenset(f"{one.gate.name}: {name}" for one in self.failed for name in self.new_failure_names(one))

    def new_failure_names(self, outcome: GateOutcome) -> Names:
        return self.compared[outcome.gate.name].new

    @property
    def tests_ran(self) -> bool:
        """Whether tests, or a command that was given, ran and vouch for the tree."""
        return any(
            each.gate.kind in PROVING and not why_unproven(each, self.compared[each.gate.name])
            for each in self.outcomes
        )

    @property
    def sentence(self) -> str:
        """Name the gates that failed, and the first new failures."""
        parts = (f"{one.gate.name} failed: {join_some(sorted(self.new_failure_names(one)))}" for one in self.failed)
        return f"{'; '.join(parts)}."

    @property
    def lesson(self) -> CheckFailure:
        """Describe the failures for the next attempt."""
        names = frozenset(name for one in self.failed for name in self.new_failure_names(one))
        printed = "\n".join(f"$ {one.gate.command}\n{read_tail(one.output, LESSON)}" for one in self.failed)
        return CheckFailure(names, printed)


def find_gates(context: Context) -> tuple[list[Gate], tuple[UnusableGate, ...]]:
    """Find the gates of this run, and those of the repository that cannot run here."""
    settings, detected, syntax = context.settings, DetectedGates(), list[Gate]()
    if settings.detect:
        detected = detect_gates(inspect_repository(context.repository.root, context.entries, os.environ))
        syntax = make_syntax_gate(find_grammar_python(os.environ), context.entries)
    return choose_gates(settings, [*syntax, *detected.gates]), remaining_unusable(settings, detected.unusable)


def check_role_gates(run: Run, gates: Sequence[Gate]) -> None:
    """Refuse a role whose required gate does not exist: every change would pass it."""
    names = [gate.name for gate in gates]
    for role in {task.role: run.context.role_of(task) for task in run.state.plan.tasks}.values():
        if missing := [name for name in role.gates if name not in names]:
            raise SettingsError(
                f"the role {role.name} requires the check {missing[0]!r}, which this run does not have.",
                hint=f"It has: {', '.join(names) or 'none'}. Give it with --gate {missing[0]}=CMD, or --test-cmd.",
            )


class Gating:
    """Run gates and remember the outcomes: no tree is gated twice, and the base is gated only when needed."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.base = run.context.repository.base
        self.gates, self.unusable = find_gates(run.context)
        check_role_gates(run, self.gates)
        reviewer = critic_model(run.context.settings)
        self.critic = Critic(run, reviewer) if reviewer else None
        self.outcomes: dict[tuple[str, Gate, tuple[str, ...]], GateOutcome] = {}
        # Why the base's run of a gate says nothing, by base and gate. A detected gate is dropped for that.
        self.unable: dict[tuple[str, Gate], str] = {}
        self.hanging = set[tuple[str, Gate]]()  # gates that did not end in time on the base
        self.only_here = set[Gate]()  # those that failed on another machine alone
        self.begun_elsewhere = set[tuple[str, Gate]]()  # gates on trees that another machine did not pass
        self.second_base: dict[tuple[str, Gate], GateOutcome] = {}
        self.memory = GateMemory(run, self.gates)
        # One tree at a time: parallel test runs fail for lack of ports or time.
        self.gate_lock = asyncio.Lock()

    async def emit_gates_found(self) -> None:
        await self.drop_untrusted_gates()
        found = [events.GateFound(gate.name, gate.command, gate.why) for gate in self.gates]
        if self.critic:
            found.append(events.GateFound(NAME, self.critic.description, "--critic"))
        notes = tuple(one.note for one in self.unusable)
        unusable = tuple(events.GateUnusable(one.gate.name, one.gate.kind, one.why) for one in self.unusable)
        self.run.emit(events.GatesFound(tuple(found), notes, unusable))
        for gate in [] if self.run.context.worktree_setup else self.gates:
            if gate.named and (program := missing_program(gate.command, os.environ)):
                text = f"{gate.name} could not start: {program} is not found here. {CHECKS_NOTHING}"
                self.run.emit(events.Note(text))

    async def drop_untrusted_gates(self) -> None:
        """Drop a stranger's commands unless the sandbox is complete. The syntax gate is ours and stays."""
        commands = [gate for gate in self.gates if gate.kind != "syntax"]
        if not (commands or self.run.context.settings.setup_cmd):
            return
        facts = await self.run.services.host.open()
        if facts.untrusted:
            self.gates = [gate for gate in self.gates if gate not in commands]
            why = f"no tests: not trusted, because {facts.untrusted}"
            self.unusable = (*self.unusable, *(UnusableGate(gate, why) for gate in commands))
        if note := facts.note:
            self.run.emit(events.Note(f"{note[0].upper()}{note[1:]}."))

    async def check_task(self, task: Task, commit: str, parent: str, number: int, *, parses: bool) -> GateResults:
        """Run the gates that the task's own worktree can decide. `parses`: the agent process has checked the syntax."""
        plan, bound = self.run.state.plan, self.run.context.role_of(task).gates
        gates = gates_for_task(task, plan.tasks, self.binding_gates, plan.needs, bound)
        gates = [gate for gate in gates if gate.kind != "syntax" or not parses]
        if not gates:
            return GateResults()
        return await self.check(commit, f"task{task.id}-{number}", parent, gates, (task.id, number))

    @property
    def binding_gates(self) -> list[Gate]:
        """List the gates that count: not those that fail or hang on the base."""
        unable, hanging = self.unable, self.hanging
        return [gate for gate in self.gates if (self.base, gate) not in (hanging if gate.named else unable)]

    async def check(
        self,
        commit: str,
        label: str,
        parent: str = "",
        gates: Sequence[Gate] | None = None,
        about: tuple[int, int] | None = None,
        confirmed: "GateResults | None" = None,
    ) -> GateResults:
        """Gate a tree, named `label` in the logs. Gates of single files get those changed since `parent`. `confirmed`:
        the results of a larger tree, whose failures need no second run here."""
        options = ("--name-only", "--no-renames", "-z")
        paths = await self.run.context.git.paths("diff", *options, parent or self.base, commit)
        gates = self.gates if gates is None else gates
        failed = await self.run_elsewhere(self.make_order(commit, gates, paths, label)) if about else []
        async with self.gate_lock:
            checked = await self.run_against_base(commit, gates, paths, label, confirmed or GateResults())
        self.keep_gates_here(failed, checked)
        for outcome in checked.outcomes:
            self.emit_gate_ended(outcome, checked.compared[outcome.gate.name], label, about)
        await self.memory.emit_flaky_tests()
        return checked

    async def run_elsewhere(self, check: GateOrder) -> list[GateOutcome]:
        """Run gates on other machines, if there are any: several trees at once. Keep the outcomes of those that passed,
        and return the others: only this machine, where the base is judged too, decides that a gate fails."""
        host = self.run.services.host
        if not host.offloads_gates:
            return []
        tree = await self.find_tree(check.commit)
        keys = {gate: outcome_key(tree, gate, check.paths) for gate in check.gates}
        gates = [gate for gate in check.gates if gate.kind != "syntax" and gate not in self.only_here]
        gates = [gate for gate in gates if (self.base, gate) not in self.hanging and keys[gate] not in self.outcomes]
        if not gates:
            return []
        check, failed = dataclasses.replace(check, gates=tuple(gates)), list[GateOutcome]()
        reasons = await self.memory.find_keys(check)
        known = await self.memory.recall(check, reasons, again=False)
        check = dataclasses.replace(check, gates=tuple(gate for gate in gates if gate not in known))

        def emit_started(gate: Gate) -> None:
            self.emit_gate_started(check, gate)
            self.begun_elsewhere.add((check.label, gate))

        for outcome in await host.offload_gates(check, emit_started) if check.gates else ():
            gate = outcome.gate
            if outcome.passed:
                self.begun_elsewhere.discard((check.label, gate))
                about = (tree, *keys[gate][2])
                self.outcomes[keys[gate]] = dataclasses.replace(note_reason(outcome, reasons.get(gate)), about=about)
            else:
                failed.append(outcome)
        return failed

    def keep_gates_here(self, failed: Iterable[GateOutcome], checked: GateResults) -> None:
        """Keep gates here that failed on another machine and pass on this one, or fail on the base: they would fail on
        other machines again, and run twice."""
        passed = {outcome.gate for outcome in checked.outcomes if outcome.passed}
        for outcome in failed:
            name = f"{outcome.gate.name} failed on node {outcome.host}"
            if outcome.gate in passed and outcome.gate not in self.only_here:
                self.run.emit(events.Note(f"{name}, and passes here: it runs only here from now on."))
            if outcome.gate in passed or checked.compared.get(outcome.gate.name, Comparison()).old:
                self.only_here.add(outcome.gate)

    async def run_against_base(
        self,
        commit: str,
        gates: Sequence[Gate],
        paths: Sequence[str],
        label: str,
        confirmed: GateResults = GateResults(),
    ) -> GateResults:
        # A gate that hangs on the base is not run again, unless the user demands it.
        gates = [gate for gate in gates if gate.named or (self.base, gate) not in self.hanging]
        first = await self.get_outcomes(commit, gates, paths, label)
        failing = [outcome.gate for outcome in first if not outcome.passed]
        base = {each.gate: each for each in await self.get_outcomes(self.base, failing, paths, "base")}
        self.record_unable_gates(base.values())
        compared = {each.gate.name: compare_with_base(each, base.get(each.gate)) for each in first}
        # A gate that hangs is not run a second time.
        suspect = [each.gate for each in first if compared[each.gate.name].new and not each.ended.timed_out]
        suspect = [gate for gate in suspect if not self.is_confirmed(gate, compared[gate.name].new, confirmed)]
        seconds = await self.run_all(commit, suspect, paths, f"{label}-again", again=True)
        again = {each.gate: each for each in seconds}
        # Lines of output may differ between two runs of the same tree; names of failures do not.
        unstable = [gate for gate in suspect if base[gate].failing and not base[gate].reading.by_name]
        left = [gate for gate in unstable if (self.base, gate) not in self.second_base and not gate.endings]
        for outcome in await self.run_all(self.base, left, (), "base-again", again=True):
            self.second_base[self.base, outcome.gate] = outcome
        for each in [one for one in first if one.gate in again]:
            others = base.get(each.gate), again[each.gate], self.second_base.get((self.base, each.gate))
            compared[each.gate.name] = compare_with_base(each, *others)
        return GateResults(tuple(first), compared)

    def is_confirmed(self, gate: Gate, failures: Names, confirmed: GateResults) -> bool:
        """Whether all failures were confirmed on a larger tree, and none is known as flaky."""
        known = confirmed.compared.get(gate.name, Comparison())
        is_named = any(one.gate == gate and one.reading.by_name for one in confirmed.outcomes)
        return is_named and failures <= known.new - self.memory.flaky_names(gate)

    def record_unable_gates(self, base: Iterable[GateOutcome]) -> None:
        """Record which gates cannot run on the base. No change can turn off a gate by breaking it."""
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
            payload = events.GateUnable(name=gate.name, about=gate.kind, why=why, named=gate.named, output=output)
            self.run.emit(payload)
            self.run.emit(events.Note(f"Before any change, {why} ({output}). {end}"))

    async def get_outcomes(
        self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str
    ) -> list[GateOutcome]:
        tree = await self.find_tree(commit)
        keys = {gate: outcome_key(tree, gate, paths) for gate in gates}
        left = [gate for gate in gates if keys[gate] not in self.outcomes]
        for outcome in await self.run_all(commit, left, paths, label):
            self.outcomes[keys[outcome.gate]] = dataclasses.replace(outcome, about=(tree, *keys[outcome.gate][2]))
        return [self.outcomes[keys[gate]] for gate in gates]

    async def find_tree(self, commit: str) -> str:
        return await self.run.context.git.text("rev-parse", f"{commit}^{{tree}}")

    def make_order(
        self, commit: str, gates: Sequence[Gate], paths: Sequence[str], label: str, choice: ChosenTests = ALL_TESTS
    ) -> GateOrder:
        run = self.run
        return GateOrder(
            run=run.context.stamp,
            commit=commit,
            label=label,
            gates=tuple(gates),
            paths=tuple(paths),
            planned=tuple(run.state.plan.owners),
            choice=choice,
            timeout=run.context.settings.gate_timeout,
            set_up=run.context.worktree_setup,
        )

    def emit_gate_started(self, check: GateOrder, gate: Gate) -> None:
        """Emit that a gate begins to run on a tree, unless it has begun on another machine."""
        if (check.label, gate) in self.begun_elsewhere:
            return self.begun_elsewhere.remove((check.label, gate))
        output = str((self.run.context.logs / check.output_name(gate)).relative_to(self.run.context.repository.root))
        self.run.emit(events.GateStarted(name=gate.name, command=gate.command, tree=check.label, output=output))

    async def run_all(
        self,
        commit: str,
        gates: Sequence[Gate],
        paths: Sequence[str],
        label: str,
        choice: ChosenTests = ALL_TESTS,
        *,
        again: bool = False,
    ) -> Sequence[GateOutcome]:
        """Run gates, except those whose outcome an earlier run remembers. `again`: for the second time on this tree."""
        run = self.run
        if not gates:
            return []
        check = self.make_order(commit, gates, paths, label, choice)
        keys = await self.memory.find_keys(check)
        found = await self.memory.recall(check, keys, again=again)
        check = dataclasses.replace(check, gates=tuple(gate for gate in gates if gate not in found))

        async def remember(outcome: GateOutcome) -> None:
            await self.memory.remember(check, keys.get(outcome.gate), outcome)

        if check.gates:
            ran = await run.services.host.run_gates(check, partial(self.emit_gate_started, check), remember)
            found |= {each.gate: note_reason(each, keys.get(each.gate)) for each in ran}
        return [found[gate] for gate in gates]

    def emit_gate_ended(
        self, outcome: GateOutcome, compared: Comparison, label: str, about: tuple[int, int] | None
    ) -> None:
        gate, ended, counts, ok = outcome.gate, outcome.ended, outcome.reading.counts, not compared.new
        why_not = why_unproven(outcome, compared) if ok else ""
        payload = events.GateEnded(
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
            new=first_failures(compared.new),
            old=first_failures(compared.old),
            old_count=len(compared.old),
            unknown=first_failures(compared.unknown),
            flaky=first_failures(compared.flaky),
            remarks=(*outcome.remarks, *([f"Nothing was checked: {why_not}."] if why_not else [])),
            about_tree=outcome.about if outcome.passed else (),
            remembered=outcome.remembered,
            why_run=outcome.why_run,
        )
        self.run.emit(payload, *(about or ()))


def note_reason(outcome: GateOutcome, key: GateKey | None) -> GateOutcome:
    return dataclasses.replace(outcome, why_run=key.why_run) if key else outcome


def outcome_key(tree: str, gate: Gate, paths: Sequence[str]) -> tuple[str, Gate, tuple[str, ...]]:
    return tree, gate, tuple(paths) if gate.endings else ()


def first_failures(failures: Names) -> tuple[str, ...]:
    return tuple(sorted(failures)[:MOST_FAILURES])


def compare_with_base(
    first: GateOutcome,
    base: GateOutcome | None,
    again: GateOutcome | None = None,
    base_again: GateOutcome | None = None,
) -> Comparison:
    noise = noise_between(base.reading, base_again.reading) if base and base_again else frozenset()
    return compare_readings(
        first.gate,
        first.reading,
        base.reading if base else Reading(),
        second=again.reading if again else None,
        base_files=base.files if base else (),
        noise=noise,
    )


async def open_gating(run: Run) -> Gating:
    """Find the gates of a run and emit them."""
    gating = Gating(run)
    await gating.emit_gates_found()
    gating.memory.emit_unknown_names()
    return gating
