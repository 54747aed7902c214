"""The board: readable at any width, its phases and clocks are those of the events."""

from typing import Any

import pytest
from rich.console import Console

from orchestra.board import ProgressBoard, format_clock, format_left, format_tokens, shorten_names
from orchestra.report.detail import Phase, phase_words, task_phase
from tests.support.reported import START
from tests.test_console import BEGUN, ENDED, PLAN, Told, events

WIDTHS = (60, 80, 100, 120)
LONG = "packages/storefront/src/shop/{0}/handlers/checkout_process_{0}.py"


def show_events(*told: Told, previous: int = 0) -> ProgressBoard:
    board = ProgressBoard(previous, clock=lambda: 0.0)
    for each in events(*told):
        board.show_event(each)
    return board


def plan_of(count: int, **data: Any) -> Told:
    tasks = [
        {"id": n, "title": f"Task {n}", "files": [{"path": LONG.format(n), "tokens": 9}, {"path": "b.py", "tokens": 9}]}
        for n in range(1, count + 1)
    ]
    return (0, "plan_made", None, None, {"agents": count, "tasks": tasks} | data)


def estimate_of(count: int) -> dict[str, Any]:
    tasks = [{"task": n, "tokens": [1, 2], "dollars": [0.1, 0.2], "minutes": [1, 3]} for n in range(1, count + 1)]
    return {"tokens": [1, 2], "dollars": [0.1, 0.2], "minutes": [1, 3], "each": 1, "basis": "", "tasks": tasks}


def screen_of(board: ProgressBoard, width: int, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(board)
    return capture.get().splitlines()


def moved(task: int, state: str, time: int = 2_000) -> Told:
    return (time, "task_moved", task, 1, {"state": state})


def begun(task: int) -> tuple[Told, ...]:
    start: Told = (1_000, "attempt_started", task, 1, {"model": "m"})
    return moved(task, "ready", 900), moved(task, "active", 950), start


READY: Told = (1_500, "aider_ready", None, None, {"ago": 0.1})
USAGE = {"requests": 1, "input": 1, "output": 1}
ONE_REPLY: Told = (1_900, "request", 1, 1, {"role": "agent", "failure": "", "usage": USAGE, "seconds": 0.1})
RESERVED: Told = (2_000, "set_aside", 1, 1, {"role": "agent", "number": 1, "dollars": 0.1, "tokens": 5})
# Each phase, and the events after the start of an attempt that lead to it.
PHASES: dict[str, tuple[Told, ...]] = {
    "starting": (),
    "asking": (READY,),
    "asking with a budget": (READY, ONE_REPLY, RESERVED),
    "editing": (READY, ONE_REPLY),
    "checking": ((2_000, "gate_started", 1, 1, {"name": "syntax", "command": "x"}),),
    "waiting for the provider": ((2_000, "waiting", 1, 1, {"role": "agent", "on": "openai", "why": "rate limit"}),),
    "waiting for the budget": ((2_000, "waiting", 1, 1, {"role": "agent", "on": "the budget", "why": "until"}),),
    "waiting for you": (moved(1, "failed"), moved(1, "waiting_human")),
    "accepted": (moved(1, "awaiting_qa"),),
    "done": (moved(1, "awaiting_qa"), moved(1, "complete")),
    "edit rejected": ((2_000, "attempt_ended", 1, 1, {"verdict": "rejected_edit"}), moved(1, "failed")),
    "abandoned": (moved(1, "failed"), moved(1, "abandoned")),
}


@pytest.mark.parametrize("phase", PHASES)
def test_phase_follows_from_events(phase: str) -> None:
    board = show_events(plan_of(2), *begun(1), *PHASES[phase])
    assert board.report.unreadable == 0
    assert phase_words(board.report, board.detail, board.report.tasks[1]) == phase.removesuffix(" with a budget")
    assert phase_words(board.report, board.detail, board.report.tasks[2]) == "queued"


def test_every_phase_is_tested() -> None:
    assert set(Phase) - PHASES.keys() == {"queued", "failed", "merging"}
    board = show_events(
        plan_of(1), *begun(1), (2_000, "attempt_ended", 1, 1, {"verdict": "applied"}), moved(1, "awaiting_qa")
    )
    assert task_phase(board.report, board.detail, board.report.tasks[1]) is Phase.MERGING


@pytest.mark.parametrize("width", WIDTHS)
def test_only_files_give_way(width: int) -> None:
    """The columns that are shown are whole, no line is longer than the screen, and nothing wraps."""
    waiting = PHASES["waiting for the provider"]
    board = show_events(plan_of(20, estimate=estimate_of(20)), *begun(1), *waiting)
    lines = screen_of(board, width)
    assert len(lines) == 23 and all(len(line) <= width for line in lines)
    headings = lines[2].split()
    assert headings == ["agent", "state", "files", *(["turns", "tokens"] if width >= 72 else []), "cost", "time"]
    first = lines[3].split()
    assert first[:5] == ["agent1", "waiting", "for", "the", "provider"] and first[5].startswith("…")
    assert first[6] == "+1" and first[-2] == "$0.0000" and first[-1].startswith("0:0")
    assert lines[22].startswith("agent20 queued")
    assert " 0 of 20  0:0" in lines[1] and lines[1].endswith("about 2 min left")


def test_title_is_one_line_at_the_screens_width() -> None:
    written: Told = (
        1,
        "prd_written",
        None,
        None,
        {"path": f"docs/prd/{'long-' * 30}.md", "text": "", "requirements": []},
    )
    board = show_events(written)
    assert [len(line) for line in screen_of(board, 60)] == [60], "and no empty table below it"


def test_many_tasks_are_cut_to_the_screens_height() -> None:
    ended: Told = (2_000, "attempt_ended", 30, 1, {"verdict": "applied"})
    board = show_events(plan_of(30), *begun(29), *begun(30), ended, moved(30, "awaiting_qa"), moved(30, "complete"))
    lines = screen_of(board, 80, 16)
    assert len(lines) == 16 and lines[3].startswith("agent29 ") and lines[4].startswith("agent30 done")
    assert lines[-1].strip() == "and 18 more: 0 ended, 18 to come"
    assert len(screen_of(board, 80, 60)) == 3 + 20 + 1


def test_ended_tasks_fill_the_bar_and_change_the_time_left() -> None:
    half = (1_000 + 60_000, "attempt_ended", 1, 1, {"verdict": "applied"})
    board = show_events(plan_of(4, estimate=estimate_of(4)), *begun(1), half, moved(1, "awaiting_qa", 61_000))
    assert [task.has_ended for task in board.report.tasks.values()] == [True, False, False, False]
    assert " 1 of 4 " in screen_of(board, 100)[1] and screen_of(board, 100)[1].endswith("about 3 min left")


def test_money_is_shown_of_the_budget() -> None:
    started: Told = (0, "run_started", None, None, {"change": "x", "options": {"budget": 5.0}})
    assert "$0.0000 of $5.00" in screen_of(show_events(started, plan_of(1)), 80)[1]


def test_formats() -> None:
    assert [format_clock(seconds) for seconds in (0, 9.4, 72, 3_723)] == ["0:00", "0:09", "1:12", "1:02:03"]
    assert [format_left(seconds) for seconds in (1, 44, 94, 96, 200)] == ["10 s", "40 s", "90 s", "2 min", "3 min"]
    assert [format_tokens(tokens) for tokens in (0, 999, 1_000, 999_940, 2_500_000)] == [
        *("0", "999", "1.0k", "999.9k", "2.50M"),
    ]


def test_names_keep_their_ends() -> None:
    assert shorten_names(["a.py", "b.py"], "T", 10) == "a.py, b.py"
    assert shorten_names(["a/long/path.py", "b.py"], "T", 12) == "…/path.py +1"
    assert shorten_names([], "A title", 5) == "A title"


def test_clock_counts_by_event_times() -> None:
    assert show_events(PLAN, BEGUN, ENDED).working_clock(1) == "0:08"
    assert show_events(PLAN).working_clock(1) == ""
    ready: Told = (6_000, "aider_ready", None, None, {"ago": 1.0})
    assert show_events(PLAN, BEGUN, ready, ENDED).working_clock(1) == "0:04"


def test_clock_runs_while_an_attempt_is_at_work() -> None:
    later: Told = (5_000, "note", None, None, {"text": "by the way"})
    minutes, seconds = show_events(PLAN, BEGUN, later, previous=9).working_clock(1).split(":")
    assert int(minutes) > 0 or int(seconds) >= 4
    beside: Told = (2_000, "attempt_started", 1, 2, {"model": "m"})
    assert show_events(PLAN, BEGUN, beside, ENDED).detail.working_time(1) == (START + 2_000, 0)


def test_attempt_of_a_dead_session_is_not_at_work() -> None:
    resumed: Told = (60_000, "run_resumed", None, None, {})
    assert show_events(PLAN, BEGUN, resumed).working_clock(1) == "0:00"
    again: Told = (61_000, "attempt_started", 1, 2, {"model": "m"})
    over: Told = (64_000, "attempt_ended", 1, 2, {"verdict": "applied"})
    assert show_events(PLAN, BEGUN, resumed, again, over).working_clock(1) == "0:03"


def test_board_after_resume_shows_what_earlier_sessions_did() -> None:
    resumed: Told = (60_000, "run_resumed", None, None, {})
    board = show_events(plan_of(2), *begun(1), moved(1, "awaiting_qa"), moved(1, "complete"), resumed, previous=9)
    lines = screen_of(board, 80)
    assert lines[3].startswith("agent1  done ") and "process_1.py +1" in lines[3]
