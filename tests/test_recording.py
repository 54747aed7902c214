"""Tapes: what was recorded at one place is played at another, without any provider, and what is new is drift."""

import asyncio
import copy
import gzip
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestra.conduct.core.gateway_events import JournalListener
from orchestra.errors import RecordingError
from orchestra.events import Event
from orchestra.gateway.billing import ClientPass, Exchange, Upstream
from orchestra.gateway.recording import (
    RecordedReply,
    Recorder,
    Recording,
    load_recording,
    request_identity,
    text_digest,
)
from orchestra.journal.jsonl import Journal
from tests.support import modelserver, written
from tests.support.modelserver import ModelServer, Request, Usage
from tests.support.seating import CALLS, DIALECTS, STREAMS, Listener, client, door, is_final
from tests.support.written import started


def numbered(request: Request) -> modelserver.Reply:
    return modelserver.Reply(f"reply for {request.model} ü", usage=Usage(100, 20, 40, 5))


async def play(
    routes: Any, calls: list[tuple[str, str, Any]], root: str, record: Path | None = None, **how: Any
) -> tuple[list[Any], list[Exchange]]:
    listener = RecordingListener(record) if record else Listener()
    async with door(routes, listener, **how) as (gateway, heard), client() as http:
        answers = []
        for dialect, path, body in calls:
            ticket = gateway.add_client(ClientPass("agent", 1, 1, root=root))
            answers.append(await http.post(f"{gateway.client_url(ticket, dialect)}/{path}", json=body))
    return answers, heard


class RecordingListener(Listener):
    """What is heard goes into a journal, and from there to the tape, as in a run."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        journal = Journal(path.parent / f"logs of {path.name}", str)
        journal.bus.subscribe("The recording", Recorder(path).record_event)
        journal.emit(started())
        self.journal = JournalListener(journal)

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        super().on_exchange(ticket, exchange)
        self.journal.on_exchange(ticket, exchange)


def calls_in(root: str) -> list[tuple[str, str, Any]]:
    """One of each dialect, whole and streamed, and each says where it works."""
    both = [(dialect, *call) for table in (CALLS, STREAMS) for dialect, call in table.items()]
    return [(dialect, path, body | {"note": f"see {root}/a.py"}) for dialect, path, body in both]


def nowhere() -> dict[str, Upstream]:
    return {name: Upstream(name, name, "http://127.0.0.1:9", "") for name in DIALECTS}


def test_a_recorded_run_is_played_elsewhere_with_the_same_bytes_and_the_same_usage(tmp_path: Path) -> None:
    here, there, path = str(tmp_path / "here"), str(tmp_path / 'thére\\ and "so"'), tmp_path / "run.tape"
    with ModelServer(numbered) as server:
        said, paid = asyncio.run(play(server, calls_in(here), here, record=path))
        assert server.count() == 6
    again, heard = asyncio.run(play(nowhere(), calls_in(there), there, replay=load_recording(path)))
    assert [answer.content for answer in again] == [answer.content for answer in said]
    assert [e.usage for e in heard] == [e.usage for e in paid]
    assert [(e.reply, e.finish, e.replayed) for e in heard] == [(e.reply, e.finish, True) for e in paid]
    assert not any(e.replayed for e in paid)


def test_a_failure_is_played_too(tmp_path: Path) -> None:
    path = tmp_path / "run.tape"
    with ModelServer(lambda request: modelserver.Reply("No such key", status=401)) as server:
        [said], [paid] = asyncio.run(play(server, calls_in("")[:1], "", record=path))
    [answer], [heard] = asyncio.run(play(nowhere(), calls_in("")[:1], "", replay=load_recording(path)))
    assert answer.content == said.content
    told = [(e.failure, e.status, e.message, e.usage) for e in (paid, heard)]
    assert told[0] == told[1] and told[0][0] == "auth"


def test_unrecorded_request_is_drift_and_final() -> None:
    for dialect in DIALECTS:
        calls = [(dialect, *CALLS[dialect])]
        [answer], [exchange] = asyncio.run(play(nowhere(), calls, "", replay=Recording("empty.tape")))
        assert is_final(answer, dialect)
        assert (exchange.failure, exchange.usage.requests) == ("drift", 0)
        assert "empty.tape has no reply to this request" in exchange.message


# --- what a tape gives ----------------------------------------------------------------------------------------------


def reply(body: str, owner: str = "agent1", **how: Any) -> RecordedReply:
    return RecordedReply(owner, "application/json", body, **how)


def bodies(found: Iterable[RecordedReply | None]) -> list[str]:
    return [each.body if each else "none" for each in found]


def test_the_same_question_gets_its_replies_in_their_order_and_then_the_last_one_again() -> None:
    tape = Recording()
    for text in ("first", "second"):
        tape.add_reply("id", reply(text))
    assert bodies(tape.next_reply("id") for _ in range(3)) == ["first", "second", "second"]
    assert tape.next_reply("other") is None


def test_a_reply_is_taken_once() -> None:
    tape = Recording()
    tape.add_reply("id", reply("only"))
    assert bodies([tape.take_unused("id"), tape.take_unused("id")]) == ["only", "none"]


def test_what_was_asked_anew_in_a_later_sitting_counts() -> None:
    tape = Recording()
    for name, given in (
        ("a", reply("", failure="rate_limit")),
        ("b", reply("wrong")),
        ("c", reply("kept")),
        ("a", reply("right", session_number=1)),
        ("b", reply("better", session_number=1)),
    ):
        tape.add_reply(name, given)
    assert [bodies(tape.replies[name]) for name in "abc"] == [["right"], ["better"], ["kept"]]


@pytest.mark.parametrize("failure", ["cancelled", "iterations", "budget", "drift"])
def test_what_the_program_decides_by_itself_is_not_played(failure: str) -> None:
    tape = Recording()
    tape.add_reply("id", reply("", failure=failure))
    assert tape.next_reply("id") is None


def test_unused_replies_are_counted_per_agent() -> None:
    tape = Recording()
    for name, owner in (("a", "agent1"), ("b", "agent1"), ("c", "agent2"), ("d", "prd")):
        tape.add_reply(name, reply(name, owner))
    tape.next_reply("a")
    tape.next_reply("d")
    assert tape.count_unused() == {"agent1": 1, "agent2": 1}
    assert bodies([tape.substitute_reply("agent2"), tape.substitute_reply("agent2")]) == ["c", "none"]
    assert tape.count_unused() == {"agent1": 1}


# --- the file -------------------------------------------------------------------------------------------------------

HEAD = {"tape": 2, "run": "r", "options": {}}
RECORD: dict[str, Any] = {"role": "agent", "status": 200, "failure": "", "message": "", "type": "t", "body": "ü \u2028"}
RECORD |= {"provider": "openai", "model": "m", "usage": {"requests": 1}, "identity": "id"}
DATA = RECORD | {"digest": text_digest("ü \u2028"), "recalled": False}


def event(name: str, seq: int = 1, **data: Any) -> Event:
    return written.event(name, 1, 1, seq=seq, time=0, **data)


STARTED = event("run_started", change="c", options={}, model="m", base="b", branch="main")
ASKED = event("request", **DATA)


def write_tape(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), "utf-8")
    return path


def record(path: Path, *events: Event, past: tuple[Event, ...] = ()) -> bytes:
    recorder = Recorder(path, len(past))
    for seq, each in enumerate([*past, *events], 1):
        recorder.record_event(replace(each, seq=seq))
    recorder.close()
    return path.read_bytes()


def test_recording_is_private_and_readable_by_zcat(tmp_path: Path) -> None:
    raw = record(tmp_path / "new" / "a.tape", STARTED, ASKED)
    head, line = map(json.loads, gzip.decompress(raw).splitlines())
    assert head["tape"] == 2 and line["body"] == "ü \u2028" and "recalled" not in line
    assert (tmp_path / "new" / "a.tape").stat().st_mode & 0o777 == 0o600


def test_uncompressed_recording_is_read(tmp_path: Path) -> None:
    tape = load_recording(write_tape(tmp_path / "a.jsonl", HEAD, {"agents": 3, "tasks": [1]}, RECORD))
    found = tape.next_reply("id")
    assert tape.agents == 3 and found is not None and found.is_complete and found.body == "ü \u2028"


def test_wherever_a_recording_is_cut_off_all_whole_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    many = [event("request", seq, **DATA | {"identity": str(seq)}) for seq in range(5)]
    ends = [len(record(tmp_path / f"{n}.tape", STARTED, *many[:n])) for n in range(6)]
    whole = record(path, STARTED, *many)
    for length in range(ends[0], len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        assert len(load_recording(path).replies) == sum(end <= length for end in ends[1:])


def test_torn_recording_is_continued_and_completed(tmp_path: Path) -> None:
    path, past = tmp_path / "a.tape", (STARTED, ASKED)
    whole = record(path, *past)
    recalled, more = (event("request", **DATA | each) for each in ({"recalled": True}, {"identity": "more"}))
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        record(path, event("run_resumed"), recalled, more, past=past)
        assert {name: len(found) for name, found in load_recording(path).replies.items()} == {"id": 1, "more": 1}


def test_a_reply_that_a_secret_was_taken_out_of_is_not_given(tmp_path: Path) -> None:
    tape = load_recording(
        write_tape(tmp_path / "a", HEAD, RECORD | {"body": "[redacted: X]", "digest": text_digest("sk-key")})
    )
    path, body = CALLS["openai"]
    tape.replies[request_identity("openai", path, body, "")] = tape.replies["id"]
    [answer], [exchange] = asyncio.run(play(nowhere(), [("openai", path, body)], "", replay=tape))
    assert answer.status_code == 400 and (exchange.failure, exchange.message[:8]) == ("drift", "a secret")


def test_a_reply_after_the_attempt_had_timed_out_is_played_as_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    record(path, STARTED, event("attempt_ended", verdict="timeout"), ASKED)
    found = load_recording(path).next_reply("id")
    assert found is not None and (found.failure, found.body) == ("timeout", "")


PACKED = gzip.compress(json.dumps(HEAD).encode() + b"\n", mtime=0)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\n", b"no tape\n", b"{}\n", b"[]\n", b"3\n", b"\xff\xfe\n", b"\x1f\x8b", b"\x1f\x8bjunk, no gzip\n"),
        *(
            PACKED[:-8] + b"\1\2\3\4" + PACKED[-4:],
            PACKED + b"junk that follows",
            PACKED + gzip.compress(b"no json\n", mtime=0),
        ),
        PACKED + gzip.compress(b'{"identity": 3}\n', mtime=0),
        PACKED + gzip.compress(b"[" * 100_000 + b"\n", mtime=0),
        *(json.dumps(HEAD | {"tape": version}).encode() + b"\n" for version in (1, 3, "2", None)),
    ],
)
def test_invalid_recording_is_one_sentence(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tape").write_bytes(raw)
    with pytest.raises(RecordingError) as caught:
        load_recording(tmp_path / "a.tape")
    assert "a.tape" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_unwritable_recordings_are_refused(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.write_text("mine")
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(RecordingError, match="cannot be read"):
            load_recording(path)
    for path in (tmp_path, full / "x", Path("/dev/full/x")):
        with pytest.raises(RecordingError, match="cannot be written"):
            Recorder(path)
    for path in (full, Path("/dev/zero")):
        with pytest.raises(RecordingError, match="exists: a recording"):
            Recorder(path)
    assert full.read_text() == "mine"


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.tape")
    os.dup2(os.open("/dev/full", os.O_WRONLY), recorder.file.fileno())
    recorder.record_event(STARTED)
    recorder.record_event(ASKED)
    assert recorder.problem == "No space left on device"


# --- what makes two requests one ------------------------------------------------------------------------------------

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
    known = request_identity("openai", "chat/completions", SAME, "/here/tree")
    assert (request_identity(dialect, path, body, root) == known) is same


def orders(platform: str, day: str) -> str:
    return (
        f"Act as an expert.\n- Platform: {platform}\n- Current date: {day}\n- Shell: SHELL=/bin/{platform}\nBe brief."
    )


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai", lambda text: {"messages": [{"role": "system", "content": text}]}),
        ("openai", lambda text: {"messages": [{"role": "system", "content": [{"type": "text", "text": text}]}]}),
        ("anthropic", lambda text: {"system": [{"type": "text", "text": text}], "messages": []}),
        ("gemini", lambda text: {"system_instruction": {"parts": [{"text": text}]}, "contents": []}),
    ],
)
def test_the_machine_and_the_day_make_no_other_request(dialect: str, body: Any) -> None:
    here, there, other = orders("bash", "2026-11-20"), orders("zsh", "2027-01-01"), orders("bash", "2026") + "!"
    names = [request_identity(dialect, "x", body(text), "") for text in (here, there, other)]
    assert names[0] == names[1] != names[2]


def test_a_date_in_a_file_of_the_users_makes_another_request() -> None:
    texts = (orders("bash", day) for day in ("2026-11-20", "2027-01-01"))
    one, other = (
        request_identity("openai", "x", {"messages": [{"role": "user", "content": text}]}, "") for text in texts
    )
    assert one != other


# --- requests of other agents ---------------------------------------------------------------------------------------

SESSIONS: list[dict[str, Any]] = [
    {
        "prompt_cache_key": key,
        "client_metadata": {"session": key},
        "input": [
            {"type": "message", "id": f"msg_{key}", "role": "user", "content": [{"type": "input_text", "text": facts}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "exec", "arguments": "{}"},
            {
                "type": "function_call_output",
                "id": f"fco_{key}",
                "call_id": "call_1",
                "output": f"Wall time: {len(key)}.{len(facts)} seconds\nin {root}",
            },
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"text": f"Wall time {key} seconds\n"}]},
        ],
    }
    for key, root, facts in (
        (
            "a",
            "/tmp/a/tree",
            "<environment_context>\n  <cwd>/tmp/a/tree</cwd>\n  <current_date>2026-11-30</current_date>",
        ),
        (
            "b",
            "/tmp/b/tree",
            "<environment_context>\n  <cwd>/tmp/b/tree</cwd>\n  <current_date>2026-12-01</current_date>",
        ),
    )
]
CLAUDES: list[dict[str, Any]] = [
    {
        "metadata": {"user_id": key},
        "system": [{"type": "text", "text": "Orders."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": f"<system-reminder>\n - Shell: {key}\n{root}"}]},
        ],
    }
    for key, root in (("zsh", "/tmp/a/tree"), ("bash", "/tmp/b/tree"))
]


@pytest.mark.parametrize(("dialect", "pair"), [("openai", SESSIONS), ("anthropic", CLAUDES)])
def test_request_of_another_session_machine_and_day_is_the_same(dialect: str, pair: list[dict[str, Any]]) -> None:
    one, other = (
        request_identity(dialect, "x", body, root)
        for body, root in zip(pair, ("/tmp/a/tree", "/tmp/b/tree"), strict=True)
    )
    assert one == other


def test_another_result_of_a_call_is_another_request() -> None:
    changed = copy.deepcopy(SESSIONS[0])
    changed["input"][2]["output"] = "another"
    assert request_identity("openai", "x", changed, "") != request_identity("openai", "x", SESSIONS[0], "")
