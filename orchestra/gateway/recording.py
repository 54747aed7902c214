"""Tapes: the exchanges of a run, found again by what was asked. A replayed run needs no provider at all.

A tape is JSON lines: a head that says whose tape it is, the plan, and a line per exchange. A recorder packs each line
by itself, so that whatever ends a recording tears at most its last line; a tape may also lie there unpacked.
"""

import hashlib
import json
import os
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
# What a request's event tells that a replay needs, or a person wants to know.
RECORDED_FIELDS = (
    "role",
    "provider",
    "model",
    "status",
    "failure",
    "message",
    "usage",
    "identity",
    "type",
    "body",
    "digest",
)
# Options that speak of the machine, not of the run.
MACHINE_OPTIONS = ("repo", "store", "record", "replay")
# These the program decides by itself, and will again.
OWN_FAILURES = ("cancelled", "gateway", "iterations", "budget", "tokens", "deadline", "drift", "key")
TOO_LATE_MESSAGE = "the attempt had ended before the answer came"
# What an agent's program says of its machine and of the day, line by line, in its orders.
MACHINE_FACTS = re.compile(r"^- (Platform|Shell|Language|Current date): .*$", re.MULTILINE)


def request_identity(dialect: str, path: str, body: dict[str, Any], root: str) -> str:
    """A digest of the request as any machine would send it on any day."""
    text = json.dumps([dialect, path.strip("/"), neutral_request(body)], sort_keys=True, ensure_ascii=False)
    if root:
        text = text.replace(json.dumps(root, ensure_ascii=False)[1:-1], "ROOT")
    return text_digest(text)


def neutral_request(body: dict[str, Any]) -> dict[str, Any]:
    """The request with neutral orders. What files say stays: another date in one of them makes another question."""
    made = dict(body)
    for name in ("system", "systemInstruction", "system_instruction"):
        if name in made:
            made[name] = neutral_value(made[name])
    if isinstance(listed := made.get("messages"), list):
        made["messages"] = [neutral_value(one) if is_order(one) else one for one in listed]
    return made


def is_order(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in ("system", "developer")


def neutral_value(value: Any) -> Any:
    if isinstance(value, str):
        return MACHINE_FACTS.sub(r"- \1: ANY", value)
    if isinstance(value, dict):
        return {name: neutral_value(each) for name, each in value.items()}
    return [neutral_value(each) for each in value] if isinstance(value, list) else value


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_unredacted(request: RequestEnded) -> bool:
    """Whether a reply is still what came. One that a secret was taken out of must not be given as if it were."""
    return bool(request.body) and request.digest in ("", text_digest(request.body))


@dataclass(frozen=True)
class RecordedReply:
    """One recorded exchange: a reply, or a final failure of the provider's."""

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
        """A failure of our own making, not the provider's. So is garbage that was a reply, but none for an agent."""
        return self.failure in OWN_FAILURES or (self.failure == "garbage" and not self.requests)


def reply_from_request(request: RequestEnded, task: int | None, session_number: int = 0) -> RecordedReply:
    return RecordedReply(
        asking_agent(task, request.role),
        request.type,
        request.body,
        request.failure,
        request.status,
        request.message,
        request.usage.requests,
        bool(request.failure) or is_unredacted(request),
        session_number,
    )


def asking_agent(task: int | None, role: str) -> str:
    return role if task is None else f"agent{task}"


@dataclass
class Recording:
    """Replies by identity. The same question asked twice gets its replies in the order in which they were given."""

    name: str = ""
    head: dict[str, Any] = field(default_factory=dict)
    agents: int = 0
    replies: dict[str, list[RecordedReply]] = field(default_factory=lambda: defaultdict(list))
    used: Counter[str] = field(default_factory=Counter)

    def next_reply(self, identity: str) -> RecordedReply | None:
        """The next reply, and the last one again for what is asked more often than it was."""
        replies = self.replies.get(identity)
        if not replies:
            return None
        self.used[identity] += 1
        return replies[min(self.used[identity], len(replies)) - 1]

    def substitute_reply(self, owner: str) -> RecordedReply | None:
        """For a PRD that was asked for otherwise: what was answered then, so that the agents can be compared."""
        for identity, replies in self.replies.items():
            if self.used[identity] < len(replies) and replies[0].owner == owner and not replies[0].failure:
                return self.next_reply(identity)
        return None

    def take_unused(self, identity: str) -> RecordedReply | None:
        """Like `find`, but each reply is given once: what is asked more often than before is a new question."""
        replies = self.replies.get(identity, [])
        return self.next_reply(identity) if self.used[identity] < len(replies) else None

    def add_reply(self, identity: str, reply: RecordedReply) -> None:
        """What a later sitting asked anew counts in place of what came before."""
        if not reply.is_own_failure:
            kept = [each for each in self.replies[identity] if each.session_number == reply.session_number]
            self.replies[identity] = [*kept, reply]

    def count_unused(self) -> Counter[str]:
        """How many replies of each agent's nobody has asked for, of the last sitting in which it was asked."""
        everything = [reply for replies in self.replies.values() for reply in replies]
        last = {
            reply.owner: reply.session_number for reply in sorted(everything, key=lambda reply: reply.session_number)
        }
        left = [reply for identity, replies in self.replies.items() for reply in replies[self.used[identity] :]]
        return Counter(reply.owner for reply in left if reply.session_number == last[reply.owner])


# --- from a file ----------------------------------------------------------------------------------------------------


def load_recording(path: Path) -> Recording:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"The tape {path} cannot be read: {error.strerror}.") from None
    try:
        head, *records = (json.loads(line) for line in split_whole_lines(raw))
        check_recording_version(path, head)
        return build_recording(path, head, records)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error):
        raise RecordingError(f"{path} is no tape, or a damaged one: record anew with --record.") from None


def check_recording_version(path: Path, head: dict[str, Any]) -> None:
    version = head["tape"]
    if not isinstance(version, int) or version != RECORDING_VERSION:
        remedy = (
            "use a newer one"
            if isinstance(version, int) and version > RECORDING_VERSION
            else "record anew with --record"
        )
        raise RecordingError(
            f"The tape {path} has version {version!r}, and this program reads {RECORDING_VERSION}: {remedy}."
        )


def build_recording(path: Path, head: dict[str, Any], records: Iterable[dict[str, Any]]) -> Recording:
    tape, sitting = Recording(path.name, head), 0
    for record in records:
        sitting += "resumed" in record
        tape.agents = record.get("agents", tape.agents)
        if "identity" in record:
            request = read_record(RequestEnded, record)
            tape.add_reply(request.identity, reply_from_request(request, record.get("task"), sitting))
    return tape


def split_whole_lines(raw: bytes) -> list[bytes]:
    """The lines of a tape. The last one may be torn, and then it was never there."""
    text = b"".join(text for text, _ in gzip_members(raw)) if raw.startswith(GZIP_MAGIC) else raw
    *lines, _ = text.split(b"\n")
    return lines


def gzip_members(raw: bytes) -> Iterator[tuple[bytes, int]]:
    """What gzip packed, piece by piece, as far as it goes, and where each piece ends."""
    rest = raw
    while rest:
        unpack = zlib.decompressobj(wbits=31)
        text = unpack.decompress(rest)
        if not unpack.eof:
            return
        rest = unpack.unused_data
        yield text, len(raw) - len(rest)


# --- to a file ------------------------------------------------------------------------------------------------------


class Recorder:
    """Writes down a run as it goes on: it listens to the journal, where secrets are taken out already."""

    def __init__(self, path: Path, past: int = 0) -> None:
        """A new tape; or for a run that is taken up again after its event number `past`, its tape continued."""
        self.past = past
        self.known: set[tuple[str, ...]] = set()
        self.late: set[tuple[int | None, int | None]] = set()
        self.problem = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
            begun = self.file.read() if path.is_file() else b"a device"
        except OSError as error:
            raise RecordingError(f"The tape {path} cannot be written: {error.strerror}.") from None
        if begun and not (past and begun.startswith(GZIP_MAGIC)):
            self.close()
            raise RecordingError(f"{path} is there already: a recording begins with a new file, or an empty one.")
        self.continue_file(path, begun)

    def continue_file(self, path: Path, begun: bytes) -> None:
        """Behind the last whole line; what a crash tore off is known from the journal."""
        end = max((end for _, end in gzip_members(begun)), default=0)
        if end:
            tape = load_recording(path)
            self.known = {("head",)} | {reply_key(name, each) for name, found in tape.replies.items() for each in found}
        self.file.truncate(end)
        self.file.seek(end)

    def record_event(self, event: Event) -> None:
        """Of an earlier session only what the tape has lost is written."""
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
                self.record_request(event, request, again=event.seq <= self.past)

    def record_request(self, event: Event, request: RequestEnded, *, again: bool) -> None:
        if (event.task, event.attempt) in self.late:
            request = replace(request, failure="timeout", status=0, message=TOO_LATE_MESSAGE, type="", body="")
        name = reply_key(request.identity, reply_from_request(request, event.task))
        if (again or request.recalled) and name in self.known:
            return
        told = to_json_value(request)
        self.write_line({"task": event.task, "attempt": event.attempt} | {name: told[name] for name in RECORDED_FIELDS})
        self.known |= {name} if again else set()

    def write_line(self, record: dict[str, Any]) -> None:
        """A full disk ends the recording, not the run."""
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
