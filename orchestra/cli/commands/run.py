"""`run` and `execute`."""

import os
from argparse import Namespace

from orchestra import __version__
from orchestra.cli.command_io import add_plan_and_run_options
from orchestra.cli.launch import Story, run_until_done, settings_to_run
from orchestra.cli.parser import CommandParser, run_options
from orchestra.errors import UsageError


def add_run_arguments(parser: CommandParser) -> None:
    parser.usage = "aider-orchestrator [run] --change TEXT [options]"
    version = f"aider-orchestrator {__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    parser.add_run_options(listed=True)


def cmd_run(arguments: Namespace, story: Story) -> int:
    """Carry out a change: plan it, let agents make it, check and combine their work, and report the result. Without
    --change or --plan, carry out what was submitted."""
    if arguments.plan and (arguments.shard or os.environ.get("ORCHESTRA_SHARD")):
        from orchestra.cli.commands.shard import execute_shard

        return execute_shard(arguments, story)
    settings = settings_to_run(run_options(arguments))
    if not (settings.change or settings.plan):
        from orchestra.conduct.planning.plan_files import with_submitted_plan

        settings = with_submitted_plan(settings)
    return run_until_done(story(settings))


def add_execute_arguments(parser: CommandParser) -> None:
    add_plan_and_run_options(parser)
    parser.add_argument("--archive", metavar="FILE", default="", help="with --shard: where to write what was done")
    parser.add_argument(
        "--resume-from", metavar="FILE", default="", help="with --shard: go on from the archive of an earlier try"
    )


def cmd_execute(arguments: Namespace, story: Story) -> int:
    """Carry out the unfinished tasks of a plan. The same as `run --plan NAME`. With --shard I/N, do one part of a plan
    that `plan shard` has cut, and write it into an archive for `combine`."""
    arguments.plan = arguments.name
    if (arguments.archive or arguments.resume_from) and not (arguments.shard or os.environ.get("ORCHESTRA_SHARD")):
        raise UsageError("--archive and --resume-from are for --shard I/N.")
    return cmd_run(arguments, story)
