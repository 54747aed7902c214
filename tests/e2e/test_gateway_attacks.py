"""Whole runs: a key of the run's own that would go out with a request, and a provider whose replies never end."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from orchestra.conduct.core.models import requestable_names
from orchestra.providers import catalogue
from tests.support.edits import appends, gemini_prd
from tests.support.hostile import hostile_server
from tests.support.leaks import leaks
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer
from tests.support.runs import KEYS, make_place

FILES = {"a.py": "x = 1\n", "b.py": "y = 1\n"}
GOOD = appends("# hi")
KEY = KEYS["ANTHROPIC_API_KEY"]


def test_a_key_in_the_change_reaches_no_model(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    words = ("--change", f"Use the key {KEY}", "--no-prd", "--files", *FILES)
    with ModelServer(GOOD) as server:
        ran = place.run(*words, server=server)
        assert server.count() == 0
    assert ran.code != 0
    assert "held the value of ANTHROPIC_API_KEY, so it was not sent" in ran.out
    assert "Take the key out of the change" in ran.out
    assert leaks(place, ran.out, ran.err, keys=(KEY,)) == []


@pytest.mark.thorough
def test_a_key_in_the_change_is_not_sent_for_the_prd_either(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(gemini_prd("# A\n\nChange a.py.\n", GOOD)) as server:
        ran = place.run("--change", f"Use the key {KEY}", server=server)
        assert server.count() == 0
    assert ran.code == 4
    assert "held the value of ANTHROPIC_API_KEY, so it was not sent" in ran.err + ran.out


@pytest.mark.thorough
def test_committed_key_does_not_block_requests(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"b.py": f"y = '{KEY}'\n"})
    with ModelServer(GOOD) as server:
        ran = place.run("--change", "Add a line", "--no-prd", "--files", *FILES, "--agents", "2", server=server)
        assert server.count() == 2
    assert ran.code == 0, ran.out


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["body-drip", "giant-error", "informational"])
def test_a_signal_ends_the_run_while_a_reply_goes_on_without_end(name: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)

    async def exit_code_of_stopped_run() -> int:
        async with hostile_server() as base:
            words = ("--change", "Add a line", "--no-prd", "--files", *FILES, "--agents", "2", "--budget", "5")
            prices = ("--model", f"openai/{name}", "--price", "1,1")
            running = place.start(*words, *prices, OPENAI_API_BASE=base)
            logs = place.repo / ".aider_logs"
            # What may be paid is written down just before it is sent.
            await asyncio.to_thread(wait_until, lambda: any("set_aside" in p.read_text() for p in logs.glob("agent*")))
            os.killpg(running.child.pid, signal.SIGTERM)
            return (await asyncio.to_thread(running.end)).code

    # These replies go on for ever, but for giant-error: that may be answered before the signal comes.
    assert asyncio.run(exit_code_of_stopped_run()) in (143, 1)
    assert place.processes() == {}


def test_names_of_a_token_are_those_of_its_models_as_they_travel() -> None:
    model = catalogue.resolve_model("openai/responses/gpt-6-luna")
    assert requestable_names(model, catalogue.resolve_model("gemini/models/gemini-flash-latest"), None) == {
        *("openai/responses/gpt-6-luna", "openai/gpt-6-luna", "gemini/gemini-flash-latest")
    }
