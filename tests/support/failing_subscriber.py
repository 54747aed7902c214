"""The program with one more subscriber to a run's events, which raises at the NTH event of a KIND.

usage: failing_subscriber.py KIND NTH ARGUMENTS...
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aider_orchestrator
from orchestra import console
from orchestra.console import ProgressView
from orchestra.events import Event
from orchestra.journal.bus import Subscription
from orchestra.settings import Settings


def main(kind: str, nth: int, arguments: list[str]) -> int:
    watching, left = console.watch_progress, [nth]

    def fail(event: Event) -> None:
        left[0] -= event.kind == kind
        if left[0] <= 0:
            raise RuntimeError("no page to draw on")

    def with_one_more(settings: Settings, previous_seq: int = 0) -> tuple[ProgressView, tuple[Subscription, ...]]:
        screen, screens = watching(settings, previous_seq)
        return screen, (Subscription("The page", fail), *screens)

    console.watch_progress = with_one_more
    return aider_orchestrator.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
