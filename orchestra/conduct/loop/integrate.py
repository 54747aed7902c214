"""Combine the results, retry what does not pass, and hand the result to the user's branch.

If that branch has new commits, the result is put on top of them and gated again: a branch moves only to a commit that
passed.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from orchestra import events
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.checks.verifying import verify_tests
from orchestra.conduct.combine.combine_and_gate import Combination, GuiltyResult, combine_and_gate
from orchestra.conduct.core.context import Run, TaskResult
from orchestra.conduct.loop.human import ask_about_waiting_tasks
from orchestra.conduct.loop.scheduler import Scheduler
from orchestra.conduct.loop.task_lifecycle import wait_for_human
from orchestra.errors import SetUpFailed
from orchestra.judge.merge_proof import NO_TEST
from orchestra.judge.retry import NextAction
from orchestra.merging.trust import Trust
from orchestra.model import TaskState, Verdict
from orchestra.workspace.merge import (
    Delivery,
    delete_branches,
    deliver_result,
    diff_numstat,
    rebase_commits,
    set_branch,
)
from orchestra.workspace.reconcile import ProposedMerge

RESULT = "result"
MOST = 4  # tries to deliver; if commits come faster than the gates run, the user must choose the moment


async def integrate_results(scheduler: Scheduler, combined: str = "") -> None:
    """Combine the results, retry tasks if that is worthwhile, deliver. `combined`: made by an earlier session."""
    run, gating, results, postponed = scheduler.run, scheduler.gating, scheduler.results, set[int]()
    base = Combination(run.context.repository.base)
    settled = await combine_and_gate(results.proofs, base, results.list_accepted(base), combined)
    while True:
        retry_guilty_tasks(scheduler, settled.guilty)
        if not (scheduler.can_go_on() or await ask_about_waiting_tasks(scheduler, postponed)):
            break
        base = results.base = base if settled.failure else settled
        await scheduler.work()
        postponed.clear()  # a person may see it differently now
        settled = await combine_and_gate(results.proofs, base, results.list_accepted(base))
    scheduler.refuse_commands()
    results.exclude(scheduler.pending.values())
    if settled.head != run.context.repository.base:
        await deliver_combination(run, gating, results.by_task.values(), settled)
    if run.state.report.delivery:  # the result holds their work, and the user's branch may hold the result
        merged = [f"task{task.id}" for task in run.state.report.tasks.values() if task.integrated]
        merged += [RESULT] if run.state.report.applied else []
        await delete_branches(run.context.git, [run.context.branch(name) for name in merged])


def leave_to_combine(scheduler: Scheduler) -> None:
    """End a shard: its work waits for `combine`, which gates all shards together."""
    scheduler.refuse_commands()
    scheduler.results.exclude(scheduler.pending.values())


def retry_guilty_tasks(scheduler: Scheduler, guilty: Iterable[GuiltyResult]) -> None:
    """Retry the tasks that broke the combination, with what is known about the failure."""
    run = scheduler.run
    for one in guilty:
        task = one.result.task
        last = dataclasses.replace(one.result.tried, verdict=Verdict.GATES_FAILED, cause=one.why)
        if one.lesson:
            last = dataclasses.replace(last, **vars(one.lesson))
        step = scheduler.results.histories[task.id].decide_next(run, last)
        if step.next in (NextAction.FRESH, NextAction.ON_TOP):
            run.move(task.id, TaskState.FAILED)
            run.emit(events.TaskRetried(one.why, on_top=False), task.id, run.state.report.tasks[task.id].attempts)
            scheduler.start_again(task)
            continue
        scheduler.results.given_up.add(task.id)
        if step.next is NextAction.ASK:
            run.move(task.id, TaskState.FAILED)
            wait_for_human(run, task.id, step.why)


async def deliver_combination(
    run: Run, gating: Gating, results: Iterable[TaskResult], combination: Combination
) -> None:
    context, report, settings = run.context, run.state.report, run.context.settings
    head, side = combination.head, context.branch(RESULT)
    if settings.commit_prd and settings.prd:
        run.emit(events.Note(f"--commit-prd is for a PRD that the run writes: {settings.prd} stays as it is."))
    elif settings.commit_prd and report.prd_path:
        head = await add_prd_commit(run, head)
    await set_branch(context.git, side, head)
    for task in report.tasks.values():
        if task.state == TaskState.AWAITING_QA:
            complete = task.id in combination.tasks and not combination.failure
            run.move(task.id, TaskState.COMPLETE if complete else TaskState.FAILED)
    if not combination.failure:
        await verify_tests(run, gating, combination.head)
    kept_back = withheld_delivery(run, results, side, combination.failure)
    head, delivery = (head, kept_back) if kept_back else await deliver_caught_up(run, gating, head, side)
    counts = await diff_numstat(context.git, report.base, head)
    delivered = events.ResultDelivered(
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


def withheld_delivery(run: Run, results: Iterable[TaskResult], side: str, failure: str) -> Delivery | None:
    """Return why the result must not go to the user's branch; None if it may."""
    settings, take = run.context.settings, f"git merge {side}"
    held = any(task.held for task in run.state.report.tasks.values())
    incomplete = held or not all(result.judgement.ends_well for result in results)
    if failure:
        return Delivery(False, failure, take, withheld=True)
    if settings.all_or_nothing and incomplete:
        return Delivery(False, "not every task is complete and --all-or-nothing was given", take, withheld=True)
    if own := "--no-apply" if not settings.apply else "--branch" if settings.branch else "--pr" if settings.pr else "":
        return Delivery(False, f"{own} was given", take)
    return None


async def add_prd_commit(run: Run, head: str) -> str:
    """Add the PRD as one more commit, without a checkout. Its file may be in the folder of an earlier session."""
    context, prd = run.context, run.state.report.prd
    assert prd
    git = context.git.with_env(GIT_INDEX_FILE=str(context.folder / "prd.index"))
    blob = await git.text("hash-object", "-w", "--stdin", input=prd.text.encode())
    await git.raw("read-tree", head)
    await git.raw("update-index", "--add", "--cacheinfo", f"100644,{blob},{prd.path}")
    tree = await git.text("write-tree")
    message = f"Add the requirements of this change\n\nRun: {context.stamp}\n"
    return await git.text("commit-tree", tree, "-p", head, "-F", "-", input=message.encode())


async def deliver_caught_up(run: Run, gating: Gating, head: str, side: str) -> tuple[str, Delivery]:
    """Return the final result and what became of it."""
    repository = run.context.repository
    delivery = await deliver_result(repository, head, side)
    for _ in range(MOST):
        if not delivery.stands:
            return head, delivery
        caught_up, why_not = await catch_up_with_branch(run, gating, head, delivery.stands)
        if why_not:
            return head, dataclasses.replace(delivery, reason=f"{delivery.reason}, and {why_not}")
        head, repository = caught_up, dataclasses.replace(repository, base=delivery.stands, unborn=False)
        await set_branch(repository.git, side, head)
        delivery = await deliver_result(repository, head, side)
    return head, dataclasses.replace(delivery, reason=f"{delivery.reason} repeatedly")


def paths_of(merges: Iterable[ProposedMerge]) -> str:
    return ", ".join(dict.fromkeys(file.path for each in merges for file in each.files))


async def catch_up_with_branch(run: Run, gating: Gating, head: str, onto: str) -> tuple[str, str]:
    """Return the result on top of the branch's new commits, or why it cannot be there."""
    taken: list[ProposedMerge] = []

    def choose(proposals: Sequence[ProposedMerge]) -> ProposedMerge | None:
        sure = next((each for each in proposals if each.trust < Trust.BY_TESTS), None)
        taken.extend([sure] if sure else [])
        return sure

    made, conflicts = await rebase_commits(run.services.trees, onto, head, choose)
    if conflicts:
        return "", f"its new commits conflict with the result in {', '.join(conflicts)}"
    top = list(made.values())[-1] if made else onto
    gating.base = onto
    try:
        checked = await gating.check(top, f"on-{onto[:10]}")
    except SetUpFailed as failed:
        return "", f"on its new commits {failed}, so nothing could check it"
    if not checked.ok:
        return "", f"on its new commits {checked.sentence.rstrip('.')}"
    unproven = [each for each in taken if each.trust is not Trust.BY_FORMAT and not checked.tests_ran]
    if unproven:
        return "", f"its new commits conflict with the result in {paths_of(unproven)}, and {NO_TEST} with both merged"
    if taken:
        run.emit(events.Note(f"The new commits change {paths_of(taken)} too: both edits were kept."))
    for task in run.state.report.tasks.values():
        if task.integrated and task.commit in made:
            run.emit(events.TaskIntegrated(made[task.commit]), task.id, task.attempts)
    run.emit(events.WorkCombined(top, onto))
    # The outcomes of this commit are now the result's.
    await gating.check(top, "combined")
    await verify_tests(run, gating, top)
    return top, ""
