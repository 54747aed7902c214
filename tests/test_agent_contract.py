"""What every agent must do, whichever it is: say how it is called for an order, and read how it ended."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.agents import AGENTS
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
from orchestra.plan.targets import SKIPPED_KINDS
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
    assert call.environment["OPENAI_API_KEY"] == TOKEN and call.environment["OPENAI_API_BASE"] == DOOR


def test_call_names_files_that_are_there(agent: Agent) -> None:
    words = agent.build_call(ORDER, frozenset({"new.py"})).arguments
    named = [word.removeprefix(f"{TREE}/") for word in words if word.startswith(f"{TREE}/")]
    assert sorted(named) == sorted(["app.py", "-odd name.py", "docs/notes.md"])
    assert any(word.endswith("/new.py") for word in agent.build_call(ORDER, frozenset()).arguments)


def test_call_gives_the_brief_and_the_arguments_of_the_user(agent: Agent) -> None:
    call = agent.build_call(ORDER, frozenset())
    assert call.message == ORDER.brief
    assert " ".join(ORDER.arguments) in " ".join(call.arguments)


def test_host_fills_in_its_places(agent: Agent) -> None:
    call = agent.build_call(ORDER, frozenset())
    filled = call.fill_in(HERE)
    assert not any("\0" in word for word in words_of(filled))
    assert f"{HERE[TREE]}/app.py" in filled.arguments
    assert {HERE[DOOR], HERE[TOKEN]} <= set(filled.environment.values())
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
    "set_up": SET_UPS,
    "rules": RULES,
}


@given(st.builds(AttemptOrder, **FIELDS))
def test_order_crosses_as_json(order: AttemptOrder) -> None:
    assert order_from_json(order_to_json(order)) == order


def test_every_field_of_an_order_is_tried() -> None:
    assert {field.name for field in dataclasses.fields(AttemptOrder)} == FIELDS.keys()
