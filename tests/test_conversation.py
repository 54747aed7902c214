"""Conversations: what is packed comes out again, without secrets and within its bounds."""

import random

import pytest

from orchestra.answers.conversation import (
    PACKED_LIMIT,
    Turn,
    pack_turns,
    reply_prose,
    turns_from_exchanges,
    unpack_turns,
)
from orchestra.events import Conversation


def same(text: str) -> str:
    return text


def test_repeated_messages_are_kept_once() -> None:
    first = [("system", "be brief"), ("user", "change a.py")]
    second = [*first, ("assistant", "done"), ("user", "that did not apply")]
    found = turns_from_exchanges([(first, "done"), (second, "now it does")])
    assert found == [Turn(tuple(first), "done"), Turn((("user", "that did not apply"),), "now it does")]
    assert unpack_turns(pack_turns(found, same)) == found


def test_secrets_are_gone_before_it_is_packed() -> None:
    kept = unpack_turns(
        pack_turns([Turn((("user", "key=hunter2"),), "hunter2!")], lambda text: text.replace("hunter2", "***"))
    )
    assert kept == [Turn((("user", "key=***"),), "***!")]


def test_a_huge_conversation_keeps_both_ends_of_its_texts() -> None:
    noise = random.Random(3).randbytes(3 * PACKED_LIMIT).hex()
    data = pack_turns([Turn((("user", f"START{noise}END"),), "a short reply")], same)
    (turn,) = unpack_turns(data)
    text = turn.asked[0][1]
    assert data.cut and len(data.packed) <= PACKED_LIMIT
    assert text.startswith("START") and text.endswith("END") and "left out" in text and turn.said == "a short reply"


@pytest.mark.parametrize("packed", ["", "no base64!", "AAAA"])
def test_what_cannot_be_read_is_no_conversation(packed: str) -> None:
    assert unpack_turns(Conversation(1, False, packed)) == []


SEARCH = "<<<<<<< SEARCH\na = 1\n=======\na = 2\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("", ""),
        ("Just words.\n\n- and\n- a list", "Just words.\n\n- and\n- a list"),
        (f"Before.\n\nsrc/a.py\n```python\n{SEARCH}\n```\n\nAfter.", "Before.\n\nAfter."),
        (f"Two:\n\na.py\n```python\n{SEARCH}\n```\n\nb.py\n````\n```\n{SEARCH}\n````\nDone.", "Two:\n\nDone."),
        (f"No fence:\n{SEARCH}\nDone.", "No fence:\n\nDone."),
        ("In whole:\n\nREADME.md\n```\n# Title\n```", "In whole:"),
        ("*** Begin Patch\n*** Update File: a.py\n-a\n+b\n*** End Patch\nDone.", "Done."),
        ("It ends in the middle of\n```python\na = 1", "It ends in the middle of"),
        ("This sentence stays.\n```\ncode\n```", "This sentence stays."),
        ("Inline `code` and a.py stay.", "Inline `code` and a.py stay."),
    ],
)
def test_prose_is_what_is_no_code(reply: str, words: str) -> None:
    assert reply_prose(reply) == words
