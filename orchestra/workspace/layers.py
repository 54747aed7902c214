"""Combine changes of separate files with one git process: a merge would have nothing to decide about them."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestra.workspace.git import Git

REGULAR = (b"100644", b"100755")
ABSENT = b"000000"


@dataclass(frozen=True)
class Layer:
    """What a commit changes in its parent: by path the new mode and object.

    `plain`: it only adds and rewrites files, so no merge could find a renamed file.
    """

    files: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    plain: bool = True


@dataclass
class CombinedPaths:
    """The paths changed so far, which the next commit must not touch."""

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
    """Return all paths that must be folders if these are files."""
    return {path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"}


async def read_layers(git: Git, commits: Sequence[tuple[str, str]]) -> dict[str, Layer]:
    """Read the changes of commits, given with their parents, in one process."""
    if not commits:
        return {}
    asked = "".join(f"{commit} {parent}\n" for commit, parent in commits).encode()
    # A repository may set its submodules to be ignored; a person may have moved one nevertheless.
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
    """Make a commit for each layer with its message, one on top of the other, the first on top of the head."""
    author, committer = await asyncio.gather(*(git.raw("var", f"GIT_{who}_IDENT") for who in ("AUTHOR", "COMMITTER")))
    # Fast-import needs a branch to work on; in the end it is told not to create it.
    branch = b"LAYERS"
    orders = [b"feature done\nreset %b\nfrom %b\n\n" % (branch, head.encode())]
    for layer, message in wanted:
        body = message.encode()
        orders.append(b"commit %b\nmark :1\nauthor %bcommitter %b" % (branch, author, committer))
        orders.append(b"data %d\n%b\n" % (len(body), body))
        for path, what in layer.files.items():
            quoted = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
            orders.append(b'M %b %b "%b"\n' % (*what, quoted))
        orders.append(b"\nget-mark :1\n")
    orders.append(b"reset %b\nfrom %b\n\ndone\n" % (branch, b"0" * len(head)))
    # A file system may take two names for one; git's trees need not.
    code, out, err = await git.attempt("-c", "core.ignoreCase=false", "fast-import", "--quiet", input=b"".join(orders))
    if code:
        raise git.as_error("fast-import", err)
    return out.decode().split()
