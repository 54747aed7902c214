#!/usr/bin/env python3
"""Aider Orchestrator: one change request, many Aider agents, one checked result.

The story of a run, top to bottom: settings, PRD, plan, agents, integrate, report.
"""

import difflib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from orchestra.errors import OrchestraError, Stopped, UsageError, machine_trouble
from orchestra.settings import Settings

if TYPE_CHECKING:
    from orchestra.conduct.previous.previous import Past
    from orchestra.conduct.session.warmup import Workshop

EXECUTE_USAGE = """usage: aider-orchestrator execute NAME [options of a run]

Carry out what is still to be done of a plan. The same as `run --plan NAME`.
"""


async def story(settings: Settings, *, past: "Past | None" = None) -> int:
    """One run, or what is left of a past one."""
    if settings.dry_run:
        from orchestra.conduct.session.dry_run import dry_run
        from orchestra.conduct.session.preflight import look

        return await dry_run(await look(settings, past))
    from orchestra.conduct.session.warmup import workshop

    async with workshop(settings) as shop:
        return await carried_out(settings, shop, past)


async def carried_out(settings: Settings, shop: "Workshop", past: "Past | None") -> int:
    from orchestra.conduct.core.deadline import in_time

    from orchestra.cli.ci import publish
    from orchestra.cli.question import asker, confirmer
    from orchestra.conduct.checks.gating import Gating
    from orchestra.conduct.deliver.finish import Ending
    from orchestra.conduct.deliver.handover import hand_over
    from orchestra.conduct.deliver.notify import call_for_people, notify
    from orchestra.conduct.loop.human import take_up
    from orchestra.conduct.loop.integrate import integrate
    from orchestra.conduct.loop.scheduler import Agents
    from orchestra.conduct.planning.lead import plan_for
    from orchestra.conduct.planning.plan_files import keep_up
    from orchestra.conduct.planning.prd import obtain_prd
    from orchestra.conduct.planning.roles import engage
    from orchestra.conduct.session.preflight import look
    from orchestra.conduct.session.remote_control import lease, listen
    from orchestra.conduct.session.session import opened
    from orchestra.console import watching

    before = await look(settings, past)
    screen, screens = watching(settings, past.events[-1].seq if past else 0)
    async with opened(before, shop, screens=screens, past=past) as run:
        listen(run)
        call_for_people(run)
        run.ask, run.confirm = asker(screen, settings), confirmer(screen, settings)
        ending = Ending(run)
        with ending:
            async with screen.showing():
                await lease(run, before.targets)
                async with in_time(run, "before the agents began"):
                    prd = (past and past.prd) or await obtain_prd(run)
                    run.state.plan = (past and past.plan) or await plan_for(run, prd, before.targets, before.draft)
                engage(run)
                await lease(run)
                gating = Gating(run, past.events if past else ())
                await gating.announce()
                agents = Agents(run, gating, past)
                take_up(agents, past)
                await agents.work()
                await integrate(run, gating, agents, past.combined if past else "")
                await hand_over(run)
                keep_up(run)
    code = ending.tell(as_json=settings.json, aside=bool(settings.events))
    publish(ending, os.environ)
    await notify(ending)
    return code


def run(argv: list[str]) -> int:
    from orchestra.cli.start import settings_to_run

    settings = settings_to_run(argv)
    if not (settings.change or settings.plan):
        from orchestra.conduct.planning.plan_files import with_submitted

        settings = with_submitted(settings)
    return begin(story(settings))


def execute(argv: list[str]) -> int:
    """Carry out a plan."""
    from orchestra.cli.commands.steer import leading

    if "--help" in argv or "-h" in argv:
        print(EXECUTE_USAGE, end="")
        return 0
    (name,), flags = leading(argv, EXECUTE_USAGE, 1)
    return run(["--plan", name, *flags])


def resume(argv: list[str]) -> int:
    """Take up the named run, or the latest one, with its own settings but for the flags given now."""
    from orchestra.cli.commands.resume import RESUME_USAGE, find

    if "--help" in argv or "-h" in argv:
        print(RESUME_USAGE, end="")
        return 0
    stamp, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    settings, past = find(stamp, flags)
    return begin(story(settings.resumed(past.options), past=past))


def retry(argv: list[str]) -> int:
    """One failed task again: by the run itself when it is under way, else by taking it up for this task alone."""
    from orchestra.cli.commands.resume import RETRY_USAGE, find, told_there
    from orchestra.cli.commands.steer import leading, number_of

    if "--help" in argv or "-h" in argv:
        print(RETRY_USAGE, end="")
        return 0
    (stamp, task), flags = leading(argv, RETRY_USAGE, 2)
    settings, past = find(stamp, flags)
    if answer := told_there(settings.resumed(past.options), past.stamp, "retry", number_of(task)):
        print(answer)
        return 0
    return begin(story(settings.resumed(past.options), past=past.again(number_of(task))))


def restart(argv: list[str]) -> int:
    """A new run with the settings of an old one."""
    from orchestra.cli.commands.resume import RESTART_USAGE, find
    from orchestra.cli.commands.steer import leading

    if "--help" in argv or "-h" in argv:
        print(RESTART_USAGE, end="")
        return 0
    (stamp,), flags = leading(argv, RESTART_USAGE, 1)
    settings, past = find(stamp, flags)
    return begin(story(settings.resumed(past.options)))


def resolve(argv: list[str]) -> int:
    """What a person decides about a task: carried out by the run itself when it is under way, else by taking it up."""
    from orchestra.cli.commands.resolve import RESOLVE_USAGE, read
    from orchestra.cli.commands.resume import find, told_there

    if "--help" in argv or "-h" in argv:
        print(RESOLVE_USAGE, end="")
        return 0
    stamp, decision, flags = read(argv)
    settings, past = find(stamp, flags)
    settings = settings.resumed(past.options)
    if answer := told_there(settings, past.stamp, "resolve", decision.task, action=decision.action, text=decision.text):
        print(answer)
        return 0
    return begin(story(settings, past=past.decided(decision)))


def begin(tale: Coroutine[Any, Any, int]) -> int:
    """asyncio takes its time to be loaded: `--help` goes without."""
    import asyncio

    return asyncio.run(stoppable(tale))


async def stoppable(tale: Coroutine[Any, Any, int]) -> int:
    """A signal only cancels the story; closing what is open, and the report, follow from that."""
    import asyncio

    from orchestra.conduct.core.terminal import let_go

    loop = asyncio.get_running_loop()
    received: list[int] = []
    telling = asyncio.ensure_future(tale)

    def stop(signum: int) -> None:
        if signum == signal.SIGHUP:
            let_go()
        if not received:
            received.append(signum)
            telling.cancel(signum)

    # A terminal that is closed stops the run too, unless it was started with nohup.
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    for signum in (signal.SIGINT, signal.SIGTERM, *hangup):
        loop.add_signal_handler(signum, stop, signum)
    try:
        return await telling
    except asyncio.CancelledError:
        raise Stopped(received[0] if received else signal.SIGTERM) from None


# --- commands -------------------------------------------------------------------------------------------------------


def demo(argv: list[str]) -> int:
    from orchestra.cli.commands.demo import demo as show

    return show(argv, lambda settings: stoppable(story(settings)))


def plan(argv: list[str]) -> int:
    from orchestra.cli.commands.plan import plan as make

    return make(argv, stoppable)


def submit(argv: list[str]) -> int:
    from orchestra.cli.commands.submit import submit as collect

    return collect(argv, stoppable)


def elsewhere(name: str) -> Callable[[list[str]], int]:
    """A command of the cli that is imported only when it is asked for."""

    def command(argv: list[str]) -> int:
        module, _, function = name.partition(".")
        carry_out: Callable[[list[str]], int] = getattr(import_module(f"orchestra.cli.{module}"), function)
        return carry_out(argv)

    return command


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "plan": plan,
    "execute": execute,
    "submit": submit,
    "resume": resume,
    "retry": retry,
    "restart": restart,
    "resolve": resolve,
    "interrupt": elsewhere("steer.interrupt"),
    "cancel": elsewhere("steer.cancel"),
    "runs": elsewhere("runs.runs"),
    "status": elsewhere("runs.status"),
    "logs": elsewhere("logs.logs"),
    "show": elsewhere("show.show"),
    "diff": elsewhere("diff.diff"),
    "report": elsewhere("report.report"),
    "clean": elsewhere("clean.clean"),
    "export": elsewhere("parcel.export"),
    "import": elsewhere("parcel.bring_in"),
    "store": elsewhere("store.store"),
    "demo": demo,
    "config": elsewhere("config.config"),
    "trust": elsewhere("trust.trust"),
    "models": elsewhere("models.models"),
    "doctor": elsewhere("doctor.doctor"),
}
# What other orchestrators call them.
ALIASES = {
    **{"agents": ["status"], "task": ["show"], "cleanup": ["clean"], "kill": ["cancel"]},
    **{"plan-list": ["plan", "list"], "plan-continue": ["plan", "continue"], "execute-plan": ["execute"]},
}


def main(argv: list[str] | None = None) -> int:
    from orchestra.cli.ci import guarded

    argv = sys.argv[1:] if argv is None else argv
    open_streams()
    # httpx loads a command line of its own, and rich with it, unless it cannot: that is a twelfth of our start.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    argv = [*ALIASES.get(argv[0], argv[:1]), *argv[1:]] if argv else argv
    with guarded(os.environ):
        return dispatch(argv)


def open_streams() -> None:
    """Started with a stream closed, as some services do it, we get an empty one: the rest may count on three."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def dispatch(argv: list[str]) -> int:
    """The one place where errors become sentences and exit codes. Bare flags mean `run`."""
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("run", argv)
    try:
        if argv and name == "run" and argv[0] != "run" and not argv[0].startswith("-"):
            raise UsageError(f"there is no command {argv[0]!r}.", hint=nearest(argv[0]))
        code = COMMANDS[name](rest or ["--help"] if name == "run" and not argv else rest)
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
        return bug(argv)


def nearest(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, 1)
    return f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(COMMANDS)}."


def without_keys(text: str, argv: list[str]) -> str:
    from orchestra.cli.hush import hushed

    return hushed(text, argv)


def bug(argv: list[str]) -> int:
    """What should never happen: kept in a file that one can paste, told in one sentence."""
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


def leave() -> NoReturn:
    """End at once: everything is closed, and to take the interpreter apart would last as long as half a start."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave()
