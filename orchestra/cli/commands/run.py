"""`run` and `execute`."""

from argparse import Namespace

from orchestra import __version__
from orchestra.cli.command_io import add_plan_and_run_options
from orchestra.cli.launch import Story, run_until_done, settings_to_run
from orchestra.cli.parser import CommandParser, run_options


def add_run_arguments(parser: CommandParser) -> None:
    parser.usage = "aider-orchestrator [run] --change TEXT [options]"
    version = f"aider-orchestrator {__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    parser.add_run_options(listed=True)


def cmd_run(arguments: Namespace, story: Story) -> int:
    """Carry out a change: plan it, let agents make it, check and combine their work, and report the result. Without
    --change or --plan, carry out what was submitted."""
    settings = settings_to_run(run_options(arguments))
    if not (settings.change or settings.plan):
        from orchestra.conduct.planning.plan_files import with_submitted_plan

        settings = with_submitted_plan(settings)
    return run_until_done(story(settings))


add_execute_arguments = add_plan_and_run_options


def cmd_execute(arguments: Namespace, story: Story) -> int:
    """Carry out the unfinished tasks of a plan. The same as `run --plan NAME`."""
    arguments.plan = arguments.name
    return cmd_run(arguments, story)
