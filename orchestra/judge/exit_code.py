"""The exit code: the run's verdict for the shell."""

from collections.abc import Iterable

from orchestra.judge.policy import POLICY
from orchestra.model import Verdict

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
    """Compute the exit code.

    `moved`: the result could not be handed over, because the user's branch moved or a push was refused. `waiting`: a
    task waits for a person. `under_verified`: the result is checked less than demanded.
    """
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
