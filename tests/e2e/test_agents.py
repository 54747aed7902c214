"""Claude Code, Codex and any command as agents: the same verdicts, counts and limits as with Aider."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.clis import BIN, MODELS, PROGRAMS, USED, Edits, edits_files, needs_clis
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place

pytestmark = [needs_clis, pytest.mark.thorough]
FILES = {"app.py": "def f():\n    return 1\n", "shop.py": "def g():\n    return 1\n", "old.txt": "old\n"}
EDITS: Edits = dict.fromkeys(("app.py", "shop.py"), ("    return 1\n", "    return 2\n"))
ONE = ("--change", "Return 2", "--no-prd", "--agents", "1", "--files", "app.py")
TWO = ("--change", "Return 2", "--no-prd", "--agents", "2", "--files", "app.py", "shop.py")


def run_kind(place: Place, kind: str, *words: str, server: ModelServer | None, **env: str) -> Ran:
    how: dict[str, Any] = {"PATH": f"{BIN}:{place.environment()['PATH']}"} | env
    return place.run(*words, "--agent-kind", kind, "--model", MODELS[kind], server=server, **how)


def content(place: Place, path: str) -> str:
    return place.git("show", f"HEAD:{path}")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_two_parallel_tasks_are_merged_and_counted_to_the_token(tmp_path: Path, kind: str) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(edits_files(EDITS)) as server:
        ran = run_kind(place, kind, *TWO, server=server)
        assert (ran.code, ran.verdicts) == (0, ["applied"] * 2), ran.out + ran.err
        used, asked = server.tokens(), server.count()
    assert content(place, "app.py") == FILES["app.py"].replace("1", "2")
    assert content(place, "shop.py") == FILES["shop.py"].replace("1", "2")
    assert sorted(ran.changed()) == ["app.py", "shop.py"]
    usage = ran.summary["usage"]
    assert (usage["requests"], usage["input_tokens"], usage["output_tokens"]) == (asked, used.input, used.output)
    assert usage["assumed_tokens"] == 0 and asked == (6 if kind == "claude" else 4)
    assert_clean(ran)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_agent_that_edits_nothing_has_changed_nothing(tmp_path: Path, kind: str) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: Reply("All is well, done.", usage=USED)) as server:
        ran = run_kind(place, kind, *ONE, server=server)
    assert (ran.code, ran.verdicts) == (1, ["no_change"]), ran.out
    assert_clean(ran)


SSE = {"content-type": "text/event-stream"}


def raw_stream(*events: dict[str, Any]) -> Reply:
    lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return Reply(raw_body="".join(lines).encode(), headers=SSE)


# What the provider does, the verdict, the exit code, and how often it may be asked.
FAULTS: dict[str, tuple[Reply, str, int, int]] = {
    "401": (Reply("bad key", status=401), "auth", 4, 1),
    "402": (Reply("insufficient credits", status=402), "quota", 4, 1),
    "429 for an hour": (Reply("slow down", status=429, headers={"retry-after": "3600"}), "rate_limit", 4, 1),
    "context": (Reply("prompt is too long: context_length_exceeded", status=400), "context", 1, 1),
    "400": (Reply("no such thing", status=400), "provider_error", 4, 1),
    "500": (Reply("oh", status=500, headers={"retry-after": "3600"}), "provider_error", 4, 1),
    "a stream cut in the middle": (Reply("a long answer, but not all of it", drop="mid"), "provider_error", 4, 2),
    "a garbage stream": (Reply(raw_body=b"data: x\n\ndata: []\n\n", headers=SSE), "provider_error", 4, 1),
    "a stream without its closing event": (
        raw_stream(
            {"type": "response.created", "response": {"status": "in_progress", "output": []}},
            {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5}}},
        ),
        "provider_error",
        4,
        2,
    ),
}


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize(("reply", "verdict", "code", "most"), FAULTS.values(), ids=FAULTS)
def test_fault_of_the_provider_is_told_as_with_aider(
    tmp_path: Path, kind: str, reply: Reply, verdict: str, code: int, most: int
) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: reply) as server:
        ran = run_kind(place, kind, *ONE, server=server)
        assert (ran.code, ran.verdicts) == (code, [verdict]), ran.out + ran.err
        assert server.count() <= most
    assert_clean(ran)


def test_request_of_another_day_is_answered_from_the_recording(tmp_path: Path) -> None:
    for kind in PROGRAMS:
        place = make_place(tmp_path / kind, FILES)
        tape = tmp_path / f"{kind}.tape"
        with ModelServer(edits_files(EDITS)) as server:
            ran = run_kind(place, kind, *ONE, "--record", str(tape), server=server)
            assert ran.code == 0, ran.out
        place.git("reset", "-q", "--hard", "HEAD~1")
        again = run_kind(place, kind, "--replay", str(tape), "--replay-strict", server=None)
        assert (again.code, again.verdicts) == (0, ["applied"]), again.out + again.err
        assert content(place, "app.py") == FILES["app.py"].replace("1", "2")


def respond_with_other_file(request: Request) -> Reply:
    return Reply("Done.")
