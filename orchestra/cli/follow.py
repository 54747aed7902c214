"""Follow the events of a run."""

import time
from collections.abc import Iterator

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.events import EventLog, has_ended
from orchestra.journal.log_tail import LogTail

PAUSE = 0.3
MAX_IDLE = 10  # polls without owner and events; a run has no owner for a moment when it starts or is resumed


def follow_run(index: RunIndex, run: KnownRun) -> Iterator[EventLog]:
    """Yield new events, or none, at each poll, until the run ends or has no owner any more."""
    tail, seq, ended, idle = LogTail(index.logs, run.name) if index.has_files(run) else None, 0, False, 0
    while not ended and idle < MAX_IDLE:
        log = tail.read_more() if tail else EventLog(tuple(index.store.read_events(run.key, run.name, after=seq)))
        if log.events:
            seq, ended, idle = log.events[-1].seq, has_ended(log.events), 0
        elif index.find_owner(run):
            idle = 0
        else:
            idle += 1
        yield log
        if not ended:
            time.sleep(PAUSE)
