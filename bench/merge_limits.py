"""What our merge rules do with large, deep and repetitive files.

python -m bench.merge_limits

Each case is merged once. The seconds depend on the machine; tests/test_merging_limits.py counts the work instead.
"""

import sys
import time

from orchestra.merging.candidates import propose_merges, why_too_large
from tests.support.hostile_merges import CASES, HostileMerge


def describe(case: HostileMerge) -> str:
    path, base, ours, theirs = case.path, case.base, case.ours, case.theirs
    start = time.perf_counter()
    candidates = propose_merges(path, base, ours, theirs)
    seconds = time.perf_counter() - start
    result = ", ".join(candidate.name for candidate in candidates) or why_too_large(base, ours, theirs) or "refused"
    return f"{case.name:<40} {len(base):>9,} characters {seconds:7.2f} s  {result}"


def main() -> int:
    for name, make in CASES.items():
        print(describe(make(name, LARGE)), flush=True)
    return 0


LARGE = 20_000

if __name__ == "__main__":
    sys.exit(main())
