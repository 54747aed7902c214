"""Which files came with the repository, so that everyone who can commit may have written them."""

import os
import stat
from pathlib import Path, PurePosixPath

from orchestra.workspace.git import ask_git, git_exit_code

REGULAR = ("100644", "100755")
NOT_TRACKED = 1  # git's exit code for that; any other one is no answer


def may_be_tracked(root: Path, name: str) -> bool:
    """Whether git tracks the file. True without an answer."""
    code = git_exit_code(root, "ls-files", "--error-unmatch", "--", name_on_disk(root, name))
    in_a_repository = any((folder / ".git").exists() for folder in (root, *root.parents))
    return in_a_repository and (code != NOT_TRACKED or has_lost_index(root))


def has_lost_index(root: Path) -> bool:
    """Whether there are commits but no index."""
    index = ask_git(root, "rev-parse", "--git-path", "index")
    is_lost = index is not None and not (root / index).exists()
    return is_lost and ask_git(root, "rev-parse", "--verify", "HEAD") is not None


def is_from_repository(root: Path, path: Path) -> bool:
    """Whether a file may have come with this repository: in CI, the home folder may be the checkout."""
    real_path, root = path.parent.resolve() / path.name, root.resolve()
    return real_path.is_relative_to(root) and may_be_tracked(root, str(real_path.relative_to(root)))


def name_on_disk(root: Path, name: str) -> str:
    """Return the real name of a file, for file systems that take A for a: git tracks it under that."""
    folder, base = (root / name).parent, PurePosixPath(name).name
    names = os.listdir(folder) if folder.is_dir() else []
    real = base if base in names else next((other for other in names if other.casefold() == base.casefold()), base)
    return str(PurePosixPath(name).with_name(real))


def is_tracked_regular(root: Path, name: str) -> bool:
    """Whether a path is a tracked regular file of the repository, reached by no link and no detour."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        return False
    entry = ask_git(root, "ls-files", "-s", "-z", "--", str(path))
    rows = [row.partition("\t") for row in (entry or "").split("\0") if row]
    if not any(head.split()[0] in REGULAR and found == str(path) for head, _, found in rows):
        return False
    above = [root.joinpath(*path.parts[:n]) for n in range(1, len(path.parts))]
    return all(stat.S_ISDIR(file_mode(folder)) for folder in above) and stat.S_ISREG(file_mode(root / path))


def file_mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0
