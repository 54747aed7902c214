"""Which files came with the repository: whoever can commit may have written them."""

import os
import stat
from pathlib import Path, PurePosixPath

from orchestra.workspace.git import ask_git, git_exit_code

REGULAR = ("100644", "100755")
NOT_TRACKED = 1  # the exit code by which git says so; any other is no answer


def may_be_tracked(root: Path, name: str) -> bool:
    """Whether git tracks the file, so that anyone who can commit may have written it. Without an answer it may be."""
    code = git_exit_code(root, "ls-files", "--error-unmatch", "--", name_on_disk(root, name))
    in_a_repository = any((folder / ".git").exists() for folder in (root, *root.parents))
    return in_a_repository and (code != NOT_TRACKED or has_lost_index(root))


def has_lost_index(root: Path) -> bool:
    """Whether there are commits, and no list of what git tracks of them."""
    index = ask_git(root, "rev-parse", "--git-path", "index")
    return (
        index is not None and not (root / index).exists() and ask_git(root, "rev-parse", "--verify", "HEAD") is not None
    )


def is_from_repository(root: Path, path: Path) -> bool:
    """Whether any file came with this repository: in CI, the home folder may be the checkout."""
    place, root = path.parent.resolve() / path.name, root.resolve()
    return place.is_relative_to(root) and may_be_tracked(root, str(place.relative_to(root)))


def name_on_disk(root: Path, name: str) -> str:
    """Where file systems take A for a, git tracks the file under the name that it really has."""
    folder, base = (root / name).parent, PurePosixPath(name).name
    names = os.listdir(folder) if folder.is_dir() else []
    real = base if base in names else next((other for other in names if other.casefold() == base.casefold()), base)
    return str(PurePosixPath(name).with_name(real))


def is_tracked_regular(root: Path, name: str) -> bool:
    """Whether a path means a regular file of the repository that git tracks, by no link and no way around."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        return False
    entry = ask_git(root, "ls-files", "-s", "-z", "--", str(path))
    rows = [row.partition("\t") for row in (entry or "").split("\0") if row]
    if not any(head.split()[0] in REGULAR and found == str(path) for head, _, found in rows):
        return False
    above = [root.joinpath(*path.parts[:n]) for n in range(1, len(path.parts))]
    return all(map(is_folder, above)) and is_regular(root / path)


def is_folder(path: Path) -> bool:
    return stat.S_ISDIR(file_mode(path))


def is_regular(path: Path) -> bool:
    return stat.S_ISREG(file_mode(path))


def file_mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0
