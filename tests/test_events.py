"""Events: every kind is written and read back byte by byte, and whatever a log holds, reading it raises nothing."""

import ast
import copy
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra import events
from orchestra.events import KINDS, Event, event_record, read_line, to_json_value
from orchestra.journal.open_store import open_store
from orchestra.report import run_status
from orchestra.report.annotations import build_annotations, step_outputs
from orchestra.report.closing import closing_text
from orchestra.report.detail import build_detail
from orchestra.report.event_lines import describe_event
from orchestra.report.fold import OUTCOME_FIELDS, fold_events
from orchestra.report.junit import junit_xml
from orchestra.report.markdown import markdown_report
from orchestra.report.page import html_page
from orchestra.report.state import CandidateReport, TaskReport
from orchestra.report.summary import build_summary
from tests.support import corpus
from tests.support.reported import story
from tests.support.written import event

ROOT = Path(__file__).resolve().parents[1]
# Of each kind a line as the version before typed events wrote it, of `gate_ended` and `attempt_ended` several.
GOLDEN = (Path(__file__).parent / "outputs" / "events.jsonl").read_text("utf-8").splitlines()
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 0.5, 1e400, 10**30, "", "x", "\x1b[31m", [], [1], ["x"], [[]], {}, {"x": "x"}, {"id": 1}),
    [{"id": 1, "title": "t", "files": []}],
)


def read(text: str) -> Event:
    found = read_line(text)
    assert found is not None
    return found


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- written and read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", GOLDEN, ids=lambda text: json.loads(text)["event"])
def test_golden_line_comes_back_byte_by_byte(text: str) -> None:
    found = read(text)
    assert type(found.payload) is KINDS[found.kind] and not found.read_problem
    assert dumped(event_record(found)) == text
    assert dumped(to_json_value(found.payload)) == dumped(found.data)


def test_golden_lines_have_every_kind() -> None:
    assert {json.loads(text)["event"] for text in GOLDEN} == KINDS.keys()


def test_every_line_of_the_corpus_comes_back_byte_by_byte() -> None:
    count = 0
    for name in corpus.names():
        for path, content in corpus.files_of(name).items():
            for raw in content.split(b"\n") if path.endswith(".jsonl") else ():
                if found := read_line(raw):
                    written = dumped(event_record(dataclasses.replace(found, data=to_json_value(found.payload))))
                    assert json.loads(written) == json.loads(raw) and written == dumped(json.loads(raw))
                    count += 1
    assert count > 1_000


def test_every_kind_is_emitted_and_is_a_frozen_dataclass() -> None:
    made = set(constructed())
    for kind, payload in KINDS.items():
        assert payload.__name__ in made, f"nothing in the program makes a {payload.__name__}"
        assert payload.kind == kind and dataclasses.is_dataclass(payload) and payload.__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        events.Note("x").text = "y"  # type: ignore[misc]
    with pytest.raises(TypeError, match="text"):
        events.Note()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="other"):
        events.Note("x", other=1)  # type: ignore[call-arg]


def test_what_an_attempt_tells_of_its_task_has_the_same_names() -> None:
    names = {each.name for each in dataclasses.fields(TaskReport)}
    assert set(OUTCOME_FIELDS) <= names & set(events.AttemptEnded.names) & set(CandidateReport.names)


def constructed() -> Iterator[str]:
    """The names of all that is called in the program, but where events are defined."""
    for path in (ROOT / "orchestra").rglob("*.py"):
        if path.parent.name != "events":
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Call):
                    yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


# --- read tolerantly ------------------------------------------------------------------------------------------------


def damaged(text: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """By the field that is damaged: the records without it, and with something odd in its place."""
    record = json.loads(text)
    for name in record["data"]:
        rest = {key: value for key, value in record["data"].items() if key != name}
        yield name, [record | {"data": rest}, *(record | {"data": rest | {name: odd}} for odd in ODD)]


BEFORE = story(2, ok=False)


def render_everything(log: list[Event]) -> None:
    report, found = fold_events(log), build_detail(log)
    (
        closing_text(report, "summary.json"),
        markdown_report(report),
        html_page(report, found, {}, {}),
        junit_xml(report, found.gates, {}),
    )
    (
        json.dumps(build_summary(report, {})),
        build_annotations(report, {}),
        step_outputs(report, {}, "end"),
        run_status.agent_lines(report),
    )
    for task in report.tasks.values():
        tries = found.all_attempts(task.id)
        (
            json.dumps(run_status.task_record(report, task, "", tries, {})),
            run_status.task_text(report, task, "", tries, {}),
        )
    for each in log:
        describe_event(each)


@pytest.mark.parametrize("text", GOLDEN, ids=lambda text: json.loads(text)["event"])
def test_damaged_event_raises_nothing_and_is_counted(text: str) -> None:
    for name, records in damaged(text):
        log = [read(json.dumps(record)) for record in records]
        for found in log:
            value = found.data.get(name)
            if not found.read_problem and isinstance(value, str | int | float):
                assert getattr(found.payload, name) == value
        assert fold_events([*BEFORE, *log]).unreadable == sum(bool(found.read_problem) for found in log) > 0
        render_everything([*BEFORE, *log])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_envelope_of_the_wrong_kind_is_no_event(odd: Any) -> None:
    right = {"event": "note", "run": "r", "seq": 1, "time": 2, "data": {"text": "x"}}
    for name in (*right, "task", "attempt"):
        found = read_line(json.dumps(right | {name: odd}))
        assert found is None or getattr(found, name if name != "event" else "kind") == odd
        assert found is None or {type(found.task), type(found.attempt)} <= {int, type(None)}


def test_unknown_kind_and_missing_task_are_unreadable() -> None:
    tomorrow, homeless = event("of_tomorrow", 1, wonder=[1]), event("task_moved", state="ready")
    assert isinstance(tomorrow.payload, events.UnreadableEvent) and tomorrow.kind == "of_tomorrow"
    assert homeless.read_problem == "it has no task"
    assert fold_events([tomorrow, homeless]).unreadable == 2 and fold_events([homeless]).tasks == {}


def test_field_that_may_be_absent_costs_no_more_than_itself() -> None:
    used = {"requests": 1, "dollars": 0.5}
    found = event("request", 1, 1, role="agent", failure="", usage=used, seconds="soon")
    assert found.read_problem == "seconds: 'soon' is not float"
    report = fold_events([found])
    assert (report.usage.dollars, report.unreadable) == (0.5, 1)


def test_what_a_newer_version_wrote_is_carried_on(tmp_path: Path) -> None:
    newer = event("note", 1, text="x", mood={"deep": [1, None]})
    assert newer.payload == events.Note("x") and not newer.read_problem
    store = open_store(tmp_path / "orchestra.db")
    store.append_events(".", [newer, event("of_tomorrow", seq=2, wonder=1)])
    back = store.read_events(".", "r")
    store.close()
    assert back[0] == newer and back[0].data["mood"] == {"deep": [1, None]} and back[1].data == {"wonder": 1}
    assert event_record(back[0])["data"] == {"text": "x", "mood": {"deep": [1, None]}}


# --- shared with nothing --------------------------------------------------------------------------------------------


def containers(value: object) -> Iterator[int]:
    """The identities of all lists and dictionaries in a value."""
    if isinstance(value, list | dict | set):
        yield id(value)
    if isinstance(value, Mapping):
        inner: Iterable[object] = value.values()
    elif dataclasses.is_dataclass(value):
        inner = vars(value).values()
    else:
        inner = value if isinstance(value, list | tuple | set) else ()
    for each in inner:
        yield from containers(each)


def test_report_shares_no_list_or_dictionary_with_its_events() -> None:
    log = [read(text) for text in GOLDEN]
    mine = {number for each in log for number in containers(each)}
    report = fold_events(log)
    assert mine.isdisjoint(containers(report)) and mine.isdisjoint(containers(build_detail(log)))
    before = copy.deepcopy(build_summary(report, {}))
    for each in log:
        for value in each.data.values():
            if isinstance(value, list):
                value.append("changed")
    assert build_summary(report, {}) == before
