"""Run planning only, with the gateway, journal and limits of every run."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestra.conduct.core.context import Run
from orchestra.conduct.core.deadline import enforce_deadline
from orchestra.conduct.deliver.finish import finish_run, print_result
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.lead import discuss_draft, emit_drafted, make_draft
from orchestra.conduct.session.open_run import open_run
from orchestra.conduct.session.preflight import run_plan_preflight
from orchestra.conduct.session.warmup import start_warmup
from orchestra.console import watch_progress
from orchestra.errors import MissingKey
from orchestra.plan.check import CheckedDraft
from orchestra.plan.targets import Targets
from orchestra.settings import Settings

NO_PLANNER = (
    "There is no Google key for planning: set GOOGLE_API_KEY (or --api-key), or give the files to change "
    "(--files, with --no-prd or --prd FILE), which are then divided by what belongs together."
)


async def run_planning(settings: Settings, save_plan: Callable[[CheckedDraft], Path], *, single: bool = False) -> int:
    """Make a plan for the change. `save_plan` returns where it saved the plan."""

    async def work(run: Run, targets: Targets | None) -> None:
        checked = await make_draft(run, targets, single=single)
        emit_drafted(run, checked, save_plan(checked))

    return await run_plan_only(choose_planner(settings), work)


async def run_discussion(
    settings: Settings, path: Path, question_text: str, on_answer: Callable[[str, CheckedDraft | None], None]
) -> int:
    """Ask the model about the plan. Only errors are printed besides."""
    draft = plan_files.load_draft(path)

    async def work(run: Run, _: Targets | None) -> None:
        on_answer(*await discuss_draft(run, draft, question_text))
        emit_drafted(run, CheckedDraft(draft), path)

    settings = settings.with_values(change=question_text, use_prd=False, prd="", decompose=True)
    return await run_plan_only(settings, work, quietly=True)


async def run_plan_only(
    settings: Settings, work: Callable[[Run, Targets | None], Awaitable[None]], *, quietly: bool = False
) -> int:
    before = await run_plan_preflight(settings)
    screen, screens = watch_progress(settings.with_values(quiet=settings.quiet or quietly))
    async with start_warmup(settings, works=False) as shop, open_run(before, shop, screens=screens) as run:
        failure = None
        try:
            async with screen.display(), enforce_deadline(run, "before the plan was made"):
                await work(run, before.targets)
        except BaseException as error:
            failure = error
        finished = finish_run(run, failure)
    if not quietly or finished.code:
        print_result(finished)
    return finished.code


def choose_planner(settings: Settings) -> Settings:
    """Let a model make the plan, unless the user gave the files, or there is a PRD and no key."""
    key = settings.strongest_variable(("GOOGLE_API_KEY", "GEMINI_API_KEY"))[0] or settings.api_key or settings.replay
    if settings.files or settings.assign:
        return settings.with_values(decompose=False)
    if not key and not settings.prd:
        raise MissingKey(NO_PLANNER)
    return settings.with_values(decompose=bool(key))
