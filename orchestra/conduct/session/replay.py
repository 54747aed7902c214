"""Replay a recording with its own settings, and name what differs from the recorded run."""

from pathlib import Path

from orchestra.gateway.recording import Recording, load_recording
from orchestra.settings import CONFLICTING_OPTIONS, Settings, check_option, option_fields, parse_option
from orchestra.wording import join_some
from orchestra.workspace.git import ask_git
from orchestra.workspace.repository import Repository

# Named if they differ, because a recording runs no commands: it may come from a stranger.
COMMANDS = {"test_cmd": "--test-cmd", "setup_cmd": "--setup-cmd", "aider_args": "--aider-args"}
MOST_NAMED = 5


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
