"""The gates of a run by the API: their rows, and what they print while they run."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestra import events
from orchestra.events import Event, make_event, to_json_value
from orchestra.web.gate_runs import ENDED, FAILED, PASSED, RUNNING, TAIL_BYTES, GateRuns, follow_output
from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.test_web import OWNER, ask

KEY = "sk-proj-" + "a1B2" * 12


def event(seq: int, payload: events.Payload, task: int | None = None) -> Event:
    return make_event("r", seq, 1000 * seq, payload.kind, task, 1 if task else None, to_json_value(payload))


def started(name: str, tree: str) -> events.GateStarted:
    return events.GateStarted(name=name, command=f"make {name}", tree=tree, output=f".aider_logs/{name}.txt")


def ended(name: str, tree: str, *, ok: bool) -> events.GateEnded:
    about: dict[str, Any] = {"about": "tests", "command": f"make {name}", "verifies": ok, "seconds": 0.5}
    return events.GateEnded(name=name, tree=tree, ok=ok, new=() if ok else ("test_a",), **about)


def test_gate_has_the_verdict_of_its_own_tree() -> None:
    """The second run and that of the base have no verdict: they only decide about the first."""
    gates = GateRuns()
    for each in (
        event(1, started("tests", "task1-1")),
        event(2, started("tests", "base")),
        event(3, started("tests", "task1-1-again")),
    ):
        gates.apply(each)
    assert [row["state"] for row in gates.rows.values()] == [ENDED, ENDED, RUNNING]
    gates.apply(event(4, ended("tests", "task1-1", ok=False), 1))
    gates.apply(event(5, started("lint", "combined")))
    assert [(n, row["state"], row["task"]) for n, row in gates.rows.items()] == [
        (1, FAILED, 1),
        (2, ENDED, None),
        (3, ENDED, None),
        (5, RUNNING, None),
    ]
    assert gates.rows[3]["ended"] == 4000, "the verdict comes after the second run"
    assert gates.rows[1]["failures"] == ["test_a"] and gates.rows[1]["ended"] == 2000
    # An outcome that was known already has no start of its own.
    gates.apply(event(6, ended("lint", "combined", ok=True)))
    gates.apply(event(7, ended("lint", "task2-1", ok=True), 2))
    assert (gates.rows[5]["state"], gates.rows[7]["state"], gates.rows[7]["started"]) == (PASSED, PASSED, 6500)
    gates.apply(event(8, started("tests", "combined")))
    gates.apply(make_event("r", 9, 9000, "run_ended", None, None, {"exit_code": 143, "error": ""}))
    assert gates.rows[8]["state"] == ENDED
    gates.apply(event(10, started("tests", "combined-again")))
    gates.apply(event(11, ended("tests", "task1-1", ok=True), 1))
    assert gates.rows[10]["state"] == RUNNING, "that is the verdict of another tree"
    gates.apply(event(12, events.WorkCombined(commit="c" * 40)))
    assert gates.rows[10]["state"] == ENDED


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[Repositories]:
    opened = Repositories([str(corpus.unpack("gates_of_ones_own", tmp_path / "repo"))], "")
    yield opened
    opened.close()


def get_output(repositories: Repositories, gate: int, query: str = "", **headers: str) -> httpx.Response:
    return ask(repositories, "GET", f"/api/v1/runs/latest/gates/{gate}/output{query}", OWNER | headers)


def test_output_is_read_by_its_end_and_in_parts(repositories: Repositories) -> None:
    listed = ask(repositories, "GET", "/api/v1/runs/latest/gates", OWNER).json()["data"]
    gate = next(row for row in listed if row["output"])
    path = repositories.indexes[0].root / gate["output"]
    lines = [f"line {n} of many".encode() for n in range(10_000)]
    path.write_bytes(b"\n".join([*lines, f"key {KEY}".encode(), b"\xff end"]))
    tail = get_output(repositories, gate["number"])
    assert tail.status_code == 200 and len(tail.content) <= TAIL_BYTES and tail.text.endswith("\ufffd end")
    assert tail.text.startswith("line ") and KEY not in tail.text and "[redacted" in tail.text
    begun = int(tail.headers["x-output-start"])
    assert path.read_bytes()[begun - 1 :].startswith(b"\nline ")
    part = get_output(repositories, gate["number"], Range="bytes=0-5")
    size = path.stat().st_size
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "line 0", f"bytes 0-5/{size}")
    assert get_output(repositories, gate["number"], Range="bytes=-4").text == " end"
    beyond = get_output(repositories, gate["number"], Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    followed = get_output(repositories, gate["number"], f"?follow=true&after={size - 4}")
    assert '"text": " end"' in followed.text and "event: end" in followed.text
    assert get_output(repositories, 999_999).status_code == 404


def test_output_that_leads_elsewhere_is_not_read(repositories: Repositories, tmp_path: Path) -> None:
    listed = ask(repositories, "GET", "/api/v1/runs/latest/gates", OWNER).json()["data"]
    gate = next(row for row in listed if row["output"])
    path = repositories.indexes[0].root / gate["output"]
    path.unlink(missing_ok=True)
    (tmp_path / "secret").write_text("secret", "utf-8")
    path.symlink_to(tmp_path / "secret")
    assert get_output(repositories, gate["number"]).status_code == 404


def test_output_is_followed_in_whole_lines_until_the_gate_ends(tmp_path: Path) -> None:
    path, row = tmp_path / "tests.txt", {"state": RUNNING}

    async def follow() -> list[tuple[str, Any]]:
        frames: list[tuple[str, Any]] = []
        path.write_bytes(b"one\ntwo half")
        async for frame in follow_output(path, row, 0):
            if frame.startswith(b":"):  # nothing new: the next step
                if len(frames) == 1:
                    with path.open("ab") as file:
                        file.write(b" whole\nlast")
                else:
                    row["state"] = PASSED
                continue
            fields = dict(line.split(": ", 1) for line in frame.decode().strip().split("\n"))
            frames.append((fields["event"], json.loads(fields["data"])))
        return frames

    assert asyncio.run(follow()) == [
        ("output", {"next": 4, "text": "one\n"}),
        ("output", {"next": 19, "text": "two half whole\n"}),
        ("output", {"next": 23, "text": "last"}),
        ("end", {"next": 23, "state": PASSED}),
    ]
