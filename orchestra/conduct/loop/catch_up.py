"""Bring the result to the user's branch. Where that has new commits, put the result on top of them first, and gate it
again there: only what is green moves a branch."""

import dataclasses
from dataclasses import dataclass

from orchestra import events
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.checks.verifying import verify_tests
from orchestra.conduct.core.context import Run
from orchestra.errors import SetUpFailed
from orchestra.workspace.merge import Delivery, deliver_result, rebase_commits, set_branch

MOST = 4  # times; who commits faster than the gates run has to say themselves when the result may come


@dataclass(frozen=True)
class CaughtUp:
    """The result on top of the branch's new commits, or why it cannot be there."""

    head: str
    why_not: str = ""


async def deliver_caught_up(run: Run, gating: Gating, head: str, side: str) -> tuple[str, Delivery]:
    """The result as it is in the end, and what became of it."""
    repository = run.context.repository
    delivery = await deliver_result(repository, head, side)
    for _ in range(MOST):
        if not delivery.stands:
            return head, delivery
        caught = await catch_up_with_branch(run, gating, head, delivery.stands)
        if caught.why_not:
            return head, dataclasses.replace(delivery, reason=f"{delivery.reason}, and {caught.why_not}")
        head, repository = caught.head, dataclasses.replace(repository, base=delivery.stands, unborn=False)
        await set_branch(repository.git, side, head)
        delivery = await deliver_result(repository, head, side)
    return head, dataclasses.replace(delivery, reason=f"{delivery.reason} again and again")


async def catch_up_with_branch(run: Run, gating: Gating, head: str, onto: str) -> CaughtUp:
    made, conflicts = await rebase_commits(run.services.trees, onto, head)
    if conflicts:
        return CaughtUp(head, f"its new commits do not go together with the result in {', '.join(conflicts)}")
    top = list(made.values())[-1] if made else onto
    gating.base = onto
    try:
        checked = await gating.check(top, f"on-{onto[:10]}")
    except SetUpFailed as failed:
        return CaughtUp(head, f"on its new commits {failed}, so that nothing could check it")
    if not checked.ok:
        return CaughtUp(head, f"on its new commits {checked.sentence.rstrip('.')}")
    for task in run.state.report.tasks.values():
        if task.integrated and task.commit in made:
            run.emit(events.TaskIntegrated(made[task.commit]), task.id, task.attempts)
    run.emit(events.WorkCombined(top, onto))
    # What was said of it is now said of the result.
    await gating.check(top, "combined")
    await verify_tests(run, gating, top)
    return CaughtUp(top)
