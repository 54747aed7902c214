"""What every agent must do, whichever it is: say how it is called for an order, and read how it ended."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.agents import AGENTS, DEFAULT_AGENT
from orchestra.agents.base import (
    DOOR,
    ENDS,
    FOLDER,
    TOKEN,
    TREE,
    Agent,
    AgentCall,
    AgentModel,
    AgentOutcome,
    AttemptOrder,
    FileRules,
    WorktreeSetup,
)
from orchestra.agents.seat import read_outcome_file
from orchestra.dialects import DIALECTS
from orchestra.plan.roles import KINDS
from orchestra.plan.targets import SKIPPED_KINDS
from orchestra.settings import option_fields
from tests.support.order_json import order_from_json, order_to_json

# What a file of the repository may be beside text that is to be edited.
UNUSUAL = ("link", "submodule", "binary", "lfs", "name")
MARKS = (TREE, FOLDER, DOOR, TOKEN)
KEY = "sk-the-key-of-the-user-0123456789"
MODEL = AgentModel(
    name="openai/gpt-4o",
    agent_name="openai/gpt-4o",
    weak_name="openai/gpt-4o-mini",
    key_variable="OPENAI_API_KEY",
    base_variable="OPENAI_API_BASE",
    metadata={"gpt-4o": {"max_tokens": 100}},
    settings={"name": "gpt-4o"},
)
ORDER = AttemptOrder(
    run="20260101_000000",
    task=3,
    attempt=2,
    base="b" * 40,
    parent="a" * 40,
    message="Change it\n",
    brief="Change it.",
    model=MODEL,
    files=("app.py", "-odd name.py", "new.py"),
    new=("new.py",),
    reads=("docs/notes.md",),
    arguments=("--map-tokens", "512"),
)
HERE = {
    TREE: "/host/slot/tree",
    FOLDER: "/host/slot",
    DOOR: "http://127.0.0.1:1/t/x/openai",
    TOKEN: "the-token-of-the-attempt",
}


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Agent:
    return AGENTS[request.param]


def words_of(call: AgentCall) -> list[str]:
    return [*call.arguments, call.message, *call.environment.values(), *call.files.values()]


def test_agent_is_listed_under_its_name(agent: Agent) -> None:
    assert AGENTS[agent.name] is agent


def test_agent_speaks_known_dialects(agent: Agent) -> None:
    assert agent.dialects and agent.dialects <= DIALECTS.keys()


def test_call_names_no_place_of_this_machine(agent: Agent) -> None:
    words = words_of(agent.build_call(ORDER, frozenset()))
    for word in words:
        assert "\0" not in re.sub("|".join(map(re.escape, MARKS)), "", word)
        assert not word.startswith("/")
    assert not any(str(Path.cwd()) in word or str(Path.home()) in word for word in words)


def test_call_holds_no_key(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    call = agent.build_call(ORDER, frozenset())
    assert not any(KEY in word for word in words_of(call))
    assert TOKEN in call.environment.values()
    assert any(DOOR in word for word in words_of(call))


def test_every_agent_that_the_settings_offer_exists() -> None:
    assert tuple(AGENTS) == KINDS and option_default("agent_kind") == DEFAULT_AGENT
    assert AGENTS[DEFAULT_AGENT].iterations == option_default("max_iterations")


def option_default(name: str) -> Any:
    return next(f.default for f in option_fields() if f.name == name)


def test_aider_is_given_the_files_that_are_there() -> None:
    agent = AGENTS["aider"]
    words = agent.build_call(ORDER, frozenset({"new.py"})).arguments
    named = [word.removeprefix(f"{TREE}/") for word in words if word.startswith(f"{TREE}/")]
    assert sorted(named) == sorted(["app.py", "-odd name.py", "docs/notes.md"])
    assert any(word.endswith("/new.py") for word in agent.build_call(ORDER, frozenset()).arguments)


def test_call_gives_the_brief(agent: Agent) -> None:
    assert agent.build_call(ORDER, frozenset()).message == ORDER.brief


def test_aider_and_the_command_get_what_the_user_gives_them() -> None:
    assert " ".join(ORDER.arguments) in " ".join(AGENTS["aider"].build_call(ORDER, frozenset()).arguments)
    order = dataclasses.replace(ORDER, command="mine --brief {brief} --in {worktree} -m {model}")
    *_, command = AGENTS["exec"].build_call(order, frozenset()).arguments
    assert command == 'mine --brief "$AGENT_BRIEF" --in "$AGENT_WORKTREE" -m "$AGENT_MODEL"'


def test_claude_may_edit_its_own_files_only() -> None:
    *_, first, second, third = AGENTS["claude"].build_call(ORDER, frozenset()).arguments
    assert (first, second, third) == tuple(f"Edit(/{TREE}/{path})" for path in ORDER.files)
    order = dataclasses.replace(ORDER, files=("a(b).py",))
    assert AGENTS["claude"].build_call(order, frozenset()).arguments[-1] == f"Edit(/{TREE}/**)"


@pytest.mark.parametrize(("fenced", "mode"), [(True, "danger-full-access"), (False, "workspace-write")])
def test_codex_makes_a_sandbox_unless_ours_holds_it(fenced: bool, mode: str) -> None:
    words = AGENTS["codex"].build_call(ORDER, frozenset(), fenced=fenced).arguments
    assert words[words.index("--sandbox") + 1] == mode
    assert "sandbox_workspace_write.exclude_slash_tmp=true" in words


def test_host_fills_in_its_places(agent: Agent) -> None:
    call = agent.build_call(ORDER, frozenset())
    filled = call.fill_in(HERE)
    assert not any("\0" in word for word in words_of(filled))
    assert HERE[TOKEN] in filled.environment.values()
    assert any(HERE[DOOR] in word for word in words_of(filled))
    assert (filled.message, filled.files, filled.fallback) == (call.message, call.files, call.fallback)


def test_files_of_a_call_are_plain_names(agent: Agent) -> None:
    """The host writes them into the attempt's folder, and beside its own files."""
    names = agent.build_call(ORDER, frozenset()).files
    assert all(re.fullmatch(r"[\w.-]+", name) and name not in (".", "..", "tree", "home") for name in names)


@pytest.mark.parametrize("end", ENDS)
def test_outcome_is_read_from_the_record(tmp_path: Path, end: str) -> None:
    said = {"replies": 2, "edited": ["a.py"], "refused": ["b.py"], "complaint": "c", "failure": "f", "unparsed": ["d"]}
    record = tmp_path / "outcome.json"
    record.write_text(json.dumps({"end": end, **said}))
    assert read_outcome_file(record, 7) == AgentOutcome(end, 7, 2, ("a.py",), ("b.py",), "c", "f", ("d",))


NO_RECORD = {
    "missing": None,
    "empty": b"",
    "torn": b'{"end": "accep',
    "a list": b"[1]",
    "of something else": b'{"version": 3}',
    "an unknown end": b'{"end": "well"}',
    "no text": b"\xff\xfe\0",
}


@pytest.mark.parametrize("content", NO_RECORD.values(), ids=NO_RECORD)
def test_agent_without_a_record_has_crashed(tmp_path: Path, content: bytes | None) -> None:
    record = tmp_path / "outcome.json"
    if content is not None:
        record.write_bytes(content)
    outcome = read_outcome_file(record, -9)
    assert (outcome.end, outcome.code, outcome.edited) == ("crashed", -9, ())
    assert "SIGKILL" in outcome.failure


# What each program prints at its end, with its exit code, and what that means. Its own word is not the verdict.
CLAUDE_RESULT = {"type": "result", "subtype": "success", "is_error": False, "terminal_reason": "completed"}
DENIED = {"permission_denials": [{"tool_name": "Edit", "tool_input": {"file_path": "/host/slot/tree/other.py"}}]}
PRINTED: dict[str, tuple[str, list[Any], int, str]] = {
    "claude ends well": ("claude", [CLAUDE_RESULT], 0, "accepted"),
    "claude says success beside an error": ("claude", [CLAUDE_RESULT | {"is_error": True}], 1, "no_reply"),
    "claude says success with an exit code": ("claude", [CLAUDE_RESULT], 1, "no_reply"),
    "claude says nothing": ("claude", [{"type": "system"}], 0, "crashed"),
    "claude is killed": ("claude", [CLAUDE_RESULT], 137, "crashed"),
    "claude has used its turns": ("claude", [CLAUDE_RESULT | {"subtype": "error_max_turns"}], 1, "no_reply"),
    "codex ends well": ("codex", [{"type": "turn.started"}, {"type": "turn.completed"}], 0, "accepted"),
    "codex fails": ("codex", [{"type": "turn.failed", "error": {"message": "no"}}], 1, "no_reply"),
    "codex says nothing": ("codex", [{"type": "thread.started"}], 0, "crashed"),
    "codex is killed": ("codex", [{"type": "turn.completed"}], 137, "crashed"),
    "the command ends well": ("exec", [], 0, "accepted"),
    "the command fails": ("exec", ["oh"], 3, "no_reply"),
    "the command is killed": ("exec", ["oh"], 137, "crashed"),
}


@pytest.mark.parametrize(("name", "printed", "code", "end"), PRINTED.values(), ids=PRINTED)
def test_end_of_a_program_is_read_from_what_it_printed(name: str, printed: list[Any], code: int, end: str) -> None:
    text = "\n".join(["a warning", *map(json.dumps, printed), '{"torn": '])
    outcome = AGENTS[name].read_outcome(text, code, "/host/slot/tree")
    assert outcome.end == end and (not outcome.failure) == (end == "accepted")


def test_file_that_claude_was_refused_is_named_by_its_path_in_the_worktree() -> None:
    outcome = AGENTS["claude"].read_outcome(json.dumps(CLAUDE_RESULT | DENIED), 0, "/host/slot/tree")
    assert outcome.refused == ("other.py",)


def test_agent_says_why_it_cannot_edit_a_kind(agent: Agent) -> None:
    assert all(agent.why_not_editable(kind) for kind in UNUSUAL)
    assert not any(agent.why_not_editable(kind) for kind in ("text", *SKIPPED_KINDS))


def test_trailer_is_a_co_author(agent: Agent) -> None:
    trailer = agent.trailer("openai/gpt-4o")
    assert re.fullmatch(r"Co-authored-by: [^<>\n]*openai/gpt-4o[^<>\n]* <[^<>@\s]+@[^<>@\s]+>", trailer)


# --- orders cross to other machines ---------------------------------------------------------------------------------

TEXTS = st.text(max_size=20)
NAMES = st.lists(TEXTS, max_size=4).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MODELS = st.builds(
    AgentModel,
    *(TEXTS,) * 5,
    metadata=st.dictionaries(TEXTS, JSON, max_size=3),
    settings=st.dictionaries(TEXTS, JSON, max_size=3),
)
RULES = st.builds(FileRules, st.dictionaries(TEXTS, st.integers(), max_size=4), NAMES, NAMES)
SET_UPS = st.builds(WorktreeSetup, NAMES, NAMES, TEXTS, st.floats(0, 1e6))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "run": TEXTS,
    "task": st.integers(1),
    "attempt": st.integers(1),
    "base": TEXTS,
    "parent": TEXTS,
    "message": TEXTS,
    "brief": TEXTS,
    "model": MODELS,
    "files": NAMES,
    "new": NAMES,
    "reads": NAMES,
    "agent": st.sampled_from(sorted(AGENTS)),
    "edit_format": TEXTS,
    "chat_mode": TEXTS,
    "arguments": NAMES,
    "command": TEXTS,
    "set_up": SET_UPS,
    "rules": RULES,
}


@given(st.builds(AttemptOrder, **FIELDS))
def test_order_crosses_as_json(order: AttemptOrder) -> None:
    assert order_from_json(order_to_json(order)) == order


def test_every_field_of_an_order_is_tried() -> None:
    assert {field.name for field in dataclasses.fields(AttemptOrder)} == FIELDS.keys()
