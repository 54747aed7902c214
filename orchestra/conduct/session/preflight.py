"""Everything that is looked at before a run begins, and costs nothing: what is wrong is said here, in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.conduct.core.models import chosen_model, critic_model
from orchestra.conduct.core.money import check_prices
from orchestra.conduct.deliver.handover import check_hand_over
from orchestra.conduct.planning.lead import check_plan, lead_model, with_plan
from orchestra.conduct.planning.prd import check_prd_source, chosen_targets
from orchestra.conduct.planning.roles import check_roles
from orchestra.conduct.previous.previous import Past
from orchestra.conduct.session.clone import check_furnishing, check_room, find_repository
from orchestra.conduct.session.replay import with_tape
from orchestra.errors import UsageError
from orchestra.gateway.tape import Tape
from orchestra.hosts.isolation import check_sandbox
from orchestra.plan.check import Checked
from orchestra.plan.targets import Targets
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository


@dataclass(frozen=True)
class Before:
    """What the run is to be about. `targets` are the files that the user has named, `draft` is a plan's file."""

    settings: Settings
    tape: Tape | None
    repository: Repository
    entries: Mapping[str, Entry]
    targets: Targets | None = None
    draft: Checked | None = None


async def look(settings: Settings, past: Past | None) -> Before:
    settings, tape = with_tape(settings)
    if not (settings.change or settings.plan):
        raise UsageError("Say what to change with --change TEXT (or @FILE, or - for stdin).")
    repository = await find_repository(settings, begin=not (settings.dry_run or settings.files or settings.assign))
    if past is not None:
        repository = past.place(repository)
    entries = await repository.entries()
    if past is not None and past.plan is not None:
        before = Before(settings, tape, repository, entries)
    else:
        before = await with_work(settings, tape, repository, entries)
    await check(before, past)
    return before


async def look_to_plan(settings: Settings) -> Before:
    """For a run that only plans: no agent is to work."""
    settings, tape = with_tape(settings)
    repository = await find_repository(settings, begin=not settings.files)
    entries = await repository.entries()
    targets = await chosen_targets(settings, repository, entries, Path.cwd())
    check_prd_source(settings, replayed=tape is not None)
    if tape is None and settings.decompose:
        check_prices(settings, lead_model(settings), asks_gemini=settings.use_prd and not settings.prd)
    return Before(settings, tape, repository, entries, targets)


async def with_work(
    settings: Settings, tape: Tape | None, repository: Repository, entries: Mapping[str, Entry]
) -> Before:
    settings, draft = with_plan(settings, repository.root)
    if draft is not None:
        checked = await check_plan(settings, repository, entries, draft)
        return Before(settings, tape, repository, entries, draft=checked)
    targets = await chosen_targets(settings, repository, entries, Path.cwd())
    return Before(settings, tape, repository, entries, targets)


async def check(before: Before, past: Past | None) -> None:
    settings, replayed = before.settings, before.tape is not None
    check_furnishing(settings, before.repository)
    await check_sandbox(settings)
    if not settings.dry_run:
        await before.repository.check_writable()
        await check_room(before.repository, before.entries)
    await check_hand_over(settings, before.repository, past.report if past else None)
    has_prd = past is not None and past.prd is not None
    if not replayed:
        asks_gemini = settings.use_prd and not settings.prd and not has_prd
        check_prices(settings, chosen_model(settings), critic_model(settings), asks_gemini=asks_gemini)
    tasks = before.draft.draft.left if before.draft else past.plan.tasks if past and past.plan else ()
    check_roles(settings, [task.role for task in tasks], replayed=replayed)
    if not (settings.dry_run or has_prd):
        check_prd_source(settings, replayed=replayed)
