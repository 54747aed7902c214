"""The estimate of a plan as ranges of tokens, dollars and minutes, and its comparison with the actual use."""

import math
from collections.abc import Mapping

from orchestra.events import PlanRange, TaskRange
from orchestra.model import Plan, Task, Usage
from orchestra.plan.task_order import dependency_depths
from orchestra.providers import catalogue
from orchestra.report.state import Report

FIXED_TOKENS = 2_000  # Aider's own instructions in each prompt
HANDOVER_TOKENS = 2_000  # in the prompt of a task that needs others
BYTES_PER_TOKEN = 3
FAST_TOKENS, SLOW_TOKENS = 100, 25  # that a model writes per second
FEWEST_REPLIES, MOST_REPLIES = 1, 3  # per task
PACE_COUNTS_FROM = 0.25  # of the estimated work
UNPRICED = "no price is known for this model"
WAIT_SECONDS = 5.0  # per reply, before it begins and for the rest of the attempt


def estimate_plan(
    plan: Plan,
    model: catalogue.Model,
    sizes: Mapping[str, int],
    roles: Mapping[str, catalogue.Model] | None = None,
    *,
    each: int = 1,
    slots: int = 0,
) -> PlanRange:
    """`roles`: the models of roles that have one. `each`: attempts at every task side by side. `slots`: attempts that
    run at once."""
    models = dict(roles or {})
    tasks = tuple(estimate_task(task, models.get(task.role, model), sizes) for task in plan.tasks)
    prices = [task.dollars for task in tasks if task.dollars is not None]
    saved = math.fsum(saved_by_cache(task, models.get(task.role, model), sizes, each) for task in plan.tasks)
    least, most = (
        (
            each * sum(task.tokens[n] for task in tasks),
            each * math.fsum(pair[n] for pair in prices) - (0.0 if n else saved),
            plan_minutes(plan, {task.task: task.minutes[n] for task in tasks}, each, slots),
        )
        for n in (0, 1)
    )
    dollars = (least[1], most[1]) if len(prices) == len(tasks) else None
    replies = f"{FEWEST_REPLIES} to {MOST_REPLIES} replies per task"
    times = f"; all of it {each} times" if each > 1 else ""
    times += ", of which all but the first may read the prompt from cache" if saved else ""
    basis = f"assumes {replies}, at {FAST_TOKENS} to {SLOW_TOKENS} tokens a second; without the PRD{times}"
    return PlanRange((least[0], most[0]), dollars, (least[2], most[2]), each, basis, tasks)


def estimate_task(task: Task, model: catalogue.Model, sizes: Mapping[str, int]) -> TaskRange:
    """From one reply that writes a twentieth of the task's files to three replies that write a fifth each."""
    asked = prompt_tokens(task, sizes)
    low = (asked, task.tokens // 20 + 200)
    # Each reply is part of the next prompts.
    high = (MOST_REPLIES * (asked + (HANDOVER_TOKENS if task.needs else 0)) + task.tokens, 3 * task.tokens // 5 + 1_000)
    least, most = replies_price(model, low, FEWEST_REPLIES), replies_price(model, high, MOST_REPLIES)
    soon = (low[1] / FAST_TOKENS + FEWEST_REPLIES * WAIT_SECONDS) / 60
    late = (high[1] / SLOW_TOKENS + MOST_REPLIES * WAIT_SECONDS) / 60
    dollars = None if least is None or most is None else (least, most)
    return TaskRange(task.id, (sum(low), sum(high)), dollars, (soon, late))


def saved_by_cache(task: Task, model: catalogue.Model, sizes: Mapping[str, int], each: int) -> float:
    """What attempts side by side save if one writes the prompt to the provider's cache and the others read it."""
    asked, rules = prompt_tokens(task, sizes), catalogue.cache_rules(model)
    if each == 1 or rules is None or not rules.is_worth_waiting(asked):
        return 0.0
    plain, written, read = (
        catalogue.request_cost(model, asked, *cached, 0) or 0.0 for cached in ((0, 0), (0, asked), (asked, 0))
    )
    return each * plain - written - (each - 1) * read


def replies_price(model: catalogue.Model, tokens: tuple[int, int], replies: int) -> float | None:
    """The price of the tokens in so many requests: the rates of a request may depend on its length."""
    price = catalogue.request_cost(model, tokens[0] // replies, 0, 0, tokens[1] // replies)
    return None if price is None else replies * price


def prompt_tokens(task: Task, sizes: Mapping[str, int]) -> int:
    beside = len(task.brief.encode()) + sum(sizes.get(path, 0) for path in task.reads)
    return task.tokens + FIXED_TOKENS + beside // BYTES_PER_TOKEN


def plan_minutes(plan: Plan, minutes: Mapping[int, float], each: int, slots: int) -> float:
    """The longest chain of dependent tasks, or the time of all tasks divided by the slots, if that is longer."""
    needs, ends = plan.needs, dict[int, float]()
    depth = dependency_depths(needs)
    for task in sorted(needs, key=lambda task: depth[task]):
        ends[task] = minutes[task] + max((ends.get(need, 0.0) for need in needs[task]), default=0.0)
    return max(max(ends.values(), default=0.0), each * math.fsum(minutes.values()) / max(slots or plan.agents, 1))


def time_left(report: Report, worked_seconds: float) -> float | None:
    """Return about how many seconds agents will still work: by the plan's estimate, and later by their own pace. None
    without an estimate, or if they already took longer."""
    minutes = {task.id: sum(task.estimate.minutes) for task in report.tasks.values() if task.estimate}
    if report.estimate is None or not (all_minutes := math.fsum(minutes.values())):
        return None
    share = math.fsum(minutes.get(task.id, 0.0) for task in report.tasks.values() if task.has_ended) / all_minutes
    expected = 60 * sum(report.estimate.minutes) / 2
    left = (worked_seconds / share if share >= PACE_COUNTS_FROM else expected) - worked_seconds
    return left if left > 0 else None


def estimate_record(report: Report) -> dict[str, object] | None:
    """The estimate of the agents' work beside its actual use; None for a run of an older version without estimate."""
    expected = report.estimate
    if expected is None:
        return None
    ranges = {"tokens": expected.tokens, "dollars": expected.dollars, "minutes": expected.minutes}
    actual = dict(zip(ranges, actual_use(report), strict=True))
    return ranges | {"basis": expected.basis, "actual": actual}


def actual_use(report: Report) -> tuple[int, float | None, float]:
    """Return the tokens, dollars and minutes that the agents' work really took. Lost replies count as paid here too."""
    used, minutes = report.roles.get("agent", Usage()), round(report.worked_ms / 60_000, 3)
    return used.tokens + used.assumed_tokens, None if used.paid is None else round(used.paid, 8), minutes


def comparison_sentence(report: Report) -> str:
    """Estimated for the agents' work alone: $0.02 to $0.30 and 1.0 to 6.0 minutes; it took $0.05 and 2.0 minutes. Empty
    for a run with unfinished tasks, which cannot be compared."""
    expected, tasks = report.estimate, report.tasks.values()
    if expected is None or not all(task.ends_well for task in tasks if not task.replaced):
        return ""
    (used_tokens, paid, minutes), (soon, late) = actual_use(report), map(format_minutes, expected.minutes)
    if expected.dollars is not None and paid is not None:
        least, most, took = map(format_estimate, (*expected.dollars, paid))
    else:
        least, most, took = (f"{tokens:,} tokens" for tokens in (*expected.tokens, used_tokens))
        least = least.removesuffix(" tokens")
    lasted = f"{format_minutes(minutes)} minutes" if minutes >= 1 else f"{60 * minutes:.1f} seconds"
    expected_range = f"{least} to {most} and {soon} to {late} minutes"
    return f"Estimated for the agents' work alone: {expected_range}; it took {took} and {lasted}."


def format_estimate(dollars: float) -> str:
    return f"${dollars:.4f}" if dollars < 0.1 else f"${dollars:,.2f}"


def format_minutes(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:,.0f}"


def estimate_phrase(estimate: PlanRange | TaskRange, *, brief: bool = False) -> str:
    cost = " to ".join(map(format_estimate, estimate.dollars)) if estimate.dollars else UNPRICED
    soon, late = (format_minutes(max(minutes, 0.1)) for minutes in estimate.minutes)
    tokens = "" if brief else f", {estimate.tokens[0]:,} to {estimate.tokens[1]:,} tokens"
    return f"{cost}, {soon} to {late} minutes{tokens}"
