"""Propose how a conflict may be solved, text by text. Other strategies of git solved none of 220 measured conflicts."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from orchestra.judge.decisive_files import is_test_path
from orchestra.merging.candidates import propose_merges
from orchestra.merging.trust import Candidate, Trust
from orchestra.workspace.git import Git, split_nul
from orchestra.workspace.trees import Trees, temporary_tree

REGULAR = ("100644", "100755")
STAGES = ("1", "2", "3")  # base, ours, theirs
MOST_PROPOSALS = 8
Stages = Mapping[str, tuple[str, str]]  # by stage: mode and blob


@dataclass(frozen=True)
class MergedFile:
    """A file in conflict, and how it was merged. The blobs: of the base, ours, theirs, and the merged one."""

    path: str
    blobs: tuple[str, str, str, str]
    name: str
    trust: Trust
    reason: str


@dataclass(frozen=True)
class ProposedMerge:
    """A tree with both sides, and its files that were in conflict."""

    tree: str
    files: tuple[MergedFile, ...]

    @property
    def trust(self) -> Trust:
        """How sure it is by its form: as its least sure file."""
        return max(file.trust for file in self.files)

    @property
    def name(self) -> str:
        names = {file.path: file.name for file in self.files}
        return "; ".join(f"{path}: {name}" for path, name in names.items()) if len(names) > 1 else self.files[0].name

    @property
    def reason(self) -> str:
        return " ".join(dict.fromkeys(file.reason for file in self.files))

    @property
    def key(self) -> frozenset[tuple[str, ...]]:
        """What it decides: equal for two merges that solve the same conflicts in the same way."""
        return frozenset((file.path, *file.blobs) for file in self.files)


async def propose_trees(trees: Trees, base: str, ours: str, theirs: str) -> tuple[ProposedMerge, ...]:
    """Return trees with both sides, the most trusted first. Empty: only an author can merge them."""
    async with temporary_tree(trees, f"solve-{theirs[:12]}", ours) as tree:
        code, _, err = await tree.git.attempt("merge-recursive", base, "--", ours, theirs)
        if code not in (0, 1):
            raise tree.git.as_error("merge-recursive", err)
        conflicts = await read_conflicts(tree.git)
        choices = await choose_texts(tree.git, conflicts)
        found = [await merged_by_texts(tree.git, conflicts, choice) for choice in choices]
    return tuple(sorted({each.key: each for each in found}.values(), key=lambda proposed: proposed.trust))


async def read_conflicts(git: Git) -> dict[str, Stages]:
    """Read the files in conflict from the index."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for line in split_nul(await git.raw("ls-files", "-u", "-z")):
        about, _, path = line.partition("\t")
        mode, blob, stage = about.split()
        found.setdefault(path, {})[stage] = (mode, blob)
    return dict(found)


def stage_blobs(stages: Stages) -> tuple[str, str, str]:
    base, ours, theirs = (stages[stage][1] if stage in stages else "" for stage in STAGES)
    return base, ours, theirs


async def choose_texts(git: Git, conflicts: Mapping[str, Stages]) -> Iterator[Mapping[str, Candidate]]:
    """Return choices of one candidate per file. There are none as soon as one file has none."""
    candidates: dict[str, Sequence[Candidate]] = {}
    for path, stages in sorted(conflicts.items()):
        base, ours, theirs = [await read_blob_text(git, blob) for blob in stage_blobs(stages)]
        if not merged_mode(stages) or base is None or ours is None or theirs is None:
            return iter(())
        candidates[path] = await asyncio.to_thread(propose_merges, path, base, ours, theirs)
        if not candidates[path]:
            return iter(())
    return islice(combine_choices(candidates), MOST_PROPOSALS)


def combine_choices(candidates: Mapping[str, Sequence[Candidate]]) -> Iterator[Mapping[str, Candidate]]:
    """List choices of one candidate per file: all first ones, then with another one in one file, then all second ones.
    All combinations would be too many."""
    if not candidates:
        return
    first = {path: found[0] for path, found in candidates.items()}
    yield first
    for path, found in candidates.items():
        yield from (first | {path: other} for other in found[1:])
    if len(candidates) > 1:
        for number in range(1, max(map(len, candidates.values()))):
            yield {path: found[min(number, len(found) - 1)] for path, found in candidates.items()}


async def merged_by_texts(git: Git, conflicts: Mapping[str, Stages], choice: Mapping[str, Candidate]) -> ProposedMerge:
    """Put the chosen texts into the index."""
    files, entries = list[MergedFile](), list[bytes]()
    for path, candidate in choice.items():
        text = candidate.text.encode("utf-8", "surrogateescape")
        blob = await git.text("hash-object", "-w", "--stdin", input=text)
        entries.append(f"{merged_mode(conflicts[path])} {blob} 0\t".encode() + os.fsencode(path) + b"\0")
        blobs = (*stage_blobs(conflicts[path]), blob)
        # Of tests it is enough that those of both sides are there and pass.
        trust = min(candidate.trust, Trust.BY_STRUCTURE) if is_test_path(path) else candidate.trust
        files.append(MergedFile(path, blobs, candidate.name, trust, candidate.reason))
    await git.raw("update-index", "-z", "--index-info", input=b"".join(entries))
    return ProposedMerge(await git.text("write-tree"), tuple(files))


async def drop_edit(git: Git, index: Path, commit: str, files: Sequence[MergedFile], *, ours: bool) -> str:
    """Return the tree without one side's edit of the merged files: ours, or theirs. Tests keep both."""
    git, entries = git.with_env(GIT_INDEX_FILE=str(index)), list[bytes]()
    await git.raw("read-tree", commit)
    for file in files:
        if is_test_path(file.path):
            continue
        mode = (await git.text("ls-files", "-s", "--", file.path)).split()[0]
        _, mine, yours, _ = file.blobs
        entries.append(f"{mode} {yours if ours else mine} 0\t".encode() + os.fsencode(file.path) + b"\0")
    await git.raw("update-index", "-z", "--index-info", input=b"".join(entries))
    return await git.text("write-tree")


async def diff_files(git: Git, old: str, new: str, paths: Sequence[str]) -> str:
    options = ("--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
    return await git.text("diff", *options, old, new, "--", *paths)


def merged_mode(stages: Stages) -> str:
    """Return the mode of a regular file that both sides have; if they differ, that of the side that changed it."""
    modes = {stage: mode for stage, (mode, _) in stages.items()}
    if not {"2", "3"} <= modes.keys() or any(mode not in REGULAR for mode in modes.values()):
        return ""
    base, ours, theirs = modes.get("1", modes["3"]), modes["2"], modes["3"]
    return theirs if ours == base else ours


async def read_blob_text(git: Git, blob: str) -> str | None:
    """Return a text; empty for a file that is not there, None for one that is no text."""
    try:
        return (await git.raw("cat-file", "blob", blob)).decode("utf-8") if blob else ""
    except UnicodeDecodeError:
        return None
