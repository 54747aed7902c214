"""Budgets by reservation. Pure bookkeeping: only `Reservation.decided` can be awaited.

Before a request is sent, the most that it may cost is reserved; its usage then replaces the reservation. Spending and
reservations together never pass a limit, except by what a provider bills beyond the reservation. A request that does
not fit waits, in order, for requests in flight. If nothing in flight could free enough, its output is capped to what is
left; it is refused only if that is too little for a reply.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

LEAST_OUTPUT = 4_000  # tokens; a reply that is cut off is wasted money


class Amount(NamedTuple):
    dollars: float = 0.0
    tokens: int = 0


NO_AMOUNT = Amount()


@dataclass(frozen=True)
class MaxCost:
    """The most that one request may use: its input, and its output up to a cap, which may not be lowered below
    `least_output`."""

    input: int
    output: int
    input_dollars: float = 0.0
    dollars_per_token: float = 0.0  # of one output token
    least_output: int = LEAST_OUTPUT

    @property
    def amount(self) -> Amount:
        return Amount(self.input_dollars + self.output * self.dollars_per_token, self.input + self.output)

    def with_output_cap(self, output: int) -> "MaxCost":
        return replace(self, output=min(self.output, output))

    @property
    def least_amount(self) -> Amount:
        """The most that the request may cost with the shortest reply that is worth its price."""
        return self.with_output_cap(self.least_output).amount


@dataclass(eq=False)
class Account:
    """What the run, or one task, may spend. None: no limit."""

    name: str
    dollars: float | None = None
    tokens: int | None = None
    spent: Amount = NO_AMOUNT
    reservations: set["Reservation"] = field(default_factory=set)

    @property
    def available(self) -> Amount:
        """Spendable, without what is reserved."""
        held = [claim.most.amount for claim in self.reservations]
        dollars = self.unspent.dollars - math.fsum(amount.dollars for amount in held)
        return Amount(dollars, self.unspent.tokens - sum(amount.tokens for amount in held))

    @property
    def unspent(self) -> Amount:
        """What would be left if all requests in flight cost nothing."""
        dollars = math.inf if self.dollars is None else self.dollars - self.spent.dollars
        return Amount(dollars, 1 << 62 if self.tokens is None else self.tokens - self.spent.tokens)

    def affordable_output(self, most: MaxCost) -> int:
        """Return how many output tokens the rest pays for."""
        left = self.available
        money = left.dollars - most.input_dollars
        paid = most.output if not most.dollars_per_token or money == math.inf else int(money / most.dollars_per_token)
        return min(paid, left.tokens - most.input) if money >= 0 else -1

    def shortage(self, most: MaxCost) -> str:
        """Describe which limit is reached, how much of it is spent, and what would be needed."""
        needed = most.least_amount
        if self.dollars is not None and needed.dollars > self.unspent.dollars:
            spent = f"{format_dollars(self.spent.dollars)} of {format_dollars(self.dollars)} are spent"
            return f"{self.name} is used up: {spent}, and this request needs up to {format_dollars(needed.dollars)}"
        spent = f"{self.spent.tokens:,} of {self.tokens:,} tokens are spent"
        return f"{self.name} is used up: {spent}, and this request needs up to {needed.tokens:,}"


@dataclass(eq=False)
class Reservation:
    """A request's share: waiting, then granted (perhaps with a lower cap) or refused."""

    accounts: tuple[Account, ...]
    most: MaxCost
    is_lowered: bool = False
    refused_reason: str = ""
    decided: asyncio.Event = field(default_factory=asyncio.Event)


class Budget:
    """All limits of a run. Counts spending from earlier sessions."""

    def __init__(
        self,
        dollars: float = 0.0,
        tokens: int = 0,
        task_dollars: float = 0.0,
        *,
        spent: Amount = NO_AMOUNT,
        by_task: Mapping[int, Amount] | None = None,
    ) -> None:
        self.run = Account("the run's budget", dollars or None, tokens or None, spent)
        self.task_dollars = task_dollars
        self.tasks = {task: self.new_task_account(amount) for task, amount in (by_task or {}).items()}
        self.waiting: list[Reservation] = []

    def new_task_account(self, spent: Amount = NO_AMOUNT) -> Account:
        return Account("the task's budget", self.task_dollars or None, None, spent)

    @property
    def is_limited(self) -> bool:
        return self.has_dollar_limit or self.run.tokens is not None

    @property
    def has_dollar_limit(self) -> bool:
        return self.run.dollars is not None or bool(self.task_dollars)

    def set_dollars(self, dollars: float) -> None:
        """Change the run's limit. What waits is decided anew; what was granted stays granted."""
        self.run.dollars = dollars
        self.decide_waiting()

    def reserve(self, task: int | None, most: MaxCost) -> Reservation:
        own = () if task is None else (self.tasks.setdefault(task, self.new_task_account()),)
        claim = Reservation((self.run, *own), most)
        self.waiting.append(claim)
        self.decide_waiting()
        return claim

    def shortage(self, most: MaxCost) -> str:
        """Return why no client can afford such a request; empty if one can."""
        return "" if fits_in(most.least_amount, self.run.unspent) else self.run.shortage(most)

    def record_usage(self, claim: Reservation, used: Amount | None = None) -> Amount:
        """Replace a reservation by the usage (unknown: by all of it). Return how much more was used."""
        held, used = claim.most.amount, used or claim.most.amount
        self.close(claim, used)
        return Amount(max(0.0, used.dollars - held.dollars), max(0, used.tokens - held.tokens))

    def close(self, claim: Reservation, used: Amount) -> None:
        if claim in self.waiting:
            self.waiting.remove(claim)
        for account in claim.accounts:
            if claim in account.reservations:
                account.reservations.remove(claim)
                account.spent = Amount(account.spent.dollars + used.dollars, account.spent.tokens + used.tokens)
        self.decide_waiting()

    def decide_waiting(self) -> None:
        """Decide about waiting reservations in order: none overtakes another one that waits for the same account."""
        taken: set[Account] = set()
        for claim in list(self.waiting):
            waits_for = self.decide(claim) if taken.isdisjoint(claim.accounts) else claim.accounts
            taken.update(waits_for)
            if claim.decided.is_set():
                self.waiting.remove(claim)

    def decide(self, claim: Reservation) -> tuple[Account, ...]:
        """Grant or refuse a reservation, or return the accounts that it must wait for."""
        most = claim.most
        for account in claim.accounts:
            if not fits_in(most.least_amount, account.unspent):
                claim.refused_reason = account.shortage(most)
                claim.decided.set()
                return ()
        short = tuple(account for account in claim.accounts if not fits_in(most.amount, account.available))
        busy = tuple(account for account in short if account.reservations)
        if busy:
            return busy
        if short:
            claim.most = most.with_output_cap(min(account.affordable_output(most) for account in short))
            claim.is_lowered = True
        for account in claim.accounts:
            account.reservations.add(claim)
        claim.decided.set()
        return ()


def fits_in(amount: Amount, room: Amount) -> bool:
    return amount.dollars <= room.dollars and amount.tokens <= room.tokens


def format_dollars(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"
