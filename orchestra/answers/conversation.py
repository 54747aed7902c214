"""The conversation of one attempt, small enough for an event: for `show`, the report and the next attempt."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestra.events import Conversation

PACKED_LIMIT = 1 << 20  # bytes, compressed
# Includes the line before the block if that is only a file name.
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
    """Make turns from the messages of each request, where a client repeats all old ones, and its reply."""
    found: list[Turn] = []
    known_messages: set[tuple[str, str]] = set()
    for messages, reply in exchanges:
        found.append(Turn(tuple(message for message in messages if message not in known_messages), reply))
        known_messages.update(messages)
        known_messages.add(("assistant", reply))
    return found


def pack_turns(turns: list[Turn], scrub: Callable[[str], str], limit: int = PACKED_LIMIT) -> Conversation:
    """Compress the turns without secrets and within the limit: the longest texts lose their middles first."""
    texts = [scrub(text) for turn in turns for text in (*(text for _, text in turn.asked), turn.said)]
    longest = max(map(len, texts), default=0)
    while len(packed := compress_turns(turns, texts, longest)) > limit and longest > 64:
        longest //= 2
    return Conversation(len(turns), any(len(text) > longest for text in texts), packed)


def unpack_turns(conversation: Conversation) -> list[Turn]:
    """Unpack the turns; empty if they are unreadable."""
    try:
        records = json.loads(zlib.decompress(base64.b64decode(conversation.packed)))
        return [Turn(tuple((str(role), str(text)) for role, text in asked), str(reply)) for asked, reply in records]
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error):
        return []


def compress_turns(turns: list[Turn], texts: list[str], longest: int) -> str:
    each = iter(texts)
    records = [
        [[[role, cut(next(each), longest)] for role, _ in turn.asked], cut(next(each), longest)] for turn in turns
    ]
    raw = json.dumps(records, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii")


def cut(text: str, longest: int) -> str:
    """Return the text, or its two ends."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}{LEFT_OUT_MARK.format(len(text) - 2 * half)}{text[-half:]}"


def reply_prose(reply: str) -> str:
    """Return the prose of a reply without code and edits."""
    words = FENCED_BLOCK.sub("\n", UNFENCED_EDIT.sub("\n", reply))
    return re.sub(r"\n\s*\n+", "\n\n", words).strip()
