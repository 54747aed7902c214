"""From a change to its target files: choose them, obtain the PRD, write it down."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from orchestra import events
from orchestra.answers import prd_format
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.model_questions import explain_provider_error
from orchestra.conduct.core.models import (
    Project,
    build_upstreams,
    check_roles,
    estimate_with_roles,
    role_models,
    user_base_url,
)
from orchestra.conduct.planning.divide import plan_by_division, read_assignment
from orchestra.conduct.planning.survey import explain_absence, is_one_line_name, is_utf8, read_blobs, survey_files
from orchestra.division.shares import check_complete
from orchestra.errors import MissingKey, PlanError, ProviderError, SettingsError, UsageError
from orchestra.gateway.billing import ClientPass
from orchestra.model import Plan, Prd
from orchestra.models import gemini
from orchestra.plan.digest import build_digest
from orchestra.plan.targets import (
    PROTECTED,
    Targets,
    TrackedFile,
    match_paths,
    require_prd_files,
    select_targets,
    targets_from_prd,
)
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.wording import join_some
from orchestra.workspace.repository import LINK, SUBMODULE, path_exists

DIGEST_FILE = 200_000
MOST_NAMED = 8  # paths in one note
NAME_THEM = "To have one changed, name it in --change or --files."
NO_PRD_HINT = "A PRD can also be given with --prd FILE, or left out with --no-prd."
NO_KEY = (
    "There is no Google key for writing the PRD: set GOOGLE_API_KEY (or --api-key), give a PRD with --prd FILE, "
    "or go without one with --no-prd."
)
NO_KEY_TO_PLAN = "There is no Google key for --decompose: set GOOGLE_API_KEY (or --api-key), or give --files instead."


def relative_patterns(settings: Settings, root: Path) -> list[str]:
    """Return the patterns of --files relative to the repository's root. They were given relative to --repo, if any."""
    start = Path.cwd()
    if settings.repo:
        start = (start / settings.repo).resolve() if path_exists(start / settings.repo) else root
    return [path_from_root(given, root, start) for given in settings.files]


def path_from_root(given: str, root: Path, start: Path) -> str:
    if not given.strip():
        raise PlanError("--files: one of the names is empty.")
    path = Path(os.path.normpath(start / given))
    if not path.is_relative_to(root):
        path = path.parent.resolve() / path.name
    if not path.is_relative_to(root):
        raise PlanError(f"--files {given}: it is outside the repository {root}.")
    return path.relative_to(root).as_posix()


async def chosen_targets(project: Project) -> Targets | None:
    """Return the targets of --files, or None if the PRD decides. Raise before anything is paid."""
    settings, repository = project.settings, project.repository
    if not settings.files and not settings.assign:
        return None
    shares = read_assignment(settings.assign) if settings.assign else []
    patterns, option = relative_patterns(settings, repository.root), "--files"
    if not settings.files:  # naming which agent gets which files names the files
        patterns, option = [path for share in shares for path in share], f"--assign {settings.assign}:"
    meant = {pattern: match_paths(pattern, project.entries) for pattern in patterns}
    tracked = await survey_files(project, {path for paths in meant.values() for path in paths})
    absent = [pattern for pattern in patterns if not meant[pattern]]
    why_not = {pattern: await explain_absence(repository, pattern, tracked) for pattern in absent}
    one_by_one = [pattern for pattern in patterns if meant[pattern] == [pattern]]
    by_user = settings.is_set_by_user("files" if settings.files else "assign")
    permit = project.permit(one_by_one if by_user else ())
    targets = replace(select_targets(patterns, tracked, why_not, option, permit), named=tuple(sorted(permit.paths)))
    if settings.assign:
        check_complete(settings.assign, shares, [file.path for file in targets.files])
    return targets


def check_prd_source(project: Project, *, replayed: bool) -> None:
    """Check whether a PRD can be obtained and written down, before anything starts."""
    settings, provider = project.settings, catalogue.PROVIDERS["gemini"]
    if settings.prd and not (path_exists(Path(settings.prd)) and Path(settings.prd).is_file()):
        raise SettingsError(f"--prd {settings.prd}: there is no such file.")
    if ((settings.use_prd and not settings.prd) or settings.decompose) and not replayed:
        if not settings.strongest_variable(provider.key_vars)[0]:
            raise MissingKey(NO_KEY_TO_PLAN if settings.decompose else NO_KEY)
        notice = gemini_notice(settings)
        if notice is not None and notice.severity == "retired" and not user_base_url(settings, provider):
            raise SettingsError(f"{notice.sentence} (--gemini-model).")
    if not (settings.use_prd or settings.files or settings.assign or settings.plan or settings.decompose):
        raise PlanError("--no-prd needs the files to change: give --files.")
    for place in ("docs", "docs/prd") if settings.use_prd and not settings.prd else ():  # a link may lead elsewhere
        if place in project.entries or project.repository.entry_kind(place) not in ("folder", ""):
            raise PlanError(f"The PRD belongs in docs/prd/, but {place} is not a folder.", hint="Give one with --prd.")


def gemini_notice(settings: Settings) -> catalogue.RetirementNotice | None:
    return catalogue.retirement_notice(catalogue.resolve_model(settings.gemini_name), date.today())


def read_prd(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prd {path}: {error}.") from None


async def obtain_prd(run: Run) -> Prd:
    settings = run.context.settings
    if not settings.use_prd:
        return Prd("")
    if settings.prd:
        text, path = read_prd(Path(settings.prd)), relative_to_root(settings.prd, run.context.repository.root)
        prd = prd_format.parse_prd(text)
    else:
        text, path, prd = await write_prd(run)
    requirements, work = prd.requirements, prd.work
    run.emit(events.PrdWritten(path=path, text=text, structured=prd.structured, requirements=requirements, work=work))
    if not prd.structured:
        run.emit(events.Note("The PRD has no JSON block: it is used as prose, and requirements cannot be traced."))
    return prd


def relative_to_root(path: Path | str, root: Path) -> str:
    """Return the path relative to the repository, if it is inside."""
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else str(path)


async def write_prd(run: Run) -> tuple[str, str, Prd]:
    """Have Gemini write the PRD into docs/prd of the checkout; with --commit-prd it comes with the result instead."""
    context = run.context
    text = await ask_gemini_for_prd(run)
    name = prd_format.prd_file_name(context.settings.change, context.stamp)
    folder = context.folder / "prd" if context.settings.commit_prd else context.repository.root / "docs/prd"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(context.secrets.scrub(text), encoding="utf-8")
    path = f"docs/prd/{name}"
    try:
        return text, path, prd_format.parse_prd(text)
    except UsageError as error:  # it is paid, and can be corrected by hand
        hint = f"Correct {path} and give it with --prd."
        raise ProviderError(f"Gemini's PRD cannot be used: {error}", hint=hint) from None


async def ask_gemini_for_prd(run: Run) -> str:
    settings = run.context.settings
    model = settings.gemini_model or catalogue.DEFAULT_GEMINI_MODEL
    client = ClientPass("prd", models=frozenset({f"gemini/{gemini.bare_model(model)}"}))
    ticket = run.services.gateway.add_client(client)
    if notice := gemini_notice(settings):
        run.emit(events.Note(f"{notice.sentence}."))
    run.emit(events.PrdAsked(model))
    try:
        asking = gemini.write_prd(
            settings.change,
            await digest_repository(run.context),
            model=model,
            key=ticket.token,
            base=run.services.gateway.client_url(ticket, "gemini"),
            client=settings.gemini_client,
        )
        return await wait_unless_agents_fail(run.services.readiness.ready_task, asking)
    except ProviderError as error:
        raise explain_provider_error(ticket, "Gemini", "write the PRD", error, NO_PRD_HINT) from None
    finally:
        run.services.gateway.remove_client(ticket)


async def wait_unless_agents_fail(ready_task: asyncio.Future[float] | None, asking: Coroutine[Any, Any, str]) -> str:
    """Wait for the PRD, unless agents cannot start: without agents it is of no use."""
    asked = asyncio.create_task(asking)
    try:
        if ready_task is not None:
            both: set[asyncio.Future[Any]] = {asked, ready_task}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if ready_task.done():
                ready_task.result()
        return await asked
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def digest_repository(context: Context) -> str:
    """Digest the repository for a model: names and sizes of all files, and the signatures of small ones."""
    regular = [e for e in context.entries.values() if e.mode not in (LINK, SUBMODULE) and is_one_line_name(e.path)]
    texts = await read_blobs(context.repository, [e for e in regular if e.size <= DIGEST_FILE][:3000])
    listed = [
        (e.path, e.size, texts[e.path].decode() if e.path in texts and is_utf8(texts[e.path]) else None)
        for e in regular
    ]
    return await asyncio.to_thread(build_digest, listed)


def prd_files(prd: Prd, tracked: Iterable[str]) -> tuple[str, ...]:
    """Return the tracked files that a PRD is about: those of its block or, without one, those that its prose names."""
    if not prd.structured:
        return prd_format.files_named_in_prose(prd.prose, tracked)
    return tuple(work.file for work in prd.work if work.file in tracked)


async def find_prd_targets(project: Project, prd: Prd) -> Targets:
    return prd_targets(project, prd, await survey_files(project, prd_files(prd, project.entries)))


def prd_targets(project: Project, prd: Prd, tracked: Mapping[str, TrackedFile]) -> Targets:
    permit = project.permit()
    found = [] if prd.structured else [path for path in prd_files(prd, tracked) if tracked[path].kind == "text"]
    return select_targets(found, tracked, {}, "The PRD:", permit) if found else targets_from_prd(prd, tracked, permit)


async def warn_of_new_files(run: Run, targets: Targets) -> None:
    for file in targets.files:
        if file.new and await run.context.repository.is_ignored(file.path):
            run.emit(events.Note(f"The PRD wants {file.path}, but git ignores it: it cannot be committed."))
        elif file.new and run.context.repository.entry_kind(file.path):
            text = f"{file.path} exists, but is not committed: agents do not see it, and will create it."
            run.emit(events.Note(text))


async def plan_without_model(run: Run, prd: Prd, targets: Targets | None) -> Plan:
    if targets is None:
        targets = await find_prd_targets(run.context, prd)
        await warn_of_new_files(run, targets)
    targets = require_prd_files(targets, prd)
    plan = await plan_by_division(run.context, prd, targets)
    note_protected(run, targets.protected)
    emit_plan_made(run, plan, skipped=tuple(targets.skipped), aside=tuple(targets.aside), named=tuple(targets.named))
    return plan


def note_protected(run: Run, paths: Sequence[str], remedy: str = NAME_THEM) -> None:
    """Note, before anything is paid, which targets are protected."""
    if paths:
        why = f"they were not named and {PROTECTED}"
        run.emit(events.Note(f"Left out, because {why}: {join_some(paths, MOST_NAMED)}. {remedy}"))


def emit_plan_made(run: Run, plan: Plan, **more: Any) -> None:
    dirty = run.context.dirty_note(plan.owners)
    for text in (*plan.basis.notes, *([dirty] if dirty and dirty not in run.state.report.notes else [])):
        run.emit(events.Note(text))
    run.emit(plan_made_event(run.context, plan, **more))


def plan_made_event(project: Project, plan: Plan, **more: Any) -> events.PlanMade:
    words = project.settings.is_set_by_user("change")
    usual: dict[str, Any] = {"skipped": (), "aside": (), "named": (), "words": words}
    estimate, more = estimate_with_roles(project, plan), usual | more
    return events.PlanMade(agents=plan.agents, basis=plan.basis, tasks=plan.tasks, estimate=estimate, **more)


def prd_written_event(settings: Settings, root: Path) -> events.PrdWritten:
    """Return the event of a PRD that is read from a file."""
    text, path = read_prd(Path(settings.prd)), relative_to_root(settings.prd, root)
    prd = prd_format.parse_prd(text)
    requirements, work = prd.requirements, prd.work
    return events.PrdWritten(path=path, text=text, structured=prd.structured, requirements=requirements, work=work)


def open_role_models(run: Run) -> None:
    """Connect the models of the plan's roles. If one cannot be used, no agent begins."""
    context = run.context
    roles, replayed = [task.role for task in run.state.plan.tasks], run.services.gateway.replay is not None
    check_roles(context.settings, roles, replayed=replayed)
    models = [model for model in role_models(context.settings, roles) if model.name != context.model.name]
    run.services.gateway.upstreams |= build_upstreams(context.settings, context.model, models, replayed=replayed)
    remarks = []
    for model in models:
        if notice := catalogue.retirement_notice(model, date.today()):
            remarks.append(f"{notice.sentence}.")
        if model.price_in is None:
            remarks.append(f"No price is known for {model.name}: its cost is unknown; set [prices].")
    for text in dict.fromkeys(remarks):
        if text not in run.state.report.notes:
            run.emit(events.Note(text))
