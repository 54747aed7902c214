"""The program with a clock that jumps ahead by so many seconds as soon as a file is there.

usage: time_passes.py FILE SECONDS ARGUMENTS...

What a run does at its deadline is so tested at the moment that a test chooses, and not when a busy machine comes to it.
"""

import selectors
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aider_orchestrator

LONGEST_LOOK = 0.1  # seconds that an event loop sleeps before it looks at the clock again


def main(file: Path, seconds: float, arguments: list[str]) -> int:
    true, select = time.monotonic, selectors.DefaultSelector.select

    def monotonic() -> float:
        return true() + (seconds if file.exists() else 0.0)

    def select_briefly(self: Any, timeout: float | None = None) -> Any:
        return select(self, LONGEST_LOOK if timeout is None else min(timeout, LONGEST_LOOK))

    time.monotonic = monotonic
    selectors.DefaultSelector.select = select_briefly  # type: ignore[method-assign]
    return aider_orchestrator.main(arguments)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
