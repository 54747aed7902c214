"""Runs that only plan, as the commands begin them: the same gateway, journal and limits as of every run."""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from orchestra.conduct.drafting import discuss, make
from orchestra.conduct.finish import Ending
from orchestra.conduct.lead import lead_model, written_down
from orchestra.conduct.limits import check_prices, in_time
from orchestra.conduct.planning import check_prd_source, chosen_targets
from orchestra.conduct.replay import with_tape
from orchestra.conduct.run import Run, opened
from orchestra.conduct.start import find_repository
from orchestra.conduct.steer import listen
from orchestra.console import Stream, view
from orchestra.errors import MissingKey
from orchestra.plan.check import Checked
from orchestra.plan.draft import Draft
from orchestra.plan.targets import Targets
from orchestra.settings import Settings

NOBODY = (
    "There is no Google key for planning: set GOOGLE_API_KEY (or --api-key), or say which files to change "
    "(--files, with --no-prd or --prd FILE), and they are divided by what belongs together."
)
Stoppable = Callable[[Coroutine[Any, Any, int]], Awaitable[int]]


async def planning(settings: Settings, put: Callable[[Checked], Path], *, single: bool = False) -> int:
    """A plan for the change. `put` writes it down, and says where."""

    async def work(run: Run, given: Targets | None) -> None:
        checked = await make(run, given, single=single)
        written_down(run, checked, put(checked))

    return await only_planning(with_lead(settings), work)


async def discussion(settings: Settings, draft: Draft, said: str, hear: Callable[[str, Checked | None], None]) -> int:
    """An answer to what a person says of the draft."""

    async def work(run: Run, _: Targets | None) -> None:
        hear(*await discuss(run, draft, said))

    return await only_planning(settings.with_values(change=said, use_prd=False, prd="", decompose=True), work)


async def only_planning(settings: Settings, work: Callable[[Run, Targets | None], Awaitable[None]]) -> int:
    settings, tape = with_tape(settings)
    repository = await find_repository(settings, begin=True)
    entries = await repository.entries()
    given = await chosen_targets(settings, repository, entries, Path.cwd())
    check_prd_source(settings, replayed=tape is not None)
    if tape is None and settings.decompose:
        check_prices(settings, lead_model(settings), asks_gemini=settings.use_prd and not settings.prd)
    screen = view(quiet=settings.quiet, verbose=settings.verbose)
    listeners = (screen.hear, *((Stream().hear,) if settings.events else ()))
    async with opened(settings, repository, entries, listeners=listeners, tape=tape, works=False) as run:
        listen(run)
        ending = Ending(run)
        with ending:
            async with screen.showing(), in_time(run, "before the plan was made"):
                await work(run, given)
    return ending.tell(as_json=settings.json, aside=bool(settings.events))


def with_lead(settings: Settings) -> Settings:
    """Who makes the plan: a model, unless the user has named the files, or there is a PRD and no key."""
    key = settings.key(("GOOGLE_API_KEY", "GEMINI_API_KEY"))[0] or settings.api_key or settings.replay
    if settings.files or settings.assign:
        return settings.with_values(decompose=False)
    if not key and not settings.prd:
        raise MissingKey(NOBODY)
    return settings.with_values(decompose=bool(key))
