"""Look on while a run goes on."""

import time
from collections.abc import Iterator

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.events import EventLog, has_ended
from orchestra.journal.log_tail import LogTail

PAUSE = 0.3
PATIENCE = 10  # looks without an owner and without news: a run that has just begun, or changes hands, is not dead


def follow_run(here: RunIndex, known: KnownRun) -> Iterator[EventLog]:
    """The run's events as they come, and now and then none. Ends when no more are to be expected."""
    tail, seq, ended, quiet = LogTail(here.logs, known.name) if here.has_files(known) else None, 0, False, 0
    while not ended and quiet < PATIENCE:
        log = tail.read_more() if tail else EventLog(tuple(here.store.read_events(known.key, known.name, after=seq)))
        if log.events:
            seq, ended, quiet = log.events[-1].seq, has_ended(log.events), 0
        elif here.find_owner(known):
            quiet = 0
        else:
            quiet += 1
        yield log
        if not ended:
            time.sleep(PAUSE)
