"""The table of verdicts, with what follows from each, and a run's exit code. A new `Verdict` needs a row here."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from orchestra.model import Verdict


class Retry(StrEnum):
    """When a failed task gets another attempt, if its last verdict decides."""

    NEVER = "never"  # no agent can change it: a key, an account, a limit, an outage that the gateway has waited for
    UNLESS_STUCK = "unless_stuck"  # two attempts with the same end rule out a third
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


def agents_fault(remedy: str, *failures: str) -> Policy:
    """Return the row of a result that was done badly, which another attempt may do better."""
    return Policy(remedy, Retry.UNLESS_STUCK, exit_code=1, answers_stand=False, junit="failure", failures=failures)


def providers_fault(remedy: str, *failures: str) -> Policy:
    """Return the row of a task that the provider did not serve."""
    return Policy(remedy, Retry.NEVER, exit_code=4, answers_stand=True, junit="error", failures=failures)


POLICY: dict[Verdict, Policy] = {
    Verdict.APPLIED: Policy("", Retry.NEVER, exit_code=0, answers_stand=False, junit="failure"),
    Verdict.NO_CHANGE: agents_fault("Say more precisely what must change in these files, or leave them out."),
    Verdict.REJECTED_EDIT: agents_fault("Try again, or use a model that keeps to the edit format."),
    Verdict.OUT_OF_SCOPE: agents_fault("Give these files to the same agent, or say what belongs where."),
    Verdict.GATES_FAILED: agents_fault(""),
    Verdict.AUTH: providers_fault("Check the key for this provider and that it may use this model.", "auth"),
    Verdict.QUOTA: providers_fault("Add credit or raise the quota with the provider, then run again.", "quota"),
    Verdict.RATE_LIMIT: providers_fault("Run again later or with fewer agents.", "rate_limit"),
    Verdict.CONTEXT: Policy(
        "Give each agent fewer or smaller files (more agents), or a model with a larger context.",
        Retry.NEVER,
        exit_code=1,
        answers_stand=False,
        junit="error",
        failures=("context",),
    ),
    Verdict.PROVIDER_ERROR: providers_fault("See the provider's message; try again or another model."),
    Verdict.UNREACHABLE: providers_fault("Check the base URL and the network; `resume` goes on.", "unreachable"),
    Verdict.TIMEOUT: Policy(
        "Raise --agent-timeout, or use a faster model.",
        Retry.ALWAYS,
        exit_code=1,
        answers_stand=True,
        junit="error",
        failures=("timeout",),
        late_replies=True,
    ),
    Verdict.BUDGET: Policy(
        "Go on with more: `resume --budget USD` (or --max-tokens, --task-budget, --deadline).",
        Retry.NEVER,
        exit_code=6,
        answers_stand=True,
        junit="error",
        failures=("budget",),
    ),
    Verdict.ITERATIONS: agents_fault("Raise --max-iterations, or make the change smaller.", "iterations"),
    Verdict.CRASHED: Policy(
        "See the agent's output in .aider_logs; if it happens again, it is a bug worth reporting.",
        Retry.ALWAYS,
        exit_code=1,
        answers_stand=True,
        junit="error",
    ),
    Verdict.CANCELLED: Policy("", Retry.NEVER, exit_code=1, answers_stand=True, junit="error", interrupted=True),
}

# A verdict of a newer version is shown as it is; nothing is concluded from it.
UNKNOWN = Policy("", Retry.NEVER, exit_code=1, answers_stand=False, junit="failure")
PROVIDER_VERDICTS = {failure: verdict for verdict, policy in POLICY.items() for failure in policy.failures}


def policy_of(verdict: str) -> Policy:
    """Return the row of a verdict as a log names it. An attempt without a verdict was interrupted."""
    name = verdict or Verdict.CANCELLED
    return POLICY[Verdict(name)] if name in POLICY else UNKNOWN


def is_worth_retrying(verdict: str) -> bool:
    """Whether another attempt may end better."""
    return policy_of(verdict).retry is not Retry.NEVER


def is_instructive(verdict: str) -> bool:
    """Whether the next attempt can learn from one with this end."""
    return verdict != Verdict.APPLIED and not policy_of(verdict).interrupted


# If several apply, the first in this order counts.
ORDER = (130, 143, 3, 2, 6, 4, 5, 1, 0)
WAITING_CODE = 5
PROVIDER_CODE = 4
LIMIT_CODE = 6
DRIFT_CODE = 2  # with --replay-strict: the recording does not fit the command, like a wrong argument


def compute_exit_code(
    verdicts: Iterable[Verdict],
    *,
    excluded: bool,
    gates_failed: bool,
    changed: bool,
    moved: bool = False,
    stopped: int = 0,
    waiting: bool = False,
    under_verified: bool = False,
) -> int:
    """Compute the exit code. `moved`: the result could not be handed over, because the user's branch moved or a push
    was refused. `waiting`: a task waits for a person. `under_verified`: the result is checked less than demanded."""
    codes = {0, stopped, WAITING_CODE if waiting else 0}
    asked = [POLICY[verdict].exit_code for verdict in verdicts]
    failed = excluded or gates_failed or moved or under_verified or not changed
    if failed or any(asked):
        codes.add(1)
    # A provider that served no task could not be used; one that failed some tasks is a failed task.
    if asked and all(code == PROVIDER_CODE for code in asked):
        codes.add(PROVIDER_CODE)
    if LIMIT_CODE in asked:
        codes.add(LIMIT_CODE)
    return worst_exit_code(*codes)


def worst_exit_code(*codes: int) -> int:
    return next((code for code in ORDER if code in codes), codes[0])
