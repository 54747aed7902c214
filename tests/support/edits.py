"""Say edits in Aider's formats, so that Aider 0.86.2 makes exactly these, and the scripts that say them to it.

Aider's parser has habits that a plain SEARCH/REPLACE block trips over (a heading underlined with seven `=`, a first
line that ends with the file's name, a last line that is empty); the blocks made here allow for all of them.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from typing import NamedTuple

from tests.support.modelserver import FENCE, Reply, Request

Respond = Callable[[Request], Reply]
Fence = tuple[str, str]
NEAR = 3  # lines between two changes that are worth a block each
SEPARATOR = re.compile(r"(={5,9}|>{5,9} REPLACE)\s*")


class CannotSay(ValueError):
    """Aider's format has no way to say this edit."""


class Change(NamedTuple):
    """The lines start:stop of the old text become the lines first:last of the new one."""

    start: int
    stop: int
    first: int
    last: int


def search_replace(path: str, old: str, new: str, fence: Fence = FENCE) -> str:
    """One block; an empty `old` makes a new file or appends to one."""
    opening, closing = fence
    search, replace = (_shielded(path, text, fence) for text in (old, new))
    return f"{path}\n{opening}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n{closing}\n"


def whole_file(path: str, text: str, fence: Fence = FENCE) -> str:
    lines = _lines(text)
    if any(line.startswith(fence) for line in lines):
        raise CannotSay(f"{path}: a line begins with the fence {fence[0]}")
    return f"{path}\n{fence[0]}\n{''.join(lines)}{fence[1]}\n"


def edit_from_to(path: str, before: str, after: str, fence: Fence = FENCE) -> str:
    """The blocks that turn `before` into `after`; line endings become LF, the last line gets one, as Aider does it."""
    old, new = _lines(before), _lines(after)
    if old == new:
        return ""
    if not new:
        raise CannotSay(f"{path}: SEARCH/REPLACE blocks cannot empty a file")
    mark = "~" + hashlib.sha256((before + after).encode()).hexdigest()[:10]
    try:
        return _said(path, _blocks(path, old, new, mark), fence)
    except CannotSay:  # too little to hold on to between the separators: mark the end, and then disguise them all
        end = mark + "\n"
        marked = "", end if before.endswith(("\n", "\r")) else "\n" + end
        return _said(path, [marked, *_blocks(path, [*old, end], new, mark, everywhere=True)], fence)


def _said(path: str, blocks: Iterable[tuple[str, str]], fence: Fence) -> str:
    return "\n".join(search_replace(path, *block, fence) for block in blocks)


def _lines(text: str) -> list[str]:
    """Lines as Aider cuts them: at a form feed and its like too."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return (text + "\n" if text and not text.endswith("\n") else text).splitlines(keepends=True)


def _sayable(line: str) -> bool:
    """A form feed becomes a newline in a block, and a separator would end it."""
    return line.endswith("\n") and not SEPARATOR.fullmatch(line.strip())


def _shielded(path: str, text: str, fence: Fence) -> str:
    """Put around the text what Aider's strip_quoted_wrapping takes away from it."""
    lines = _lines(text)
    for line in lines:
        if not _sayable(line):
            raise CannotSay(f"{path}: a SEARCH/REPLACE block cannot hold the line {line!r}")
    if not lines:
        return ""
    name = PurePosixPath(path).name
    if lines[-1] == "\n":
        lines.append("\n")
    if lines[0].startswith(fence[0]) and lines[-1].startswith(fence[1]):
        lines = [fence[0] + "\n", *lines, fence[1] + "\n"]
    if lines[0].strip().endswith(name):
        lines.insert(0, name + "\n")
    return "".join(lines)


def _blocks(
    path: str, old: list[str], new: list[str], mark: str, everywhere: bool = False
) -> Iterator[tuple[str, str]]:
    """Pairs of SEARCH and REPLACE, to be applied in this order.

    Separators among the changed lines are disguised first (`=====` as `=====~mark`), and unmasked at the end by
    blocks with `...`, the only ones that Aider applies to a part of a line. The marks are found in no other file:
    Aider tries a block that does not match yet on every file of the chat.
    """
    blank = not "".join(old).strip()
    changes = [Change(0, len(old), 0, len(new))] if blank else _changes(old, new, everywhere)
    masked, masks = list(old), []
    for at in [] if blank else _separators(old, [range(change.start, change.stop) for change in changes])[::-1]:
        bare, rest = old[at].rstrip(), _tail(path, old, masked, at)
        yield f"...\n{bare[-1]}{rest}", f"...\n{bare[-1]}{mark}-{at}~\n" + rest[rest.index("\n") + 1 :]
        masked[at] = f"{bare}{mark}-{at}~\n"
    new = list(new)
    for at in _separators(new, [range(change.first, change.last) for change in changes]):
        masks.append(f"{mark}+{at}~\n")
        new[at] = new[at][:-1] + masks[-1]
    yield from _fill(old, new, mark) if blank else _hunks(path, masked, new, changes)
    for mask in masks:
        yield f"...\n{mask}", "...\n\n"


def _separators(lines: list[str], places: list[range]) -> list[int]:
    return [at for place in places for at in place if SEPARATOR.fullmatch(lines[at].strip())]


def _tail(path: str, old: list[str], masked: list[str], at: int) -> str:
    """What follows the last character of a separator, as far as needed to make the two unique in the file.

    Unique now, and before anything was masked: Aider tries every block on the untouched file once.
    """
    bare = old[at].rstrip()
    tail = old[at][len(bare) :]
    for line in [*masked[at + 1 :], ""]:
        part = bare[-1] + tail
        if "".join(masked).count(part) == 1 and "".join(old).count(part) <= 1:
            return tail
        if not _sayable(line) or line.strip() == "...":
            break
        tail += line
    raise CannotSay(f"{path}: the line {old[at]!r} cannot be told from others like it")


def _fill(old: list[str], new: list[str], mark: str) -> Iterator[tuple[str, str]]:
    """Nothing to hold on to in an empty or blank file: append everything, then take the blank lines away."""
    if old:
        yield "", f"{mark}\n" + "".join(new)
        yield "".join(old) + f"{mark}\n", ""
    else:
        yield "", "".join(new)


def _changes(old: list[str], new: list[str], everywhere: bool) -> list[Change]:
    """What differs; changes with hardly a line between them are one."""
    changes: list[Change] = []
    for tag, *place in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        change = Change(*place)
        if tag == "equal":
            same = enumerate(old[change.start : change.stop]) if everywhere else ()
            starts = [(change.start + at, change.first + at) for at, line in same if SEPARATOR.fullmatch(line.strip())]
            changes += [Change(start, start + 1, first, first + 1) for start, first in starts]
            continue
        between = old[changes[-1].stop : change.start] if changes else []
        if between and len(between) <= NEAR and all(map(_sayable, between)):
            change = _joined(changes.pop(), change)
        changes.append(change)
    return changes


def _joined(upper: Change, lower: Change) -> Change:
    return Change(upper.start, lower.stop, upper.first, lower.last)


def _hunks(path: str, old: list[str], new: list[str], changes: list[Change]) -> Iterator[tuple[str, str]]:
    """From the last change to the first: what stands above a block is then still the old text when it is applied."""
    placed: list[tuple[Change, int, int]] = []
    while changes:
        change = changes.pop()
        stretch = _stretch(old, change, placed[-1][0].start if placed else len(old))
        if stretch:
            placed.append((change, *stretch))
        elif placed:
            changes.append(_joined(change, placed.pop()[0]))
        else:
            raise CannotSay(f"{path}: line {change.start + 1} cannot be told from others like it")
    for change, start, stop in placed:
        lines = old[start : change.start] + new[change.first : change.last] + old[change.stop : stop]
        yield "".join(old[start:stop]), "".join(lines)


def _stretch(old: list[str], change: Change, end: int) -> tuple[int, int] | None:
    """The change with so much around it, above and then below, that Aider finds it here and nowhere earlier."""
    start, stop = change.start, change.stop
    while not "".join(part := old[start:stop]).strip() or _first(old, part) != start:
        if start and _sayable(old[start - 1]):
            start -= 1
        elif stop < end and _sayable(old[stop]):
            stop += 1
        else:
            return None
    return start, stop


def _first(lines: list[str], part: list[str]) -> int:
    return next(at for at, line in enumerate(lines) if line == part[0] and lines[at : at + len(part)] == part)


# Scripts: what a ModelServer may answer.


def say(request: Request, path: str, before: str, after: str) -> str:
    """One edit in the format that the request asks for; empty when there is nothing to change."""
    if request.asks == "whole":
        return whole_file(path, after, request.fence) if _lines(before) != _lines(after) else ""
    return edit_from_to(path, before, after, request.fence)


def knows(edits: Mapping[str, str], new: Collection[str] | None = None) -> Respond:
    """Brings each file of the chat to the text that `edits` has for it, and makes those new files that the brief names.

    `new` tells which of the paths are new; without it every path that is not in the chat is taken for new, which is
    wrong where briefs also name the existing files of others.
    """

    def respond(request: Request) -> Reply:
        before = {path: text for path, text in request.files.items() if path in edits}
        made = [path for path in edits if path not in request.files and (new is None or path in new)]
        before |= {path: "" for path in made if names(request.brief, path)}
        return reply_with(request, [say(request, path, text, edits[path]) for path, text in before.items()])

    return respond


def appends(line: str) -> Respond:
    """Adds a line at the end of each file of the chat that does not end with it yet."""

    def longer(text: str) -> str:
        lines = _lines(text)
        return "".join(lines if lines[-1:] == [line + "\n"] else [*lines, line + "\n"])

    return lambda request: reply_with(
        request, [say(request, path, text, longer(text)) for path, text in request.files.items()]
    )


def edits_foreign(path: str, before: str, after: str, own: Respond | None = None) -> Respond:
    """Edits a file that is not in the chat, beside what `own` answers."""

    def respond(request: Request) -> Reply:
        foreign = say(request, path, request.files.get(path, before), after)
        return reply_with(request, [own(request).text if own else "", foreign])

    return respond


def malformed() -> Respond:
    """A block without a dividing line, for the first file of the chat."""

    def respond(request: Request) -> Reply:
        path = next(iter(request.files), "missing.txt")
        opening, closing = request.fence
        return reply_with(request, [f"{path}\n{opening}\n<<<<<<< SEARCH\nold\n>>>>>>> REPLACE\n{closing}\n"])

    return respond


def no_edits(text: str = "Nothing needs to change.") -> Respond:
    return lambda request: Reply(text)


def gemini_prd(text: str, otherwise: Respond) -> Respond:
    """Answers Gemini requests that do not come from Aider with `text`, and leaves the others to `otherwise`."""
    return lambda request: Reply(text) if request.dialect == "gemini" and not request.asks else otherwise(request)


def reply_with(request: Request, said: list[str]) -> Reply:
    if request.asks == "commit":
        return Reply("feat: make the requested change")
    said = [each for each in said if each]
    return Reply("\n".join(["Here is the change.\n", *said])) if said else Reply("Nothing needs to change.")


def names(text: str, path: str) -> bool:
    """Whether the text names this very path, not a longer one that holds it."""
    return bool(re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w/-]|\.\w)", text))
