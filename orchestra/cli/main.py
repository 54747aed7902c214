"""The commands by name, and the one place where errors become sentences and exit codes."""

import difflib
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from orchestra.cli.start import Story, prepare_process
from orchestra.errors import OrchestraError, UsageError, machine_trouble

Command = Callable[[list[str], Story], int]


def command(name: str) -> Command:
    """A command that does not start a run. It is imported only when it is called."""
    return lambda argv, _: int(imported(name)(argv))


def starting(name: str) -> Command:
    """A command that may start a run: it is given the story."""
    return lambda argv, story: int(imported(name)(argv, story))


def imported(name: str) -> Callable[..., int]:
    module, _, function = name.partition(".")
    found: Callable[..., int] = getattr(import_module(f"orchestra.cli.commands.{module}"), function)
    return found


COMMANDS: dict[str, Command] = {
    "run": starting("run.run"),
    "plan": command("plan.plan"),
    "execute": starting("run.execute"),
    "submit": command("submit.submit"),
    "resume": starting("resume.resume"),
    "retry": starting("resume.retry"),
    "restart": starting("resume.restart"),
    "resolve": starting("resolve.resolve"),
    "interrupt": command("steer.interrupt"),
    "cancel": command("steer.cancel"),
    "runs": command("runs.runs"),
    "status": command("runs.status"),
    "logs": command("logs.logs"),
    "show": command("show.show"),
    "diff": command("diff.diff"),
    "report": command("report.report"),
    "clean": command("clean.clean"),
    "export": command("archive.export"),
    "import": command("archive.bring_in"),
    "store": command("store.store"),
    "demo": starting("demo.demo"),
    "config": command("config.config"),
    "trust": command("trust.trust"),
    "models": command("models.models"),
    "doctor": command("doctor.doctor"),
}
# What other orchestrators call them.
ALIASES = {
    **{"agents": ["status"], "task": ["show"], "cleanup": ["clean"], "kill": ["cancel"]},
    **{"plan-list": ["plan", "list"], "plan-continue": ["plan", "continue"], "execute-plan": ["execute"]},
}


def main(argv: list[str], story: Story) -> int:
    from orchestra.cli.ci import guarded

    prepare_process()
    argv = [*ALIASES.get(argv[0], argv[:1]), *argv[1:]] if argv else argv
    with guarded(os.environ):
        return dispatch(argv, story)


def dispatch(argv: list[str], story: Story) -> int:
    """Carry out the command. Flags without a command mean `run`."""
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("run", argv)
    try:
        if argv and name == "run" and argv[0] != "run" and not argv[0].startswith("-"):
            raise UsageError(f"there is no command {argv[0]!r}.", hint=nearest(argv[0]))
        code = COMMANDS[name](rest or ["--help"] if name == "run" and not argv else rest, story)
        sys.stdout.flush()
        return code
    except OrchestraError as error:
        from orchestra.cli.ci import complaint

        print(f"aider-orchestrator: {without_keys(complaint(error, os.environ), argv)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        if trouble := machine_trouble(error):
            with suppress(OSError):  # a terminal that was closed takes no words any more
                print(f"aider-orchestrator: {without_keys(str(trouble), argv)}", file=sys.stderr)
            return trouble.exit_code
        return report_bug(argv)


def nearest(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, 1)
    return f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(COMMANDS)}."


def without_keys(text: str, argv: list[str]) -> str:
    from orchestra.cli.hush import hushed

    return hushed(text, argv)


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
