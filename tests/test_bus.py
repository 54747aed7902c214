"""The bus: history first, then live, in order; a subscriber that raises is dropped and named, the others go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.events import Event, Note
from orchestra.journal.bus import EventBus
from orchestra.journal.jsonl import Journal, LogFailed, read_run_log
from tests.support.written import event

COUNT = 4
Heard = list[int]


def bus_of(events: list[Event]) -> tuple[EventBus, list[str]]:
    dropped: list[str] = []
    return EventBus(lambda: events, dropped.append), dropped


def numbers(heard: Heard) -> Callable[[Event], None]:
    return lambda event: heard.append(event.seq)


def raising_at(seq: int, heard: Heard) -> Callable[[Event], None]:
    def handler(event: Event) -> None:
        heard.append(event.seq)
        if event.seq == seq:
            raise ValueError("no room")

    return handler


def some(count: int, first: int = 1) -> list[Event]:
    return [event("note", seq=seq, text=str(seq)) for seq in range(first, first + count)]


# --- order and history ----------------------------------------------------------------------------------------------


def test_late_subscriber_gets_history_first_without_gap_or_duplicate() -> None:
    past = some(3)
    bus, _ = bus_of(past)
    early, late, later = Heard(), Heard(), Heard()
    bus.subscribe("early", numbers(early))
    for each in some(2, 4):
        past.append(each)
        bus.publish(each)
        if each.seq == 4:
            bus.subscribe("late", numbers(late))
    bus.subscribe("later", numbers(later), since=4)
    assert (early, late, later) == ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [5])


def test_subscribers_are_called_in_order_and_a_handler_may_publish_and_subscribe() -> None:
    past: list[Event] = []
    bus, _ = bus_of(past)
    calls: list[tuple[str, int]] = []
    bus.subscribe("log", past.append)

    def first(each: Event) -> None:
        calls.append(("first", each.seq))
        if each.seq == 1:
            bus.publish(some(1, 2)[0])
            bus.subscribe("third", lambda each: calls.append(("third", each.seq)))

    bus.subscribe("first", first)
    bus.subscribe("second", lambda each: calls.append(("second", each.seq)))
    bus.publish(some(1)[0])
    assert calls == [("first", 1), ("third", 1), ("second", 1), ("first", 2), ("second", 2), ("third", 2)]


# --- a subscriber that raises ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("seq", range(1, COUNT + 1))
@pytest.mark.parametrize("history", range(COUNT + 1))
def test_subscriber_that_raises_is_dropped_and_named_once(place: int, seq: int, history: int) -> None:
    """At every event, in every place among the others, in the history or live."""
    past = some(history)
    bus, dropped = bus_of(past)
    lists: list[Heard] = [[], [], []]
    for n, heard in enumerate(lists):
        bus.subscribe(f"number {n}", raising_at(seq if n == place else 0, heard))
    for each in some(COUNT - history, history + 1):
        bus.publish(each)
    everything = list(range(1, COUNT + 1))
    assert [heard for n, heard in enumerate(lists) if n != place] == [everything, everything]
    assert lists[place] == everything[:seq]
    (said,) = dropped
    assert said.startswith(f"number {place} failed at note and gets no more events: ValueError: no room (test_bus.py, ")


def test_error_of_a_vital_subscriber_is_the_publishers() -> None:
    bus, dropped = bus_of([])
    heard = Heard()
    bus.subscribe("vital", raising_at(1, heard), is_vital=True)
    bus.subscribe("other", numbers(heard))
    with pytest.raises(ValueError, match="no room"):
        bus.publish(some(1)[0])
    bus.publish(some(1, 2)[0])
    assert heard == [1, 2, 2] and dropped == []


def test_interruption_is_never_taken_for_a_failure() -> None:
    bus, dropped = bus_of([])

    def interrupted(each: Event) -> None:
        raise KeyboardInterrupt

    bus.subscribe("screen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bus.publish(some(1)[0])
    assert dropped == []


# --- in a journal ---------------------------------------------------------------------------------------------------


def test_journal_names_the_failed_subscriber_and_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, str)
    heard: list[Event] = []

    def failing(each: Event) -> None:
        raise OSError("gone")

    for name in ("The display", "The web page"):
        journal.bus.subscribe(name, failing)
    journal.bus.subscribe("a list", heard.append)
    journal.emit(Note("one"))
    journal.emit(Note("two"))
    journal.close()
    texts = [each.payload.text for each in heard if isinstance(each.payload, Note)]
    assert [texts[0], texts[-1]] == ["one", "two"]
    assert [text.partition(" failed at note")[0] for text in texts[1:3]] == ["The display", "The web page"]
    assert [each.seq for each in heard] == [1, 2, 3, 4] and list(read_run_log(tmp_path, journal.stamp).events) == heard


def test_late_subscriber_of_a_resumed_run_gets_all_sessions(tmp_path: Path) -> None:
    first = Journal(tmp_path, str)
    first.emit(Note("one"))
    first.emit(Note("two"), 1)
    first.close()
    second = Journal(tmp_path, str, first.stamp, read_run_log(tmp_path, first.stamp).events)
    early: list[Event] = []
    second.bus.subscribe("early", early.append)
    assert [each.seq for each in early] == [1, 2]
    second.emit(Note("three"), 2)
    late: list[Event] = []
    second.bus.subscribe("late", late.append)
    second.emit(Note("four"))
    second.close()
    assert early == late == list(read_run_log(tmp_path, first.stamp).events) and len(late) == 4


def test_log_that_cannot_be_written_is_the_emitters_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path, str)
    heard: list[Event] = []
    journal.bus.subscribe("a list", heard.append)
    journal.close()
    with pytest.raises(LogFailed):
        journal.emit(Note("one"))
    assert heard == [] and journal.failed and journal.seq == 0
