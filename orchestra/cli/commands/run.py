"""`run` and `execute`."""

from orchestra.cli.start import Story, run_until_done, settings_to_run

EXECUTE_USAGE = """usage: aider-orchestrator execute NAME [options of a run]

Carry out what is still to be done of a plan. The same as `run --plan NAME`.
"""


def cmd_run(argv: list[str], story: Story) -> int:
    settings = settings_to_run(argv)
    if not (settings.change or settings.plan):
        from orchestra.conduct.planning.plan_files import with_submitted_plan

        settings = with_submitted_plan(settings)
    return run_until_done(story(settings))


def cmd_execute(argv: list[str], story: Story) -> int:
    """Carry out a plan."""
    from orchestra.cli.commands.steer import split_leading_words

    if "--help" in argv or "-h" in argv:
        print(EXECUTE_USAGE, end="")
        return 0
    (name,), flags = split_leading_words(argv, EXECUTE_USAGE, 1)
    return cmd_run(["--plan", name, *flags], story)
