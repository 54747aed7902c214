"""Estimates: ranges by task and for the run, with each role's model, and what they are compared with afterwards."""

import json
from typing import Any

import pytest

from orchestra.events import PlanRange, make_event, to_json_value
from orchestra.model import Plan, TargetFile, Task, Usage
from orchestra.providers import catalogue
from orchestra.report.closing import closing_text
from orchestra.report.fold import fold_events
from orchestra.report.markdown import markdown_report
from orchestra.report.plans.estimate import actual_use, comparison_sentence, estimate_plan, estimate_record
from orchestra.report.state import Report

# A dollar for a million tokens in, ten for a million out.
MODEL = catalogue.with_prices(catalogue.resolve_model("openai/some-model"), 1, 10)
CHEAP = catalogue.with_prices(catalogue.resolve_model("openai/cheap-model"), 0.1, 1)
UNPRICED = catalogue.resolve_model("openai/unknown-model")


def task(id: int, *needs: int, tokens: int = 10_000, role: str = "") -> Task:
    return Task(id, f"t{id}", (TargetFile(f"f{id}", tokens),), "x" * 300, reads=("big.py",), needs=needs, role=role)


def made(*tasks: Task, agents: int = 1, **more: Any) -> PlanRange:
    return estimate_plan(Plan(tasks, agents), MODEL, {"big.py": 3_000}, **more)


def test_one_task() -> None:
    found = made(task(1))
    # Its file, Aider's instructions, the brief and what is to be read; a twentieth of the file is written.
    asked = 10_000 + 2_000 + 100 + 1_000
    assert found.tokens == (asked + 700, 3 * asked + 10_000 + 7_000)
    assert found.dollars == pytest.approx(((asked + 7_000) / 1e6, (3 * asked + 10_000 + 70_000) / 1e6), rel=1e-3)
    assert found.minutes == pytest.approx((12 / 60, (7_000 / 25 + 15) / 60))
    one = found.tasks[0]
    assert (one.tokens, one.dollars, one.minutes) == (found.tokens, found.dollars, found.minutes)


@pytest.mark.parametrize(
    ("tasks", "agents", "times"),
    [
        ((task(1), task(2), task(3)), 1, 3),
        ((task(1), task(2), task(3)), 3, 1),
        ((task(1), task(2), task(3)), 2, 1.5),
        ((task(1), task(2, 1), task(3, 2)), 3, 3),  # one after the other, however many agents there are
        ((task(1), task(2, 1), task(3, 1)), 3, 2),
        ((task(1, 9), task(2)), 2, 1),  # what it needs was never planned
    ],
)
def test_the_time_of_all_of_them(tasks: tuple[Task, ...], agents: int, times: float) -> None:
    one, all_of_them = made(task(1)), made(*tasks, agents=agents)
    assert all_of_them.minutes == pytest.approx((times * one.minutes[0], times * one.minutes[1]))
    assert all_of_them.tokens[0] == len(tasks) * one.tokens[0]
    assert len(all_of_them.tasks) == len(tasks)


def test_what_is_handed_on_is_read_too() -> None:
    alone, needing = made(task(1), task(2)).tasks[1], made(task(1), task(2, 1)).tasks[1]
    assert needing.tokens[0] == alone.tokens[0] and needing.tokens[1] == alone.tokens[1] + 3 * 2_000


def test_a_role_costs_what_its_own_model_costs() -> None:
    plain, cheap = made(task(1), task(2)), made(task(1), task(2, role="tester"), roles={"tester": CHEAP})
    assert plain.dollars and cheap.dollars and plain.tasks[1].dollars and cheap.tasks[1].dollars
    assert cheap.tasks[1].dollars[0] == pytest.approx(plain.tasks[1].dollars[0] / 10)
    assert cheap.dollars[0] == pytest.approx(0.55 * plain.dollars[0])


def test_estimate_without_a_price_has_no_dollars() -> None:
    found = made(task(1), task(2, role="tester"), roles={"tester": UNPRICED})
    assert found.dollars is None and found.tasks[1].dollars is None and found.tasks[0].dollars is not None


def test_several_attempts_at_each_task_side_by_side() -> None:
    one, three = made(task(1)), made(task(1), each=3, slots=3)
    assert three.tokens[0] == 3 * one.tokens[0] and three.minutes == pytest.approx(one.minutes)
    assert three.tasks[0] == one.tasks[0] and "3 times" in three.basis
    assert made(task(1), each=3, slots=1).minutes[0] == pytest.approx(3 * one.minutes[0])


def test_attempts_side_by_side_may_read_the_prompt_from_cache() -> None:
    """One writes it at a quarter more, the others read it; not if that saves each less than a cent."""
    model = catalogue.resolve_model("anthropic/claude-opus-5-5")
    one, three = (estimate_plan(Plan((task(1),), 1), model, {"big.py": 3_000}, each=each) for each in (1, 3))
    assert one.dollars and three.dollars
    asked = 13_100 * model.price_in if model.price_in else 0.0
    assert three.dollars == pytest.approx((3 * one.dollars[0] - (3 - 1.25 - 2 * 0.05) * asked, 3 * one.dollars[1]))
    assert "all but the first may read the prompt from cache" in three.basis and "cache" not in one.basis
    small = estimate_plan(Plan((task(1, tokens=10),), 1), catalogue.resolve_model("openai/gpt-6-luna"), {}, each=3)
    assert "cache" not in small.basis


# --- afterwards -----------------------------------------------------------------------------------------------------

USED = {"requests": 1, "replies": 1, "input": 900, "output": 100, "dollars": 0.05}
ASKED = {"role": "agent", "failure": "", "usage": USED}


Told = tuple[int, str, int | None, int | None, dict[str, Any]]


def after(expected: Any, *more: Told) -> Report:
    task = {"id": 1, "title": "t", "files": [], "requirements": []}
    plan = {"agents": 1, "skipped": [], "tasks": [task]} | ({"estimate": expected} if expected is not None else {})
    told: list[Told] = [
        (0, "plan_made", None, None, plan),
        (60_000, "attempt_started", 1, 1, {"model": "m"}),
        (70_000, "request", 1, 1, ASKED),
        (120_000, "attempt_ended", 1, 1, {"verdict": "gates_failed"}),
        # Between two attempts nobody is at work, and side by side they count once.
        (180_000, "attempt_started", 1, 2, {"model": "m"}),
        (190_000, "attempt_started", 1, 3, {"model": "m"}),
        (210_000, "attempt_ended", 1, 2, {"verdict": "applied"}),
        (240_000, "attempt_ended", 1, 3, {"verdict": "applied"}),
        *more,
    ]
    return fold_events(
        make_event("r", seq, time, kind, task, n, data) for seq, (time, kind, task, n, data) in enumerate(told, 1)
    )


RECORD = {"tokens": [500, 5_000], "dollars": [0.02, 0.3], "minutes": [1.0, 6.0], "basis": "b", "tasks": []}


def test_the_report_says_how_right_it_was() -> None:
    report = after(RECORD)
    assert json.loads(json.dumps(estimate_record(report))) == {
        **{name: value for name, value in RECORD.items() if name != "tasks"},
        "actual": {"tokens": 1_000, "dollars": 0.05, "minutes": 2.0},
    }
    said = "$0.0200 to $0.30 and 1.0 to 6.0 minutes; it took $0.0500 and 2.0 minutes."
    said = f"Estimated for the agents' work alone: {said}"
    assert comparison_sentence(report) == said
    assert said in closing_text(report, "") and said in markdown_report(report)


def test_estimate_without_a_price_is_in_tokens() -> None:
    text = comparison_sentence(after(RECORD | {"dollars": None}))
    assert text.endswith(": 500 to 5,000 tokens and 1.0 to 6.0 minutes; it took 1,000 tokens and 2.0 minutes.")


def test_run_with_a_task_that_had_nothing_to_do_is_compared() -> None:
    unneeded: list[Told] = [
        (300_000, "attempt_started", 1, 4, {"model": "m"}),
        (301_000, "attempt_ended", 1, 4, {"verdict": "no_change", "nothing_to_do": True}),
    ]
    assert comparison_sentence(after(RECORD, *unneeded)) != ""


def test_a_run_that_did_not_do_its_work_is_compared_with_nothing() -> None:
    stopped: list[Told] = [
        (300_000, "attempt_started", 1, 4, {"model": "m"}),
        (301_000, "attempt_ended", 1, 4, {"verdict": "cancelled"}),
    ]
    assert comparison_sentence(after(RECORD, *stopped)) == ""


def test_what_was_lost_counts_as_paid_here_too() -> None:
    report = after(RECORD)
    report.roles["agent"] += Usage(assumed=0.25, assumed_tokens=7)
    tokens, dollars, _ = actual_use(report)
    assert (dollars, tokens) == (0.3, 1_007)


def test_a_run_that_died_is_not_at_work_until_it_is_taken_up() -> None:
    more: list[Told] = [
        (300_000, "attempt_started", 1, 4, {"model": "m"}),
        (9_000_000, "run_resumed", None, None, {}),
        (9_000_000, "attempt_started", 1, 5, {"model": "m"}),
        (9_060_000, "attempt_ended", 1, 5, {"verdict": "applied"}),
    ]
    assert after(RECORD, *more).worked_ms == 180_000


@pytest.mark.parametrize(
    "expected", [None, {}, {"tokens": 5}, {"tokens": [1, 2], "minutes": None, "tasks": []}, "much", [1]]
)
def test_what_an_older_or_a_newer_run_expected_is_passed_over(expected: Any) -> None:
    report = after(expected)
    assert estimate_record(report) is None and comparison_sentence(report) == "" and list(report.tasks) == [1]
    assert "Estimated" not in closing_text(report, "")


def test_the_record_of_an_estimate_is_what_the_report_reads() -> None:
    found = made(task(1))
    report = after(to_json_value(found))
    assert report.estimate == found and report.tasks[1].estimate == found.tasks[0]
