"""Runs that only plan, as the commands begin them: the same gateway, journal and limits as of every run."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestra.conduct.core.context import Run
from orchestra.conduct.core.deadline import in_time
from orchestra.conduct.deliver.finish import finish, print_result
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.planning.lead import written_down
from orchestra.conduct.planning.plan_only import discuss, make
from orchestra.conduct.session.preflight import look_to_plan
from orchestra.conduct.session.session import opened
from orchestra.conduct.session.warmup import workshop
from orchestra.console import watching
from orchestra.errors import MissingKey
from orchestra.plan.check import Checked
from orchestra.plan.targets import Targets
from orchestra.settings import Settings

NOBODY = (
    "There is no Google key for planning: set GOOGLE_API_KEY (or --api-key), or say which files to change "
    "(--files, with --no-prd or --prd FILE), and they are divided by what belongs together."
)


async def planning(settings: Settings, put: Callable[[Checked], Path], *, single: bool = False) -> int:
    """A plan for the change. `put` writes it down, and says where."""

    async def work(run: Run, given: Targets | None) -> None:
        checked = await make(run, given, single=single)
        written_down(run, checked, put(checked))

    return await only_planning(with_lead(settings), work)


async def discussion(settings: Settings, path: Path, said: str, hear: Callable[[str, Checked | None], None]) -> int:
    """An answer to what a person says of the plan. Only what goes wrong is told beside it."""
    draft = drafts.load(path)

    async def work(run: Run, _: Targets | None) -> None:
        hear(*await discuss(run, draft, said))
        written_down(run, Checked(draft), path)

    asking = settings.with_values(change=said, use_prd=False, prd="", decompose=True)
    return await only_planning(asking, work, quietly=True)


async def only_planning(
    settings: Settings, work: Callable[[Run, Targets | None], Awaitable[None]], *, quietly: bool = False
) -> int:
    before = await look_to_plan(settings)
    screen, screens = watching(settings.with_values(quiet=settings.quiet or quietly))
    async with workshop(settings, works=False) as shop, opened(before, shop, screens=screens) as run:
        failure = None
        try:
            async with screen.showing(), in_time(run, "before the plan was made"):
                await work(run, before.targets)
        except BaseException as error:
            failure = error
        finished = finish(run, failure)
    if not quietly or finished.code:
        print_result(finished)
    return finished.code


def with_lead(settings: Settings) -> Settings:
    """Who makes the plan: a model, unless the user has named the files, or there is a PRD and no key."""
    key = settings.key(("GOOGLE_API_KEY", "GEMINI_API_KEY"))[0] or settings.api_key or settings.replay
    if settings.files or settings.assign:
        return settings.with_values(decompose=False)
    if not key and not settings.prd:
        raise MissingKey(NOBODY)
    return settings.with_values(decompose=bool(key))
