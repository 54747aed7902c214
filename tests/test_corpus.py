"""Finished runs of an earlier version, read again: every output, exit code and state is what it was, byte by byte.

`python -m tools.make_corpus` made them (see there). What today's program makes of them is compared with what the
version made of them that wrote them down; tests/support/corpus.py is the only place that knows the program's inside.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestra.events import KINDS
from orchestra.journal.open_store import open_store
from orchestra.model import Verdict
from tests.support import corpus
from tests.support.damage import DAMAGES
from tests.support.databases import database

NAMES = corpus.names()
SENTENCE = r"[\d,]+ events? in the log could not be read\. The report is made from the others\."
COUNT = re.compile(rf'<p class="quiet">{SENTENCE}</p>|(  )?\n{SENTENCE}')
DAMAGED = ("torn_last_line",)
LONGEST = 60  # lines of a difference that are shown


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path) -> Iterator[None]:
    with corpus.fixed_surroundings(tmp_path):
        yield


def difference(name: str, before: str, now: str) -> str:
    """Readable: the first lines of a unified diff."""
    lines = difflib.unified_diff(before.split("\n"), now.split("\n"), f"{name} before", f"{name} now", "", "", 2, "")
    shown = list(lines)
    return "\n".join(shown[:LONGEST] + [f"… and {len(shown) - LONGEST} lines more"] * (len(shown) > LONGEST))


def assert_same_outputs(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    assert list(now) == list(before)
    for name, text in before.items():
        if now[name] != text:
            pytest.fail(difference(name, text, now[name]), pytrace=False)


# --- what is made of the logs ---------------------------------------------------------------------------------------


@pytest.mark.thorough(but=("budget", "plan_", "all_"))
@pytest.mark.parametrize("name", NAMES)
def test_corpus_outputs_are_unchanged(name: str, tmp_path: Path) -> None:
    before, now = corpus.expected(name), corpus.expectation(corpus.unpack(name, tmp_path / "repo"))
    texts = [text for run in now["runs"].values() for text in run["outputs"].values()]
    assert any(map(COUNT.search, texts)) == (name in DAMAGED)
    assert_same_outputs(before["listings"], now["listings"])
    assert list(now["runs"]) == list(before["runs"])
    for stamp, run in before["runs"].items():
        assert_same_outputs(run["outputs"], now["runs"][stamp]["outputs"])
        assert now["runs"][stamp]["exit_code"] == run["exit_code"]
        assert now["runs"][stamp]["tasks"] == run["tasks"]
        differ = [
            n
            for n, pair in enumerate(zip(run["states"], now["runs"][stamp]["states"], strict=True))
            if pair[0] != pair[1]
        ]
        assert not differ, f"{stamp}: the state differs after event {differ[0] + 1} of {len(run['states'])}"


@pytest.mark.parametrize("name", NAMES)
def test_corpus_state_is_the_same_live_and_from_files(name: str, tmp_path: Path) -> None:
    root = corpus.unpack(name, tmp_path / "repo")
    for stamp in corpus.stamps(root):
        events = corpus.events_of(root / corpus.LOGS, stamp)
        for count, live in enumerate(corpus.states(events), 1):
            assert corpus.state_after(events[:count]) == live, f"{stamp}: after {events[count - 1]}"


@pytest.mark.thorough(but="sqlite")
@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mariadb"])
def test_corpus_events_come_back_from_a_store(engine: str, tmp_path: Path) -> None:
    """Event by event, and so the state after each of them."""
    with database(engine, tmp_path) as base:
        store = open_store(base.where)
        for name in NAMES:
            root = corpus.unpack(name, tmp_path / name)
            for stamp in corpus.stamps(root):
                events = corpus.events_of(root / corpus.LOGS, stamp)
                stored = corpus.store_events(store, name, events)
                assert stored == events
                for from_store, from_files in zip(corpus.states(stored), corpus.states(events), strict=True):
                    assert from_store == from_files
        store.close()


# --- whether the corpus is whole ------------------------------------------------------------------------------------


def test_corpus_has_every_kind_of_event_and_every_verdict() -> None:
    events = [event for name in NAMES for event in corpus.stored_events(name)]
    assert {event["event"] for event in events} >= corpus.kinds() != set()
    verdicts = {event["data"]["verdict"] for event in events if event["event"] == "attempt_ended"}
    assert verdicts == set(Verdict)
    assert sum(len(corpus.expected(name)["runs"]) for name in NAMES) >= 40


# --- damaged logs ---------------------------------------------------------------------------------------------------


def is_raised(text: str) -> bool:
    """That an output could not be made: exit code 3 is a bug's. What comes in its place is no change for the worse."""
    return text.startswith(("raised ", "exit 3\n"))


@pytest.mark.thorough
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_logs_are_read_as_before(name: str, tmp_path: Path) -> None:
    now = corpus.outputs_of_damaged(name, tmp_path / "repo")
    assert not [output for output, text in now.items() if is_raised(text)]
    assert_same_outputs(corpus.expected("damaged")["damages"][name], now)


@pytest.mark.thorough(but=("attempt_ended", "run_started"))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damaged_fields_are_read_as_before(kind: str, tmp_path: Path) -> None:
    """Each field of an event of each kind: missing, and of another type. All outputs can be made, and have the same
    digests as before."""
    now = corpus.sweep_of(kind, tmp_path / "repo")
    assert not [text for outputs in now.values() for text in outputs.values() if is_raised(text)]
    assert now == corpus.expected("damaged")["sweep"][kind]


def test_damages_of_every_kind_are_expected() -> None:
    assert list(corpus.expected("damaged")["damages"]) == list(DAMAGES)
    assert corpus.expected("damaged")["sweep"].keys() == corpus.samples().keys()
