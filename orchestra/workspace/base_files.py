"""Make trees in which some files have another commit's version, in the object database without a checkout."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.workspace.git import Git, split_contents, split_nul
from orchestra.workspace.layers import folders_above

GONE = "0 " + "0" * 40
REGULAR = "100644"


@dataclass(frozen=True)
class FileListing:
    """The files of a commit by path, each with its mode and object."""

    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __contains__(self, path: str) -> bool:
        return path in self.files


async def list_files(git: Git, commit: str, paths: Sequence[str] = ()) -> FileListing:
    """List all files of a commit, or those of the given paths that it has."""
    found = {}
    for entry in split_nul(await git.raw("ls-tree", "-r", "-z", commit, "--", *paths)):
        words, _, path = entry.partition("\t")
        mode, _, blob = words.split()
        found[path] = (mode, blob)
    return FileListing(found)


def differing_paths(base: FileListing, now: FileListing) -> list[str]:
    """Return the paths that differ, in content or mode."""
    return sorted(path for path in base.files.keys() | now.files.keys() if base.files.get(path) != now.files.get(path))


def add_obstacles(paths: Iterable[str], base: FileListing, now: FileListing) -> list[str]:
    """Add the paths that stand in the way: a link where the base has a folder, a folder where it has a file."""
    wanted = set(paths)
    links = folders_above(wanted & base.files.keys()) & now.files.keys()
    inside = {path for path in now.files if path not in base and not wanted.isdisjoint(folders_above([path]))}
    return sorted(wanted | links | inside)


async def commit_base_versions(
    git: Git,
    index: Path,
    commit: str,
    paths: Sequence[str],
    base: FileListing,
    now: FileListing,
    contents: Mapping[str, bytes] | None = None,
) -> str:
    """Commit a tree in which these paths are as in the base (or absent), and others have these contents. `index`: a
    file of ours, so that no other index is touched."""
    contents = contents or {}
    index.unlink(missing_ok=True)
    mine = git.with_env(GIT_INDEX_FILE=str(index))
    await mine.raw("read-tree", commit)
    changed = add_obstacles(paths, base, now)
    # Remove what stands in the way before anything takes its place.
    lines = [f"{GONE}\t{path}" for path in changed]
    lines += [f"{mode} {blob}\t{path}" for path in changed if path in base for mode, blob in [base.files[path]]]
    for path, content in contents.items():
        blob = (await mine.raw("hash-object", "-w", "--stdin", input=content)).decode().strip()
        mode = now.files[path][0] if path in now else REGULAR
        lines.append(f"{mode} {blob}\t{path}")
    await mine.raw("update-index", "-z", "--index-info", input=b"".join(os.fsencode(line) + b"\0" for line in lines))
    tree = await mine.text("write-tree")
    index.unlink(missing_ok=True)
    who = {f"GIT_{role}_{what}": "aider-orchestrator" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return await git.with_env(**who).text("commit-tree", tree, "-p", commit, "-m", "With the base's tests")


async def read_files(git: Git, listing: FileListing, paths: Collection[str]) -> dict[str, bytes]:
    """Read those of the paths that are regular files there."""
    found = [path for path in paths if path in listing and listing.files[path][0].startswith("100")]
    if not found:
        return {}
    asked = "".join(f"{listing.files[path][1]}\n" for path in found).encode()
    raw = await git.raw("cat-file", "--batch", "--buffer", input=asked)
    return dict(zip(found, split_contents(raw, found), strict=True))
