"""Budgets, held by reservation. Pure bookkeeping: only `Claim.decided` is there to be awaited.

Before a request is sent the most that it may cost is set aside, and its usage settles that. So what is spent and what
is set aside never pass a limit together, save by what a provider bills beyond the reservation. A request that does not
fit waits for those on their way to settle, in turn. Once nothing is on its way that could free enough, its output is
capped to what is left, and it is refused only where that would be too little for a reply.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

LEAST_OUTPUT = 4_000  # tokens; a reply that is cut off is money for nothing


class Amount(NamedTuple):
    dollars: float = 0.0
    tokens: int = 0


NOTHING = Amount()


@dataclass(frozen=True)
class Most:
    """The most that one request may use: its input, and its output up to a cap."""

    input: int
    output: int
    input_dollars: float = 0.0
    dollars_each: float = 0.0  # of one token of the output

    @property
    def amount(self) -> Amount:
        return Amount(self.input_dollars + self.output * self.dollars_each, self.input + self.output)

    def capped(self, output: int) -> "Most":
        return replace(self, output=min(self.output, output))

    @property
    def least(self) -> "Most":
        return self.capped(LEAST_OUTPUT)


@dataclass(eq=False)
class Account:
    """What may be spent by the run, or by one task. None is no limit."""

    name: str
    dollars: float | None = None
    tokens: int | None = None
    spent: Amount = NOTHING
    held: Amount = NOTHING  # what is set aside for the claims
    claims: set["Claim"] = field(default_factory=set)

    def take(self, claim: "Claim") -> None:
        self.claims.add(claim)
        self.held = plus(self.held, claim.most.amount)

    def give_back(self, claim: "Claim") -> None:
        self.claims.remove(claim)
        dollars, tokens = claim.most.amount
        self.held = plus(self.held, Amount(-dollars, -tokens)) if self.claims else NOTHING

    @property
    def left(self) -> Amount:
        """Without what is set aside."""
        return plus(self.free, Amount(-self.held.dollars, -self.held.tokens))

    @property
    def free(self) -> Amount:
        """What would be left if all that is on its way cost nothing."""
        dollars = math.inf if self.dollars is None else self.dollars - self.spent.dollars
        return Amount(dollars, 1 << 62 if self.tokens is None else self.tokens - self.spent.tokens)

    def output(self, most: Most) -> int:
        """How long a reply is left for."""
        left = self.left
        money = left.dollars - most.input_dollars
        paid = most.output if not most.dollars_each or money == math.inf else int(money / most.dollars_each)
        return min(paid, left.tokens - most.input) if money >= 0 else -1

    def shortage(self, most: Most) -> str:
        """Which limit it is, how much of it is spent, and what would be needed."""
        needed = most.least.amount
        if self.dollars is not None and needed.dollars > self.free.dollars:
            spent = f"{usd(self.spent.dollars)} of {usd(self.dollars)} are spent"
            return f"{self.name} is used up: {spent}, and this request needs up to {usd(needed.dollars)}"
        spent = f"{self.spent.tokens:,} of {self.tokens:,} tokens are spent"
        return f"{self.name} is used up: {spent}, and this request needs up to {needed.tokens:,}"


@dataclass(eq=False)
class Claim:
    """A request's share: waiting, then granted (perhaps with a lower cap) or refused."""

    accounts: tuple[Account, ...]
    most: Most
    lowered: bool = False
    refused: str = ""
    decided: asyncio.Event = field(default_factory=asyncio.Event)


class Budget:
    """All limits of a run. What earlier orchestrators of the same run have spent is spent."""

    def __init__(
        self,
        dollars: float = 0.0,
        tokens: int = 0,
        task_dollars: float = 0.0,
        *,
        spent: Amount = NOTHING,
        by_task: Mapping[int, Amount] | None = None,
    ) -> None:
        self.run = Account("the run's budget", dollars or None, tokens or None, spent)
        self.task_dollars = task_dollars
        self.tasks = {task: self.account(amount) for task, amount in (by_task or {}).items()}
        self.waiting: list[Claim] = []

    def account(self, spent: Amount = NOTHING) -> Account:
        return Account("the task's budget", self.task_dollars or None, None, spent)

    @property
    def limited(self) -> bool:
        return self.in_dollars or self.run.tokens is not None

    @property
    def in_dollars(self) -> bool:
        return self.run.dollars is not None or bool(self.task_dollars)

    def claim(self, task: int | None, most: Most) -> Claim:
        own = () if task is None else (self.tasks.setdefault(task, self.account()),)
        claim = Claim((self.run, *own), most)
        self.waiting.append(claim)
        self.serve()
        return claim

    def shortage(self, most: Most) -> str:
        """Why there is nothing left for such a request of anybody, if so."""
        return "" if fits(most.least.amount, self.run.free) else self.run.shortage(most)

    def settle(self, claim: Claim, used: Amount | None = None) -> Amount:
        """Count what was used, or all that was set aside where nobody knows. What goes beyond that is given back."""
        held, used = claim.most.amount, used or claim.most.amount
        self.close(claim, used)
        return Amount(max(0.0, used.dollars - held.dollars), max(0, used.tokens - held.tokens))

    def close(self, claim: Claim, used: Amount) -> None:
        if claim in self.waiting:
            self.waiting.remove(claim)
        for account in claim.accounts:
            if claim in account.claims:
                account.give_back(claim)
                account.spent = plus(account.spent, used)
        self.serve()

    def serve(self) -> None:
        """Whoever waits, in turn: nobody passes one who waits for the same account."""
        taken: set[Account] = set()
        for claim in list(self.waiting):
            waits_for = self.decide(claim) if taken.isdisjoint(claim.accounts) else claim.accounts
            taken.update(waits_for)
            if claim.decided.is_set():
                self.waiting.remove(claim)

    def decide(self, claim: Claim) -> tuple[Account, ...]:
        """Grant or refuse it; or tell the accounts that it has to wait for."""
        most, least = claim.most, claim.most.least
        for account in claim.accounts:
            if not fits(least.amount, account.free):
                claim.refused = account.shortage(most)
                claim.decided.set()
                return ()
        short = tuple(account for account in claim.accounts if not fits(most.amount, account.left))
        busy = tuple(account for account in short if account.claims)
        if busy:
            return busy
        if short:
            claim.most = most.capped(min(account.output(most) for account in short))
            claim.lowered = True
        for account in claim.accounts:
            account.take(claim)
        claim.decided.set()
        return ()


def plus(one: Amount, other: Amount) -> Amount:
    return Amount(one.dollars + other.dollars, one.tokens + other.tokens)


def fits(amount: Amount, room: Amount) -> bool:
    return amount.dollars <= room.dollars and amount.tokens <= room.tokens


def usd(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"
