"""The journal's files: every event once, in order, without secrets, readable after any crash."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestra import events
from orchestra.events import Event
from orchestra.journal.jsonl import Journal, create_run_log, read_run_log
from orchestra.model import DivisionBasis, TargetFile, Task, TaskState, Usage, Verdict
from orchestra.report.fold import fold_events, report_from_log

ROOT = Path(__file__).parents[1]


def plain(text: str) -> str:
    return text


def journal(folder: Path, scrub: Any = plain) -> tuple[Journal, list[Event]]:
    made, heard = Journal(folder, scrub), list[Event]()
    made.bus.subscribe("a list", heard.append)
    return made, heard


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def a_run(made: Journal) -> None:
    """A small run with one of everything that the report is made of."""
    started = events.RunStarted(
        change="c",
        options={},
        folder="",
        pid=1,
        namespace="a",
        unborn=False,
        repository="/r",
        branch="main",
        base="0",
        model="m",
        provider="openai",
    )
    made.emit(started)
    made.emit(events.Note("by the way: ü ☂ \u2028 \x85 \x00"))
    task = Task(1, "t", (TargetFile("a.py", 3),), requirements=("R1",))
    plan = events.PlanMade(
        agents=1, basis=DivisionBasis(), tasks=(task,), estimate=None, skipped=(), aside=(), named=(), words=True
    )
    made.emit(plan)
    for state in (TaskState.READY, TaskState.ACTIVE):
        made.emit(events.TaskMoved(state), 1)
    made.emit(events.AttemptStarted(model="m", base="0"), 1, 1)
    made.emit(request(Usage(2, 1, 10, 4, 0, 5, 0.1)), 1, 1)
    made.emit(events.AssistantResponse("done", "stop"), 1, 1)
    ended = events.AttemptEnded(
        verdict=Verdict.APPLIED,
        cause="Changed a.py.",
        remedy="",
        commit="1",
        parent="0",
        seconds=1.5,
        tried=events.Lesson("", (), ""),
        changed=("a.py",),
        protected={"Makefile": "is a build script"},
    )
    made.emit(ended, 1, 1)
    made.emit(events.TaskMoved(TaskState.AWAITING_QA), 1, 1)
    delivered = events.ResultDelivered(
        applied=True,
        reason="",
        take="",
        moved=False,
        withheld=False,
        branch="main",
        side_branch="",
        result="1",
        files={"a.py": (1, 0)},
    )
    made.emit(delivered)
    made.emit(events.RunEnded(exit_code=0, error="", signal=0, tasks=1, complete=1, cost=0.1))


def request(used: Usage) -> events.RequestEnded:
    return events.RequestEnded(
        role="agent",
        provider="openai",
        model="m",
        status=200,
        failure="",
        message="",
        usage=used,
        seconds=0.5,
        identity="x",
        replayed=False,
        recalled=False,
        number=1,
        drifted=False,
        remark="",
        type="application/json",
        body="{}",
        digest="d",
    )


def test_live_report_equals_report_from_files(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    a_run(made)
    made.close()
    log = read_run_log(tmp_path, made.stamp)
    assert list(log.events) == heard and [event.seq for event in heard] == list(range(1, 13)) and not log.torn_lines
    assert fold_events(log.events) == fold_events(heard)
    assert (
        fold_events(heard).tasks[1].usage.requests,
        fold_events(heard).exit_code,
        fold_events(heard).unreadable,
    ) == (2, 0, 0)


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
    made.bus.subscribe("a reader", lambda event: found.append(len(read_run_log(tmp_path, made.stamp).events)))
    made.emit(events.Note("one"))
    made.emit(events.Note("two"), 7)
    assert found == [1, 2]


def test_runs_of_the_same_second_never_share_a_name_or_read_each_others_events(tmp_path: Path) -> None:
    journals = [Journal(tmp_path, plain) for _ in range(5)]
    for number, made in enumerate(journals):
        for task in (None, 1, 11):
            made.emit(events.Note(f"{number}"), task)
    assert len({made.stamp for made in journals}) == 5
    for number, made in enumerate(journals):
        assert [event.data["text"] for event in read_run_log(tmp_path, made.stamp).events] == [f"{number}"] * 3
        assert {event.run for event in read_run_log(tmp_path, made.stamp).events} == {made.stamp}


def test_claiming_a_second_at_the_same_moment_from_many_sides(tmp_path: Path) -> None:
    stamps: list[str] = []
    threads = [threading.Thread(target=lambda: stamps.append(create_run_log(tmp_path)[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(stamps)) == 20


@pytest.mark.parametrize(
    ("torn", "count"),
    [
        *(("", 0), ("\n", 0), ("{", 2), ('{"event": "half', 2), ('{"event": "x", "run": "r"}\n', 2), ("null\n", 2)),
        *(("[]\n", 2), ("\x00\n", 2), ("[" * 100_000 + "\n", 2), ('{"event": "note", "run": "r", "seq": "1"}\n', 2)),
    ],
)
def test_read_passes_over_torn_and_foreign_lines_and_counts_them(tmp_path: Path, torn: str, count: int) -> None:
    made, heard = journal(tmp_path)
    a_run(made)
    made.close()
    for name in (f"run_{made.stamp}.jsonl", f"agent1_{made.stamp}.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write(torn)
    (tmp_path / f"agent2_{made.stamp}.jsonl").write_bytes(b"\xff\xfe\n" + b'{"event": "launched", "time": 1}\n')
    log = read_run_log(tmp_path, made.stamp)
    assert list(log.events) == heard and log.torn_lines == count + 2
    assert report_from_log(log).unreadable == count + 2


def test_what_was_written_before_a_kill_is_there(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from orchestra.events import Note
from orchestra.journal.jsonl import Journal
journal = Journal(Path({str(tmp_path)!r}), str)
for n in range(100):
    journal.emit(Note(str(n)), n % 3 or None)
print(journal.stamp, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert [event.data["text"] for event in read_run_log(tmp_path, done.stdout.strip()).events] == list(
        map(str, range(100))
    )


SECRETS = ('sk-"quoted\\back', "17901", "assistant", "é-key-☂", "line\nbreak")


def test_no_secret_reaches_a_file_or_a_listener_and_no_secret_spoils_a_line(tmp_path: Path) -> None:
    def scrub(text: str) -> str:
        for secret in SECRETS:
            text = text.replace(secret, "[redacted]")
        return text

    made, heard = journal(tmp_path, scrub)
    for secret in SECRETS:
        made.emit(events.AssistantResponse(f"a {secret} b", "stop"), 1, 1)
        deep = {"deep": [{"k": (secret, f"{secret}x")}], "count": 1790112, secret: 1.5}
        made.emit(events.RunResumed("", 1790112, deep))
    made.close()
    told = read_run_log(tmp_path, made.stamp).events
    assert list(told) == heard and len(told) == 2 * len(SECRETS)
    assert {event.kind for event in told} == {"assistant_response", "run_resumed"}
    for event in told:
        assert not any(secret in text for secret in SECRETS for text in texts(event.data))
    assert told[0].data["content"] == "a [redacted] b" and told[1].data["options"]["count"] == 1790112


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for each in value.values() for text in texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_names_that_are_no_utf8_are_written_and_read_back_as_they_were(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    name = b"latin-\xe9.txt".decode("utf-8", "surrogateescape")
    made.emit(events.Note(name))
    made.emit(events.Note("half a pair \ud83d"))
    made.emit(events.Note("both \ud83d\ude00"))
    assert list(read_run_log(tmp_path, made.stamp).events) == heard and heard[0].payload == events.Note(name)
    assert heard[2].payload == events.Note("both 😀")


def test_an_event_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    with pytest.raises(TypeError):
        made.emit(events.Note(object()))  # type: ignore[arg-type]
    assert heard == []


def test_a_full_disk_takes_back_the_half_written_line_and_loses_nothing(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk: what a write cannot finish, it has half written by then."""
    script = f"""
import resource, signal
from pathlib import Path
from orchestra.events import Note
from orchestra.journal.jsonl import Journal, LogFailed, read_run_log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
made = Journal(Path({str(tmp_path)!r}), lambda text: text)
try:
    while True:
        made.emit(Note("x" * 700))
except LogFailed as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
made.emit(Note("there is room again"))
print([(event.seq, event.data["text"][:5]) for event in read_run_log(Path({str(tmp_path)!r}), made.stamp).events])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    sentence, told = done.stdout.splitlines()
    assert sentence.startswith("The log ") and "File too large" in sentence and "resume" in sentence
    assert told == str([(n, "xxxxx") for n in range(1, 6)] + [(6, "there")])


def test_a_journal_that_is_muted_writes_and_tells_nothing(tmp_path: Path) -> None:
    made, heard = journal(tmp_path)
    made.emit(events.Note("first"))
    made.muted = True
    made.emit(events.Note("second"))
    assert list(read_run_log(tmp_path, made.stamp).events) == heard and [event.data for event in heard] == [
        {"text": "first"}
    ]
