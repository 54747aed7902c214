"""Budgets on paper: reservations in any order never pass a limit, and nobody waits for ever."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.gateway.budget import LEAST_OUTPUT, NO_AMOUNT, Amount, Budget, MaxCost, Reservation

EACH = 1e-5


def most(output: int = 17_000, input: int = 1_000) -> MaxCost:
    return MaxCost(input, output, input * 2e-6, EACH)


def state(claim: Reservation) -> str:
    if not claim.decided.is_set():
        return "waits"
    return "refused" if claim.refused_reason else "lowered" if claim.is_lowered else "granted"


def states(claims: list[Reservation]) -> list[str]:
    return [state(claim) for claim in claims]


def test_sixteen_with_large_caps_queue_and_all_are_served() -> None:
    """A reply costs a tenth of what it may cost."""
    budget = Budget(1.0)
    claims = [budget.reserve(task, most()) for task in range(16)]
    assert states(claims) == ["granted"] * 5 + ["waits"] * 11
    for claim in claims:
        assert state(claim) == "granted"
        assert budget.record_usage(claim, Amount(0.019, 2_700)) == NO_AMOUNT
    assert budget.run.spent.dollars == pytest.approx(16 * 0.019)
    assert not budget.waiting and not budget.run.reservations


def test_budget_queue_is_first_in_first_out() -> None:
    budget = Budget(0.2)
    first, large, small = (
        budget.reserve(1, most(10_000)),
        budget.reserve(2, most(15_000)),
        budget.reserve(3, most(4_000)),
    )
    assert states([first, large, small]) == ["granted", "waits", "waits"]
    budget.record_usage(first, Amount(0.01, 100))
    assert states([large, small]) == ["granted", "waits"]
    budget.record_usage(large, Amount(0.01, 100))
    assert state(small) == "granted"


def test_request_waiting_for_its_task_does_not_block_others() -> None:
    budget = Budget(10.0, task_dollars=0.2)
    first, second, other = budget.reserve(1, most()), budget.reserve(1, most()), budget.reserve(2, most())
    assert states([first, second, other]) == ["granted", "waits", "granted"]
    budget.record_usage(first, Amount(0.01, 0))
    assert state(second) == "granted"


def test_with_nothing_on_its_way_the_reply_is_made_shorter_before_it_is_refused() -> None:
    budget = Budget(0.1)
    claim = budget.reserve(1, most())
    assert state(claim) == "lowered" and claim.most.output == 9_800
    assert claim.most.amount.dollars <= 0.1
    other = budget.reserve(2, most())
    assert state(other) == "waits"
    budget.record_usage(claim, Amount(0.07, 0))
    assert state(other) == "refused"
    assert (
        other.refused_reason
        == "the run's budget is used up: $0.0700 of $0.1000 are spent, and this request needs up to $0.0420"
    )


def test_it_is_refused_at_once_where_no_settling_could_free_enough() -> None:
    budget = Budget(0.5, spent=Amount(0.3, 0))
    flying = budget.reserve(1, most())
    assert state(flying) == "granted"
    assert state(budget.reserve(2, most(input=90_000))) == "refused"
    assert state(budget.reserve(3, most())) == "waits"


def test_both_limits_hold_at_once() -> None:
    budget = Budget(1.0, tokens=20_000, task_dollars=0.1)
    claim = budget.reserve(1, most())
    assert state(claim) == "lowered" and claim.most.output == 9_800
    assert states([budget.reserve(None, most())]) == ["waits"]
    budget.record_usage(claim, Amount(0.05, 15_500))
    assert state(budget.reserve(1, most())) == "refused"
    assert "20,000 tokens" in budget.reserve(2, most()).refused_reason


def test_what_was_lost_counts_as_paid_and_what_was_not_sent_does_not() -> None:
    budget = Budget(1.0)
    lost, unsent = budget.reserve(1, most()), budget.reserve(1, most())
    budget.record_usage(lost)
    budget.record_usage(unsent, NO_AMOUNT)
    assert budget.run.spent.dollars == pytest.approx(0.172)
    assert budget.tasks[1].spent == budget.run.spent


def test_one_that_leaves_the_queue_lets_the_next_one_go() -> None:
    budget = Budget(0.2)
    first, gone, small = budget.reserve(1, most(15_000)), budget.reserve(2, most()), budget.reserve(3, most(4_000))
    assert states([first, gone, small]) == ["granted", "waits", "waits"]
    budget.record_usage(gone, NO_AMOUNT)
    assert state(small) == "granted" and budget.waiting == []


def test_the_past_is_spent_and_a_larger_budget_goes_on_from_there() -> None:
    spent, by_task = Amount(0.98, 50_000), {1: Amount(0.5, 30_000)}
    assert state(Budget(1.0, spent=spent).reserve(1, most())) == "refused"
    assert state(Budget(5.0, spent=spent, by_task=by_task).reserve(1, most())) == "granted"
    assert state(Budget(5.0, task_dollars=0.5, spent=spent, by_task=by_task).reserve(1, most())) == "refused"
    assert state(Budget(5.0, task_dollars=0.5, spent=spent, by_task=by_task).reserve(2, most())) == "granted"


def test_without_limits_everything_is_granted() -> None:
    budget = Budget()
    assert set(states([budget.reserve(n, most(10**9)) for n in range(500)])) == {"granted"}


@settings(max_examples=300)
@given(st.integers(0, 10**9))
def test_no_order_of_requests_passes_a_limit(seed: int) -> None:
    rng = random.Random(seed)
    dollars, tokens, task_dollars = rng.choice([0, 0.3, 1, 5]), rng.choice([0, 40_000]), rng.choice([0, 0.2, 1])
    budget = Budget(dollars, tokens, task_dollars)
    flying: list[Reservation] = []
    claims: list[Reservation] = []
    over, by_task = Amount(), dict.fromkeys(range(4), 0.0)
    for _ in range(rng.randint(1, 60)):
        if rng.random() < 0.6:
            claims.append(budget.reserve(rng.randrange(4), most(rng.randint(1, 60_000), rng.randint(1, 30_000))))
        flying = [
            claim for claim in claims if state(claim) in ("granted", "lowered") and claim in budget.run.reservations
        ]
        if flying and rng.random() < 0.6:
            claim = rng.choice(flying)
            held = claim.most.amount
            used = rng.choice([0.05, 0.5, 1.0, 1.0, 1.3])
            more = budget.record_usage(claim, Amount(held.dollars * used, int(held.tokens * used)))
            over = Amount(over.dollars + more.dollars, over.tokens + more.tokens)
            for task, account in budget.tasks.items():
                if account in claim.accounts:
                    by_task[task] += more.dollars
        if rng.random() < 0.1 and budget.waiting:
            budget.record_usage(rng.choice(budget.waiting), NO_AMOUNT)
        assert not dollars or budget.run.spent.dollars <= dollars + over.dollars + 1e-9
        assert not tokens or budget.run.spent.tokens <= tokens + over.tokens
        for task, account in budget.tasks.items():
            assert not task_dollars or account.spent.dollars <= task_dollars + by_task[task] + 1e-9
        # Whoever waits, waits for somebody.
        assert not budget.waiting or any(account.reservations for account in (budget.run, *budget.tasks.values()))
    while flying := list(budget.run.reservations):
        budget.record_usage(flying[0], NO_AMOUNT)
    assert budget.waiting == []
    assert all(claim.most.output >= min(LEAST_OUTPUT, claim.most.output) for claim in claims)
