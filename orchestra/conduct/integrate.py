"""Combine what the agents did, check the combination, and hand it to the user's branch."""

import os
from collections.abc import Sequence

from orchestra.conduct.attempt import Result, commit_message, set_up
from orchestra.conduct.run import Run
from orchestra.model import TaskState, Verdict
from orchestra.process import run as run_command
from orchestra.workspace.git import Git
from orchestra.workspace.merge import Delivery, deliver, forget, keep, numstat, stack
from orchestra.workspace.trees import passing

RESULT = "result"


async def integrate(run: Run, results: Sequence[Result], combined: str = "") -> None:
    """`combined` is the combination of just these results, when a resumed run had come so far."""
    head = combined or await combine(run, results)
    if head != run.repository.base:
        await check_and_deliver(run, results, head)
    await tidy(run)


async def check_and_deliver(run: Run, results: Sequence[Result], head: str) -> None:
    side = run.branch(RESULT)
    await keep(run.repository.git, side, head)
    run.emit("combined", commit=head)
    gates_ok = await gate_combined(run, head)
    for task in run.report.tasks.values():
        if task.state == TaskState.AWAITING_QA:
            run.move(task.id, TaskState.COMPLETE if gates_ok and not task.held else TaskState.FAILED)
    delivery = await hand_over(run, results, head, side, gates_ok)
    run.emit(
        "delivered",
        applied=delivery.applied,
        reason=delivery.reason,
        take=delivery.take,
        branch=run.repository.branch,
        side_branch="" if delivery.applied else side,
        result=head,
        files={
            path: list(counts) for path, counts in (await numstat(run.repository.git, run.report.base, head)).items()
        },
    )


async def tidy(run: Run) -> None:
    """Branches whose work the result holds are not needed any more, nor the result's own once it is on the user's."""
    if run.report.delivery:
        merged = [run.branch(f"task{task.id}") for task in run.report.tasks.values() if task.commit and not task.held]
        await forget(run.repository.git, [*merged, run.branch(RESULT)] if run.report.applied else merged)


async def combine(run: Run, results: Sequence[Result]) -> str:
    """One linear commit per task on top of the base. A task that does not fit on the others is held, on its branch."""
    head = run.repository.base
    touched: dict[str, str] = {}
    for result in results:
        if not result.commit:
            continue
        head, merged = await stack(
            run.trees, head, run.repository.base, result.commit, commit_message(run, result.task)
        )
        record = run.report.tasks[result.task.id]
        if not merged.tree:
            others = ", ".join(sorted({touched[path] for path in merged.conflicts if path in touched})) or "the others"
            reason = f"its change of {', '.join(merged.conflicts)} does not fit on that of {others}"
            run.emit("task_held", result.task.id, record.attempts, reason=reason)
            continue
        touched |= dict.fromkeys(record.changed, record.agent)
        run.emit("task_integrated", result.task.id, record.attempts, commit=head)
    if run.settings.commit_prd and run.report.prd.get("path") and head != run.repository.base:
        head = await add_prd(run, head)
    return head


async def gate_combined(run: Run, head: str) -> bool:
    """The user's tests on the combined tree, in a worktree of their own and without keys."""
    command = run.settings.test_cmd
    if not command:
        return True
    output = run.logs / f"tests_{run.stamp}.txt"
    run.emit("gate_started", name="tests", command=command)
    async with passing(run.trees, "combined", head) as tree:
        await set_up(run, tree, "combined")
        ended = await run_command(
            ["/bin/sh", "-c", command],
            cwd=tree.path,
            env=run.secrets.free(os.environ),
            output=output,
            timeout=run.settings.gate_timeout,
        )
    run.emit(
        "gate_ended",
        name="tests",
        command=command,
        ok=ended.code == 0 and not ended.timed_out,
        code=ended.code,
        timed_out=ended.timed_out,
        seconds=round(ended.seconds, 3),
        output=str(output.relative_to(run.repository.root)),
    )
    return ended.code == 0 and not ended.timed_out


async def hand_over(run: Run, results: Sequence[Result], head: str, side: str, gates_ok: bool) -> Delivery:
    take = f"git merge {side}"
    complete = all(result.judgement.verdict is Verdict.APPLIED for result in results) and not any(
        t.held for t in run.report.tasks.values()
    )
    if not gates_ok:
        return Delivery(False, "the tests failed on it", take)
    if not run.settings.apply:
        return Delivery(False, "--no-apply was given", take)
    if run.settings.all_or_nothing and not complete:
        return Delivery(False, "not every task is complete and --all-or-nothing was given", take)
    return await deliver(run.repository, head, side)


async def add_prd(run: Run, head: str) -> str:
    """The PRD as one more commit, without any checkout."""
    path = run.report.prd["path"]
    git: Git = run.repository.git.with_env(GIT_INDEX_FILE=str(run.folder / "prd.index"))
    blob = await git.text("hash-object", "-w", str(run.folder / "prd" / path.rsplit("/", 1)[-1]))
    await git.raw("read-tree", head)
    await git.raw("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    tree = await git.text("write-tree")
    return await git.text(
        "commit-tree",
        tree,
        "-p",
        head,
        "-F",
        "-",
        input=f"Add the requirements of this change\n\nRun: {run.stamp}\n".encode(),
    )
