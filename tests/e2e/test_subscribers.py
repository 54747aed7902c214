"""A subscriber that raises, at any event of a run: the run ends as it would have, and its report says who failed."""

import json
import re
from pathlib import Path

import pytest

from orchestra.events import has_ended
from orchestra.journal import jsonl
from tests.support.edits import appends
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, Ran, assert_clean, assert_store_tells_the_same, make_place

FAILING = Path(__file__).resolve().parents[1] / "support" / "failing_subscriber.py"
FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
JOB = ("--change", "Add more", "--no-prd", "--agents", "2", "--test-cmd", "grep -q more a.py", "--files", *FILES)
MOMENTS = ("run_started", "plan_made", "request", "attempt_ended", "gate_ended", "delivered", "run_ended")


def run_with_failing(place: Place, server: ModelServer, kind: str, *words: str) -> Ran:
    shell = f'python=$1; shift 2; exec "$python" "{FAILING}" {kind} 1 "$@"'
    return place.start(*words, server=server, shell=shell).end()


@pytest.mark.thorough
@pytest.mark.parametrize("kind", MOMENTS)
def test_run_ends_as_it_would_have_and_names_the_subscriber(kind: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends("more = True")) as server:
        ran = run_with_failing(place, server, kind, *JOB)
    assert ran.code == 0, ran.out + ran.err
    assert_clean(ran)
    assert place.git("show", "main:a.py") == "a = 1\nmore = True\n"
    said = f"The page failed at {kind} and gets no more events: RuntimeError: no page to draw on"
    (note,) = [note for note in ran.summary["notes"] if "failed at" in note]
    assert note.startswith(said) and ran.summary["exit_code"] == 0
    assert said in (ran.logs / f"report_{ran.summary['timestamp']}.html").read_text("utf-8")
    assert re.search(f"note: {re.escape(said)}", ran.err)
    assert has_ended(jsonl.read_run_log(ran.logs, ran.summary["timestamp"]).events)
    assert_store_tells_the_same(ran.logs)


@pytest.mark.thorough
def test_resumed_run_fails_a_subscriber_in_its_history(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends("more = True")) as server:
        first = place.run(*JOB, "--max-tokens", "10", server=server)
        assert first.code == 6
        ran = run_with_failing(place, server, "plan_made", "resume", "--max-tokens", "1000000")
    assert ran.code == 0, ran.out + ran.err
    assert json.dumps(ran.summary["notes"]).count("The page failed at plan_made") == 1
