"""Judge the tests of a result once, before it is delivered."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestra import events
from orchestra.conduct.checks.gating import Gating, compare_with_base
from orchestra.conduct.checks.judging import SuiteJudgement, gather_suite_evidence, judge_tests
from orchestra.conduct.core.context import Run
from orchestra.errors import GitFailed, SetUpFailed
from orchestra.gates.compare import Comparison
from orchestra.gates.run import ChosenTests, GateOutcome
from orchestra.model import Gate

MOST_LOST = 500  # names in one event


async def verify_tests(run: Run, gating: Gating, head: str) -> None:
    """For each test gate that vouches for the result, decide whether the agents could have influenced its outcome."""
    context = run.context
    speaking = [one.name for one in run.state.report.gates if one.about == "tests" and one.verifies]
    gates = [gate for gate in gating.gates if gate.kind == "tests" and gate.name in speaking]
    if not gates or not all(gate.ok for gate in run.state.report.gates):
        return
    wanted = (f"{commit}^{{tree}}" for commit in (head, gating.base))
    trees = (await context.git.text("rev-parse", *wanted)).split()
    keys = {gate: (*trees, gate.name, gate.command) for gate in gates}
    git, index = context.git, context.folder / "judge.index"
    runs = GatingRuns(gating, trees[1])
    async with gating.gate_lock:
        for gate in gates:
            try:
                permit, owners = run.permit, run.state.plan.owners
                material = await gather_suite_evidence(git, index, gating.base, head, [gate], permit, owners)
                (outcome,) = await gating.get_outcomes(head, [gate], (), events.COMBINED_TREE)
                judged = await judge_tests(material, gate, outcome, runs)
            except (GitFailed, SetUpFailed) as failed:
                # The result stays; only its tests do not count as proof.
                judged = SuiteJudgement(bent=f"passed, but it is unknown whether its tests were manipulated: {failed}")
            run.emit(tests_judged_event(gate, keys[gate], judged))


def tests_judged_event(gate: Gate, key: Sequence[str], judged: SuiteJudgement) -> events.TestsJudged:
    lost = judged.lost
    missing, skipped, expected = (names[:MOST_LOST] for names in (lost.missing, lost.skipped, lost.expected))
    return events.TestsJudged(
        name=gate.name,
        key=tuple(key),
        holds=judged.holds,
        changed=judged.changed,
        wrote=judged.wrote,
        lost=events.LostTests(missing, skipped, expected, lost.ran, lost.of),
        bent=judged.bent,
        runner=judged.runner,
        remarks=judged.remarks,
        fresh=tuple(events.NewTest(*one) for one in judged.fresh),
        weaker=tuple(events.WeakenedTest(*one) for one in judged.weaker),
    )


@dataclass
class GatingRuns:
    """Gate runs as `Gating` makes and remembers them. The caller must hold its lock."""

    gating: Gating
    base_tree: str

    def control_word(self, tree: str, gate: Gate) -> str:
        return self.gating.memory.control_word(tree, gate.command)

    async def compare(self, commit: str, gate: Gate, label: str) -> tuple[GateOutcome, Comparison]:
        checked = await self.gating.run_against_base(commit, [gate], (), label)
        for outcome in checked.outcomes:
            self.gating.emit_gate_ended(outcome, checked.compared[gate.name], label, None)
            return outcome, checked.compared[gate.name]
        (outcome,) = await self.gating.run_all(commit, [gate], (), label)  # a gate that hangs on the base
        return outcome, compare_with_base(outcome, None)

    async def run_on_base(self, gate: Gate) -> GateOutcome:
        (outcome,) = await self.gating.get_outcomes(self.gating.base, [gate], (), "base")
        return outcome

    def recall_base_run(self, gate: Gate) -> GateOutcome | None:
        return self.gating.outcomes.get((self.base_tree, gate, ()))

    async def run_choice(self, commit: str, gate: Gate, label: str, choice: ChosenTests) -> GateOutcome:
        (outcome,) = await self.gating.run_all(commit, [gate], (), label, choice)
        return outcome
