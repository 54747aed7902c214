"""What a person sees of a run: its clocks are those of the events, and earlier sessions count without being said."""

from typing import Any

import pytest

from orchestra.console import PlainLines, ProgressBoard
from orchestra.events import Event
from tests.support.reported import START
from tests.support.written import event

Told = tuple[int, str, int | None, int | None, dict[str, Any]]


def events(*told: Told) -> list[Event]:
    return [
        event(kind, task, attempt, seq=seq, time=START + time, **data)
        for seq, (time, kind, task, attempt, data) in enumerate(told, 1)
    ]


PLAN: Told = (0, "plan_made", None, None, {"agents": 2, "tasks": [{"id": 1, "title": "One", "files": []}]})
BEGUN: Told = (1_000, "attempt_started", 1, 1, {"model": "m"})
ENDED: Told = (9_500, "attempt_ended", 1, 1, {"verdict": "applied", "seconds": 4.5})


def shown(*told: Told, past: int = 0) -> ProgressBoard:
    board = ProgressBoard(past)
    for each in events(*told):
        board.show_event(each)
    return board


def test_board_clock_counts_by_event_times() -> None:
    assert shown(PLAN, BEGUN, ENDED).working_seconds(1) == "8.5 s"
    assert shown(PLAN).working_seconds(1) == ""
    ready: Told = (6_000, "aider_ready", None, None, {"ago": 1.0})
    assert shown(PLAN, BEGUN, ready, ENDED).working_seconds(1) == "4.5 s"


def test_board_clock_runs_while_an_attempt_is_at_work() -> None:
    later: Told = (5_000, "note", None, None, {"text": "by the way"})
    assert float(shown(PLAN, BEGUN, later, past=9).working_seconds(1).removesuffix(" s")) >= 4.0
    beside: Told = (2_000, "attempt_started", 1, 2, {"model": "m"})
    assert shown(PLAN, BEGUN, beside, ENDED).detail.working_time(1) == (START + 2_000, 0)


def test_attempt_of_a_dead_session_is_not_at_work() -> None:
    resumed: Told = (60_000, "run_resumed", None, None, {})
    assert shown(PLAN, BEGUN, resumed).working_seconds(1) == "0.0 s"
    again: Told = (61_000, "attempt_started", 1, 2, {"model": "m"})
    over: Told = (64_000, "attempt_ended", 1, 2, {"verdict": "applied"})
    assert shown(PLAN, BEGUN, resumed, again, over).working_seconds(1) == "3.0 s"


def test_board_says_how_long_an_agent_waits() -> None:
    waiting: Told = (3_000, "waiting", 1, 1, {"role": "agent", "on": "openai", "why": "rate limit"})
    later: Told = (8_000, "note", None, None, {"text": "by the way"})
    board = shown(PLAN, BEGUN, waiting, later, past=9)
    words = board.state_words(board.report.tasks[1])
    assert words.startswith("waiting for openai, ") and int(words.split()[3]) >= 5


def test_lines_say_nothing_of_earlier_sessions_but_count_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines(previous_seq=2)
    for each in events(PLAN, BEGUN, ENDED):
        lines.show_event(each)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "agent1: applied after 4.5 s" in said
    assert list(lines.report.tasks) == [1]
