"""Tapes: what was recorded at one place is played at another, without any provider, and what is new is drift."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestra.gateway.ledger import Exchange, Pass
from orchestra.gateway.tape import Tape, identity
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.seating import CALLS, DIALECTS, STREAMS, client, door, is_final


def numbered(request: Request) -> Reply:
    return Reply(f"reply for {request.model} ü", usage=Usage(100, 20, 40, 5))


async def play(
    routes: Any, calls: list[tuple[str, str, Any]], root: str, **how: Any
) -> tuple[list[Any], list[Exchange]]:
    async with door(routes, **how) as (gateway, heard), client() as http:
        answers = []
        for dialect, path, body in calls:
            ticket = gateway.admit(Pass("agent", 1, 1, root=root))
            answers.append(await http.post(f"{gateway.url(ticket, dialect)}/{path}", json=body))
    return answers, heard


def calls_in(root: str) -> list[tuple[str, str, Any]]:
    """One of each dialect, whole and streamed, and each says where it works."""
    both = [(dialect, *call) for table in (CALLS, STREAMS) for dialect, call in table.items()]
    return [(dialect, path, body | {"note": f"see {root}/a.py"}) for dialect, path, body in both]


def test_a_recorded_run_is_played_elsewhere_with_the_same_bytes_and_the_same_usage(tmp_path: Path) -> None:
    here, there, path = str(tmp_path / "here"), str(tmp_path / 'thére\\ and "so"'), tmp_path / "tape.jsonl"
    with ModelServer(numbered) as server:
        said, paid = asyncio.run(play(server, calls_in(here), here, record=Tape.create(path)))
        assert server.count() == 6
        again, heard = asyncio.run(play(server, calls_in(there), there, replay=Tape.load(path)))
        assert server.count() == 6, "a replayed run asks nobody"
    assert [answer.content for answer in again] == [answer.content for answer in said]
    assert [e.usage for e in heard] == [e.usage for e in paid]
    assert [(e.reply, e.finish, e.replayed) for e in heard] == [(e.reply, e.finish, True) for e in paid]
    assert not any(e.replayed for e in paid)


def test_a_request_that_is_not_on_the_tape_is_drift_and_final(tmp_path: Path) -> None:
    tape = Tape.create(tmp_path / "empty.jsonl")
    with ModelServer(numbered) as server:
        for dialect in DIALECTS:
            [answer], [exchange] = asyncio.run(play(server, [(dialect, *CALLS[dialect])], "", replay=tape))
            assert is_final(answer, dialect)
            assert (exchange.failure, exchange.usage.requests) == ("drift", 0)
            assert "empty.jsonl has no reply to this request" in exchange.message
        assert server.count() == 0


def test_the_same_question_gets_its_replies_in_their_order_and_then_the_last_one_again(tmp_path: Path) -> None:
    tape = Tape.create(tmp_path / "tape.jsonl")
    for text in ("first", "second"):
        tape.add("id", "application/json", text.encode(), "agent 1 m")
    played = Tape.load(tape.path)
    assert [played.find("id") for _ in range(3)] == [
        ("application/json", each) for each in (b"first", b"second", b"second")
    ]
    assert played.find("other") is None


def test_the_tape_is_lines_that_say_what_they_are(tmp_path: Path) -> None:
    tape = Tape.create(tmp_path / "tape.jsonl")
    tape.add("id", "text/event-stream", "data: ü\n\n".encode(), "prd gemini-x")
    head, line = map(json.loads, tape.path.read_text("utf-8").splitlines())
    assert head == {"tape": 1}
    assert line == {"identity": "id", "about": "prd gemini-x", "type": "text/event-stream", "body": "data: ü\n\n"}


SAME = {"messages": [{"content": "in /here/tree: ü \ud800"}]}


@pytest.mark.parametrize(
    ("dialect", "path", "body", "root", "same"),
    [
        ("openai", "chat/completions", {"messages": [{"content": "in /there/tree: ü \ud800"}]}, "/there/tree", True),
        ("openai", "/chat/completions/", SAME, "/here/tree", True),
        ("openai", "chat/completions", SAME, "/there/tree", False),
        ("openai", "other", SAME, "/here/tree", False),
        ("gemini", "chat/completions", SAME, "/here/tree", False),
        ("openai", "chat/completions", SAME | {"temperature": 0}, "/here/tree", False),
    ],
)
def test_a_request_is_known_by_what_it_asks_not_by_where(
    dialect: str, path: str, body: dict[str, Any], root: str, same: bool
) -> None:
    known = identity("openai", "chat/completions", SAME, "/here/tree")
    assert (identity(dialect, path, body, root) == known) is same
