"""The program, killed (SIGKILL, as an evicted CI runner is) right after its NTH event of a KIND is written.

usage: killed_at.py KIND NTH ARGUMENTS...
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aider_orchestrator
from orchestra.events import Payload
from orchestra.journal.jsonl import Journal


def main(kind: str, nth: int, arguments: list[str]) -> int:
    emit, left = Journal.emit, [nth]

    def emit_and_die(self: Journal, payload: Payload, task: int | None = None, attempt: int | None = None) -> None:
        emit(self, payload, task, attempt)
        left[0] -= payload.kind == kind
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.emit = emit_and_die  # type: ignore[method-assign]
    return aider_orchestrator.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
