"""Preflight: check everything that can be checked for free before a run begins. Every problem is one sentence."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from orchestra.agents.aider_args import parse_aider_args
from orchestra.conduct.core.locations import find_repository
from orchestra.conduct.core.models import Project, check_prices, check_roles, critic_model
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.handover import check_handover
from orchestra.conduct.planning.lead import check_plan, lead_model, load_plan_settings
from orchestra.conduct.planning.prd import check_prd_source, chosen_targets
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.errors import UsageError
from orchestra.gateway.recording import Recording, load_recording
from orchestra.hosts.isolation import check_sandbox
from orchestra.plan.check import CheckedDraft
from orchestra.plan.targets import Targets
from orchestra.settings import CONFLICTING_OPTIONS, Settings, check_option, option_fields, parse_option
from orchestra.wording import join_some
from orchestra.workspace.git import ask_git
from orchestra.workspace.repository import Repository, check_writable
from orchestra.workspace.trees import check_provisions

MB = 1 << 20
LEAST_ROOM = 1 << 20  # for homes, outputs, and git's own files
# Named if they differ, because a recording runs no commands: it may come from a stranger.
COMMANDS = {"test_cmd": "--test-cmd", "setup_cmd": "--setup-cmd", "aider_args": "--aider-args"}
MOST_NAMED = 5


@dataclass(frozen=True)
class Preflight(Project):
    """What the run is about. `targets` are the files that the user named, `draft` is the content of a plan's file."""

    recording: Recording | None
    targets: Targets | None = None
    draft: CheckedDraft | None = None


async def run_preflight(settings: Settings, previous: PreviousSessions | None) -> Preflight:
    settings, tape = with_recording(settings)
    if not (settings.change or settings.plan):
        raise UsageError("Give the change with --change TEXT (or @FILE, or - for stdin).")
    repository = await find_repository(settings, begin=not (settings.dry_run or settings.files or settings.assign))
    if previous is not None:
        repository = previous.restore_repository(repository)
    preflight = Preflight(settings, repository, await repository.entries(), tape)
    if previous is None or previous.plan is None:
        settings, draft = load_plan_settings(settings, repository.root)
        preflight = replace(preflight, settings=settings)
        if draft is not None:
            preflight = replace(preflight, draft=await check_plan(preflight, draft))
        else:
            preflight = replace(preflight, targets=await chosen_targets(preflight))
    await check_preflight(preflight, previous)
    return preflight


async def run_plan_preflight(settings: Settings) -> Preflight:
    """Run the preflight for a run that only plans: no agent works."""
    settings, tape = with_recording(settings)
    repository = await find_repository(settings, begin=not settings.files)
    preflight = Preflight(settings, repository, await repository.entries(), tape)
    preflight = replace(preflight, targets=await chosen_targets(preflight))
    check_prd_source(settings, replayed=tape is not None)
    if tape is None and settings.decompose:
        check_prices(settings, lead_model(settings), asks_gemini=settings.use_prd and not settings.prd)
    return preflight


async def check_preflight(preflight: Preflight, previous: PreviousSessions | None) -> None:
    settings, replayed = preflight.settings, preflight.recording is not None
    parse_aider_args(settings.aider_args)
    keys = Secrets.from_settings(settings).values
    check_provisions(preflight.repository.root, settings.worktree_copy, settings.worktree_link, keys)
    await check_sandbox(settings)
    if not settings.dry_run:
        await check_writable(preflight.repository.git)
        await check_disk_space(preflight)
    await check_handover(settings, preflight.repository, previous.report if previous else None)
    has_prd = previous is not None and previous.prd is not None
    if not replayed:
        asks_gemini = settings.use_prd and not settings.prd and not has_prd
        check_prices(settings, preflight.model, critic_model(settings), asks_gemini=asks_gemini)
    old_plan = previous.plan if previous else None
    tasks = preflight.draft.draft.unfinished if preflight.draft else old_plan.tasks if old_plan else ()
    check_roles(settings, [task.role for task in tasks], replayed=replayed)
    if not (settings.dry_run or has_prd):
        check_prd_source(settings, replayed=replayed)


async def check_disk_space(project: Project) -> None:
    """Check that a worktree fits into the temporary folder, before anything is paid."""
    folder, size = tempfile.gettempdir(), sum(entry.size for entry in project.entries.values())
    free, needed = shutil.disk_usage(folder).free, size + LEAST_ROOM
    git = project.git
    if free < needed and not (free > LEAST_ROOM and await git.maybe("config", "core.sparseCheckout") == "true"):
        needs = f"a worktree of this repository takes {needed / MB:,.1f} MB"
        hint = "Free some space there, or set TMPDIR to a larger disk."
        raise UsageError(f"{folder} has {free / MB:,.1f} MB free, and {needs}.", hint=hint)


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
