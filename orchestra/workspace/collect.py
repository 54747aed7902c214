"""What an agent really changed, made whole again (line endings, modes) and committed on top of its base."""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.workspace.git import Git, joined
from orchestra.workspace.trees import IGNORED, Tree, status

MODE_EXECUTABLE = 0o111


@dataclass(frozen=True)
class Changes:
    """The paths an agent changed since the tree was furnished, by what may be done with them."""

    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.own or self.foreign)


async def changes(tree: Tree, owned: Iterable[str], owners: Mapping[str, int]) -> Changes:
    """Own are the task's files and those that nobody owns; foreign belong to another task; left out are links, ignored and non-text."""
    mine = set(owned)
    after = await status(tree)
    changed = [path for path in sorted(after) if tree.before.get(path) != after[path]]
    textual = {path for path in changed if after[path][0] != IGNORED and is_text(tree.path / path)}
    foreign = tuple(path for path in changed if path in textual and path in owners and path not in mine)
    own = tuple(path for path in changed if path in textual and path not in foreign)
    return Changes(own, foreign, tuple(path for path in changed if path not in textual))


def is_text(path: Path) -> bool:
    """A regular UTF-8 file. A deleted file is none: Aider cannot delete, so something else did."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


async def commit(tree: Tree, paths: Iterable[str], message: str) -> str:
    """One commit with these paths on top of the tree's base. Plumbing only, so neither hooks nor the index of the user take part."""
    git = tree.git
    for path in paths:
        await make_whole(git, tree, path)
    await git.raw("read-tree", tree.base)
    await git.raw("update-index", "--add", "-z", "--stdin", input=joined(list(paths)))
    written = await git.text("write-tree")
    return await git.text("commit-tree", written, "-p", tree.base, "-F", "-", input=message.encode())


async def diff(git: Git, old: str, new: str, paths: Iterable[str] = ()) -> bytes:
    return await git.raw("diff", "--no-ext-diff", "--no-textconv", "--binary", "--no-renames", old, new, "--", *paths)


async def loose_diff(tree: Tree, paths: Iterable[str]) -> bytes:
    """The diff of paths that are not to be committed, kept as a patch."""
    listed = list(paths)
    if not listed:
        return b""
    await tree.git.raw("read-tree", tree.base)
    await tree.git.raw("update-index", "--add", "--remove", "-z", "--stdin", input=joined(listed))
    return await tree.git.raw(
        "diff", "--cached", "--no-ext-diff", "--no-textconv", "--binary", "--no-renames", tree.base
    )


async def make_whole(git: Git, tree: Tree, path: str) -> None:
    """Give back what Aider takes from a file: its line endings, its missing final newline, its mode."""
    listed = await git.maybe("ls-tree", tree.base, "--", path)
    if not listed:
        return
    file = tree.path / path
    # --filters: the base as this checkout would show it, which is what Aider read.
    code, base, _ = await git.attempt("cat-file", "--filters", f"{tree.base}:{path}")
    if code:
        return
    now = file.read_bytes()
    whole = restored(base, now)
    if whole != now:
        file.write_bytes(whole)
    executable = MODE_EXECUTABLE if listed.startswith("100755") else 0
    os.chmod(file, file.stat().st_mode & ~MODE_EXECUTABLE | executable)


def restored(base: bytes, now: bytes) -> bytes:
    """`now` with the line endings of `base` where its lines are the base's, and their commonest one elsewhere."""
    if b"\r" in base and b"\r" not in now:
        now = with_endings(base, now)
    if base and not base.endswith((b"\n", b"\r")):
        now = now.removesuffix(b"\r\n") if now.endswith(b"\r\n") else now.removesuffix(b"\n")
    return now


def with_endings(base: bytes, now: bytes) -> bytes:
    old = base.splitlines(keepends=True)
    bare = [line.rstrip(b"\r\n") for line in old]
    endings = [line[len(text) :] for line, text in zip(old, bare, strict=True)]
    usual = max((b"\r\n", b"\n", b"\r"), key=endings.count)
    if all(ending in (usual, b"") for ending in endings):
        return now.replace(b"\n", usual)
    lines = now.split(b"\n")
    matcher = difflib.SequenceMatcher(None, bare, lines, autojunk=False)
    same = {b + i: endings[a + i] for a, b, size in matcher.get_matching_blocks() for i in range(size)}
    return b"".join(line + (same.get(i) or usual) for i, line in enumerate(lines[:-1])) + lines[-1]
