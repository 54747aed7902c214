#!/usr/bin/env python3
"""Aider Orchestrator: one change request, many Aider agents, one checked result.

The story of a run, top to bottom: settings, preflight, PRD, plan, agents, integrate, report. Each step is a function of
`orchestra.conduct`. The commands around it are in `orchestra.cli`.
"""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from orchestra.cli.main import main as run_command
from orchestra.cli.start import exit_with
from orchestra.settings import Settings

if TYPE_CHECKING:
    from orchestra.conduct.previous.previous import Past


async def story(settings: Settings, *, past: "Past | None" = None) -> int:
    """Carry out one run, or what is left of a past one, and return its exit code."""
    if settings.dry_run:
        return await show_plan(settings, past)
    from orchestra.conduct.session.warmup import workshop

    async with workshop(settings) as shop:
        # Aider warms up in a process of its own while the rest of the program is imported.
        from orchestra.cli.ci import publish
        from orchestra.cli.question import people_at
        from orchestra.conduct.checks.gating import open_gates
        from orchestra.conduct.core.deadline import in_time
        from orchestra.conduct.deliver.finish import finish, print_result
        from orchestra.conduct.deliver.handover import hand_over
        from orchestra.conduct.deliver.notify import notify
        from orchestra.conduct.loop.human import take_decisions
        from orchestra.conduct.loop.integrate import integrate
        from orchestra.conduct.loop.scheduler import schedule
        from orchestra.conduct.planning.lead import plan_for
        from orchestra.conduct.planning.plan_files import keep_up
        from orchestra.conduct.planning.prd import obtain_prd
        from orchestra.conduct.planning.roles import engage
        from orchestra.conduct.session.preflight import look
        from orchestra.conduct.session.remote_control import lease
        from orchestra.conduct.session.session import opened
        from orchestra.console import watching

        before = await look(settings, past)
        screen, screens = watching(settings, past.events[-1].seq if past else 0)
        people = people_at(screen, settings)
        async with opened(before, shop, people=people, screens=screens, past=past) as run:
            failure = None
            try:
                async with screen.showing():
                    await lease(run, before.targets)
                    async with in_time(run, "before the agents began"):
                        prd = (past and past.prd) or await obtain_prd(run)
                        plan = (past and past.plan) or await plan_for(run, prd, before.targets, before.draft)
                    run.state.adopt(plan)
                    engage(run)
                    await lease(run)
                    gating = await open_gates(run, past.events if past else ())
                    scheduler = schedule(run, gating, past)
                    take_decisions(scheduler, past)
                    results = await scheduler.work()
                    await integrate(run, gating, scheduler, results, past.combined if past else "")
                    await hand_over(run)
                    keep_up(run)
            except BaseException as error:
                failure = error
            outcome = finish(run, failure)
    print_result(outcome)
    publish(outcome, os.environ)
    await notify(outcome)
    return outcome.code


async def show_plan(settings: Settings, past: "Past | None") -> int:
    """Print the plan and what it would cost; ask no model."""
    from orchestra.conduct.session.dry_run import dry_run
    from orchestra.conduct.session.preflight import look

    return await dry_run(await look(settings, past))


def main(argv: list[str] | None = None) -> int:
    return run_command(sys.argv[1:] if argv is None else argv, story)


def leave() -> NoReturn:
    exit_with(main)


if __name__ == "__main__":
    leave()
