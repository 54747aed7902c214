#!/usr/bin/env python3
"""Aider Orchestrator: one change request, many Aider agents, one checked result.

The story of a run, top to bottom: settings, preflight, PRD, plan, agents, integrate, report. Each step is a function of
`orchestra.conduct`. The commands around it are in `orchestra.cli`.
"""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from orchestra.cli.launch import exit_with
from orchestra.cli.main import main as run_command
from orchestra.errors import ClusterUnavailable
from orchestra.settings import Settings

if TYPE_CHECKING:
    from orchestra.conduct.previous.sessions import PreviousSessions


async def story(settings: Settings, *, past: "PreviousSessions | None" = None) -> int:
    """Carry out one run, or the rest of a past one, and return its exit code."""
    if settings.dry_run:
        return await show_plan(settings, past)
    try:
        return await carry_out(settings, past)
    except ClusterUnavailable as trouble:
        from orchestra.cli.question import confirm_one_machine

        if not await confirm_one_machine(settings, trouble):
            raise
    return await carry_out(settings.with_values(cluster=""), past)


async def carry_out(settings: Settings, past: "PreviousSessions | None") -> int:
    """Carry out a run from its preflight to its report."""
    from orchestra.cli.provide_aider import provide_aider
    from orchestra.conduct.session.warmup import start_warmup

    combines_only = past is not None and past.combines_only
    if not combines_only:
        await provide_aider(settings)
    async with start_warmup(settings, works=not combines_only) as warmup:
        # Aider warms up in a process of its own while the rest of the program is imported.
        from orchestra.cli.ci import publish_in_ci
        from orchestra.cli.question import confirm_dirty_files, prompts_at_terminal
        from orchestra.conduct.checks.gating import open_gating
        from orchestra.conduct.core.deadline import enforce_deadline
        from orchestra.conduct.deliver.finish import finish_run, notify_run_ended
        from orchestra.conduct.deliver.handover import hand_over_result
        from orchestra.conduct.loop.human import take_decisions
        from orchestra.conduct.loop.integrate import integrate_results, leave_to_combine
        from orchestra.conduct.loop.scheduler import Scheduler
        from orchestra.conduct.loop.steering import accept_steering
        from orchestra.conduct.planning.lead import obtain_plan
        from orchestra.conduct.planning.plan_files import update_plan_file
        from orchestra.conduct.planning.prd import obtain_prd, open_role_models
        from orchestra.conduct.session.open_run import open_run, reserve_files
        from orchestra.conduct.session.preflight import run_preflight
        from orchestra.console import print_result, watch_progress

        preflight = await run_preflight(settings, past)
        await confirm_dirty_files(preflight)
        screen, screens = watch_progress(settings, past.events[-1].seq if past else 0)
        prompts = prompts_at_terminal(screen, settings)
        async with open_run(preflight, warmup, prompts=prompts, screens=screens, previous=past) as run:
            failure = None
            try:
                async with screen.display():
                    await reserve_files(run, preflight.targets)
                    async with enforce_deadline(run, "before the agents began"):
                        prd = (past and past.prd) or await obtain_prd(run)
                        plan = (past and past.plan) or await obtain_plan(run, prd, preflight.targets, preflight.draft)
                    run.state.plan = plan
                    if not combines_only:
                        open_role_models(run)
                    await reserve_files(run)
                    gating = await open_gating(run)
                    scheduler = Scheduler(run, gating, past)
                    if not combines_only:
                        take_decisions(scheduler, past)
                        accept_steering(scheduler)
                        await scheduler.work()
                    if settings.shard:
                        leave_to_combine(scheduler)
                    else:
                        await integrate_results(scheduler, past.combined_commit if past else "")
                        await hand_over_result(run)
                        update_plan_file(run)
            except BaseException as error:
                failure = error
            outcome = finish_run(run, failure)
    print_result(outcome)
    publish_in_ci(outcome, os.environ)
    await notify_run_ended(outcome)
    return outcome.code


async def show_plan(settings: Settings, past: "PreviousSessions | None") -> int:
    """Print the plan and its estimated cost without requests to a model."""
    from orchestra.cli.command_io import print_plain
    from orchestra.conduct.session.dry_run import print_dry_run
    from orchestra.conduct.session.preflight import run_preflight

    return await print_dry_run(await run_preflight(settings, past), print_plain)


def main(argv: list[str] | None = None) -> int:
    return run_command(sys.argv[1:] if argv is None else argv, story)


def leave() -> NoReturn:
    exit_with(main)


if __name__ == "__main__":
    leave()
