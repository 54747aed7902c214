"""Send commits from one repository to another as packs, without a ref and without what the other one has."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestra.workspace.git import Git


async def make_pack(git: Git, commits: Iterable[str], known: Iterable[str]) -> bytes:
    """Pack the commits with their trees and files. What the `known` commits hold is left out: the receiver has it."""
    there = set(known)
    wanted = [commit for commit in dict.fromkeys(commits) if commit and commit not in there]
    if not wanted:
        return b""
    # Without bitmaps git leaves out only what the known commits themselves hold, not what their history holds.
    asked = "\n".join([*wanted, *(f"^{commit}" for commit in there)]) + "\n"
    words = ("pack-objects", "-q", "--revs", "--thin", "--stdout", "--delta-base-offset", "--no-use-bitmap-index")
    return await git.raw(*words, input=asked.encode())


async def make_base_pack(git: Git, commit: str) -> bytes:
    """Pack a commit with its tree and files, without its history."""
    objects = await git.raw("rev-list", "--objects", "--no-object-names", "--no-walk", commit)
    return await git.raw("pack-objects", "-q", "--stdout", "--delta-base-offset", input=objects)


async def store_pack(git: Git, pack: bytes) -> None:
    """Store a pack as it is. No ref is changed."""
    if pack:
        await git.raw("index-pack", "--stdin", "--fix-thin", input=pack)


async def unpack_objects(git: Git, pack: bytes) -> None:
    """Store the objects of a small pack one by one, and refuse what is broken or leads to objects that are missing."""
    if pack:
        await git.raw("unpack-objects", "-q", "--strict", input=pack)


async def make_mirror(folder: Path, object_format: str, config: str, extra: Mapping[str, str], base: str) -> Git:
    """Make a bare repository for the commits of a run, which begin at `base`."""
    folder.mkdir(parents=True)
    git = Git(folder, extra)
    await git.raw("init", "--quiet", "--bare", f"--object-format={object_format}", ".")
    with (folder / "config").open("a", encoding="utf-8") as file:
        file.write(config)
    (folder / "shallow").write_text(f"{base}\n", encoding="ascii")
    return git
