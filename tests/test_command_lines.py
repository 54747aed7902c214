"""Command lines: what each accepted one means, the sentence for each refused one, and the help of each command."""

import argparse
import shlex
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from orchestra.cli.command_table import (
    ALIASES,
    COMMANDS,
    HEADINGS,
    build_command_parser,
    build_parser,
    has_subcommands,
    overview,
    split_command,
)
from orchestra.cli.main import main
from orchestra.cli.parser import CommandParser
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.errors import UsageError
from orchestra.events import make_event
from orchestra.settings import Settings, option_fields
from tests.support.shell import Shell, shell
from tests.support.stories import STAMP, files, story

__all__ = ["shell"]


def parse(line: str) -> tuple[str, dict[str, Any]]:
    """Return the command, and the arguments that differ from their defaults."""
    name, words = split_command(shlex.split(line))
    parser = build_command_parser(name)
    arguments = vars(parser.parse(words))
    return name, {key: value for key, value in arguments.items() if value != parser.get_default(key)}


ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("run --change x --files a b --no-prd", "run", {"change": "x", "files": ["a", "b"], "use_prd": False}),
    ("run --change=x --max-agents=4 -q", "run", {"change": "x", "max_agents": "4", "quiet": True}),
    ("--change x --claude -qv", "run", {"change": "x", "claude": True, "quiet": True, "verbose": True}),
    ("--change x --max-agents 3 --files a --files b", "run", {"change": "x", "files": ["a", "b"], "max_agents": "3"}),
    ("run", "run", {}),
    ("execute p --retries 2", "execute", {"retries": "2", "name": "p"}),
    ("execute --retries 2 p", "execute", {"retries": "2", "name": "p"}),
    ("execute-plan p --retries 2", "execute", {"retries": "2", "name": "p"}),
    ("plan goal", "plan new", {"goal": "goal"}),
    (
        "plan goal --name n --no-prd --files a.py",
        "plan new",
        {"name": "n", "files": ["a.py"], "use_prd": False, "goal": "goal"},
    ),
    ("plan goal --name=n --agents 2", "plan new", {"name": "n", "agents": "2", "goal": "goal"}),
    ("plan --no-prd goal", "plan new", {"use_prd": False, "goal": "goal"}),
    ("plan --name n goal", "plan new", {"name": "n", "goal": "goal"}),
    ("plan - --no-prd", "plan new", {"use_prd": False, "goal": "-"}),
    ("plan list", "plan list", {}),
    ("plan list --json", "plan list", {"json": True}),
    ("plan list --json --repo .", "plan list", {"repo": ".", "json": True}),
    ("plan-list", "plan list", {}),
    ("plan show p", "plan show", {"name": "p"}),
    ("plan show p --json", "plan show", {"json": True, "name": "p"}),
    ("plan check p", "plan check", {"name": "p"}),
    ("plan approve p", "plan approve", {"name": "p"}),
    ("plan continue p", "plan continue", {"name": "p"}),
    ("plan-continue p", "plan continue", {"name": "p"}),
    ("plan edit p", "plan edit", {"name": "p", "change": []}),
    ("plan edit p files use -a.py", "plan edit", {"name": "p", "change": ["files", "use", "-a.py"]}),
    ("plan edit p set use title x", "plan edit", {"name": "p", "change": ["set", "use", "title", "x"]}),
    ("plan edit p frob", "plan edit", {"name": "p", "change": ["frob"]}),
    ("submit goal", "submit", {"goal": "goal"}),
    ("submit goal -d", "submit", {"decompose": True, "goal": "goal"}),
    ("submit goal --decompose", "submit", {"decompose": True, "goal": "goal"}),
    ("submit goal --agent tester --priority high", "submit", {"agent": "tester", "priority": "high", "goal": "goal"}),
    (
        "submit goal --agent=tester --priority=low --files a.py",
        "submit",
        {"agent": "tester", "priority": "low", "files": ["a.py"], "goal": "goal"},
    ),
    ("submit goal --agent nosuch", "submit", {"agent": "nosuch", "goal": "goal"}),
    ("submit goal -d --files a.py", "submit", {"decompose": True, "files": ["a.py"], "goal": "goal"}),
    ("submit goal --files a.py b.py", "submit", {"files": ["a.py", "b.py"], "goal": "goal"}),
    ("submit goal --agents 3", "submit", {"agents": "3", "goal": "goal"}),
    ("resume", "resume", {}),
    ("resume RUN", "resume", {"run": "RUN"}),
    ("resume latest --retries 1", "resume", {"retries": "1", "run": "latest"}),
    ("resume --retries 1", "resume", {"retries": "1"}),
    ("resume --retries 1 RUN", "resume", {"retries": "1", "run": "RUN"}),
    ("resume nosuch", "resume", {"run": "nosuch"}),
    ("retry RUN 1", "retry", {"run": "RUN", "task": 1}),
    ("retry RUN agent1 --retries 1", "retry", {"retries": "1", "run": "RUN", "task": 1}),
    ("retry RUN task1", "retry", {"run": "RUN", "task": 1}),
    ("retry latest 1", "retry", {"run": "latest", "task": 1}),
    ("restart RUN --retries 1", "restart", {"retries": "1", "run": "RUN"}),
    ("resolve RUN 1 --retry", "resolve", {"decision": ("retry", ""), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --retry hint", "resolve", {"decision": ("retry", "hint"), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --retry=hint", "resolve", {"decision": ("retry", "hint"), "run": "RUN", "task": 1}),
    (
        "resolve RUN 1 --retry hint --retries 2",
        "resolve",
        {"retries": "2", "decision": ("retry", "hint"), "run": "RUN", "task": 1},
    ),
    (
        "resolve RUN agent1 --retries 2 --retry hint",
        "resolve",
        {"retries": "2", "decision": ("retry", "hint"), "run": "RUN", "task": 1},
    ),
    ("resolve RUN 1 --abandon", "resolve", {"decision": ("abandon", ""), "run": "RUN", "task": 1}),
    (
        "resolve RUN 1 --abandon --quiet",
        "resolve",
        {"quiet": True, "decision": ("abandon", ""), "run": "RUN", "task": 1},
    ),
    ("resolve RUN 1 --spawn text", "resolve", {"decision": ("spawn", "text"), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --spawn=text", "resolve", {"decision": ("spawn", "text"), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --edit-brief brief.md", "resolve", {"decision": ("brief", "brief.md"), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --edit-brief=brief.md", "resolve", {"decision": ("brief", "brief.md"), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --edit-brief none.md", "resolve", {"decision": ("brief", "none.md"), "run": "RUN", "task": 1}),
    ("resolve RUN 1 --take", "resolve", {"decision": ("take", ""), "run": "RUN", "task": 1}),
    ("resolve --take RUN 1", "resolve", {"decision": ("take", ""), "run": "RUN", "task": 1}),
    ("interrupt RUN 1", "interrupt", {"run": "RUN", "task": 1}),
    ("cancel RUN", "cancel", {"run": "RUN"}),
    ("cancel RUN 1", "cancel", {"run": "RUN", "task": 1}),
    ("kill RUN", "cancel", {"run": "RUN"}),
    ("runs", "runs", {}),
    ("runs --json", "runs", {"json": True}),
    ("runs --repo .", "runs", {"repo": "."}),
    ("status", "status", {}),
    ("status RUN", "status", {"run": "RUN"}),
    ("status --watch --json RUN", "status", {"watch": True, "json": True, "run": "RUN"}),
    ("status RUN --json", "status", {"json": True, "run": "RUN"}),
    ("agents", "status", {}),
    ("logs", "logs", {}),
    ("logs RUN --agent 1", "logs", {"agent": 1, "run": "RUN"}),
    ("logs --agent agent1 -f", "logs", {"agent": 1, "follow": True}),
    ("logs --follow", "logs", {"follow": True}),
    ("logs -v", "logs", {"verbose": True}),
    ("show 1", "show", {"names": ["1"]}),
    ("show RUN 1", "show", {"names": ["RUN", "1"]}),
    ("show 1 --all", "show", {"all": True, "names": ["1"]}),
    ("show --json RUN 1", "show", {"json": True, "names": ["RUN", "1"]}),
    ("show RUN --json 1", "show", {"json": True, "names": ["RUN", "1"]}),
    ("show", "show", {"names": []}),
    ("show RUN", "show", {"names": ["RUN"]}),
    ("show RUN x", "show", {"names": ["RUN", "x"]}),
    ("show a b c", "show", {"names": ["a", "b", "c"]}),
    ("task 1", "show", {"names": ["1"]}),
    ("diff", "diff", {}),
    ("diff RUN", "diff", {"run": "RUN"}),
    ("diff RUN 1", "diff", {"run": "RUN", "task": 1}),
    ("diff 1", "diff", {"run": "1"}),
    ("report", "report", {}),
    ("report --markdown -o -", "report", {"output": "-", "form": "markdown"}),
    ("report --junit", "report", {"form": "junit"}),
    ("report --open", "report", {"open": True}),
    ("report RUN --output x.md --markdown", "report", {"output": "x.md", "form": "markdown", "run": "RUN"}),
    ("clean --dry-run", "clean", {"dry_run": True}),
    ("clean RUN --dry-run", "clean", {"dry_run": True, "runs": ["RUN"]}),
    (
        "clean --older-than 30d --keep-failed --dry-run",
        "clean",
        {"older_than": 2592000, "keep_failed": True, "dry_run": True},
    ),
    ("clean --yes --force", "clean", {"yes": True, "force": True}),
    ("cleanup --dry-run", "clean", {"dry_run": True}),
    ("clean nosuch", "clean", {"runs": ["nosuch"]}),
    ("export -o x.tar.gz", "export", {"output": "x.tar.gz"}),
    ("export RUN --output x.tar.gz", "export", {"output": "x.tar.gz", "run": "RUN"}),
    ("import none.gz", "import", {"file": "none.gz"}),
    ("store check", "store", {"action": "check"}),
    ("store migrate", "store", {"action": "migrate"}),
    ("store check --repo .", "store", {"repo": ".", "action": "check"}),
    ("store --repo . check", "store", {"repo": ".", "action": "check"}),
    ("config show", "config", {"action": "show"}),
    ("config show --model m", "config", {"model": "m", "action": "show"}),
    ("trust", "trust", {}),
    ("trust --show", "trust", {"show": True}),
    ("trust --show --revoke", "trust", {"show": True, "revoke": True}),
    ("models claude", "models", {"text": "claude"}),
    ("models nosuch", "models", {"text": "nosuch"}),
    ("run --change x --json --events -", "run", {"change": "x", "events": "-", "json": True}),
]
# With PHRASES; SEE and USAGE name the command.
REFUSED = [
    ("execute", "MISSING: NAME. USAGE [--archive FILE] [--resume-from FILE] NAME"),
    ("execute p q", "unknown argument 'q'. SEE"),
    ("execute p --retries", "argument --retries: expected one argument. SEE"),
    ("plan goal --name", "argument --name: expected one argument. SEE"),
    ("plan a b", "unknown argument 'b'. Put quotes around a text of several words."),
    ("plan goal --zzz", "unknown argument '--zzz'. SEE"),
    ("plan goal --nam x", "unknown argument '--nam'. Did you mean --name?"),
    ("plan goal --retrie 2", "unknown argument '--retrie'. Did you mean --retries?"),
    ("plan list x", "unknown argument 'x'. SEE"),
    ("plan show", "MISSING: NAME. USAGE NAME"),
    ("plan show p q", "unknown argument 'q'. SEE"),
    ("plan show p --zzz", "unknown argument '--zzz'. SEE"),
    ("plan check", "MISSING: NAME. USAGE NAME"),
    ("plan approve", "MISSING: NAME. USAGE NAME"),
    ("plan continue", "MISSING: NAME. USAGE NAME"),
    ("plan edit", "MISSING: NAME. USAGE NAME ..."),
    ("plan edit --json", "MISSING: NAME. USAGE NAME ..."),
    (
        "submit goal --priority urgent",
        "argument --priority: invalid choice: 'urgent' (choose from 'high', 'normal', 'low'). SEE",
    ),
    ("submit goal --priority", "argument --priority: expected one argument. SEE"),
    ("submit --files a.py", "MISSING: TEXT. USAGE [--agent ROLE] [--priority {high,normal,low}] [-d] TEXT"),
    ("submit goal word", "unknown argument 'word'. Put quotes around a text of several words."),
    ("resume RUN x", "unknown argument 'x'. SEE"),
    ("retry RUN", "MISSING: TASK. USAGE RUN TASK"),
    ("retry RUN x", "argument TASK: 'x' is not a task: give 3 or agent3. SEE"),
    ("retry", "MISSING: RUN, TASK. USAGE RUN TASK"),
    ("restart", "MISSING: RUN. USAGE RUN"),
    ("restart RUN 1", "unknown argument '1'. SEE"),
    ("resolve RUN 1 --spawn", "argument --spawn: expected one argument. SEE"),
    ("resolve RUN 1 --edit-brief", "argument --edit-brief: expected one argument. SEE"),
    ("resolve RUN 1 --take --abandon", "argument --abandon: not allowed with argument --take. SEE"),
    ("resolve RUN 1", "DECIDE. USAGE RUN TASK DECISION [options]"),
    ("resolve RUN", "DECIDE. USAGE RUN TASK DECISION [options]"),
    ("resolve RUN 1 2 --take", "unknown argument '2'. SEE"),
    ("resolve RUN x --take", "argument TASK: 'x' is not a task: give 3 or agent3. SEE"),
    ("resolve RUN 1 --tak", "DECIDE. USAGE RUN TASK DECISION [options]"),
    ("interrupt RUN", "MISSING: TASK. USAGE [--repo PATH] [--store URL] RUN TASK"),
    ("interrupt RUN x", "argument TASK: 'x' is not a task: give 3 or agent3. SEE"),
    ("cancel", "MISSING: RUN. USAGE [--repo PATH] [--store URL] RUN [TASK]"),
    ("runs x", "unknown argument 'x'. SEE"),
    ("runs --jsno", "unknown argument '--jsno'. Did you mean --json?"),
    ("status a b", "unknown argument 'b'. SEE"),
    ("logs --agent", "argument --agent: expected one argument. SEE"),
    ("diff RUN x", "argument TASK: 'x' is not a task: give 3 or agent3. SEE"),
    ("report --html --junit", "argument --junit: not allowed with argument --html. SEE"),
    ("report --zzz", "unknown argument '--zzz'. SEE"),
    ("clean --older-than soon", "argument --older-than: 'soon' is not an age: give 45m, 12h, 30d or 8w. SEE"),
    ("export a b", "unknown argument 'b'. SEE"),
    ("import", "MISSING: FILE. USAGE [--repo PATH] [--store URL] FILE"),
    ("import none.gz b", "unknown argument 'b'. SEE"),
    ("store", "MISSING: check|migrate. USAGE [--repo PATH] [--store URL] check|migrate"),
    ("store chekc", "argument check|migrate: invalid choice: 'chekc' (choose from 'check', 'migrate'). SEE"),
    ("store check x", "unknown argument 'x'. SEE"),
    ("demo a b.py", "unknown argument 'b.py'. SEE"),
    ("config", "MISSING: show. USAGE show"),
    ("config shwo", "argument show: invalid choice: 'shwo' (choose from 'show'). SEE"),
    ("config show --zzz", "unknown argument '--zzz'. SEE"),
    ("config show --modle x", "unknown argument '--modle'. Did you mean --model?"),
    ("trust x", "unknown argument 'x'. SEE"),
    ("models --zzz", "unknown argument '--zzz'. SEE"),
    ("doctor --zzz", "unknown argument '--zzz'. SEE"),
    ("doctor x", "unknown argument 'x'. SEE"),
    ("dmeo", "there is no command 'dmeo'. Did you mean demo?"),
    ("fix the bug", "there is no command 'fix'. Commands: NAMES."),
    ("frobnicate", "there is no command 'frobnicate'. Commands: NAMES."),
    ("--chnage x", "unknown argument '--chnage'. Did you mean --change?"),
    ("--change x y", "unknown argument 'y'. Put quotes around a text of several words."),
    ("--change", "argument --change: expected one argument. SEE"),
    ("--vers", "unknown argument '--vers'. Did you mean --version?"),
    ("x --change y", "there is no command 'x'. Commands: NAMES."),
    ("run x", "unknown argument 'x'. Put quotes around a text of several words."),
]
PHRASES = {
    "MISSING": "the following arguments are required",
    "DECIDE": "one of the arguments --retry --edit-brief --abandon --spawn --take is required",
    "NAMES": ", ".join(name for name in COMMANDS if " " not in name),
}


@pytest.mark.parametrize(("line", "name", "arguments"), ACCEPTED)
def test_accepted_line_means_command_and_arguments(line: str, name: str, arguments: dict[str, Any]) -> None:
    assert parse(line) == (name, arguments)


@pytest.mark.parametrize(("line", "sentence"), REFUSED)
def test_refused_line_is_one_sentence(line: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(line)
    for word, phrase in PHRASES.items():
        sentence = sentence.replace(word, phrase)
    if "SEE" in sentence or "USAGE" in sentence:
        command = f"aider-orchestrator {split_command(shlex.split(line))[0]}"
        sentence = sentence.replace("SEE", f"See `{command} --help`.").replace("USAGE", f"Usage: {command}")
    assert str(error.value) == sentence


# --- what reaches the run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "options", "past"),
    [
        ("--change x --max-agents 3", {"change": "x", "max_agents": 3}, None),
        ("run --change x --files a --files b", {"change": "x", "files": ("a", "b")}, None),
        ("execute p --retries 2", {"plan": "p", "retries": 2}, None),
        ("resume --retries 1", {"retries": 1}, (STAMP, None, None)),
        (f"retry {STAMP} 1", {}, (STAMP, 1, None)),
        (f"restart {STAMP[:8]} --quiet", {"quiet": True}, None),
        ("resolve latest 1 --retry hint", {}, (STAMP, 0, (1, "retry", "hint"))),
        ("resolve latest 1 --edit-brief brief.md -q", {"quiet": True}, (STAMP, 0, (1, "brief", "Do it.\n"))),
    ],
)
def test_run_gets_options_and_decision(shell: Shell, line: str, options: dict[str, Any], past: Any) -> None:
    failed = make_event(STAMP, 9, 1, "task_moved", 1, 1, {"state": "failed"})
    files(shell, [*story(shell.place.repo, code=1, options={"change": "Add"}), failed])
    shell.place.write({"brief.md": "Do it.\n"})
    calls: list[tuple[dict[str, Any], Any]] = []

    async def carry_out(settings: Settings, past: PreviousSessions | None) -> int:
        flags = {f.name for f in option_fields() if settings.sources.get(f.name) == "flag"}
        decision = past and past.decision and (past.decision.task, past.decision.action, past.decision.text)
        calls.append(
            ({name: getattr(settings, name) for name in flags}, past and (past.stamp, past.only_task, decision))
        )
        return 0

    def fake_story(settings: Settings, *, past: PreviousSessions | None = None) -> Coroutine[Any, Any, int]:
        return carry_out(settings, past)

    assert main(shlex.split(line), fake_story) == 0
    [(flags, previous)] = calls
    assert previous == past
    assert {name: flags[name] for name in options} == options
    assert past or flags == options


# --- help -----------------------------------------------------------------------------------------------------------

LONG_HELP = {"run": 300, "resolve": 30, "clean": 26, "plan edit": 26, "serve": 40}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_the_screen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = build_command_parser(name).format_help().splitlines()
    assert lines[0].startswith(f"usage: aider-orchestrator {'[run]' if name == 'run' else name} ")
    assert max(map(len, lines)) <= 80
    assert len(lines) <= LONG_HELP.get(name, 24)


def test_overview_lists_every_command_with_its_summary() -> None:
    lines = overview().splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 60 and set(HEADINGS) <= set(COMMANDS)
    for name, command in COMMANDS.items():
        assert " " in name or any(line.split(maxsplit=1) == [name, command.summary] for line in lines), name


def leaves(parser: CommandParser, name: str = "") -> Iterator[tuple[str, CommandParser]]:
    children = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not children:
        yield name, parser
    for word, child in (pair for action in children for pair in action.choices.items()):
        yield from leaves(child, f"{name} {word}".strip())


def test_whole_parser_has_every_command_and_a_help_for_every_argument() -> None:
    parsers = dict(leaves(build_parser()))
    assert set(parsers) == {name for name in COMMANDS if not has_subcommands(name)}
    for name, parser in parsers.items():
        assert (parser.description or "").endswith("."), name
        for action in parser._actions:
            assert action.help and action.help != argparse.SUPPRESS, (name, action)
        assert {f.name for f in option_fields()} <= {action.dest for action in parser._actions} or not parser.run_groups


def test_aliases_mean_commands() -> None:
    assert set(ALIASES.values()) <= set(COMMANDS) and not set(ALIASES) & set(COMMANDS)


def test_first_argument_with_a_blank_is_the_change() -> None:
    assert split_command(["fix the bug", "--files", "a.py"]) == ("run", ["--change", "fix the bug", "--files", "a.py"])
    assert split_command(["plan", "fix the bug"]) == ("plan new", ["fix the bug"])
    for word in ("fix", "fix ", ""):
        with pytest.raises(UsageError, match="there is no command"):
            split_command([word])
