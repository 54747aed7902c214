"""Prove merges of conflicting edits by the gates, and remember which were proven and which were refuted."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestra import events
from orchestra.conduct.checks.gating import PROVING, GateResults, Gating
from orchestra.conduct.core.context import Run, TaskResult
from orchestra.judge.merge_proof import MergeCheck, Side, prove_merge
from orchestra.judge.retry import CheckFailure
from orchestra.merging.trust import Trust
from orchestra.plan.brief import task_part
from orchestra.wording import join_some
from orchestra.workspace.merge import MergeResult
from orchestra.workspace.reconcile import ProposedMerge, diff_files, drop_edit

MOST_DIFF = 8_000  # characters of a diff in an event
MOST_BRIEF, MOST_OTHER = 800, 2_000  # characters about another task in a lesson
Key = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Conflict:
    """A task's commit that git could not merge: what came of it, and between which commits.

    `before`: the combination without it. `after`: the one with it, if a merge was taken. `parent`: under its commit.
    `others`: those below it that changed the same files.
    """

    result: TaskResult
    parent: str
    before: str
    after: str
    merge: MergeResult
    others: tuple[TaskResult, ...]


@dataclass
class MergeProofs:
    """The merges that were proven, and those that were refuted with the reason, by what they decide."""

    run: Run
    gating: Gating
    proven: set[Key] = field(default_factory=set)
    refuted: dict[Key, str] = field(default_factory=dict)
    failures: dict[Key, CheckFailure] = field(default_factory=dict)
    noticed: set[str] = field(default_factory=set)  # commits of tasks without whose edits tests fail
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # two tasks may build on the same merge

    def choose(self, proposals: Sequence[ProposedMerge]) -> ProposedMerge | None:
        """Choose the most trusted merge that was not refuted."""
        return next((each for each in proposals if each.key not in self.refuted), None)

    async def prove(self, head: str, conflicts: Sequence[Conflict]) -> bool:
        """Prove the merges below `head`, or refute one: then another one must be chosen."""
        async with self.lock:
            return await self.prove_each(head, conflicts)

    async def prove_each(self, head: str, conflicts: Sequence[Conflict]) -> bool:
        unproven = [each for each in conflicts if each.merge.taken and each.merge.taken.key not in self.proven]
        whole = await self.gating.check(head, "merged") if unproven else GateResults()
        for each in unproven:
            assert each.merge.taken
            key = each.merge.taken.key
            if why := await self.find_refutation(each, each.merge.taken, whole):
                self.refuted[key] = why
                return False
            self.proven.add(key)
        return True

    async def find_refutation(self, conflict: Conflict, taken: ProposedMerge, whole: GateResults) -> str:
        """Return why the merge is not proven, in a clause; empty if it is."""
        ours, theirs = self.names_of(conflict.others), self.names_of([conflict.result])
        asking = prove_merge(taken.trust, (ours, theirs))
        side = next(asking)
        while True:
            check = await (self.check_without(conflict, taken, side) if side else self.check_both(conflict, whole))
            try:
                side = asking.send(check)
            except StopIteration as known:
                return str(known.value)

    async def check_both(self, conflict: Conflict, whole: GateResults) -> MergeCheck:
        """Check the tree with both edits. What one of them breaks alone is not the fault of their merge."""
        taken, label = conflict.merge.taken, f"merge-task{conflict.result.task.id}"
        assert taken
        if whole.ok and taken.trust < Trust.BY_TESTS:
            return MergeCheck(ran=whole.tests_ran)
        both = await self.gating.check(conflict.after, label)
        if both.ok:
            return MergeCheck(ran=both.tests_ran)
        before = await self.gating.check(conflict.before, f"{label}-before")
        alone = await self.gating.check(conflict.result.commit, f"{label}-alone", conflict.parent)
        if not both.failing - before.failing - alone.failing:
            return MergeCheck(ran=both.tests_ran)
        self.failures[taken.key] = both.lesson
        return MergeCheck(both.sentence.rstrip("."))

    async def check_without(self, conflict: Conflict, taken: ProposedMerge, side: Side) -> MergeCheck:
        """Check the tree without one side's edit of the files in conflict: its tests must notice."""
        commits = {each.commit for each in ([conflict.result] if side is Side.THEIRS else conflict.others)}
        if commits and commits <= self.noticed:
            return MergeCheck("tests fail without each of them")
        git, index = self.run.context.git, self.run.context.folder / "merge.index"
        tree = await drop_edit(git, index, conflict.after, taken.files, ours=side is Side.OURS)
        lost = await git.commit_tree(tree, conflict.after, f"Without the edit of {side}\n")
        gates = [gate for gate in self.gating.binding_gates if gate.kind in PROVING]
        label = f"merge-task{conflict.result.task.id}-without-{side}"
        checked = await self.gating.check(lost, label, gates=gates)
        if not checked.ok and len(commits) == 1:
            self.noticed |= commits
        return MergeCheck("" if checked.ok else checked.sentence)

    def names_of(self, results: Sequence[TaskResult]) -> str:
        return join_some([self.run.state.report.tasks[each.task.id].agent for each in results]) or "the others"

    async def emit_decisions(self, conflicts: Sequence[Conflict]) -> None:
        """Emit what was decided about each conflict."""
        for each in conflicts:
            tried = []
            for proposed in each.merge.proposals:
                why_not = self.refuted.get(proposed.key, "")
                if why_not or proposed is each.merge.taken:
                    tried.append(events.MergeTried(proposed.name, proposed.reason, why_not))
            diff = await diff_files(self.run.context.git, each.before, each.after, each.merge.conflicts)
            decided = events.ConflictDecided(
                files=each.merge.conflicts,
                others=tuple(self.run.state.report.tasks[other.task.id].agent for other in each.others),
                tried=tuple(tried),
                taken=each.merge.taken.name if each.merge.taken else "",
                diff=diff[:MOST_DIFF],
            )
            task = each.result.task.id
            self.run.emit(decided, task, self.run.state.report.tasks[task].attempts)

    def explain(self, conflict: Conflict) -> str:
        """Say what could not be merged, and why the last way to do it was not taken."""
        files, others = ", ".join(conflict.merge.conflicts), self.names_of(conflict.others)
        sentence = f"its change of {files} conflicts with that of {others}"
        refuted = [self.refuted[each.key] for each in conflict.merge.proposals if each.key in self.refuted]
        return f"{sentence}, and with both merged {refuted[-1]}" if refuted else sentence

    async def teach(self, conflict: Conflict) -> CheckFailure:
        """Describe for the task's next attempt what the other tasks were to do, what they did, and what failed."""
        parts = ["Another task changed the same file. Your work begins from its result: do yours so that both hold."]
        for other in conflict.others:
            parts.append(f"The other task: {other.task.title}\n{task_part(other.task.brief)[:MOST_BRIEF]}".strip())
        diff = await diff_files(self.run.context.git, conflict.parent, conflict.before, conflict.merge.conflicts)
        parts.append(f"What is changed there already:\n{diff[:MOST_OTHER]}")
        known = [self.failures[each.key] for each in conflict.merge.proposals if each.key in self.failures]
        failure = known[-1] if known else CheckFailure()
        return CheckFailure(failure.failing, failure.output, "\n\n".join(parts))
