"""Aider turns every line ending into LF and ends every file with one. What it takes is given back, and no more."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.workspace.collect import restore_endings
from tests.support.sample import SOAK

many = settings(max_examples=5_000 if SOAK else 300)
ENDINGS = (b"\r\n", b"\n", b"\r")


def plain(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def through_aider(content: bytes) -> bytes:
    """What Aider writes for a content that it read."""
    read = plain(content)
    return read if not read or read.endswith(b"\n") else read + b"\n"


@pytest.mark.parametrize(
    ("base", "now", "whole"),
    [
        (b"one\ntwo\n", b"one\nTWO\n", b"one\nTWO\n"),
        (b"one\r\ntwo\r\n", b"one\nTWO\n", b"one\r\nTWO\r\n"),
        (b"one\r\ntwo\r\n", b"one\nnew\ntwo\n", b"one\r\nnew\r\ntwo\r\n"),
        (b"one\rtwo\r", b"one\nTWO\n", b"one\rTWO\r"),
        (b"one\ntwo", b"one\nTWO\n", b"one\nTWO"),
        (b"one\r\ntwo", b"one\nTWO\nthree\n", b"one\r\nTWO\r\nthree"),
        (b"one\rtwo", b"one\nTWO\n", b"one\rTWO"),
        (b"one\r\ntwo\nthree\r\n", b"one\nTWO\nthree\n", b"one\r\nTWO\nthree\r\n"),
        (b"one\r\ntwo\nthree\r\n", b"zero\none\ntwo\nthree\n", b"zero\r\none\r\ntwo\nthree\r\n"),
        (b"one\r\ntwo\nthree\r\n", b"two\nthree\n", b"two\nthree\r\n"),
        (b"\xef\xbb\xbfone\r\n", b"\xef\xbb\xbftwo\n", b"\xef\xbb\xbftwo\r\n"),
        (b"", b"all new\n", b"all new\n"),
        (b"one\ntwo", b"one\n", b"one"),
        (b"one", b"\n", b""),
        (b"one\r\n", b"", b""),
        (b"one\r\ntwo\r\n", b"one\r\nTWO\r\n", b"one\r\nTWO\r\n"),  # a model that says CRLF itself
        (b"one\r\ntwo", b"one\r\nTWO\r\n", b"one\r\nTWO"),
        (b"a\x0cb\r\nc\r\n", b"a\x0cb\nC\n", b"a\x0cb\r\nC\r\n"),
    ],
)
def test_by_hand(base: bytes, now: bytes, whole: bytes) -> None:
    assert restore_endings(base, now) == whole


@dataclass(frozen=True)
class Edit:
    """A file whose lines can be told apart, and the lines start:stop of it replaced by new ones."""

    lines: list[tuple[bytes, bytes]]  # text and ending
    start: int
    stop: int
    new: list[bytes]

    @property
    def base(self) -> bytes:
        return b"".join(text + ending for text, ending in self.lines)

    @property
    def now(self) -> bytes:
        texts = [text for text, _ in self.lines]
        texts[self.start : self.stop] = self.new
        return b"".join(text + b"\n" for text in texts)

    @property
    def whole(self) -> bytes:
        """A line in another's place has its ending, one too many the commonest (CRLF, LF, CR where there are two)."""
        endings = [ending for _, ending in self.lines]
        usual = max(ENDINGS, key=endings.count)
        own = endings[self.start : self.stop][: len(self.new)]
        own += [usual] * (len(self.new) - len(own))
        edited = list(zip(self.new, own, strict=True))
        lines = [*self.lines[: self.start], *edited, *self.lines[self.stop :]]
        whole = b"".join(text + (ending or usual) for text, ending in lines)
        if self.lines[-1][1]:
            return whole
        return whole.removesuffix(b"\n").removesuffix(b"\r") if whole.endswith(b"\n") else whole.removesuffix(b"\r")


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    size = draw(st.integers(1, 12))
    lines = [(b"line %d" % n, draw(st.sampled_from(ENDINGS))) for n in range(size)]
    if draw(st.booleans()):
        lines[-1] = (lines[-1][0], b"")
    start = draw(st.integers(0, size))
    stop = draw(st.integers(start, size))
    new = [b"new %d" % n for n in range(draw(st.integers(0, 4)))]
    return Edit(lines, start, stop, new)


@many
@given(edits())
def test_an_edit_of_whole_lines_changes_these_lines_only(edit: Edit) -> None:
    if b"\r" in edit.base:
        assert restore_endings(edit.base, edit.now) == edit.whole
    else:
        assert restore_endings(edit.base, edit.now) in (edit.now, edit.now.removesuffix(b"\n"))


# Little to choose from, so that lines repeat and endings meet in all ways.
contents = st.lists(st.sampled_from([b"a", b"b", b"", b" ", b"\x0c", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n"])).map(
    b"".join
)


@many
@given(contents)
def test_what_was_not_edited_comes_back_byte_by_byte(base: bytes) -> None:
    assert restore_endings(base, through_aider(base)) == base
    assert restore_endings(base, base) == base or not base.endswith((b"\n", b"\r"))


@many
@given(contents, contents)
def test_no_text_is_lost_and_no_ending_is_invented(base: bytes, wanted: bytes) -> None:
    now = through_aider(wanted)
    whole = restore_endings(base, now)
    open_ended = bool(base) and not base.endswith((b"\n", b"\r"))
    assert plain(whole) + (b"\n" if open_ended and now else b"") == now
    endings = {line[len(line.rstrip(b"\r\n")) :] for line in base.splitlines(keepends=True)} - {b""}
    used = {line[len(line.rstrip(b"\r\n")) :] for line in whole.splitlines(keepends=True)} - {b""}
    assert used <= (endings or {b"\n"})


def test_a_large_file_of_mixed_endings_is_restored_at_once() -> None:
    """Comparing such a file takes time by the square of its length, so what stayed must be found before that."""
    lines = [b"}" if n % 3 else b"line %d" % n for n in range(60_000)]
    base = b"".join(line + (b"\n" if n % 10 == 0 else b"\r\n") for n, line in enumerate(lines))
    now = b"".join(line + b"\n" for line in [*lines[:30_000], b"new", *lines[30_000:]])
    assert restore_endings(base, now) == base.replace(b"line 30000\n", b"new\r\nline 30000\n")
