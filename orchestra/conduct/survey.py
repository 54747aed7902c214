"""What the repository holds under the names that somebody gave: text that Aider can edit, or why not."""

from collections.abc import Collection, Mapping

from orchestra.plan.targets import Tracked, has_glob
from orchestra.workspace.repository import LINK, SUBMODULE, Entry, Repository

BINARY_LOOK = 8_000
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def by_mode(entries: Mapping[str, Entry]) -> dict[str, Tracked]:
    """The tracked files by what git's tree alone tells of them."""
    kinds = {LINK: "link", SUBMODULE: "submodule"}
    return {e.path: Tracked(e.path, e.size, kinds.get(e.mode, "text")) for e in entries.values()}


async def survey(repository: Repository, entries: Mapping[str, Entry], wanted: Collection[str]) -> dict[str, Tracked]:
    """The tracked files by kind; only the wanted ones are opened to see whether they are text."""
    tracked = by_mode(entries)
    opened = await contents(repository, [entries[path] for path in wanted if tracked[path].kind == "text"])
    for path, content in opened.items():
        tracked[path] = Tracked(path, tracked[path].size, kind(path, content))
    return tracked


def kind(path: str, content: bytes) -> str:
    if not speakable(path):
        return "name"
    if content.startswith(LFS_POINTER):
        return "lfs"
    return "text" if is_utf8(content) else "binary"


def speakable(path: str) -> bool:
    """Whether a model can say this name in a line of its own."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.splitlines() == [path]


def is_utf8(content: bytes) -> bool:
    if b"\0" in content[:BINARY_LOOK]:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


async def contents(repository: Repository, entries: Collection[Entry]) -> dict[str, bytes]:
    """Many blobs by one git process."""
    if not entries:
        return {}
    asked = "".join(f"{entry.blob}\n" for entry in entries).encode()
    raw = await repository.git.raw("cat-file", "--batch", input=asked)
    found, at = {}, 0
    for entry in entries:
        start = raw.index(b"\n", at) + 1
        size = int(raw[at : start - 1].split()[-1])
        found[entry.path] = raw[start : start + size]
        at = start + size + 1
    return found


async def absence(repository: Repository, path: str, tracked: Mapping[str, Tracked]) -> str:
    """What a name is that is no tracked file; nothing where there is no more to say than that nothing matches."""
    for above in parents(path):
        place = tracked.get(above)
        if place is not None and place.kind == "submodule":
            return f"it lies in the submodule {above}; run inside it"
        if place is not None and place.kind == "link":
            return f"it lies behind the symbolic link {above}; name the file itself"
    if ".git" in path.split("/"):
        return "it belongs to git, not to what git tracks"
    if await repository.ignored(path):
        return "git ignores it, so its change could not be committed"
    found = repository.look_at(path)
    if found == "link":
        return "it is a symbolic link; name the file it points to"
    if found == "file":
        return "it is not committed yet, and agents work on HEAD. Commit it first"
    return "" if found == "folder" or has_glob(path) else "there is no such file in the repository"


def parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
