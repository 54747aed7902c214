"""Changes of different files, laid over one another by one git process: a merge has nothing to decide between them."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestra.workspace.git import Git

REGULAR = (b"100644", b"100755")
ABSENT = b"000000"


@dataclass(frozen=True)
class Layer:
    """What a commit changes in its parent: by path the new mode and object. `plain`: it only adds and rewrites files,
    so that no merge could find a file that was moved."""

    files: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    plain: bool = True


@dataclass
class CombinedPaths:
    """What is changed so far, on which the next layer must not tread."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    plain: bool = True

    def can_apply(self, layer: Layer) -> bool:
        free = self.files.isdisjoint(layer.files) and self.folders.isdisjoint(layer.files)
        return self.plain and layer.plain and free and self.files.isdisjoint(folders_above(layer.files))

    def add(self, layer: Layer) -> None:
        self.files |= layer.files.keys()
        self.folders |= folders_above(layer.files)
        self.plain = self.plain and layer.plain


def folders_above(paths: Iterable[str]) -> set[str]:
    """All that must be folders where these are files."""
    return {path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"}


async def read_layers(git: Git, commits: Sequence[tuple[str, str]]) -> dict[str, Layer]:
    """By commit, given with its parent: all in one process."""
    if not commits:
        return {}
    asked = "".join(f"{commit} {parent}\n" for commit, parent in commits).encode()
    # A repository may say that its submodules are not to be looked at; a person may have moved one all the same.
    options = ("-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none")
    words = iter((await git.raw("diff-tree", "--stdin", *options, input=asked)).split(b"\0"))
    files: dict[str, dict[str, tuple[bytes, bytes]]] = {commit: {} for commit, _ in commits}
    odd, current = set(), ""
    for word in filter(None, words):
        if not word.startswith(b":"):
            current = word.decode()
            continue
        before, mode, _, blob, _ = word[1:].split()
        files[current][os.fsdecode(next(words))] = (mode, blob)
        if mode not in REGULAR or before not in (*REGULAR, ABSENT):
            odd.add(current)
    return {commit: Layer(changed, commit not in odd) for commit, changed in files.items()}


async def apply_layers(git: Git, head: str, wanted: Sequence[tuple[Layer, str]]) -> list[str]:
    """A commit for each layer and its message, one on top of the other, the first on top of the head."""
    author, committer = await asyncio.gather(*(git.raw("var", f"GIT_{who}_IDENT") for who in ("AUTHOR", "COMMITTER")))
    # Fast-import wants a branch to work on; at the end it is told to make none of it.
    branch = b"LAYERS"
    orders = [b"feature done\nreset %b\nfrom %b\n\n" % (branch, head.encode())]
    for layer, message in wanted:
        said = message.encode()
        orders.append(b"commit %b\nmark :1\nauthor %bcommitter %b" % (branch, author, committer))
        orders.append(b"data %d\n%b\n" % (len(said), said))
        orders += [b"M %b %b %b\n" % (*what, quote_for_import(path)) for path, what in layer.files.items()]
        orders.append(b"\nget-mark :1\n")
    orders.append(b"reset %b\nfrom %b\n\ndone\n" % (branch, b"0" * len(head)))
    # Where a file system takes two names for one, git's trees need not.
    code, out, err = await git.attempt("-c", "core.ignoreCase=false", "fast-import", "--quiet", input=b"".join(orders))
    if code:
        raise git.as_error("fast-import", err)
    return out.decode().split()


def quote_for_import(path: str) -> bytes:
    raw = os.fsencode(path)
    for sign in (b"\\", b'"'):
        raw = raw.replace(sign, b"\\" + sign)
    return b'"%b"' % raw.replace(b"\n", b"\\n")
