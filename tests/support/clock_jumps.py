"""The program with a clock on the wall that jumps by so many seconds, and again at each third look at it.

usage: clock_jumps.py SECONDS ARGUMENTS...

Only the program's own view of it: the machine's clock is everybody's.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aider_orchestrator


def main(seconds: int, arguments: list[str]) -> int:
    true, looks = time.time_ns, 0

    def time_ns() -> int:
        nonlocal looks
        looks += 1
        return true() + looks // 3 * seconds * 1_000_000_000

    localtime = time.localtime
    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    time.localtime = lambda seconds=None: localtime(time.time() if seconds is None else seconds)
    return aider_orchestrator.main(arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
