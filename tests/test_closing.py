"""The end of a run in the terminal, who waits for a person, and how lines are wrapped."""

import pytest

from orchestra.events import Event
from orchestra.model import Verdict
from orchestra.report.closing import closing_text
from orchestra.report.detail import build_detail
from orchestra.report.fold import fold_events
from orchestra.report.page import html_page
from orchestra.report.phrases import OUTCOME_PHRASES, resolve_command
from orchestra.report.run_status import agent_lines, waiting_lines
from orchestra.report.state import Report
from orchestra.report.summary import build_summary
from orchestra.wording import align_columns, wrap_line
from tests.support.reported import STAMP, Story, story

RESOLVE = f'aider-orchestrator resolve {STAMP} 2 --retry "a hint"'


def waiting_run(*, answered: bool = False) -> list[Event]:
    """The second agent changed nothing, and a person is asked for 6 minutes at the terminal."""
    told = Story()
    told.begin(2)
    told.attempt(1, 1, "applied")
    told.emit("task_moved", 1, 1, state="awaiting_qa")
    told.attempt(2, 1, "no_change")
    told.emit("task_moved", 2, 1, state="failed")
    told.emit("human_needed", 2, 1, why="It failed twice.")
    told.emit("task_moved", 2, 1, state="waiting_human")
    told.emit("waiting", 2, role="agent", on="you", why="a question at the terminal")
    told.emit("waiting", 2, after=360_000, role="agent", on="", why="")
    if answered:
        told.emit("resolved", 2, action="abandon", text="")
        told.emit("task_moved", 2, 1, state="abandoned")
    told.emit("run_ended", exit_code=1 if answered else 5, error="")
    return told.events


# --- the closing words ----------------------------------------------------------------------------------------------


def test_end_of_a_good_run_can_be_acted_on() -> None:
    lines = closing_text(fold_events(story(2)), "summary.json", "report.html").splitlines()
    assert lines[2:5] == [
        "Agents:",
        "  agent1  complete  $0.0081  lighthouse/part_1.py",
        "  agent2  complete  $0.0162  lighthouse/part_2.py",
    ]
    assert lines[-4:] == [
        "Look: git diff bbbbbbbbbbbb ffffffffffff",
        "Undo: git revert --no-edit bbbbbbbbbbbb..ffffffffffff",
        "Report: report.html",
        "Data: summary.json",
    ]
    assert "  tests passed in 0.3 s" in lines, "the command is not told when all is well"


def test_end_of_a_failed_run_says_how_to_go_on() -> None:
    lines = closing_text(fold_events(story(3, 1.0, ok=False)), "summary.json").splitlines()
    assert f"Go on: aider-orchestrator resume {STAMP}" in lines


def test_agents_are_left_out_if_there_are_many() -> None:
    assert "\nAgents:\n" in closing_text(fold_events(story(20)), "")
    assert "\nAgents:\n" not in closing_text(fold_events(story(21)), "")


def test_every_verdict_has_words() -> None:
    assert set(OUTCOME_PHRASES) == set(Verdict)
    assert not any("_" in words for words in OUTCOME_PHRASES.values())


def remedy_after(text: str) -> str:
    told = Story()
    told.begin(1)
    told.emit("attempt_ended", 1, 1, verdict="budget", cause="", remedy=text, commit="", seconds=1.0)
    return closing_text(fold_events(told.events), "").splitlines()[-1]


@pytest.mark.parametrize(
    ("remedy", "shown"),
    [
        ("Look; then `resume`.", f"Look; then `aider-orchestrator resume {STAMP}`."),
        ("More: `resume --budget USD`.", f"More: `aider-orchestrator resume {STAMP} --budget USD`."),
        ("Retry it: `retry 20261120 1`.", "Retry it: `aider-orchestrator retry 20261120 1`."),
        ("Say more.", "Say more."),
    ],
)
def test_remedy_names_whole_commands(remedy: str, shown: str) -> None:
    assert remedy_after(remedy) == f"  {shown}"


def test_resume_is_told_once() -> None:
    told = Story()
    told.begin(1)
    told.emit("attempt_ended", 1, 1, verdict="cancelled", cause="", remedy="Go on: `resume`.", commit="", seconds=1.0)
    told.emit("run_ended", exit_code=130, error="")
    report = fold_events(told.events)
    assert closing_text(report, "").count("resume") == 1
    assert build_summary(report, {})["next"] == [f"Go on: aider-orchestrator resume {STAMP}"]


# --- waiting for a person -------------------------------------------------------------------------------------------


def test_waiting_task_is_told_with_its_command() -> None:
    report = fold_events(waiting_run())
    assert resolve_command(report, report.tasks[2]) == RESOLVE
    assert waiting_lines(report) == [
        "agent2 waits for you: It failed twice.",
        f"  Decide about agent2 (or with --spawn TEXT, --take, --abandon): {RESOLVE}",
        "",
    ]
    [waiting] = build_summary(report, {})["waiting"]
    assert (waiting["agent"], waiting["task"], waiting["question"]) == ("agent2", 2, "It failed twice.")
    assert waiting["commands"]["retry"] == RESOLVE
    assert set(waiting["commands"]) == {"retry", "brief", "spawn", "take", "abandon"}
    closing = closing_text(report, "")
    assert "agent2  waits for you" in closing and "Go on:" not in closing
    assert f'<code tabindex="0">{RESOLVE.replace(chr(34), "&#34;")}</code>' in page_of(waiting_run())


def test_nothing_waits_after_the_decision() -> None:
    report = fold_events(waiting_run(answered=True))
    assert waiting_lines(report) == [] and build_summary(report, {})["waiting"] == []


def test_wait_for_a_person_is_counted_apart() -> None:
    report = fold_events(waiting_run(answered=True))
    assert report.waited_ms == 360_000 and build_summary(report, {})["waited_seconds"] == 360
    assert "of which 6 min waiting for you" in closing_text(report, "")
    spans = {(span.kind, span.task): span.end - span.start for span in build_detail(waiting_run(answered=True)).spans}
    assert spans["person", 2] > 360_000 and spans["person", None] == 360_000
    assert all(length < 5_000 for (kind, _), length in spans.items() if kind != "person")
    assert 'class="person"' in page_of(waiting_run(answered=True))
    assert "waiting for you" not in closing_text(fold_events(story(2)), "")


def test_wait_of_another_agent_does_not_end_it() -> None:
    told = Story(events=waiting_run()[:-2])
    told.emit("waiting", 1, role="agent", on="", why="")
    report: Report = fold_events(told.events)
    assert report.waited_ms == 0 and report.asking_since


def page_of(events: list[Event]) -> str:
    return html_page(fold_events(events), build_detail(events), {}, {})


def test_status_has_a_heading_on_demand() -> None:
    report = fold_events(waiting_run())
    assert agent_lines(report, heading=True)[0].split() == [
        "agent",
        "state",
        "attempts",
        "tokens",
        "cost",
        "time",
        "files",
    ]
    assert "waits for you" in agent_lines(report, heading=True)[2] and "no_change" in agent_lines(report)[1]
    assert agent_lines(Report(), heading=True) == []


# --- wrapped lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("short", "short"),
        ("one two three four five six seven", "one two three four five six\nseven"),
        ("  one two three four five six seven", "  one two three four five six\n    seven"),
        ("  a  one two three four five six", "  a  one two three four five\n      six"),
        ("one two three four fives 3.8 s", "one two three four fives 3.8 s"),
        ("one two three four fives; 3.8 s", "one two three four fives;\n3.8 s"),
        ("  look at /a/very/long/path/of/some/file.py", "  look at\n    /a/very/long/path/of/some/file.py"),
        ("  Do it so: git diff abc def ghi jkl mno", "  Do it so:\n    git diff abc def ghi jkl mno"),
        ("Look: git diff abcdefghi..jklmnopqrst", "Look:\n  git diff abcdefghi..jklmnopqrst"),
    ],
)
def test_line_is_wrapped_between_words(line: str, shown: str) -> None:
    assert wrap_line(line, 30) == shown


def test_row_of_a_table_goes_on_below_its_last_column() -> None:
    assert wrap_line("  agent1  complete  one two three four five six seven", 50) == (
        "  agent1  complete  one two three four five six\n                    seven"
    )


def test_signs_of_two_cells_are_counted_as_two() -> None:
    assert wrap_line("  日本語日本語 日本語日本語 b", 30) == "  日本語日本語 日本語日本語 b"
    assert wrap_line("  日本語日本語 日本語日本語 bcd", 30) == "  日本語日本語 日本語日本語\n    bcd"
    assert align_columns([("日本", "x"), ("abcd", "y"), ("e", "z")]) == ["日本  x", "abcd  y", "e     z"]
