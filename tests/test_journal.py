"""The journal's files: every event once, in order, without secrets, readable after any crash."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestra.journal.jsonl import Journal, claim, read
from orchestra.model import Event
from orchestra.report.fold import fold

ROOT = Path(__file__).parents[1]


def plain(text: str) -> str:
    return text


def journal(folder: Path, scrub: Any = plain) -> tuple[Journal, list[Event]]:
    made, heard = Journal(folder, scrub), list[Event]()
    made.listeners.append(heard.append)
    return made, heard


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def a_run(made: Journal) -> None:
    """A small run with one of everything that the report is made of."""
    made.emit("run_started", change="c", repository="/r", branch="main", base="0", model="m", provider="openai")
    made.emit("note", text="by the way: ü ☂ \u2028 \x85 \x00")
    file, task = (
        {"path": "a.py", "tokens": 3, "new": False},
        {"id": 1, "title": "t", "requirements": ["R1"], "reads": []},
    )
    made.emit("plan_made", agents=1, skipped=[], tasks=[task | {"files": [file]}])
    for state in ("ready", "active"):
        made.emit("task_moved", 1, state=state)
    made.emit("attempt_started", 1, 1, model="m")
    used = {"requests": 2, "replies": 1, "input": 10, "cached": 4, "cache_write": 0, "output": 5, "dollars": 0.1}
    asked = {"role": "agent", "provider": "openai", "model": "m", "status": 200, "failure": "", "message": ""}
    made.emit("request", 1, 1, usage=used, seconds=0.5, identity="x", **asked)
    made.emit("assistant_response", 1, 1, content="done", finish="stop")
    made.emit("attempt_ended", 1, 1, verdict="applied", cause="Changed a.py.", changed=("a.py",), seconds=1.5)
    made.emit("task_moved", 1, 1, state="awaiting_qa")
    made.emit("delivered", applied=True, reason="", take="", branch="main", files={"a.py": (1, 0)}, result="1")
    made.emit("of_a_newer_version", 1, what={"deep": [1, None, True]})
    made.emit("run_ended", exit_code=0, error="")


def test_what_was_heard_live_is_what_the_files_tell(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    a_run(made)
    made.close()
    told = read(tmp_path, made.stamp)
    assert told == heard and [event.seq for event in told] == list(range(1, 14))
    assert fold(told) == fold(heard)
    assert (fold(told).tasks[1].usage.requests, fold(told).exit_code) == (2, 0)


def test_each_task_has_its_file_and_the_run_its_own_as_the_seeds_readers_expect(tmp_path: Path) -> None:
    made, _ = journal(tmp_path)
    a_run(made)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".gitignore", f"run_{made.stamp}.jsonl", f"agent1_{made.stamp}.jsonl"}
    assert re.fullmatch(r"\d{8}_\d{6}", made.stamp) and (tmp_path / ".gitignore").read_text() == "*\n"
    of_agent = lines(tmp_path / f"agent1_{made.stamp}.jsonl")
    assert sum(line["event"] == "assistant_response" for line in of_agent) == 1
    assert {line["task"] for line in of_agent} == {1}
    assert not any("task" in line for line in lines(tmp_path / f"run_{made.stamp}.jsonl"))


def test_an_event_is_in_its_file_before_anybody_hears_of_it(tmp_path: Path) -> None:
    made = Journal(tmp_path, plain)
    found: list[int] = []
    made.listeners.append(lambda event: found.append(len(read(tmp_path, made.stamp))))
    made.emit("one")
    made.emit("two", 7)
    assert found == [1, 2]


def test_runs_of_the_same_second_never_share_a_name_or_read_each_others_events(tmp_path: Path) -> None:
    journals = [Journal(tmp_path, plain) for _ in range(5)]
    for number, made in enumerate(journals):
        for task in (None, 1, 11):
            made.emit("mark", task, number=number)
    assert len({made.stamp for made in journals}) == 5
    for number, made in enumerate(journals):
        assert [event.data["number"] for event in read(tmp_path, made.stamp)] == [number] * 3
        assert {event.run for event in read(tmp_path, made.stamp)} == {made.stamp}


def test_claiming_a_second_at_the_same_moment_from_many_sides(tmp_path: Path) -> None:
    stamps: list[str] = []
    threads = [threading.Thread(target=lambda: stamps.append(claim(tmp_path)[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(stamps)) == 20


@pytest.mark.parametrize(
    "torn", ["", "{", '{"event": "half', '{"event": "x", "run": "r"}\n', "null\n", "[]\n", "\x00\n"]
)
def test_what_a_crash_or_a_stranger_left_is_passed_over(tmp_path: Path, torn: str) -> None:
    made, heard = journal(tmp_path)
    a_run(made)
    made.close()
    for name in (f"run_{made.stamp}.jsonl", f"agent1_{made.stamp}.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write(torn)
    (tmp_path / f"agent2_{made.stamp}.jsonl").write_bytes(b"\xff\xfe\n" + b'{"event": "launched", "time": 1}\n')
    assert read(tmp_path, made.stamp) == heard


def test_what_was_written_before_a_kill_is_there(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from orchestra.journal.jsonl import Journal
journal = Journal(Path({str(tmp_path)!r}), str)
for n in range(100):
    journal.emit("mark", n % 3 or None, n=n)
print(journal.stamp, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert [event.data["n"] for event in read(tmp_path, done.stdout.strip())] == list(range(100))


SECRETS = ('sk-"quoted\\back', "17901", "assistant", "é-key-☂", "line\nbreak")


def test_no_secret_reaches_a_file_or_a_listener_and_no_secret_spoils_a_line(tmp_path: Path) -> None:
    def scrub(text: str) -> str:
        for secret in SECRETS:
            text = text.replace(secret, "[redacted]")
        return text

    made, heard = journal(tmp_path, scrub)
    for secret in SECRETS:
        made.emit(
            "assistant_response", 1, 1, content=f"a {secret} b", deep=[{"k": (secret, f"{secret}x")}], count=1790112
        )
        made.emit("note", of={secret: 1.5})
    made.close()
    told = read(tmp_path, made.stamp)
    assert told == heard and len(told) == 2 * len(SECRETS)
    assert {event.kind for event in told} == {"assistant_response", "note"}
    for event in told:
        assert not any(secret in text for secret in SECRETS for text in texts(event.data))
    assert told[0].data["content"] == "a [redacted] b" and told[0].data["count"] == 1790112


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for each in value.values() for text in texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_names_that_are_no_utf8_are_written_and_read_back_as_they_were(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    name = b"latin-\xe9.txt".decode("utf-8", "surrogateescape")
    made.emit("note", text=name, other="half a pair \ud83d")
    assert read(tmp_path, made.stamp) == heard and heard[0].data["text"] == name


def test_an_event_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    with pytest.raises(TypeError):
        made.emit("odd", what=object())
    assert heard == []


def test_a_full_disk_takes_back_the_half_written_line_and_loses_nothing(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk: what a write cannot finish, it has half written by then."""
    script = f"""
import resource, signal
from pathlib import Path
from orchestra.journal.jsonl import Journal, LogFailed, read
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
made = Journal(Path({str(tmp_path)!r}), lambda text: text)
try:
    while True:
        made.emit("note", text="x" * 700)
except LogFailed as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
made.emit("note", text="there is room again")
print([(event.seq, event.data["text"][:5]) for event in read(Path({str(tmp_path)!r}), made.stamp)])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    sentence, events = done.stdout.splitlines()
    assert sentence.startswith("The log ") and "File too large" in sentence and "resume" in sentence
    assert events == str([(n, "xxxxx") for n in range(1, 6)] + [(6, "there")])


def test_a_journal_that_is_muted_writes_and_tells_nothing(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    made.emit("first")
    made.mute()
    made.emit("second")
    assert [event.kind for event in read(tmp_path, made.stamp)] == [event.kind for event in heard] == ["first"]
