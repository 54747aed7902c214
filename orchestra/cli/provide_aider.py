"""See to it that there is a Python with aider: after a yes, make an environment for it."""

import os
import sys

from orchestra.agents.aider_environment import (
    HINT,
    EnvironmentPlan,
    explain_missing,
    find_made_python,
    is_curable,
    make_environment,
    plan_environment,
)
from orchestra.agents.seat import check_version, find_aider_python
from orchestra.cli.command_io import print_plain
from orchestra.cli.launch import run_until_done
from orchestra.cli.question import ask_yes, can_ask
from orchestra.conduct.session.warmup import may_use_aider
from orchestra.errors import AiderMissing
from orchestra.settings import Settings


async def provide_aider(settings: Settings) -> None:
    """Make an environment for aider if a run of these settings needs one. Raise AiderMissing if there may be none."""
    if not may_use_aider(settings):
        return
    try:
        await check_aider()
    except AiderMissing as missing:
        if not is_curable(missing, os.environ):
            raise
        plan = plan_environment(os.environ)
        if not (settings.yes or (can_ask(settings) and await confirm_environment(missing, plan))):
            raise AiderMissing(explain_missing(missing), hint=missing.hint) from None
        await make_environment(plan, os.environ, print_progress)


def offer_aider_environment(settings: Settings) -> None:
    """Do the same for commands that report what is missing themselves: a no is no error."""
    try:
        run_until_done(provide_aider(settings))
    except AiderMissing as missing:
        if missing.hint != HINT:
            print_progress(str(missing))


async def check_aider() -> None:
    """Check the version too if the interpreter is another program's."""
    python = find_aider_python(os.environ)
    if python not in (sys.executable, find_made_python(os.environ)):
        await check_version(python)


async def confirm_environment(missing: AiderMissing, plan: EnvironmentPlan) -> bool:
    print_progress(
        f"{explain_missing(missing)} An environment for it can be made once, in {plan.folder}, with {plan.source}"
        " (600 MB)."
    )
    return await ask_yes("Make it?")


def print_progress(text: str) -> None:
    print_plain(text, stream=sys.stderr)
