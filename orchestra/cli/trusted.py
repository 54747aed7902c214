"""Which files came with the repository, and to which settings files the user has consented (as direnv does it)."""

import hashlib
import json
import os
import stat
from pathlib import Path, PurePosixPath

from orchestra.errors import SettingsError
from orchestra.settings import SettingsFile
from orchestra.settings.trust import digest, named_files

ANSWERS = "trusted.json"
REGULAR = ("100644", "100755")
NOT_TRACKED = 1  # the exit code by which git says so; any other is no answer


def config_folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path("~/.config").expanduser()) / "aider-orchestrator"


# --- what came with the repository ----------------------------------------------------------------------------------


def may_be_anyones(root: Path, name: str) -> bool:
    """Whether git tracks the file, so that anyone who can commit may have written it. Without an answer it may be."""
    from orchestra.workspace.git import exit_code

    code = exit_code(root, "ls-files", "--error-unmatch", "--", name_on_disk(root, name))
    in_a_repository = any((folder / ".git").exists() for folder in (root, *root.parents))
    return code != NOT_TRACKED and in_a_repository


def name_on_disk(root: Path, name: str) -> str:
    """Where file systems take A for a, git tracks the file under the name that it really has."""
    names = os.listdir(root)
    return name if name in names else next((other for other in names if other.casefold() == name.casefold()), name)


def tracked_file(root: Path, name: str) -> bool:
    """Whether a path means a regular file of the repository that git tracks, by no link and no way around."""
    from orchestra.workspace.git import ask

    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        return False
    entry = ask(root, "ls-files", "-s", "-z", "--", str(path))
    rows = [row.partition("\t") for row in (entry or "").split("\0") if row]
    if not any(head.split()[0] in REGULAR and found == str(path) for head, _, found in rows):
        return False
    above = [root.joinpath(*path.parts[:n]) for n in range(1, len(path.parts))]
    return all(map(is_folder, above)) and is_regular(root / path)


def is_folder(path: Path) -> bool:
    return stat.S_ISDIR(mode_of(path))


def is_regular(path: Path) -> bool:
    return stat.S_ISREG(mode_of(path))


def mode_of(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


# --- consent --------------------------------------------------------------------------------------------------------


def holds(root: Path, file: SettingsFile) -> bool:
    """Whether the user has said yes to the file as it is now, and to what it names."""
    return answer(root, file) is True


def answer(root: Path, file: SettingsFile) -> bool | None:
    """What the user has said to it, if anything."""
    known = read_answers().get(str(root.resolve()))
    if not isinstance(known, dict) or known.get("digest") != digest_of(root, file):
        return None
    return known.get("trusted") is True


def digest_of(root: Path, file: SettingsFile) -> str:
    return digest(file, ((name, content_digest(root / name)) for name in named_files(file.table)))


def content_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except OSError:
        return "unreadable"


def remember(root: Path, file: SettingsFile, trusted: bool | None) -> None:
    """None forgets what was said."""
    answers = read_answers()
    answers.pop(str(root.resolve()), None)
    if trusted is not None:
        answers[str(root.resolve())] = {"digest": digest_of(root, file), "trusted": trusted}
    path = config_folder() / ANSWERS
    part = path.with_name(f".{ANSWERS}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", hint="Give --trust-repo instead.") from None


def read_answers() -> dict[str, object]:
    """A file that cannot be read is as good as none: then nothing is trusted."""
    try:
        found = json.loads((config_folder() / ANSWERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
