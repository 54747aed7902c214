"""The exit code: the run's verdict for the shell."""

from collections.abc import Iterable

from orchestra.model import Verdict

PROVIDER = {Verdict.AUTH, Verdict.QUOTA, Verdict.RATE_LIMIT, Verdict.UNREACHABLE, Verdict.PROVIDER_ERROR}
# When several apply, the first in this order.
ORDER = (130, 143, 3, 2, 6, 4, 5, 1, 0)


def exit_code(verdicts: Iterable[Verdict], *, held: bool, gates_failed: bool, changed: bool, stopped: int = 0) -> int:
    codes = {0, stopped}
    verdicts = list(verdicts)
    if any(verdict is not Verdict.APPLIED for verdict in verdicts) or held or gates_failed or not changed:
        codes.add(1)
    # A provider that served nobody could not be used; one that failed some is a failed task.
    if verdicts and all(verdict in PROVIDER for verdict in verdicts):
        codes.add(4)
    if Verdict.BUDGET in verdicts:
        codes.add(6)
    return next(code for code in ORDER if code in codes)
