"""What was said in one attempt, packed small enough to stand in an event: for `show`, the report and the next try."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestra.events import Conversation

PACKED_LIMIT = 1 << 20  # bytes, packed
# With the line before it, where that is nothing but a file's name.
FENCED_BLOCK = re.compile(
    r"(?:^[^\s`]*[./][^\s`]*[ \t]*\n)?^(`{3,}|~{3,})[^\n]*\n.*?(?:^\1[`~]*[ \t]*$|\Z)", re.M | re.S
)
UNFENCED_EDIT = re.compile(
    r"^<{5,9} SEARCH\b.*?^>{5,9} REPLACE\b[^\n]*$|^\*\*\* Begin Patch.*?^\*\*\* End Patch[^\n]*$", re.M | re.S
)
LEFT_OUT_MARK = "[… {} characters left out …]"


@dataclass(frozen=True)
class Turn:
    """One request and its reply. `asked` holds only the messages that no earlier request had: (role, text) each."""

    asked: tuple[tuple[str, str], ...]
    said: str


def turns_from_exchanges(exchanges: Iterable[tuple[list[tuple[str, str]], str]]) -> list[Turn]:
    """From each request's whole list of messages and its reply. A client repeats the old messages every time."""
    found: list[Turn] = []
    before: set[tuple[str, str]] = set()
    for messages, reply in exchanges:
        found.append(Turn(tuple(message for message in messages if message not in before), reply))
        before.update(messages)
        before.add(("assistant", reply))
    return found


def pack_turns(said: list[Turn], scrub: Callable[[str], str], limit: int = PACKED_LIMIT) -> Conversation:
    """Without secrets, compressed, and within the limit: the longest texts lose their middles first."""
    texts = [scrub(text) for turn in said for text in (*(text for _, text in turn.asked), turn.said)]
    longest = max(map(len, texts), default=0)
    while len(packed := compress_turns(said, texts, longest)) > limit and longest > 64:
        longest //= 2
    return Conversation(len(said), any(len(text) > longest for text in texts), packed)


def unpack_turns(conversation: Conversation) -> list[Turn]:
    """Empty when there is nothing that can be read."""
    try:
        records = json.loads(zlib.decompress(base64.b64decode(conversation.packed)))
        return [Turn(tuple((str(role), str(text)) for role, text in asked), str(reply)) for asked, reply in records]
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error):
        return []


def compress_turns(said: list[Turn], texts: list[str], longest: int) -> str:
    each = iter(texts)
    records = [
        [[[role, cut(next(each), longest)] for role, _ in turn.asked], cut(next(each), longest)] for turn in said
    ]
    raw = json.dumps(records, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii")


def cut(text: str, longest: int) -> str:
    """The text, or its two ends."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}{LEFT_OUT_MARK.format(len(text) - 2 * half)}{text[-half:]}"


def reply_prose(reply: str) -> str:
    """What a reply says beside its code and its edits."""
    words = FENCED_BLOCK.sub("\n", UNFENCED_EDIT.sub("\n", reply))
    return re.sub(r"\n\s*\n+", "\n\n", words).strip()
