"""The commands by name, and the one place where errors become sentences and exit codes."""

import difflib
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from orchestra.cli.start import Story, prepare_process
from orchestra.errors import OrchestraError, UsageError, as_machine_trouble

CommandFunction = Callable[[list[str], Story], int]


def plain_command(name: str) -> CommandFunction:
    """A command that does not start a run. It is imported only when it is called."""
    return lambda argv, _: int(import_command(name)(argv))


def story_command(name: str) -> CommandFunction:
    """A command that may start a run: it is given the story."""
    return lambda argv, story: int(import_command(name)(argv, story))


def import_command(name: str) -> Callable[..., int]:
    module, _, function = name.partition(".")
    found: Callable[..., int] = getattr(import_module(f"orchestra.cli.commands.{module}"), function)
    return found


COMMANDS: dict[str, CommandFunction] = {
    "run": story_command("run.cmd_run"),
    "plan": plain_command("plan.cmd_plan"),
    "execute": story_command("run.cmd_execute"),
    "submit": plain_command("submit.cmd_submit"),
    "resume": story_command("resume.cmd_resume"),
    "retry": story_command("resume.cmd_retry"),
    "restart": story_command("resume.cmd_restart"),
    "resolve": story_command("resolve.cmd_resolve"),
    "interrupt": plain_command("steer.cmd_interrupt"),
    "cancel": plain_command("steer.cmd_cancel"),
    "runs": plain_command("runs.cmd_runs"),
    "status": plain_command("runs.cmd_status"),
    "logs": plain_command("logs.cmd_logs"),
    "show": plain_command("show.cmd_show"),
    "diff": plain_command("diff.cmd_diff"),
    "report": plain_command("report.cmd_report"),
    "clean": plain_command("clean.cmd_clean"),
    "export": plain_command("archive.cmd_export"),
    "import": plain_command("archive.cmd_import"),
    "store": plain_command("store.cmd_store"),
    "demo": story_command("demo.cmd_demo"),
    "config": plain_command("config.cmd_config"),
    "trust": plain_command("trust.cmd_trust"),
    "models": plain_command("models.cmd_models"),
    "doctor": plain_command("doctor.cmd_doctor"),
}
# What other orchestrators call them.
ALIASES = {
    **{"agents": ["status"], "task": ["show"], "cleanup": ["clean"], "kill": ["cancel"]},
    **{"plan-list": ["plan", "list"], "plan-continue": ["plan", "continue"], "execute-plan": ["execute"]},
}


def main(argv: list[str], story: Story) -> int:
    from orchestra.cli.ci import guard_output

    prepare_process()
    argv = [*ALIASES.get(argv[0], argv[:1]), *argv[1:]] if argv else argv
    with guard_output(os.environ):
        return dispatch_command(argv, story)


def dispatch_command(argv: list[str], story: Story) -> int:
    """Carry out the command. Flags without a command mean `run`."""
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("run", argv)
    try:
        if argv and name == "run" and argv[0] != "run" and not argv[0].startswith("-"):
            raise UsageError(f"there is no command {argv[0]!r}.", hint=suggest_command(argv[0]))
        code = COMMANDS[name](rest or ["--help"] if name == "run" and not argv else rest, story)
        sys.stdout.flush()
        return code
    except OrchestraError as error:
        from orchestra.cli.ci import announce_error

        print(f"aider-orchestrator: {without_keys(announce_error(error, os.environ), argv)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        if trouble := as_machine_trouble(error):
            with suppress(OSError):  # a terminal that was closed takes no words any more
                print(f"aider-orchestrator: {without_keys(str(trouble), argv)}", file=sys.stderr)
            return trouble.exit_code
        return report_bug(argv)


def suggest_command(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, 1)
    return f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(COMMANDS)}."


def without_keys(text: str, argv: list[str]) -> str:
    from orchestra.cli.scrub_keys import scrub_keys

    return scrub_keys(text, argv)


def report_bug(argv: list[str]) -> int:
    """Keep the details of a bug in a file that one can paste, and say so in one sentence."""
    import tempfile

    # Of the arguments only the command: the others may hold a key.
    details = without_keys(f"{argv[:1]}\n{traceback.format_exc()}", argv)
    try:
        handle, path = tempfile.mkstemp(prefix="aider-orchestrator-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(details)
    except OSError:  # no file can be written: then all of it is printed
        print(f"{details}\naider-orchestrator: this is a bug, sorry; please report what is above.", file=sys.stderr)
        return 3
    print(
        f"aider-orchestrator: this is a bug, sorry. The details are in {path}; please report it with them.",
        file=sys.stderr,
    )
    return 3
