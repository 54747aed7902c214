"""Start a run: settings, event loop, signals; and exit quickly."""

import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from orchestra.cli.load import read_settings
from orchestra.errors import StoppedBySignal
from orchestra.settings import KEYS_PIPE, REPOSITORY_ENV, SCRIPT_ENV, Settings
from orchestra.settings.other_tools import unused_variables

if TYPE_CHECKING:
    from orchestra.conduct.previous.sessions import PreviousSessions

T = TypeVar("T")


class Story(Protocol):
    """Carry out one run, or the rest of a past one, and return its exit code."""

    def __call__(self, settings: Settings, *, past: "PreviousSessions | None" = None) -> Coroutine[Any, Any, int]: ...


def settings_to_run(flags: dict[str, Any]) -> Settings:
    """Return the settings of a command that starts work; print what a committed file sets, or ask for consent."""
    settings = read_settings(flags)
    if not settings.quiet:
        for name, source, reason in unused_variables(settings.variables):
            if source in (REPOSITORY_ENV, SCRIPT_ENV):  # the environment may be another program's
                print(f"note: {name} in the {source} has no effect: {reason}.", file=sys.stderr)
    if settings.committed is None:
        return settings
    from orchestra.cli.consent import resolve_committed

    return resolve_committed(settings, settings.committed, flags)


def run_until_done(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop; a signal cancels it. asyncio is imported only here."""
    import asyncio

    return asyncio.run(cancel_on_signal(work))


async def cancel_on_signal(work: Coroutine[Any, Any, T]) -> T:
    """Cancel the work on the first signal. It then closes what is open and writes its report."""
    import asyncio

    from orchestra.process import detach_closed_terminal

    loop = asyncio.get_running_loop()
    received: list[int] = []
    working = asyncio.ensure_future(work)

    def stop(signum: int) -> None:
        if signum == signal.SIGHUP:
            detach_closed_terminal()
        if not received:
            received.append(signum)
            working.cancel(signum)

    # A closed terminal stops the run too, unless the run was started with nohup.
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    for signum in (signal.SIGINT, signal.SIGTERM, *hangup):
        loop.add_signal_handler(signum, stop, signum)
    try:
        return await working
    except asyncio.CancelledError:
        raise StoppedBySignal(received[0] if received else signal.SIGTERM) from None


def prepare_process() -> None:
    """Open closed streams, read keys, and keep httpx from importing its command line, which takes 8 % of our start."""
    receive_keys(os.environ)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # some services start programs with closed streams
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


def receive_keys(environ: MutableMapping[str, str]) -> None:
    """Read the keys that the starting server sends through a pipe, because an environment can be read by others."""
    pipe = environ.pop(KEYS_PIPE, "")
    if pipe.isdigit():
        with suppress(OSError, ValueError), os.fdopen(int(pipe), encoding="utf-8") as file:
            environ.update(json.load(file))


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Exit without the interpreter's finalization, which takes half as long as our start-up; everything is closed."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
