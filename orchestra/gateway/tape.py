"""Tapes: the replies of a run, found again by what was asked. A replayed run needs no provider at all."""

import hashlib
import json
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

VERSION = 1


def identity(dialect: str, path: str, body: dict[str, Any], root: str) -> str:
    """A digest of the request as any machine would send it: without the worktree's own place."""
    text = json.dumps([dialect, path.strip("/"), body], sort_keys=True, ensure_ascii=False)
    if root:
        text = text.replace(json.dumps(root, ensure_ascii=False)[1:-1], "ROOT")
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Tape:
    """Replies by identity. The same question asked twice gets its replies in the order in which they were given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, deque[tuple[str, str]]] = defaultdict(deque)

    @classmethod
    def load(cls, path: Path) -> "Tape":
        tape = cls(path)
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            record = json.loads(line)
            tape.replies[record["identity"]].append((record["type"], record["body"]))
        return tape

    @classmethod
    def create(cls, path: Path) -> "Tape":
        path.write_text(json.dumps({"tape": VERSION}) + "\n", encoding="utf-8")
        return cls(path)

    def find(self, identity: str) -> tuple[str, bytes] | None:
        replies = self.replies.get(identity)
        if not replies:
            return None
        kind, body = replies.popleft() if len(replies) > 1 else replies[0]
        return kind, body.encode()

    def remember(self, identity: str, kind: str, body: str) -> None:
        self.replies[identity].append((kind, body))

    def take(self, identity: str) -> tuple[str, bytes] | None:
        """Like `find`, but each reply is given once: what is asked more often than before is a new question."""
        replies = self.replies.get(identity)
        if not replies:
            return None
        kind, body = replies.popleft()
        return kind, body.encode()

    def add(self, identity: str, kind: str, raw: bytes, about: str) -> None:
        record = {"identity": identity, "about": about, "type": kind, "body": raw.decode("utf-8", "replace")}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
