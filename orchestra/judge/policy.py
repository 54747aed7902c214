"""The table of verdicts: all that follows from a verdict alone, one row each.

A new verdict is a member of `Verdict` and a row here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from orchestra.model import Verdict


class Retry(StrEnum):
    """When a failed task gets another attempt, as far as its last verdict decides."""

    NEVER = "never"  # no agent can change it: a key, an account, a limit, an outage that the gateway has waited for
    UNLESS_STUCK = "unless_stuck"  # two attempts that end the same way rule out a third
    ALWAYS = "always"  # the same end twice does not show that the agent is stuck


@dataclass(frozen=True)
class Policy:
    """What follows from one verdict.

    `remedy`: the sentence that tells the user what to do.
    `exit_code`: what the verdict alone asks for. 4 counts only when every task has such a verdict, otherwise it is 1.
    `answers_stand`: `resume` reuses the replies that were paid for, because they were not what failed.
    `junit`: error when the work could not be done, failure when it was done badly.
    `failures`: the gateway's failures that lead to this verdict.
    `interrupted`: the attempt was broken off, so it teaches nothing and is no result.
    `late_replies`: replies that come after this verdict are recorded as timeouts, because the agent never had them.
    """

    remedy: str
    retry: Retry
    exit_code: Literal[0, 1, 4, 6]
    answers_stand: bool
    junit: Literal["error", "failure"]
    failures: tuple[str, ...] = ()
    interrupted: bool = False
    late_replies: bool = False


POLICY: dict[Verdict, Policy] = {
    Verdict.APPLIED: Policy(
        remedy="",
        retry=Retry.NEVER,
        exit_code=0,
        answers_stand=False,
        junit="failure",
    ),
    Verdict.NO_CHANGE: Policy(
        remedy="Say more precisely what must change in these files, or leave them out.",
        retry=Retry.UNLESS_STUCK,
        exit_code=1,
        answers_stand=False,
        junit="failure",
    ),
    Verdict.REJECTED_EDIT: Policy(
        remedy="Try again, or use a model that keeps to the edit format.",
        retry=Retry.UNLESS_STUCK,
        exit_code=1,
        answers_stand=False,
        junit="failure",
    ),
    Verdict.OUT_OF_SCOPE: Policy(
        remedy="Give these files to the same agent, or say what belongs where.",
        retry=Retry.UNLESS_STUCK,
        exit_code=1,
        answers_stand=False,
        junit="failure",
    ),
    Verdict.GATES_FAILED: Policy(
        remedy="",
        retry=Retry.UNLESS_STUCK,
        exit_code=1,
        answers_stand=False,
        junit="failure",
    ),
    Verdict.AUTH: Policy(
        remedy="Check the key for this provider and that it may use this model.",
        retry=Retry.NEVER,
        exit_code=4,
        answers_stand=True,
        junit="error",
        failures=("auth",),
    ),
    Verdict.QUOTA: Policy(
        remedy="Add credit or raise the quota with the provider, then run again.",
        retry=Retry.NEVER,
        exit_code=4,
        answers_stand=True,
        junit="error",
        failures=("quota",),
    ),
    Verdict.RATE_LIMIT: Policy(
        remedy="Run again later or with fewer agents.",
        retry=Retry.NEVER,
        exit_code=4,
        answers_stand=True,
        junit="error",
        failures=("rate_limit",),
    ),
    Verdict.CONTEXT: Policy(
        remedy="Give each agent fewer or smaller files (more agents), or a model with a larger context.",
        retry=Retry.NEVER,
        exit_code=1,
        answers_stand=False,
        junit="error",
        failures=("context",),
    ),
    Verdict.PROVIDER_ERROR: Policy(
        remedy="See the provider's message; try again or another model.",
        retry=Retry.NEVER,
        exit_code=4,
        answers_stand=True,
        junit="error",
    ),
    Verdict.UNREACHABLE: Policy(
        remedy="Check the base URL and the network; `resume` goes on.",
        retry=Retry.NEVER,
        exit_code=4,
        answers_stand=True,
        junit="error",
        failures=("unreachable",),
    ),
    Verdict.TIMEOUT: Policy(
        remedy="Raise --agent-timeout, or use a faster model.",
        retry=Retry.ALWAYS,
        exit_code=1,
        answers_stand=True,
        junit="error",
        failures=("timeout",),
        late_replies=True,
    ),
    Verdict.BUDGET: Policy(
        remedy="Go on with more: `resume --budget USD` (or --max-tokens, --task-budget, --deadline).",
        retry=Retry.NEVER,
        exit_code=6,
        answers_stand=True,
        junit="error",
        failures=("budget",),
    ),
    Verdict.ITERATIONS: Policy(
        remedy="Raise --max-iterations, or make the change smaller.",
        retry=Retry.UNLESS_STUCK,
        exit_code=1,
        answers_stand=False,
        junit="failure",
        failures=("iterations",),
    ),
    Verdict.CRASHED: Policy(
        remedy="See the agent's output in .aider_logs; if it happens again, it is a bug worth reporting.",
        retry=Retry.ALWAYS,
        exit_code=1,
        answers_stand=True,
        junit="error",
    ),
    Verdict.CANCELLED: Policy(
        remedy="",
        retry=Retry.NEVER,
        exit_code=1,
        answers_stand=True,
        junit="error",
        interrupted=True,
    ),
}

# What a newer version may have written: it is shown as it is, and nothing is concluded from it.
UNKNOWN = Policy("", Retry.NEVER, exit_code=1, answers_stand=False, junit="failure")
PROVIDER_VERDICTS = {failure: verdict for verdict, policy in POLICY.items() for failure in policy.failures}


def policy_of(verdict: str) -> Policy:
    """Return the row of a verdict as a log tells it. An attempt without a verdict was interrupted."""
    name = verdict or Verdict.CANCELLED
    return POLICY[Verdict(name)] if name in POLICY else UNKNOWN


def is_worth_retrying(verdict: str) -> bool:
    """Whether another attempt may end better."""
    return policy_of(verdict).retry is not Retry.NEVER


def is_instructive(verdict: str) -> bool:
    """Whether the next attempt can learn from one that ended so."""
    return verdict != Verdict.APPLIED and not policy_of(verdict).interrupted
