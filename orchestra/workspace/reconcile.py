"""Try to solve a conflict: first by git's other strategies in a worktree, then text by text."""

import os
from dataclasses import dataclass

from orchestra.merging.candidates import Trust, propose_merges
from orchestra.workspace.git import Git, split_nul
from orchestra.workspace.trees import Tree, Trees, temporary_tree

# Other diff algorithms. Only white space at line ends is ignored: elsewhere it has a meaning.
STRATEGIES = {
    "patience": ("--diff-algorithm=patience",),
    "minimal": ("--diff-algorithm=minimal",),
    "line endings ignored": ("--ignore-space-at-eol",),
}
REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class ResolvedMerge:
    """A tree with both sides, and what solved the conflict."""

    tree: str
    how: str


async def reconcile_sides(trees: Trees, base: str, ours: str, theirs: str) -> ResolvedMerge | None:
    """Return a tree with both sides, or None: then both stay as they are, and a person must decide."""
    async with temporary_tree(trees, f"solve-{theirs[:12]}", ours) as tree:
        for how, options in STRATEGIES.items():
            if await try_merge(tree, options, base, ours, theirs):
                return ResolvedMerge(await tree.git.text("write-tree"), how)
        await try_merge(tree, (), base, ours, theirs)
        if await solve_texts(tree.git):
            return ResolvedMerge(await tree.git.text("write-tree"), "both edits kept")
    return None


async def try_merge(tree: Tree, options: tuple[str, ...], base: str, ours: str, theirs: str) -> bool:
    await tree.git.raw("read-tree", "--reset", "-u", ours)
    await tree.git.raw("clean", "-ffdxq")
    code, _, err = await tree.git.attempt("merge-recursive", *options, base, "--", ours, theirs)
    if code not in (0, 1):
        raise tree.git.as_error("merge-recursive", err)
    return code == 0


async def solve_texts(git: Git) -> bool:
    """Merge conflicting texts in the index by our own rules. Return False as soon as one cannot be merged."""
    stages: dict[str, dict[str, tuple[str, str]]] = {}
    for line in split_nul(await git.raw("ls-files", "-u", "-z")):
        about, _, path = line.partition("\t")
        mode, blob, stage = about.split()
        stages.setdefault(path, {})[stage] = (mode, blob)
    for path, sides in stages.items():
        mode = merged_mode(sides)
        texts = [await read_blob_text(git, blob) for _, (_, blob) in sorted(sides.items())]
        if not mode or None in texts:
            return False
        candidates = propose_merges(path, *[text or "" for text in texts])
        if not candidates or candidates[0].trust is Trust.BY_TESTS:
            return False
        blob = await git.text("hash-object", "-w", "--stdin", input=candidates[0].text.encode())
        entry = f"{mode} {blob} 0\t".encode() + os.fsencode(path) + b"\0"
        await git.raw("update-index", "-z", "--index-info", input=entry)
    return bool(stages)


def merged_mode(sides: dict[str, tuple[str, str]]) -> str:
    """Return the mode of a regular file that all three have; if they differ, that of the side that changed it."""
    if sorted(sides) != ["1", "2", "3"] or any(mode not in REGULAR for mode, _ in sides.values()):
        return ""
    base, ours, theirs = (sides[stage][0] for stage in "123")
    return theirs if ours == base else ours


async def read_blob_text(git: Git, blob: str) -> str | None:
    try:
        return (await git.raw("cat-file", "blob", blob)).decode("utf-8")
    except UnicodeDecodeError:
        return None
