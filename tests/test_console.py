"""What a person sees of a run: earlier sessions count without being said."""

from typing import Any

import pytest

from orchestra.console import PlainLines
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


def test_lines_say_nothing_of_earlier_sessions_but_count_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines(previous_seq=2)
    for each in events(PLAN, BEGUN, ENDED):
        lines.show_event(each)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "agent1: applied after 4.5 s" in said
    assert list(lines.report.tasks) == [1]
