"""The program, killed (SIGKILL, as an evicted CI runner is) right after its NTH event of a KIND is written.

usage: killed_at.py KIND NTH ARGUMENTS...
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aider_orchestrator
from orchestra.journal.jsonl import Journal
from orchestra.model import Event


def main(kind: str, nth: int, arguments: list[str]) -> int:
    emit, left = Journal.emit, [nth]

    def emit_and_die(
        self: Journal, name: str, /, task: int | None = None, attempt: int | None = None, **data: Any
    ) -> Event:
        event = emit(self, name, task, attempt, **data)
        left[0] -= name == kind
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return event

    Journal.emit = emit_and_die  # type: ignore[method-assign, assignment]
    return aider_orchestrator.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
