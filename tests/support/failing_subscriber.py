"""The program with one more subscriber to a run's events, which raises at the NTH event of a KIND.

usage: failing_subscriber.py KIND NTH ARGUMENTS...
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aider_orchestrator
from orchestra import console
from orchestra.console import View
from orchestra.events import Event
from orchestra.journal.bus import Handler
from orchestra.settings import Settings


def main(kind: str, nth: int, arguments: list[str]) -> int:
    watching, left = console.watching, [nth]

    def fail(event: Event) -> None:
        left[0] -= event.kind == kind
        if left[0] <= 0:
            raise RuntimeError("no page to draw on")

    def with_one_more(settings: Settings, past: int = 0) -> tuple[View, dict[str, Handler]]:
        screen, screens = watching(settings, past)
        return screen, {"The page": fail, **screens}

    console.watching = with_one_more
    return aider_orchestrator.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
