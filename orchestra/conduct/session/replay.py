"""Run again what is on a tape: with its own settings, and with a word on what differs from the recorded run."""

from pathlib import Path

from orchestra.gateway.recording import Recording, load_recording
from orchestra.settings import CONFLICTING_OPTIONS, Settings, check_option, option_fields, parse_option
from orchestra.workspace.git import ask_git
from orchestra.workspace.repository import Repository

# Named where they differ, because a tape runs none: it may come from anybody.
COMMANDS = {"test_cmd": "--test-cmd", "setup_cmd": "--setup-cmd", "aider_args": "--aider-args"}
MOST_NAMED = 5


def with_recording(settings: Settings) -> tuple[Settings, Recording | None]:
    """The settings to go on with, and the tape that is to be played. A resumed run may come from another folder."""
    if settings.record:
        return settings.with_values(record=str(Path(settings.record).absolute())), None
    if not settings.replay:
        return settings, None
    path = Path(settings.replay).absolute()
    tape = load_recording(path)
    return restore_recorded_settings(settings, tape).with_values(replay=str(path)), tape


def restore_recorded_settings(settings: Settings, recording: Recording) -> Settings:
    """The settings of the recorded run, but for what is said anew by a flag."""
    before = recorded_options(recording) | ({"agents": recording.agents, "max_agents": 0} if recording.agents else {})
    table, place = {f.name: f for f in option_fields() if f.metadata["recorded"]}, f"the tape {recording.name}"
    for rivals in CONFLICTING_OPTIONS:
        if any(settings.source_of(name) == "flag" for name in rivals):
            before = {name: value for name, value in before.items() if name not in rivals}
    found = {
        name: value if value == table[name].default else parse_option(table[name], value, f"{name} on {place}")
        for name, value in before.items()
        if name in table
    }
    for name, value in found.items():
        check_option(table[name], value)
    return settings.for_resume(found)


def recorded_options(recording: Recording) -> dict[str, object]:
    given = recording.head.get("options")
    return given if isinstance(given, dict) else {}


def find_replay_differences(recording: Recording, settings: Settings, repository: Repository) -> list[str]:
    """Why a replay may come to something else, a sentence each."""
    found = []
    base = str(recording.head.get("base", ""))
    if base != repository.base and base.isalnum():
        changed = ask_git(repository.root, "diff", "--name-only", "--no-renames", base, repository.base, "--")
        names = (changed or "").splitlines()
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        if names:
            found.append(f"Since the tape was recorded, {', '.join(names[:MOST_NAMED])}{more} changed.")
        elif changed is None:
            found.append(f"The tape was recorded at another commit, {base[:10]}, which is not in this repository.")
    for name, flag in COMMANDS.items():
        command = recorded_options(recording).get(name)
        if command and command != getattr(settings, name):
            found.append(f"The recorded run had {flag} {command!r}. A tape runs no commands: give it to have it again.")
    return found
