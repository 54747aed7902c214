"""What a plan will take, as ranges: before it is carried out, to decide on it, and afterwards, to compare."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestra.events import PlanRange, TaskRange
from orchestra.model import Plan, Task, Verdict
from orchestra.plan.task_order import dependency_depths
from orchestra.providers import catalogue
from orchestra.report.state import Report

FIXED_TOKENS = 2_000  # Aider's own instructions in each prompt
HANDOVER_TOKENS = 2_000  # tokens that other tasks may have left for one that needs them
BYTES_PER_TOKEN = 3
FAST_TOKENS, SLOW_TOKENS = 100, 25  # tokens that a model writes in a second
FEWEST_REPLIES, MOST_REPLIES = 1, 3  # replies
UNPRICED = "no price is known for this model"
WAIT_SECONDS = 5.0  # seconds until it begins, and for the rest of an attempt


@dataclass(frozen=True)
class EstimateRange:
    """From one reply that writes a twentieth of a task's files to three replies that write a fifth each."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]


@dataclass(frozen=True)
class Estimate(EstimateRange):
    """Of a whole plan; `each` is how often every task is done side by side."""

    each: int = 1
    tasks: Mapping[int, EstimateRange] = field(default_factory=dict)

    @property
    def times_note(self) -> str:
        return f"; all of that {self.each} times" if self.each > 1 else ""

    @property
    def side_by_side_note(self) -> str:
        return f"{self.each} attempts at each task side by side, of which the best is kept." if self.each > 1 else ""

    @property
    def basis(self) -> str:
        return (
            "from one reply per task that writes a twentieth of its files to three that write a fifth each, "
            f"at {FAST_TOKENS} to {SLOW_TOKENS} tokens a second; without the PRD's{self.times_note}"
        )

    def to_plan_range(self) -> PlanRange:
        tasks = tuple(TaskRange(task, each.tokens, each.dollars, each.minutes) for task, each in self.tasks.items())
        return PlanRange(self.tokens, self.dollars, self.minutes, self.each, self.basis, tasks)


def estimate_plan(
    plan: Plan,
    model: catalogue.Model,
    sizes: Mapping[str, int],
    roles: Mapping[str, catalogue.Model] | None = None,
    *,
    each: int = 1,
    slots: int = 0,
) -> Estimate:
    """`roles` have models of their own. `each` is how often every task is done, side by side, and `places` how many
    attempts are made at once."""
    models = dict(roles or {})
    tasks = {task.id: estimate_task(task, models.get(task.role, model), sizes) for task in plan.tasks}
    found = list(tasks.values())
    prices = [one.dollars for one in found if one.dollars is not None]
    low, high = (each * math.fsum(pair[n] for pair in prices) for n in (0, 1))
    return Estimate(
        (each * sum(one.tokens[0] for one in found), each * sum(one.tokens[1] for one in found)),
        (low, high) if len(prices) == len(found) else None,
        (
            plan_minutes(plan, {task: one.minutes[0] for task, one in tasks.items()}, each, slots),
            plan_minutes(plan, {task: one.minutes[1] for task, one in tasks.items()}, each, slots),
        ),
        each,
        tasks,
    )


def estimate_task(task: Task, model: catalogue.Model, sizes: Mapping[str, int]) -> EstimateRange:
    asked = prompt_tokens(task, sizes)
    low = (asked, task.tokens // 20 + 200)
    # What it has said stands in its next prompts.
    high = (MOST_REPLIES * (asked + (HANDOVER_TOKENS if task.needs else 0)) + task.tokens, 3 * task.tokens // 5 + 1_000)
    least, most = replies_price(model, low, FEWEST_REPLIES), replies_price(model, high, MOST_REPLIES)
    return EstimateRange(
        (sum(low), sum(high)),
        None if least is None or most is None else (least, most),
        (
            (low[1] / FAST_TOKENS + FEWEST_REPLIES * WAIT_SECONDS) / 60,
            (high[1] / SLOW_TOKENS + MOST_REPLIES * WAIT_SECONDS) / 60,
        ),
    )


def replies_price(model: catalogue.Model, tokens: tuple[int, int], replies: int) -> float | None:
    """Of so many requests that have them all together: the price of one may depend on its length."""
    one = catalogue.request_cost(model, tokens[0] // replies, 0, 0, tokens[1] // replies)
    return None if one is None else replies * one


def prompt_tokens(task: Task, sizes: Mapping[str, int]) -> int:
    beside = len(task.brief.encode()) + sum(sizes.get(path, 0) for path in task.reads)
    return task.tokens + FIXED_TOKENS + beside // BYTES_PER_TOKEN


def plan_minutes(plan: Plan, minutes: Mapping[int, float], each: int, slots: int) -> float:
    """The longest chain of tasks that need each other, or all of them one after another by so many agents."""
    needs, ends = plan.needs, dict[int, float]()
    depth = dependency_depths(needs)
    for task in sorted(needs, key=lambda task: depth[task]):
        ends[task] = minutes[task] + max((ends.get(need, 0.0) for need in needs[task]), default=0.0)
    return max(max(ends.values(), default=0.0), each * math.fsum(minutes.values()) / max(slots or plan.agents, 1))


# --- afterwards -----------------------------------------------------------------------------------------------------


class ActualUse(NamedTuple):
    """What the agents' work took."""

    tokens: int
    dollars: float | None
    minutes: float


class EstimateComparison(NamedTuple):
    """What was expected of the agents' work, and what it took."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]
    basis: str
    actual: ActualUse

    def as_record(self) -> dict[str, object]:
        """For a program."""
        return self._asdict() | {"actual": self.actual._asdict()}


def compare_estimate(report: Report) -> EstimateComparison | None:
    """What was expected of the agents' work, and what it took. Older runs have expected nothing."""
    expected = report.estimate
    if expected is None:
        return None
    used = report.roles.get("agent")
    actual = ActualUse(
        # What was lost on its way counts as paid here too.
        used.tokens + used.assumed_tokens if used else 0,
        0.0 if used is None else None if used.paid is None else round(used.paid, 8),
        round(report.worked_ms / 60_000, 3),
    )
    return EstimateComparison(expected.tokens, expected.dollars, expected.minutes, expected.basis, actual)


def comparison_sentence(report: Report) -> str:
    """Estimated $0.02 to $0.30 and 1.0 to 6.0 minutes for the agents; they took $0.05 and 2.0 minutes. Of a run that
    did not do its work there is nothing to compare."""
    found = compare_estimate(report)
    if found is None or any(task.verdict != Verdict.APPLIED for task in report.tasks.values() if not task.replaced):
        return ""
    actual, (soon, late) = found.actual, found.minutes
    if found.dollars is not None and actual.dollars is not None:
        least, most, took = (format_estimate(each) for each in (*found.dollars, actual.dollars))
    else:
        least, most, took = (count(each) for each in (*found.tokens, actual.tokens))
        most, took = f"{most} tokens", f"{took} tokens"
    return (
        f"Estimated {least} to {most} and {format_minutes(soon)} to {format_minutes(late)} minutes for the agents; "
        f"they took {took} and {lasted(actual.minutes)}."
    )


def lasted(minutes: float) -> str:
    return f"{format_minutes(minutes)} minutes" if minutes >= 1 else f"{60 * minutes:.1f} seconds"


def format_estimate(dollars: float) -> str:
    return f"${dollars:.4f}" if dollars < 0.1 else f"${dollars:,.2f}"


def count(tokens: float) -> str:
    return f"{tokens:,.0f}"


def format_minutes(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:,.0f}"


def estimate_phrase(found: EstimateRange, *, brief: bool = False) -> str:
    cost = f"{format_estimate(found.dollars[0])} to {format_estimate(found.dollars[1])}" if found.dollars else UNPRICED
    soon, late = (format_minutes(max(each, 0.1)) for each in found.minutes)
    tokens = "" if brief else f", {count(found.tokens[0])} to {count(found.tokens[1])} tokens"
    return f"{cost}, {soon} to {late} minutes{tokens}"
