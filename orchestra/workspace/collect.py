"""Collect what an agent changed, restore line endings and modes, and commit it on its base."""

import contextlib
import difflib
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.judge.manifests import manifest_reader
from orchestra.judge.permit import EditDecision, Permit
from orchestra.workspace.git import Git, join_nul
from orchestra.workspace.repository import path_exists
from orchestra.workspace.trees import IGNORED, Tree, tree_status

MODE_EXECUTABLE = 0o111
NEW = "??"
AIDERS_OWN = ".aider."  # its caches, which some --aider-args make it write


@dataclass(frozen=True)
class Changes:
    """The paths that an agent changed since set-up, by what may be done with them.

    `protected` ones act by themselves and are refused; `notable` ones are accepted and named. Both have a reason.
    """

    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    protected: Mapping[str, str] = field(default_factory=dict)
    notable: Mapping[str, str] = field(default_factory=dict)

    @property
    def untaken(self) -> tuple[str, ...]:
        """The paths that are kept only as a patch."""
        return (*self.foreign, *self.protected)

    def __bool__(self) -> bool:
        return bool(self.own or self.untaken)


async def collect_changes(
    tree: Tree,
    owned: Iterable[str],
    owners: Mapping[str, int],
    permit: Permit | None = None,
    *,
    takes_all: bool = False,
) -> Changes:
    """Sort the changed paths. `own`: the task's files and those without an owner. `foreign`: another task's.
    `left_out`: what no commit can hold. Without a permit, as for a person's own work, nothing is protected.
    `takes_all`: the agent can delete files and change their modes and last lines, so it means to."""
    mine = set(owned)
    changed = await touched_paths(tree)
    reached = {path: code for path, code in changed.items() if not is_beyond_link(tree.path, path)}
    present = [path for path, code in reached.items() if code != IGNORED and is_text_file(tree.path / path)]
    gone = [path for path, code in reached.items() if takes_all and "D" in code and is_deleted(tree.path / path)]
    textual = [*present, *gone]
    attributes = [path for path in present if permit and is_gitattributes(path) and permit.refusal_for(path)]
    async with base_versions(tree, attributes):
        for path in present:
            await restore_form(tree, path, endings_only=takes_all)
        # Git decides last: it refuses some names, and what Aider takes from every file that it writes is no change.
        staged = await stage_paths(tree, [path for path in textual if path not in attributes])
    known = (*staged, *attributes)
    left_out = [path for path, code in changed.items() if path not in textual or (code == NEW and path not in known)]
    foreign = tuple(path for path in known if path in owners and path not in mine)
    others = [path for path in known if path not in foreign]
    edits = {path: await judge_path(tree, path, permit) for path in others} if permit else {}
    protected = {path: edit.refused for path, edit in edits.items() if edit.refused}
    notable = {path: edit.notable for path, edit in edits.items() if edit.notable and not edit.refused}
    own = tuple(path for path in others if path not in protected)
    return Changes(own, foreign, tuple(left_out), protected, notable)


async def judge_path(tree: Tree, path: str, permit: Permit) -> EditDecision:
    """Judge a path. Only a manifest's content matters, so git is not asked for any other."""
    if manifest_reader(path) is None:
        return permit.judge_edit(path, b"", b"")
    before, file = await read_original(tree, path), tree.path / path
    now = file.read_bytes() if file.is_file() else b""
    return permit.judge_edit(path, before[0] if before else b"", now)


def is_gitattributes(path: str) -> bool:
    return path.rpartition("/")[2].casefold() == ".gitattributes"


@contextlib.asynccontextmanager
async def base_versions(tree: Tree, paths: Collection[str]) -> AsyncIterator[None]:
    """Give these files their base version for a while: an agent's .gitattributes is refused, so it must not decide how
    other files are stored (as a pointer to a large file, in another encoding)."""
    written = {path: (tree.path / path).read_bytes() for path in paths if (tree.path / path).is_file()}
    try:
        for path in written:
            if before := await read_original(tree, path):
                (tree.path / path).write_bytes(before[0])
            else:
                (tree.path / path).unlink()
        yield
    finally:
        for path, content in written.items():
            (tree.path / path).write_bytes(content)


async def stage_paths(tree: Tree, paths: Iterable[str]) -> list[str]:
    """Stage these paths, and no others, on top of the base. Return those that differ from it."""
    if tree.index is None or tree.index_stamp() != tree.index:
        # --reset keeps the index's knowledge of which files are unchanged, without reading them.
        await tree.git.raw("read-tree", "--reset", tree.base)
    await update_index(tree, paths)
    return await tree.git.paths("diff-index", "--cached", "--name-only", "--no-renames", "-z", tree.base)


async def update_index(tree: Tree, paths: Iterable[str]) -> None:
    """Put these paths into the index as they are in the worktree. Deleted ones first: a file may have become a folder,
    or a folder a file."""
    listed = sorted(paths, key=lambda path: (tree.path / path).is_file())
    await tree.git.raw("update-index", "--add", "--remove", "-z", "--stdin", input=join_nul(listed))


async def touched_paths(tree: Tree) -> dict[str, str]:
    """Return the touched paths in order, with git's two status letters."""
    after = await tree_status(tree)
    touched = [path for path in sorted(after) if tree.before.get(path) != after[path]]
    return {path: after[path][0] for path in touched if not (after[path][0] == NEW and path.startswith(AIDERS_OWN))}


def is_text_file(path: Path) -> bool:
    """Whether it is a regular UTF-8 file. A deleted file is not: Aider cannot delete, so something else did."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_beyond_link(root: Path, path: str) -> bool:
    """Whether a folder of the path has been replaced by a symbolic link: what is there lies outside of the worktree."""
    return any((root / folder).is_symlink() for folder in Path(path).parents)


def is_deleted(path: Path) -> bool:
    """Whether the file is gone. A folder may be in its place."""
    return not path_exists(path) or (path.is_dir() and not path.is_symlink())


async def commit_changes(tree: Tree, changes: Changes, message: str, parent: str) -> str:
    """Make one commit of the accepted paths. By plumbing: no hooks, and not the user's index. Its parent is where the
    task began, which may precede the tree's base: all attempts at a task are one commit."""
    if changes.untaken:  # otherwise the index already holds just these
        async with base_versions(tree, list(filter(is_gitattributes, changes.protected))):
            await stage_paths(tree, changes.own)
    return await tree.git.commit_tree(await tree.git.text("write-tree"), parent, message)


async def binary_diff(git: Git, old: str, new: str) -> bytes:
    return await git.raw("diff", "--no-ext-diff", "--no-textconv", "--binary", "--no-renames", old, new, "--")


async def commit_everything(tree: Tree, changes: Changes) -> str:
    """Commit every change on the tree's base, also refused ones: for a patch."""
    async with base_versions(tree, list(filter(is_gitattributes, changes.protected))):
        await stage_paths(tree, changes.own)
    await update_index(tree, changes.untaken)
    written = await tree.git.text("write-tree")
    return await tree.git.text("commit-tree", written, "-p", tree.base, "-m", "All that was changed")


async def restore_form(tree: Tree, path: str, *, endings_only: bool = False) -> None:
    """Restore what Aider takes from a file: line endings, a missing final newline, mode."""
    found = tree.files.get(path) or await read_original(tree, path)
    if not found:
        return
    file = tree.path / path
    base, executable = found[0], found[1] & MODE_EXECUTABLE
    mode = file.stat().st_mode
    now = file.read_bytes()
    if endings_only:
        whole, wanted = match_line_endings(base, now) if b"\r" in base else now, mode
    else:
        whole, wanted = restore_endings(base, now), mode & ~MODE_EXECUTABLE | executable
    if whole != now:
        file.write_bytes(whole)
    if mode != wanted:
        file.chmod(wanted)


async def read_original(tree: Tree, path: str) -> tuple[bytes, int] | None:
    """Read the file of the base as this checkout shows it, which is what Aider read."""
    listed = await tree.git.maybe("ls-tree", tree.base, "--", path)
    code, base, _ = await tree.git.attempt("cat-file", "--filters", f"{tree.base}:{path}") if listed else (1, b"", b"")
    return None if code else (base, MODE_EXECUTABLE if listed.startswith("100755") else 0)


def restore_endings(base: bytes, now: bytes) -> bytes:
    """Return `now` with the line endings of `base`, and without a final newline if that has none."""
    if base and not base.endswith((b"\n", b"\r")):
        now = now.removesuffix(b"\n").removesuffix(b"\r")
    return match_line_endings(base, now) if b"\r" in base else now


def match_line_endings(base: bytes, now: bytes) -> bytes:
    """Give each line its old ending: a kept or replaced line has its own, a new line the most frequent one."""
    old = base.splitlines(keepends=True)
    bare = [line.rstrip(b"\r\n") for line in old]
    endings = [line[len(text) :] for line, text in zip(old, bare, strict=True)]
    usual = max((b"\r\n", b"\n", b"\r"), key=endings.count)
    lines = now.splitlines()
    given = {new: endings[old] for old, new in pair_lines(bare, lines)}
    ends = [given.get(n) or usual for n in range(len(lines))]
    if lines and not now.endswith((b"\n", b"\r")):
        ends[-1] = b""
    for n in range(1, len(lines)):
        if not lines[n] and ends[n - 1 : n + 1] == [b"\r", b"\n"]:
            ends[n] = b"\r"  # otherwise these two lines would become one that ends with CRLF
    return b"".join(line + end for line, end in zip(lines, ends, strict=True))


def pair_lines(old: list[bytes], new: list[bytes]) -> Iterator[tuple[int, int]]:
    """Pair each new line with the old line that it keeps or replaces."""
    head = count_equal_lines(old, new)
    tail = count_equal_lines(old[head:][::-1], new[head:][::-1])
    yield from ((n, n) for n in range(head))
    yield from ((len(old) - n, len(new) - n) for n in range(1, tail + 1))
    # The rest between them is short, unless the whole file was rewritten.
    differ = difflib.SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail])
    for _, a, a_end, b, b_end in differ.get_opcodes():
        yield from zip(range(head + a, head + a_end), range(head + b, head + b_end), strict=False)


def count_equal_lines(left: list[bytes], right: list[bytes]) -> int:
    """Count the equal lines at the start."""
    return next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
