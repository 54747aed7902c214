"""What can happen to logs: each damage takes the files of a folder, and gives them back as something has left them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

Files = dict[str, bytes]
Line = dict[str, Any]
Damage = Callable[[Files], Files]
DEEP = 100_000


def run_log(files: Files) -> str:
    return next(name for name in files if name.startswith("logs/run_"))


def agent_log(files: Files, number: int = 1) -> str:
    return next(name for name in files if name.startswith(f"logs/agent{number}_") and name.endswith(".jsonl"))


def in_lines(name: Callable[[Files], str], change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    """Change the lines of one file."""

    def damage(files: Files) -> Files:
        lines = files[name(files)].splitlines(keepends=True)
        return files | {name(files): b"".join(change(lines))}

    return damage


def in_bytes(name: Callable[[Files], str], change: Callable[[bytes], bytes]) -> Damage:
    return lambda files: files | {name(files): change(files[name(files)])}


def in_event(kind: str, change: Callable[[Line], object], seq: int = 0, run: str = "") -> Damage:
    """Change the first event of a kind, wherever it stands, or the one of this number. What `change` gives back takes
    its place."""

    def damage(files: Files) -> Files:
        for name, content in files.items():
            lines = content.splitlines(keepends=True) if name.endswith(f"{run}.jsonl") else []
            for at, line in enumerate(lines):
                if f'"event": "{kind}"'.encode() in line and (not seq or json.loads(line)["seq"] == seq):
                    lines[at] = json.dumps(change(json.loads(line))).encode() + b"\n"
                    return files | {name: b"".join(lines)}
        raise AssertionError(f"no event {kind}")

    return damage


def set_in(*path: str | int, to: object) -> Callable[[Line], Line]:
    """Another value at this place of an event."""

    def change(event: Line) -> Line:
        place: Any = event
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to
        return event

    return change


def without(*path: str) -> Callable[[Line], Line]:
    def change(event: Line) -> Line:
        place = event
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        return event

    return change


def without_file(name: Callable[[Files], str]) -> Damage:
    return lambda files: {each: content for each, content in files.items() if each != name(files)}


def insert(line: bytes, at: int = 3) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[:at], line, *lines[at:]]


def swap(one: int, other: int) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        lines[one], lines[other] = lines[other], lines[one]
        return lines

    return change


def event_line(**fields: object) -> bytes:
    usual = {"event": "note", "run": "20200101_000000", "seq": 9_000, "time": 1_795_000_000_000, "data": {"text": "x"}}
    return json.dumps(usual | fields).encode() + b"\n"


DAMAGES: dict[str, Damage] = {
    # lines and files
    "a torn last line": in_bytes(run_log, lambda content: content[:-40]),
    "a torn last line of an agent": in_bytes(agent_log, lambda content: content[:-1_000]),
    "a line without its end": in_bytes(agent_log, lambda content: content.replace(b"}\n{", b"}{", 1)),
    "the plan is missing": in_lines(run_log, lambda lines: [line for line in lines if b'"plan_made"' not in line]),
    "the first line is missing": in_lines(run_log, lambda lines: lines[1:]),
    "the last line is missing": in_lines(run_log, lambda lines: lines[:-1]),
    "an attempt's end is missing": in_lines(
        agent_log, lambda lines: [line for line in lines if b'"attempt_ended"' not in line]
    ),
    "a line of garbage": in_lines(run_log, insert(b"\x00\x01 garbage {]\n")),
    "an empty line": in_lines(run_log, insert(b"\n")),
    "a line that is a list": in_lines(run_log, insert(b"[1, 2]\n")),
    "a line that is a number": in_lines(run_log, insert(b"17\n")),
    "a line that is null": in_lines(run_log, insert(b"null\n")),
    "a line that is nested very deeply": in_lines(run_log, insert(b"[" * DEEP + b"]" * DEEP + b"\n")),
    "data that is nested very deeply": in_lines(
        run_log, insert(event_line(data="DEEP").replace(b'"DEEP"', b'{"text": ' + b"[" * DEEP + b"]" * DEEP + b"}"))
    ),
    "a very long line": in_lines(run_log, insert(event_line(data={"text": "long " * 200_000}))),
    "a line twice": in_lines(agent_log, lambda lines: [*lines, lines[-1]]),
    "every line twice": in_lines(agent_log, lambda lines: [*lines, *lines]),
    "two lines swapped": in_lines(run_log, swap(1, -2)),
    "lines that end in CRLF": in_bytes(agent_log, lambda content: content.replace(b"\n", b"\r\n")),
    "a byte order mark": in_bytes(run_log, lambda content: b"\xef\xbb\xbf" + content),
    "bytes that are no UTF-8": in_bytes(agent_log, lambda content: content.replace(b"a", b"\xff", 20)),
    "a file of zeros at its end": in_bytes(run_log, lambda content: content[:-300] + b"\x00" * 300),
    "an empty file of an agent": in_bytes(agent_log, lambda content: b""),
    "an empty file of the run": in_bytes(run_log, lambda content: b""),
    "the file of an agent is missing": without_file(agent_log),
    "a gate's output is missing": without_file(lambda files: next(name for name in files if name.endswith(".txt"))),
    # the envelope of an event
    "no kind": in_event("attempt_ended", without("event")),
    "no run": in_event("attempt_ended", without("run")),
    "no number": in_event("attempt_ended", without("seq")),
    "no time": in_event("attempt_ended", without("time")),
    "no data": in_event("attempt_ended", without("data")),
    "no task": in_event("attempt_ended", without("task")),
    "no attempt": in_event("attempt_ended", without("attempt")),
    "data that is null": in_event("attempt_ended", set_in("data", to=None)),
    "data that is a list": in_event("attempt_ended", set_in("data", to=[1])),
    "data that is a text": in_event("attempt_ended", set_in("data", to="applied")),
    "a number that is a text": in_event("attempt_ended", set_in("seq", to="7")),
    "a number that is null": in_event("attempt_ended", set_in("seq", to=None)),
    "a huge number": in_event("attempt_ended", set_in("seq", to=10**30)),
    "a negative number": in_event("attempt_ended", set_in("seq", to=-5)),
    "a time that is a text": in_event("attempt_ended", set_in("time", to="noon")),
    "a time that is null": in_event("run_ended", set_in("time", to=None)),
    "a time in a thousand years": in_event("run_ended", set_in("time", to=33_000_000_000_000)),
    "a time that is infinite": in_event("run_ended", set_in("time", to=float("inf"))),
    "a kind that is a number": in_event("attempt_ended", set_in("event", to=7)),
    "a kind that is a list": in_event("attempt_ended", set_in("event", to=["attempt_ended"])),
    "a run that is a number": in_event("run_started", set_in("run", to=7)),
    "a task that is a text": in_event("attempt_ended", set_in("task", to="1")),
    "a task that is a list": in_event("attempt_ended", set_in("task", to=[1])),
    "a task that was not planned": in_event("attempt_ended", set_in("task", to=99)),
    "an attempt that is a text": in_event("attempt_ended", set_in("attempt", to="1")),
    "an unknown kind": in_lines(run_log, insert(event_line(event="danced", data={"with": ["wolves"]}))),
    "an unknown kind of a task": in_lines(agent_log, insert(event_line(event="danced", task=1, attempt=1))),
    "an unknown field beside the data": in_event("attempt_ended", set_in("mood", to={"good": True})),
    "an unknown field in the data": in_event("attempt_ended", set_in("data", "mood", to={"good": True})),
    # the data of an event
    "a plan without tasks": in_event("plan_made", without("data", "tasks")),
    "a plan whose tasks are an object": in_event("plan_made", set_in("data", "tasks", to={"a": 1})),
    "a plan with a task that is a number": in_event("plan_made", set_in("data", "tasks", to=[1])),
    "a plan whose files are texts": in_event("plan_made", set_in("data", "tasks", 0, "files", to=["a.py"])),
    "an estimate that is a list": in_event("plan_made", set_in("data", "estimate", to=[1])),
    "a usage that is a list": in_event("request", set_in("data", "usage", to=[1])),
    "a usage with an unknown count": in_event("request", set_in("data", "usage", "thoughts", to=3)),
    "a usage with a text": in_event("request", set_in("data", "usage", "input", to="many")),
    "a huge price": in_event("request", set_in("data", "usage", "dollars", to=1e300)),
    "a verdict that nobody knows": in_event("attempt_ended", set_in("data", "verdict", to="wonderful")),
    "a verdict that is null": in_event("attempt_ended", set_in("data", "verdict", to=None)),
    "a cause that is an object": in_event("attempt_ended", set_in("data", "cause", to={"a": 1})),
    "seconds that are a text": in_event("attempt_ended", set_in("data", "seconds", to="long")),
    "changed files that are a number": in_event("attempt_ended", set_in("data", "changed", to=3)),
    "a state that nobody knows": in_event("task_moved", set_in("data", "state", to="asleep")),
    "a conversation that cannot be unpacked": in_event("conversation", set_in("data", "packed", to="AAAA")),
    "a gate without its outcome": in_event("gate_ended", without("data", "ok")),
    "a gate whose seconds are null": in_event("gate_ended", set_in("data", "seconds", to=None)),
    "a result whose files are a list": in_event("delivered", set_in("data", "files", to=["a.py"])),
    "a result whose counts are texts": in_event("delivered", set_in("data", "files", to={"a.py": ["x", "y"]})),
    "an exit code that is a text": in_event("run_ended", set_in("data", "exit_code", to="0")),
    "half a character": in_event("run_started", set_in("data", "change", to="half \udcff of it")),
}


# --- field by field -------------------------------------------------------------------------------------------------

OTHERS: tuple[object, ...] = (None, "text", 7, [], {}, [7], {"a": 7}, True, -1.5, 10**30)


def fields(event: Line) -> Iterator[tuple[str | int, ...]]:
    """The places in an event's data, two levels deep."""
    for name, value in event["data"].items():
        yield "data", name
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict):
            where: tuple[str | int, ...] = ("data", name, 0) if isinstance(value, list) else ("data", name)
            yield from ((*where, deeper) for deeper in inner)


def sweep(event: Line) -> Iterator[tuple[str, Callable[[Line], Line]]]:
    """Each field of an event: without it, and with one value of another type, which alternates."""
    for turn, place in enumerate(fields(event)):
        words = ".".join(map(str, place[1:]))
        if len(place) == 2:
            yield f"without {words}", without(*map(str, place))
        other = OTHERS[(turn + len(event["event"])) % len(OTHERS)]
        yield f"{words} = {other!r}", set_in(*place, to=other)
