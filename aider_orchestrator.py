#!/usr/bin/env python3
"""Aider Orchestrator: one change request, many Aider agents, one checked result.

The story of a run, top to bottom: settings, PRD, plan, agents, integrate, report.
"""

import asyncio
import difflib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestra.errors import OrchestraError, Stopped, UsageError
from orchestra.settings import Settings

if TYPE_CHECKING:
    from orchestra.conduct.resume import Past


async def story(
    settings: Settings, *, replay: Path | None = None, record: Path | None = None, past: "Past | None" = None
) -> int:
    """One run, or what is left of a past one. Everything that is checked before `opened` costs nothing."""
    from orchestra.conduct.agents import run_agents
    from orchestra.conduct.finish import Ending
    from orchestra.conduct.integrate import integrate
    from orchestra.conduct.planning import check_prd_source, chosen_targets, make_plan, obtain_prd
    from orchestra.conduct.run import opened
    from orchestra.conduct.start import check_furnishing, dry_run, find_repository
    from orchestra.console import view

    if not settings.change:
        raise UsageError("Say what to change with --change TEXT (or @FILE, or - for stdin).")
    repository = await find_repository(settings)
    if past is not None:
        repository = past.place(repository)
    entries = await repository.entries()
    planned = past is not None and past.plan is not None
    targets = None if planned else await chosen_targets(settings, repository, entries, Path.cwd())
    check_furnishing(settings, repository)
    if settings.dry_run:
        return dry_run(settings, repository, entries, targets)
    if past is None or past.prd is None:
        check_prd_source(settings, replayed=replay is not None)

    screen = view(quiet=settings.quiet, verbose=settings.verbose)
    async with opened(
        settings, repository, entries, listeners=(screen.hear,), replay=replay, record=record, past=past
    ) as run:
        ending = Ending(run)
        with ending:
            async with screen.showing():
                prd = (past and past.prd) or await obtain_prd(run)
                run.plan = (past and past.plan) or await make_plan(run, prd, targets)
                results = await run_agents(run, past.done() if past else {})
                await integrate(run, results, past.combined if past else "")
    return ending.tell(as_json=settings.json)


def run(argv: list[str]) -> int:
    from orchestra.cli.load import settings_of

    return asyncio.run(stoppable(settings_of(argv)))


def resume(argv: list[str]) -> int:
    """Take up the named run, or the latest one, with its own settings but for the flags given now."""
    from orchestra.cli.load import settings_of
    from orchestra.cli.resume import USAGE
    from orchestra.conduct.resume import find_past
    from orchestra.conduct.run import LOGS
    from orchestra.workspace.git import top_level

    if "--help" in argv or "-h" in argv:
        print(USAGE, end="")
        return 0
    stamp, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    settings = settings_of(flags)
    past = find_past((top_level(Path(settings.repo or ".")) or Path.cwd()) / LOGS, stamp)
    return asyncio.run(stoppable(settings.resumed(past.options), past=past))


async def stoppable(
    settings: Settings, *, replay: Path | None = None, record: Path | None = None, past: "Past | None" = None
) -> int:
    """A signal only cancels the story; closing what is open, and the report, follow from that."""
    loop = asyncio.get_running_loop()
    received: list[int] = []
    telling = asyncio.ensure_future(story(settings, replay=replay, record=record, past=past))

    def stop(signum: int) -> None:
        if not received:
            received.append(signum)
            telling.cancel(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop, signum)
    try:
        return await telling
    except asyncio.CancelledError:
        raise Stopped(received[0] if received else signal.SIGTERM) from None


# --- commands -------------------------------------------------------------------------------------------------------


def demo(argv: list[str]) -> int:
    from orchestra.cli.demo import demo as show

    return show(argv, stoppable)


def config(argv: list[str]) -> int:
    from orchestra.cli.config import config as show

    return show(argv)


def models(argv: list[str]) -> int:
    from orchestra.cli.models import models as show

    return show(argv)


def runs(argv: list[str]) -> int:
    from orchestra.cli.runs import runs as show

    return show(argv)


def status(argv: list[str]) -> int:
    from orchestra.cli.runs import status as show

    return show(argv)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "resume": resume,
    "runs": runs,
    "status": status,
    "demo": demo,
    "config": config,
    "models": models,
}


def main(argv: list[str] | None = None) -> int:
    """Dispatch, and the one place where errors become sentences and exit codes. Bare flags mean `run`."""
    argv = sys.argv[1:] if argv is None else argv
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("run", argv)
    try:
        if argv and name == "run" and argv[0] != "run" and not argv[0].startswith("-"):
            raise UsageError(f"there is no command {argv[0]!r}.", hint=nearest(argv[0]))
        return COMMANDS[name](rest or ["--help"] if name == "run" and not argv else rest)
    except OrchestraError as error:
        print(f"aider-orchestrator: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception:
        return bug()


def nearest(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, 1)
    return f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(COMMANDS)}."


def bug() -> int:
    """What should never happen: kept in a file that one can paste, told in one sentence."""
    import tempfile

    handle, path = tempfile.mkstemp(prefix="aider-orchestrator-bug-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        # Of the arguments only the command: the others may hold a key.
        file.write(f"{sys.argv[1:2]}\n{traceback.format_exc()}")
    print(
        f"aider-orchestrator: this is a bug, sorry. The details are in {path}; please report it with them.",
        file=sys.stderr,
    )
    return 3


if __name__ == "__main__":
    sys.exit(main())
