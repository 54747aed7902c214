"""What is known of one run of this program, put together: its phases on the clock, and who took the processors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from bench.sightings import NOBODY, Sighting, Watched
from orchestra.events import Event

WAITING, MODELS = "waiting for the fork server", "models answer"
PREPARED = "worktree, waiting"


class Phase(NamedTuple):
    """A stretch of the run, in seconds since the start of the process."""

    name: str
    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Imports:
    """Seconds that Python itself takes to start, and what is imported before the first event."""

    boot: float
    by_group: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.by_group.values())


@dataclass(frozen=True)
class Story:
    """Times are in seconds since the start of the process. `reported`: when the last report was written; `told`: when
    the last words came, for which all must be closed."""

    watched: Watched
    imports: Imports
    events: Sequence[Event]
    git: Sequence[Phase]
    reported: float
    told: float

    def at(self, event: Event) -> float:
        return event.time / 1000 - self.watched.began

    def asked(self, event: Event) -> float:
        """When the request came whose end this event tells."""
        return self.at(event) - float(event.data["seconds"])

    def times(self, *kinds: str) -> list[float]:
        return [self.at(event) for event in self.events if event.kind in kinds]

    @property
    def requests(self) -> list[Event]:
        return [event for event in self.events if event.kind == "request"]

    @property
    def begun(self) -> float:
        """When the first Aider was forked: the fork server is ready by then. Worktrees were made before."""
        return min(one.first for one in self.aiders)

    @property
    def program(self) -> Sighting:
        return self.watched.seen[0]

    @property
    def server(self) -> Sighting:
        (server,) = (one for one in self.watched.children(self.program) if "--serve" in one.command)
        return server

    @property
    def aiders(self) -> list[Sighting]:
        seated = (one for one in self.watched.children(self.server) if one.seat != NOBODY)
        return sorted(seated, key=lambda one: one.seat)

    @property
    def guards(self) -> list[Sighting]:
        """Each starts the command of a gate."""
        return [one for one in self.watched.children(self.program) if "guard.py" in one.command]


def phases(story: Story) -> list[Phase]:
    """One after another, from the start to the exit. What a run does not have is left out."""
    first = min(story.times("run_started"))
    # Importing is all work: it cannot have taken longer than the processor was used, whatever the measurement says.
    used = story.program.own_at(first)
    booted = min(story.imports.boot, used)
    ends: list[tuple[str, Iterable[float]]] = [
        ("interpreter", [booted]),
        ("imports", [min(booted + story.imports.total, used)]),
        ("settings, repository, store", [first]),
        ("PRD", story.times("prd_written")),
        ("plan, looking for gates", story.times("plan_made", "gates_found")),
        (WAITING, [story.begun]),
        ("forks, Aider begins", [min(map(story.asked, story.requests))]),
        (MODELS, story.times("request")),
        ("edits, commits, own gates", story.times("attempt_ended")),
        ("merge", story.times("combined")),
        ("gates", story.times("gate_ended")),
        ("moving the branch", story.times("run_ended")),
        ("summary, report", [story.reported]),
        ("closing", [story.told]),
        ("exit", [story.watched.wall]),
    ]
    marks = [("", 0.0), *((name, max(times)) for name, times in ends if times)]
    return [Phase(name, start, end) for (_, start), (name, end) in pairwise(marks)]


def agent_phases(story: Story, aider: Sighting) -> list[Phase]:
    """Where the time of one agent goes. What it waits for its turn counts where it waits."""
    mine = [event for event in story.events if (event.task, event.attempt) == aider.seat]
    times = {event.kind: story.at(event) for event in mine}
    asked = min(story.asked(event) for event in mine if event.kind == "request")
    moments = (times["attempt_started"], aider.first, asked, times["request"], aider.last, times["attempt_ended"])
    names = (PREPARED, "until it asks", "the model", "edits", "commit and gates")
    return [Phase(name, start, end) for name, (start, end) in zip(names, pairwise(moments), strict=True)]


def processor_seconds(story: Story) -> dict[str, float]:
    """The kernel's sum for all, divided by what was seen; what is short, as git's commands are, is the remainder."""
    program, server = story.program, story.server
    started, warm = program.own_at(min(story.times("run_started"))), server.own_at(story.begun)
    known = {
        "this program: until its first event": started,
        "this program: from then on": program.own - started,
        "fork server: until it is ready": warm,
        f"fork server: {len(story.aiders)} forks and Aiders": server.own - warm + server.reaped,
        "gates": sum(story.watched.cost(guard) for guard in story.guards),
    }
    return known | {f"git ({len(story.git)} commands), other": story.watched.cpu - sum(known.values())}
