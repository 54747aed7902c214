"""Real commits to replay: those that only add or modify a few text files, and what Aider has no words for in them."""

import itertools
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RECENT = 3_000
FEWEST, MOST = 2, 20
NEW = "000000"
REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class File:
    """One file of a commit; `before` is None when the commit adds it."""

    path: str
    mode: str
    before: bytes | None
    after: bytes

    @property
    def new(self) -> bool:
        return self.before is None

    @property
    def text(self) -> str:
        return self.after.decode()


@dataclass(frozen=True)
class Commit:
    repository: Path
    name: str
    id: str
    parent: str
    message: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Raw:
    """A line of git's raw diff."""

    old_mode: str
    mode: str
    old_blob: str
    blob: str
    path: str


def git(place: Path, *words: str, input: bytes | None = None) -> bytes:
    return subprocess.run(["git", *words], cwd=place, input=input, check=True, capture_output=True).stdout


def chosen(repository: Path, name: str, sizes: range, dice: random.Random) -> Iterator[Commit]:
    """The suitable ones among the recent commits, in the order of the dice, of as many files as `sizes` allows."""
    recent = [commit for commit in history(repository) if len(commit[1]) in sizes and suitable(commit[1])]
    dice.shuffle(recent)
    for id, raws in recent:
        if (commit := opened(repository, name, id, raws)) is not None:
            yield commit


def history(repository: Path) -> list[tuple[str, list[Raw]]]:
    """Each recent commit that is no merge, with its changes; renames count as what they are made of."""
    ids = git(repository, "rev-list", "--no-merges", "--min-parents=1", "-n", str(RECENT), "HEAD")
    words = iter(git(repository, "diff-tree", "--stdin", "-r", "-z", "--no-renames", input=ids).split(b"\0")[:-1])
    found: list[tuple[str, list[Raw]]] = []
    for word in words:
        if word.startswith(b":"):
            old_mode, mode, old_blob, blob, _ = word[1:].decode().split()
            found[-1][1].append(Raw(old_mode, mode, old_blob, blob, next(words).decode("utf-8", "surrogateescape")))
        else:
            found.append((word.decode(), []))
    return found


def suitable(raws: list[Raw]) -> bool:
    """Nothing is deleted, renamed, linked or made executable."""
    return all(raw.mode in REGULAR and raw.old_mode in (NEW, raw.mode) for raw in raws)


def opened(repository: Path, name: str, id: str, raws: list[Raw]) -> Commit | None:
    """The commit with its texts, or None when one of the files is not UTF-8 text."""
    if not all(complete(repository, version) for version in (id, f"{id}^")):
        print(f"{name} {id[:9]} is left out: this copy of the repository lacks some of its files", file=sys.stderr)
        return None
    wanted = itertools.chain.from_iterable((raw.old_blob, raw.blob) for raw in raws)
    blobs = contents(repository, [blob for blob in wanted if blob.strip("0")])
    if not all(map(is_text, blobs.values())):
        return None
    files = tuple(File(raw.path, raw.mode, blobs.get(raw.old_blob), blobs[raw.blob]) for raw in raws)
    parent, message = git(repository, "log", "-1", "--format=%P%x00%B", id).decode("utf-8", "replace").split("\0")
    return Commit(repository, name, id, parent, message.strip(), files)


def complete(repository: Path, version: str) -> bool:
    blobs = git(repository, "ls-tree", "-r", "--format=%(objecttype) %(objectname)", version).decode().splitlines()
    ids = "".join(f"{line.split()[1]}\n" for line in blobs if line.startswith("blob"))
    return b" missing\n" not in git(repository, "cat-file", "--batch-check", input=ids.encode())


def contents(repository: Path, blobs: list[str]) -> dict[str, bytes]:
    raw = git(repository, "cat-file", "--batch", input="".join(f"{blob}\n" for blob in blobs).encode())
    found, at = {}, 0
    for blob in blobs:
        start = raw.index(b"\n", at) + 1
        at = start + int(raw[at : start - 1].split()[-1])
        found[blob] = raw[start:at]
        at += 1
    return found


def is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def unsayable(file: File) -> str:
    """What Aider's edit formats have no words for in this file; empty when it can be said whole.

    They speak in whole lines that end with a line feed, and of nothing but text. The program gives an existing file
    back the line endings, the last line and the mode that it had.
    """
    before, after = file.before or b"", file.after
    if file.new and not after:
        return "a new file without content"
    if file.new and file.mode != REGULAR[0]:
        return "a new file that is executable"
    if before and not after:
        return "a file that is emptied"
    if unfinished(before) != unfinished(after):
        return "the end of the last line"
    if b"\r" in before + after and endings(before) != endings(after):
        return "line endings"
    return ""


def unfinished(content: bytes) -> bool:
    return bool(content) and not content.endswith((b"\n", b"\r"))


def endings(content: bytes) -> set[bytes]:
    lines = content.splitlines(keepends=True)
    return {line[len(line.rstrip(b"\r\n")) :] for line in lines} - {b""}


def sayable(content: bytes) -> bytes:
    """What is left of a file's content when that is taken away which Aider has no words for."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
