"""Combine what the agents did, have what does not pass done again, and hand the result to the user's branch."""

import dataclasses
from collections.abc import Iterable

from orchestra import events
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.checks.verifying import verify_tests
from orchestra.conduct.combine.settle import Guilty, Settled, settle
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.results import Result
from orchestra.conduct.loop.catch_up import bring
from orchestra.conduct.loop.human import consult
from orchestra.conduct.loop.results import Results
from orchestra.conduct.loop.scheduler import Scheduler
from orchestra.conduct.loop.task_life import wait_for_human
from orchestra.judge.retry import Next
from orchestra.model import TaskState, Verdict
from orchestra.workspace.git import Git
from orchestra.workspace.merge import Delivery, forget, keep, numstat

RESULT = "result"


async def integrate(run: Run, gating: Gating, scheduler: Scheduler, results: Results, combined: str = "") -> None:
    """Combine the results, have more done where that is worth it, and deliver what passes.

    `combined` is the combination of just these results if an earlier session of the run had made it.
    """
    postponed = set[int]()
    base = Settled(run.context.repository.base)
    settled = await settle(run, gating, base, results.accepted(base), combined)
    while True:
        send_back(run, scheduler, settled.guilty)
        if not (scheduler.can_go_on() or await consult(run, scheduler, postponed)):
            break
        base = base if settled.bad else settled
        await scheduler.work_on(base)
        settled = await settle(run, gating, base, results.accepted(base))
    results.exclude(scheduler.pending.values())
    if settled.head != run.context.repository.base:
        await conclude(run, gating, results.by_task.values(), settled)
    await tidy(run)


def send_back(run: Run, scheduler: Scheduler, guilty: Iterable[Guilty]) -> None:
    """Have those tried again for whom an attempt, which knows how the combination failed, may be worth its money."""
    for one in guilty:
        task = one.result.task
        last = dataclasses.replace(one.result.tried, verdict=Verdict.GATES_FAILED, cause=one.why)
        if one.lesson:
            last = dataclasses.replace(last, failing=one.lesson.failing, output=one.lesson.output)
        step = scheduler.results.histories[task.id].next(run, last)
        if step.next in (Next.FRESH, Next.ON_TOP):
            run.move(task.id, TaskState.FAILED)
            run.emit(events.Retry(one.why, on_top=False), task.id, run.state.report.tasks[task.id].attempts)
            scheduler.begin_again(task)
            continue
        scheduler.results.given_up.add(task.id)
        if step.next is Next.ASK:
            run.move(task.id, TaskState.FAILED)
            wait_for_human(run, task.id, step.why)


async def conclude(run: Run, gating: Gating, results: Iterable[Result], settled: Settled) -> None:
    context = run.context
    head, side = settled.head, context.branch(RESULT)
    if context.settings.commit_prd and context.settings.prd:
        run.emit(events.Note(f"--commit-prd is for a PRD that the run writes: {context.settings.prd} stays as it is."))
    elif context.settings.commit_prd and run.state.report.prd_path:
        head = await add_prd(run, head)
    await keep(context.repository.git, side, head)
    for task in run.state.report.tasks.values():
        if task.state == TaskState.AWAITING_QA:
            run.move(task.id, TaskState.COMPLETE if task.id in settled.tasks and not settled.bad else TaskState.FAILED)
    if not settled.bad:
        await verify_tests(run, gating, settled.head)
    kept_back = withheld(run, results, side, settled.bad)
    head, delivery = (head, kept_back) if kept_back else await bring(run, gating, head, side)
    counts = await numstat(context.repository.git, run.state.report.base, head)
    delivered = events.Delivered(
        applied=delivery.applied,
        reason=delivery.reason,
        take=delivery.take,
        moved=delivery.moved,
        withheld=delivery.withheld,
        branch=context.repository.branch,
        side_branch="" if delivery.applied else side,
        result=head,
        files=counts,
    )
    run.emit(delivered)


async def tidy(run: Run) -> None:
    """Branches whose work the result holds are not needed any more, nor the result's own once it is on the user's."""
    context = run.context
    if run.state.report.delivery:
        merged = [context.branch(f"task{task.id}") for task in run.state.report.tasks.values() if task.integrated]
        await forget(context.repository.git, [*merged, context.branch(RESULT)] if run.state.report.applied else merged)


def withheld(run: Run, results: Iterable[Result], side: str, bad: str) -> Delivery | None:
    """Why the result is not to come to the user's branch at all, if there is a reason."""
    context = run.context
    take = f"git merge {side}"
    complete = all(result.judgement.verdict is Verdict.APPLIED for result in results) and not any(
        t.held for t in run.state.report.tasks.values()
    )
    if bad:
        return Delivery(False, bad, take, withheld=True)
    if context.settings.all_or_nothing and not complete:
        return Delivery(False, "not every task is complete and --all-or-nothing was given", take, withheld=True)
    if own := "--no-apply" if not context.settings.apply else context.settings.own_branch:
        return Delivery(False, f"{own} was given", take)
    return None


async def add_prd(run: Run, head: str) -> str:
    """The PRD as one more commit, without any checkout. Its file may be in the folder of an earlier session."""
    context = run.context
    assert run.state.report.prd
    path, text = run.state.report.prd.path, run.state.report.prd.text
    git: Git = context.repository.git.with_env(GIT_INDEX_FILE=str(context.folder / "prd.index"))
    blob = await git.text("hash-object", "-w", "--stdin", input=text.encode())
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
        input=f"Add the requirements of this change\n\nRun: {context.stamp}\n".encode(),
    )
