"""What a plan will take, as ranges: before it is carried out, to decide on it, and afterwards, to compare."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestra.events import PlanRange, TaskRange
from orchestra.model import Plan, Task, Verdict
from orchestra.plan.order import depths
from orchestra.providers import catalogue
from orchestra.report.state import Report

FIXED_TOKENS = 2_000  # Aider's own instructions in each prompt
HANDED_ON = 2_000  # tokens that other tasks may have left for one that needs them
BYTES_PER_TOKEN = 3
QUICK, SLOW = 100, 25  # tokens that a model writes in a second
FEW, MANY = 1, 3  # replies
UNPRICED = "no price is known for this model"
WAIT = 5.0  # seconds until it begins, and for the rest of an attempt


@dataclass(frozen=True)
class Range:
    """From one reply that writes a twentieth of a task's files to three replies that write a fifth each."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]


@dataclass(frozen=True)
class Estimate(Range):
    """Of a whole plan; `each` is how often every task is done side by side."""

    each: int = 1
    tasks: Mapping[int, Range] = field(default_factory=dict)

    @property
    def times(self) -> str:
        return f"; all of that {self.each} times" if self.each > 1 else ""

    @property
    def side_by_side(self) -> str:
        return f"{self.each} attempts at each task side by side, of which the best is kept." if self.each > 1 else ""

    @property
    def basis(self) -> str:
        return (
            "from one reply per task that writes a twentieth of its files to three that write a fifth each, "
            f"at {QUICK} to {SLOW} tokens a second; without the PRD's{self.times}"
        )

    def record(self) -> PlanRange:
        tasks = tuple(TaskRange(task, each.tokens, each.dollars, each.minutes) for task, each in self.tasks.items())
        return PlanRange(self.tokens, self.dollars, self.minutes, self.each, self.basis, tasks)


def estimate(
    plan: Plan,
    model: catalogue.Model,
    sizes: Mapping[str, int],
    roles: Mapping[str, catalogue.Model] | None = None,
    *,
    each: int = 1,
    places: int = 0,
) -> Estimate:
    """`roles` have models of their own. `each` is how often every task is done, side by side, and `places` how many
    attempts are made at once."""
    models = dict(roles or {})
    tasks = {task.id: estimate_of(task, models.get(task.role, model), sizes) for task in plan.tasks}
    found = list(tasks.values())
    prices = [one.dollars for one in found if one.dollars is not None]
    low, high = (each * math.fsum(pair[n] for pair in prices) for n in (0, 1))
    return Estimate(
        (each * sum(one.tokens[0] for one in found), each * sum(one.tokens[1] for one in found)),
        (low, high) if len(prices) == len(found) else None,
        (
            whole_time(plan, {task: one.minutes[0] for task, one in tasks.items()}, each, places),
            whole_time(plan, {task: one.minutes[1] for task, one in tasks.items()}, each, places),
        ),
        each,
        tasks,
    )


def estimate_of(task: Task, model: catalogue.Model, sizes: Mapping[str, int]) -> Range:
    asked = prompt_tokens(task, sizes)
    low = (asked, task.tokens // 20 + 200)
    # What it has said stands in its next prompts.
    high = (MANY * (asked + (HANDED_ON if task.needs else 0)) + task.tokens, 3 * task.tokens // 5 + 1_000)
    least, most = price(model, low, FEW), price(model, high, MANY)
    return Range(
        (sum(low), sum(high)),
        None if least is None or most is None else (least, most),
        ((low[1] / QUICK + FEW * WAIT) / 60, (high[1] / SLOW + MANY * WAIT) / 60),
    )


def price(model: catalogue.Model, tokens: tuple[int, int], replies: int) -> float | None:
    """Of so many requests that have them all together: the price of one may depend on its length."""
    one = catalogue.cost(model, tokens[0] // replies, 0, 0, tokens[1] // replies)
    return None if one is None else replies * one


def prompt_tokens(task: Task, sizes: Mapping[str, int]) -> int:
    beside = len(task.brief.encode()) + sum(sizes.get(path, 0) for path in task.reads)
    return task.tokens + FIXED_TOKENS + beside // BYTES_PER_TOKEN


def whole_time(plan: Plan, minutes: Mapping[int, float], each: int, places: int) -> float:
    """The longest chain of tasks that need each other, or all of them one after another by so many agents."""
    needs, ends = plan.needs, dict[int, float]()
    depth = depths(needs)
    for task in sorted(needs, key=lambda task: depth[task]):
        ends[task] = minutes[task] + max((ends.get(need, 0.0) for need in needs[task]), default=0.0)
    return max(max(ends.values(), default=0.0), each * math.fsum(minutes.values()) / max(places or plan.agents, 1))


# --- afterwards -----------------------------------------------------------------------------------------------------


class Actual(NamedTuple):
    """What the agents' work took."""

    tokens: int
    dollars: float | None
    minutes: float


class Compared(NamedTuple):
    """What was expected of the agents' work, and what it took."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]
    basis: str
    actual: Actual

    def record(self) -> dict[str, object]:
        """For a program."""
        return self._asdict() | {"actual": self.actual._asdict()}


def compared(report: Report) -> Compared | None:
    """What was expected of the agents' work, and what it took. Older runs have expected nothing."""
    expected = report.estimate
    if expected is None:
        return None
    used = report.roles.get("agent")
    actual = Actual(
        # What was lost on its way counts as paid here too.
        used.tokens + used.assumed_tokens if used else 0,
        0.0 if used is None else None if used.paid is None else round(used.paid, 8),
        round(report.worked / 60_000, 3),
    )
    return Compared(expected.tokens, expected.dollars, expected.minutes, expected.basis, actual)


def comparison(report: Report) -> str:
    """Estimated $0.02 to $0.30 and 1.0 to 6.0 minutes for the agents; they took $0.05 and 2.0 minutes. Of a run that
    did not do its work there is nothing to compare."""
    found = compared(report)
    if found is None or any(task.verdict != Verdict.APPLIED for task in report.tasks.values() if not task.replaced):
        return ""
    actual, (soon, late) = found.actual, found.minutes
    if found.dollars is not None and actual.dollars is not None:
        least, most, took = (money(each) for each in (*found.dollars, actual.dollars))
    else:
        least, most, took = (count(each) for each in (*found.tokens, actual.tokens))
        most, took = f"{most} tokens", f"{took} tokens"
    return (
        f"Estimated {least} to {most} and {time(soon)} to {time(late)} minutes for the agents; "
        f"they took {took} and {lasted(actual.minutes)}."
    )


def lasted(minutes: float) -> str:
    return f"{time(minutes)} minutes" if minutes >= 1 else f"{60 * minutes:.1f} seconds"


def money(dollars: float) -> str:
    return f"${dollars:.4f}" if dollars < 0.1 else f"${dollars:,.2f}"


def count(tokens: float) -> str:
    return f"{tokens:,.0f}"


def time(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:,.0f}"


def in_words(found: Range, *, brief: bool = False) -> str:
    cost = f"{money(found.dollars[0])} to {money(found.dollars[1])}" if found.dollars else UNPRICED
    soon, late = (time(max(each, 0.1)) for each in found.minutes)
    tokens = "" if brief else f", {count(found.tokens[0])} to {count(found.tokens[1])} tokens"
    return f"{cost}, {soon} to {late} minutes{tokens}"
