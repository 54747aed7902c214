"""Preflight: check everything that can be checked for free before a run begins. Every problem is one sentence."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from orchestra.agents.aider_args import parse_aider_args
from orchestra.conduct.core.agents import check_agents
from orchestra.conduct.core.locations import find_repository
from orchestra.conduct.core.models import (
    Project,
    check_prices,
    check_roles,
    critic_model,
    role_models,
    user_base_url,
)
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.handover import check_handover
from orchestra.conduct.planning.lead import check_plan, lead_model, load_plan_settings
from orchestra.conduct.planning.prd import check_prd_source, chosen_targets
from orchestra.conduct.planning.shard_plan import find_shard, limit_to_shard, start_at_base
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.conduct.session.open_cluster import check_cluster
from orchestra.conduct.session.provider_check import check_providers
from orchestra.errors import UsageError
from orchestra.gateway.recording import Recording, load_recording
from orchestra.hosts.isolation import check_sandbox
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import sharded_draft
from orchestra.plan.targets import Targets
from orchestra.providers import catalogue
from orchestra.settings import CONFLICTING_OPTIONS, Settings, check_option, option_fields, parse_option
from orchestra.wording import join_some
from orchestra.workspace.git import ask_git, check_git_version
from orchestra.workspace.repository import Repository, check_writable
from orchestra.workspace.trees import check_provisions

MB = 1 << 20
LEAST_ROOM = 1 << 20  # for homes, outputs, and git's own files
# Named if they differ, because a recording runs no commands: it may come from a stranger.
COMMANDS = {
    **{"test_cmd": "--test-cmd", "setup_cmd": "--setup-cmd", "aider_args": "--aider-args"},
    **{"agent_cmd": "--agent-cmd", "agent_kind": "--agent-kind"},
}
MOST_NAMED = 5


@dataclass(frozen=True)
class Preflight(Project):
    """What the run is about. `targets` are the files that the user named, `draft` is the content of a plan's file.
    `notes`: what the user should know before anything is paid."""

    recording: Recording | None
    targets: Targets | None = None
    draft: CheckedDraft | None = None
    notes: tuple[str, ...] = ()

    @property
    def known_files(self) -> tuple[str, ...]:
        """The files to be changed, as far as they are known before the plan."""
        named = self.targets.files if self.targets else ()
        planned = self.draft.draft.unfinished if self.draft else ()
        return (*(file.path for file in named), *(path for item in planned for path in item.files))


async def run_preflight(settings: Settings, previous: PreviousSessions | None) -> Preflight:
    check_git_version()
    settings, tape = with_recording(settings)
    if not (settings.change or settings.plan):
        raise UsageError("Give the change with --change TEXT (or @FILE, or - for stdin).")
    repository = await find_repository(settings, begin=not (settings.dry_run or settings.files or settings.assign))
    if previous is not None:
        repository = previous.restore_repository(repository)
    preflight = Preflight(settings, repository, await repository.entries(), tape)
    if previous is None or previous.plan is None:
        settings, draft = load_plan_settings(settings, repository.root)
        if settings.shard:
            shard = find_shard(settings, draft)
            assert draft
            settings, draft = limit_to_shard(settings, draft, shard), sharded_draft(draft)
            repository = await start_at_base(repository, draft)
            preflight = replace(preflight, repository=repository, entries=await repository.entries())
        preflight = replace(preflight, settings=settings)
        if draft is not None:
            preflight = replace(preflight, draft=await check_plan(preflight, draft))
        else:
            preflight = replace(preflight, targets=await chosen_targets(preflight))
    notes = await check_preflight(preflight, previous)
    return replace(preflight, notes=(*notes, *await check_models(preflight, previous)))


async def run_plan_preflight(settings: Settings) -> Preflight:
    """Run the preflight for a run that only plans: no agent works."""
    settings, tape = with_recording(settings)
    check_git_version()
    repository = await find_repository(settings, begin=not settings.files)
    preflight = Preflight(settings, repository, await repository.entries(), tape)
    preflight = replace(preflight, targets=await chosen_targets(preflight))
    check_prd_source(preflight, replayed=tape is not None)
    if tape is None and settings.decompose:
        check_prices(settings, lead_model(settings), asks_gemini=settings.use_prd and not settings.prd)
    if tape is None and (settings.decompose or (settings.use_prd and not settings.prd)):
        notes = await check_providers(settings, [lead_model(settings)], must_answer=True)
        return replace(preflight, notes=tuple(notes))
    return preflight


async def check_models(preflight: Preflight, previous: PreviousSessions | None) -> list[str]:
    """Check the models that the run will ask, with one request per provider unless it is a dry run. Return notes."""
    settings, model = preflight.settings, preflight.model
    plan = previous.plan if previous else None
    if preflight.recording is not None or (previous and plan and len(previous.done_results()) == len(plan.tasks)):
        return []
    if settings.dry_run:
        own_server = user_base_url(settings, model.provider)
        return [] if own_server else list(filter(None, [catalogue.unknown_notice(model)]))
    tasks = preflight.draft.draft.unfinished if preflight.draft else plan.tasks if plan else ()
    models = [model, *role_models(settings, [task.role for task in tasks])]
    has_prd = bool(settings.prd) or (previous is not None and previous.prd is not None)
    asks_lead = (settings.use_prd and not has_prd) or (settings.decompose and plan is None)
    models += [lead_model(settings)] if asks_lead else []
    models += [critic] if (critic := critic_model(settings)) else []
    unique = list({one.name: one for one in models}.values())
    return await check_providers(settings, unique, must_answer=previous is None)


async def check_preflight(preflight: Preflight, previous: PreviousSessions | None) -> list[str]:
    """Check what needs no network. Return notes."""
    settings, replayed = preflight.settings, preflight.recording is not None
    parse_aider_args(settings.aider_args)
    keys = Secrets.from_settings(settings).values
    check_provisions(preflight.repository.root, settings.worktree_copy, settings.worktree_link, keys)
    await check_sandbox(settings)
    check_cluster(settings, preflight.repository.root)
    notes = []
    if not settings.dry_run:
        await check_writable(preflight.repository.git)
        notes += await check_disk_space(preflight)
    await check_handover(settings, preflight.repository, previous.report if previous else None)
    has_prd = previous is not None and previous.prd is not None
    if not replayed:
        asks_gemini = settings.use_prd and not settings.prd and not has_prd
        check_prices(settings, preflight.model, critic_model(settings), asks_gemini=asks_gemini)
    old_plan = previous.plan if previous else None
    tasks = preflight.draft.draft.unfinished if preflight.draft else old_plan.tasks if old_plan else ()
    check_roles(settings, [task.role for task in tasks], replayed=replayed)
    check_agents(settings, preflight.model, [(task.role, task.kind) for task in tasks])
    if not (settings.dry_run or has_prd):
        check_prd_source(preflight, replayed=replayed)
    return notes


async def check_disk_space(project: Project) -> list[str]:
    """Check that a worktree fits into the temporary folder, before anything is paid. Return a note if all do not."""
    folder, size = tempfile.gettempdir(), sum(entry.size for entry in project.entries.values())
    free, needed = shutil.disk_usage(folder).free, size + LEAST_ROOM
    git, hint = project.git, "Free some space there, or set TMPDIR to a larger disk."
    agents = project.settings.agents or project.settings.max_agents or 1
    is_enough = free >= agents * needed
    if is_enough or (free > LEAST_ROOM and await git.maybe("config", "core.sparseCheckout") == "true"):
        return []
    if free < needed:
        needs = f"a worktree of this repository takes {needed / MB:,.1f} MB"
        raise UsageError(f"{folder} has {free / MB:,.1f} MB free, and {needs}.", hint=hint)
    needs = f"{agents} worktrees of this repository take {agents * needed / MB:,.1f} MB"
    return [f"{folder} has {free / MB:,.1f} MB free, and {needs}. {hint}"]


def with_recording(settings: Settings) -> tuple[Settings, Recording | None]:
    """Return the settings for the replay, and the recording. A resumed run may come from another folder."""
    if settings.record:
        return settings.with_values(record=str(Path(settings.record).absolute())), None
    if not settings.replay:
        return settings, None
    path = Path(settings.replay).absolute()
    tape = load_recording(path)
    return restore_recorded_settings(settings, tape).with_values(replay=str(path)), tape


def restore_recorded_settings(settings: Settings, recording: Recording) -> Settings:
    """Restore the settings of the recorded run, except those given by a flag now."""
    recorded = recorded_options(recording) | ({"agents": recording.agents, "max_agents": 0} if recording.agents else {})
    table, source = {f.name: f for f in option_fields() if f.metadata["recorded"]}, f"the tape {recording.name}"
    for rivals in CONFLICTING_OPTIONS:
        if any(settings.source_of(name) == "flag" for name in rivals):
            recorded = {name: value for name, value in recorded.items() if name not in rivals}
    found = {
        name: value if value == table[name].default else parse_option(table[name], value, f"{name} on {source}")
        for name, value in recorded.items()
        if name in table
    }
    for name, value in found.items():
        check_option(table[name], value)
    return settings.for_resume(found)


def recorded_options(recording: Recording) -> dict[str, object]:
    given = recording.head.get("options")
    return given if isinstance(given, dict) else {}


def find_replay_differences(recording: Recording, settings: Settings, repository: Repository) -> list[str]:
    """List why a replay may end differently, a sentence each."""
    found = []
    base = str(recording.head.get("base", ""))
    if base != repository.base and base.isalnum():
        changed = ask_git(repository.root, "diff", "--name-only", "--no-renames", base, repository.base, "--")
        names = (changed or "").splitlines()
        if names:
            found.append(f"Since the recording was made, {join_some(names, MOST_NAMED)} changed.")
        elif changed is None:
            found.append(f"The recording was made at another commit, {base[:10]}, which is not in this repository.")
    why = "Recordings never run commands; give it again to run it."
    for name, flag in COMMANDS.items():
        command = recorded_options(recording).get(name)
        if command and command != getattr(settings, name):
            found.append(f"The recorded run had {flag} {command!r}. {why}")
    return found
