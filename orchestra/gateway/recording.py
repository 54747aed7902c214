"""Recordings: the exchanges of a run, found by their requests. A replayed run needs no provider.

A recording is a file of JSON lines: a head that says which run it is, the plan, and a line per exchange. A recorder
compresses each line separately, so an interrupted recording loses at most its last line. An uncompressed file is read
too.
"""

import hashlib
import json
import os
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestra.dialects.base import content_text
from orchestra.dialects.values import as_object
from orchestra.errors import RecordingError
from orchestra.events import (
    AttemptEnded,
    Event,
    PlanMade,
    RequestEnded,
    RunResumed,
    RunStarted,
    read_record,
    to_json_value,
)
from orchestra.judge.policy import policy_of

RECORDING_VERSION = 2
GZIP_MAGIC = b"\x1f\x8b"
# The fields of a request's event that a replay needs or a person wants to know.
RECORDED_FIELDS = (
    *("role", "provider", "model", "status", "failure", "message", "usage", "identity"),
    *("type", "body", "digest"),
)
# options about the machine, not about the run
MACHINE_OPTIONS = ("repo", "store", "record", "replay")
# the program decides these by itself, and will do so again
OWN_FAILURES = ("cancelled", "gateway", "iterations", "budget", "tokens", "deadline", "drift", "key")
TOO_LATE_MESSAGE = "the attempt had ended before the answer came"
# how Aider's list of the files to edit begins
FILE_LIST = "I have *added these files to the chat*"
# how Aider answers its own report of an edit; a turn whose reply could not be read is not moved away
END_OF_TURN = (("assistant", "Ok."), ("model", "Ok."))
# what agents report about their machine and the date, line by line, in the system prompt
MACHINE_FACTS = re.compile(
    r"^( ?- (?:Platform|Shell|Language|Current date|OS Version): |  <(?:shell|current_date|timezone)>).*$", re.MULTILINE
)
# what Codex adds to the output of a command
RUN_FACTS = re.compile(r"^(Chunk ID: |Wall time:? ).*$", re.MULTILINE)
# what clients add for their own sessions, installations and accounts
CLIENT_FIELDS = ("metadata", "client_metadata", "prompt_cache_key", "safety_identifier", "user")
# how the part of a request begins in which Codex and Claude describe the machine
ENVIRONMENT = ("<environment_context>", "<system-reminder>")


def request_identity(dialect: str, path: str, body: dict[str, Any], root: str) -> str:
    """Digest a request as any machine would send it on any day."""
    text = json.dumps([dialect, path.strip("/"), neutral_request(body)], sort_keys=True, ensure_ascii=False)
    if root:
        text = text.replace(json.dumps(root, ensure_ascii=False)[1:-1], "ROOT")
    return text_digest(text)


def neutral_request(body: dict[str, Any]) -> dict[str, Any]:
    """Return the request with a neutral system prompt, and its files where Aider shows them. Contents of files stay as
    they are."""
    made = {name: value for name, value in body.items() if name not in CLIENT_FIELDS}
    for name in ("system", "systemInstruction", "system_instruction"):
        if name in made:
            made[name] = neutral_value(made[name])
    for name in ("messages", "contents"):
        if isinstance(made.get(name), list):
            made[name] = with_files_last(made[name])
    if isinstance(made.get("input"), list):
        made["input"] = [neutral_item(item) for item in made["input"]]
    if isinstance(listed := made.get("messages"), list):
        orders = ("system", "developer")
        made["messages"] = [
            neutral_value(one) if as_object(one).get("role") in orders else neutral_parts(one) for one in listed
        ]
    return made


def neutral_item(item: Any) -> Any:
    """Return an item of a responses request without the id and the date that its client has put in. What a model said
    keeps the ids by which calls and their results belong together."""
    if not isinstance(item, dict):
        return item
    item = {name: value for name, value in item.items() if name != "id"}
    if "output" in item:
        return item | {"output": neutral_output(item["output"])}
    return neutral_value(item) if describes_machine(item) else item


def neutral_output(value: Any) -> Any:
    """Return the output of a command without what differs each time that it is run."""
    if isinstance(value, list):
        return [part | {"text": neutral_output(part["text"])} if "text" in as_object(part) else part for part in value]
    return RUN_FACTS.sub(r"\1ANY", value) if isinstance(value, str) else value


def neutral_parts(message: Any) -> Any:
    """Return a message whose parts about the machine are neutral."""
    parts = as_object(message).get("content")
    if not isinstance(parts, list):
        return message
    return message | {"content": [neutral_value(part) if describes_machine(part) else part for part in parts]}


def describes_machine(part: Any) -> bool:
    return content_text(part).lstrip().startswith(ENVIRONMENT)


def with_files_last(messages: list[Any]) -> list[Any]:
    """Return the messages with Aider's list of files, and its answer, behind the turns that ended with an edit. Aider
    shows them there; ours shows unchanged files earlier, so that more of the prompt is cached."""
    texts = [(as_object(one).get("role"), content_text(one)) for one in messages]
    lists = (n for n, (role, text) in enumerate(texts) if role == "user" and text.startswith(FILE_LIST))
    if (found := next(lists, None)) is None:
        return messages
    after = max((n for n, said in enumerate(texts) if n > found and said in END_OF_TURN), default=found + 1) + 1
    return messages[:found] + messages[found + 2 : after] + messages[found : found + 2] + messages[after:]


def neutral_value(value: Any) -> Any:
    if isinstance(value, str):
        return MACHINE_FACTS.sub(r"\1ANY", value)
    if isinstance(value, dict):
        return {name: neutral_value(each) for name, each in value.items()}
    return [neutral_value(each) for each in value] if isinstance(value, list) else value


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_unredacted(request: RequestEnded) -> bool:
    """Whether a reply is the original. One with a redacted secret must not be given as if it were."""
    return bool(request.body) and request.digest in ("", text_digest(request.body))


@dataclass(frozen=True)
class RecordedReply:
    """One recorded exchange: a reply, or a final failure of the provider."""

    owner: str
    kind: str = ""
    body: str = ""
    failure: str = ""
    status: int = 0
    message: str = ""
    requests: int = 1
    is_complete: bool = True
    session_number: int = 0

    @property
    def is_own_failure(self) -> bool:
        """Whether the failure is ours, not the provider's. A reply that is unusable for an agent counts as ours."""
        return self.failure in OWN_FAILURES or (self.failure == "garbage" and not self.requests)


def reply_from_request(request: RequestEnded, task: int | None, session_number: int = 0) -> RecordedReply:
    return RecordedReply(
        request.role if task is None else f"agent{task}",
        *(request.type, request.body, request.failure, request.status, request.message, request.usage.requests),
        is_complete=bool(request.failure) or is_unredacted(request),
        session_number=session_number,
    )


@dataclass
class Recording:
    """Replies by identity. Repeated requests get their replies in the recorded order."""

    name: str = ""
    head: dict[str, Any] = field(default_factory=dict)
    agents: int = 0
    replies: dict[str, list[RecordedReply]] = field(default_factory=lambda: defaultdict(list))
    used: Counter[str] = field(default_factory=Counter)

    def next_reply(self, identity: str) -> RecordedReply | None:
        """Return the next reply; the last one again if there are more requests than recorded."""
        replies = self.replies.get(identity)
        if not replies:
            return None
        self.used[identity] += 1
        return replies[min(self.used[identity], len(replies)) - 1]

    def substitute_reply(self, owner: str) -> RecordedReply | None:
        """Return the recorded PRD for a changed request, so that the agents can be compared."""
        for identity, replies in self.replies.items():
            if self.used[identity] < len(replies) and replies[0].owner == owner and not replies[0].failure:
                return self.next_reply(identity)
        return None

    def take_unused(self, identity: str) -> RecordedReply | None:
        """Return the next reply, each only once: a request beyond the recorded ones is a new one."""
        replies = self.replies.get(identity, [])
        return self.next_reply(identity) if self.used[identity] < len(replies) else None

    def add_reply(self, identity: str, reply: RecordedReply) -> None:
        """Add a reply. Replies from a resumed session replace earlier ones."""
        if not reply.is_own_failure:
            kept = [each for each in self.replies[identity] if each.session_number == reply.session_number]
            self.replies[identity] = [*kept, reply]

    def add_again(self, identity: str, reply: RecordedReply) -> None:
        """Add a reply of this session, whose agent was lost."""
        self.replies[identity].append(reply)

    def count_unused(self) -> Counter[str]:
        """Count the replies per agent that were not requested, of the last session that has any."""
        everything = [reply for replies in self.replies.values() for reply in replies]
        last = {each.owner: each.session_number for each in sorted(everything, key=lambda each: each.session_number)}
        left = [reply for identity, replies in self.replies.items() for reply in replies[self.used[identity] :]]
        return Counter(reply.owner for reply in left if reply.session_number == last[reply.owner])


def load_recording(path: Path) -> Recording:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"The recording {path} cannot be read: {error.strerror}.") from None
    try:
        text = b"".join(text for text, _ in gzip_members(raw)) if raw.startswith(GZIP_MAGIC) else raw
        *lines, _ = text.split(b"\n")  # a torn last line is ignored
        head, *records = map(json.loads, lines)
        check_recording_version(path, head)
        recording, session_number = Recording(path.name, head), 0
        for record in records:
            session_number += "resumed" in record
            recording.agents = record.get("agents", recording.agents)
            if "identity" in record:
                request = read_record(RequestEnded, record)
                reply = reply_from_request(request, record.get("task"), session_number)
                recording.add_reply(request.identity, reply)
        return recording
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error):
        raise RecordingError(f"{path} is not a recording, or is damaged: record again with --record.") from None


def check_recording_version(path: Path, head: dict[str, Any]) -> None:
    version = head["tape"]
    if not isinstance(version, int) or version != RECORDING_VERSION:
        is_newer = isinstance(version, int) and version > RECORDING_VERSION
        remedy = "use a newer one" if is_newer else "record again with --record"
        raise RecordingError(
            f"The recording {path} has version {version!r}, and this program reads {RECORDING_VERSION}: {remedy}."
        )


def gzip_members(raw: bytes) -> Iterator[tuple[bytes, int]]:
    """Decompress a file member by member, as far as possible, with the end of each member."""
    rest = raw
    while rest:
        unpack = zlib.decompressobj(wbits=31)
        text = unpack.decompress(rest)
        if not unpack.eof:
            return
        rest = unpack.unused_data
        yield text, len(raw) - len(rest)


class Recorder:
    """Writes down a run while it goes on, from journal events, where secrets are already redacted."""

    def __init__(self, path: Path, recorded_seq: int = 0) -> None:
        """Start a recording; or continue it, for a run that is resumed after its event number `recorded_seq`."""
        self.recorded_seq = recorded_seq
        self.known: set[tuple[str, ...]] = set()
        self.late: set[tuple[int | None, int | None]] = set()
        self.problem = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
            begun = self.file.read() if path.is_file() else b"a device"
        except OSError as error:
            raise RecordingError(f"The recording {path} cannot be written: {error.strerror}.") from None
        if begun and not (recorded_seq and begun.startswith(GZIP_MAGIC)):
            self.close()
            raise RecordingError(f"{path} exists: a recording needs a new or empty file.")
        self.continue_file(path, begun)

    def continue_file(self, path: Path, begun: bytes) -> None:
        """Continue after the last whole line; what a crash tore off is restored from the journal."""
        end = max((end for _, end in gzip_members(begun)), default=0)
        if end:
            tape = load_recording(path)
            self.known = {("head",)} | {reply_key(name, each) for name, found in tape.replies.items() for each in found}
        self.file.truncate(end)
        self.file.seek(end)

    def record_event(self, event: Event) -> None:
        """Record an event. Of an earlier session only what the file has lost is written."""
        match event.payload:
            case RunStarted() as started if ("head",) not in self.known:
                options = {name: value for name, value in started.options.items() if name not in MACHINE_OPTIONS}
                about = {name: getattr(started, name) for name in ("change", "model", "base", "branch")}
                self.write_line({"tape": RECORDING_VERSION, "run": event.run, "options": options} | about)
            case RunResumed():
                self.write_line({"resumed": event.run})
            case PlanMade() as plan:
                self.write_line({"agents": plan.agents, "tasks": [task.id for task in plan.tasks]})
            case AttemptEnded(verdict=verdict) if policy_of(verdict).late_replies:
                self.late.add((event.task, event.attempt))
            case RequestEnded() as request:
                self.record_request(event, request, again=event.seq <= self.recorded_seq)

    def record_request(self, event: Event, request: RequestEnded, *, again: bool) -> None:
        if (event.task, event.attempt) in self.late:
            request = replace(request, failure="timeout", status=0, message=TOO_LATE_MESSAGE, type="", body="")
        name = reply_key(request.identity, reply_from_request(request, event.task))
        if (again or request.recalled) and name in self.known:
            return
        values = to_json_value(request)
        fields = {name: values[name] for name in RECORDED_FIELDS}
        self.write_line({"task": event.task, "attempt": event.attempt} | fields)
        self.known |= {name} if again else set()

    def write_line(self, record: dict[str, Any]) -> None:
        """Write a line. A full disk ends the recording, not the run."""
        line = json.dumps(record).encode("ascii") + b"\n"
        packer = zlib.compressobj(6, wbits=31)
        packed = packer.compress(line) + packer.flush()
        try:
            if not self.problem and self.file.write(packed) < len(packed):
                self.problem = "the disk is full"
        except OSError as error:
            self.problem = error.strerror or str(error)

    def close(self) -> None:
        self.file.close()


def reply_key(identity: str, reply: RecordedReply) -> tuple[str, ...]:
    return identity, reply.failure, text_digest(reply.body)
