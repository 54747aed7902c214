"""Run again what is on a tape: with its own settings, and with a word on what differs from the recorded run."""

from pathlib import Path

from orchestra.gateway.tape import Tape, load
from orchestra.settings import RIVALS, Settings, options, parse
from orchestra.workspace.git import ask
from orchestra.workspace.repository import Repository

# What a run is about. Commands are not among these: a tape may come from anybody, and shall not run any.
RECORDED = (
    *("change", "files", "prd", "use_prd", "commit_prd", "agents", "max_agents", "max_iterations"),
    *("model", "claude", "claude_model", "gemini_model", "critic", "critic_model", "apply", "all_or_nothing"),
)
COMMANDS = {"test_cmd": "--test-cmd", "setup_cmd": "--setup-cmd", "aider_args": "--aider-args"}
MOST_NAMED = 5


def with_tape(settings: Settings) -> tuple[Settings, Tape | None]:
    """The settings to go on with, and the tape that is to be played. A resumed run may come from another folder."""
    if settings.record:
        return settings.with_values(record=str(Path(settings.record).absolute())), None
    if not settings.replay:
        return settings, None
    path = Path(settings.replay).absolute()
    tape = load(path)
    return as_recorded(settings, tape).with_values(replay=str(path)), tape


def as_recorded(settings: Settings, tape: Tape) -> Settings:
    """The settings of the recorded run, but for what is said anew by a flag."""
    before = told(tape) | ({"agents": tape.agents, "max_agents": 0} if tape.agents else {})
    table, place = {f.name: f for f in options()}, f"the tape {tape.name}"
    for rivals in RIVALS:
        if any(settings.source(name) == "flag" for name in rivals):
            before = {name: value for name, value in before.items() if name not in rivals}
    found = {
        name: value if value == table[name].default else parse(table[name], value, f"{name} on {place}")
        for name, value in before.items()
        if name in RECORDED
    }
    return settings.resumed(found)


def told(tape: Tape) -> dict[str, object]:
    given = tape.head.get("options")
    return given if isinstance(given, dict) else {}


def differences(tape: Tape, settings: Settings, repository: Repository) -> list[str]:
    """Why a replay may come to something else, a sentence each."""
    found = []
    base = str(tape.head.get("base", ""))
    if base != repository.base and base.isalnum():
        changed = ask(repository.root, "diff", "--name-only", "--no-renames", base, repository.base, "--")
        names = (changed or "").splitlines()
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        if names:
            found.append(f"Since the tape was recorded, {', '.join(names[:MOST_NAMED])}{more} changed.")
        elif changed is None:
            found.append(f"The tape was recorded at another commit, {base[:10]}, which is not in this repository.")
    for name, flag in COMMANDS.items():
        command = told(tape).get(name)
        if command and command != getattr(settings, name):
            found.append(f"The recorded run had {flag} {command!r}. A tape runs no commands: give it to have it again.")
    return found
