"""To which committed settings files the user has consented: kept in their config folder, as direnv does it."""

import hashlib
import json
import os
from pathlib import Path

from orchestra.cli.folder import config_folder
from orchestra.errors import SettingsError
from orchestra.settings import SettingsFile
from orchestra.settings.trust import files_named_in, trust_digest

ANSWERS = "trusted.json"


def is_file_trusted(root: Path, file: SettingsFile) -> bool:
    """Whether the user has said yes to the file as it is now, and to what it names."""
    return recall_answer(root, file) is True


def recall_answer(root: Path, file: SettingsFile) -> bool | None:
    """What the user has said to it, if anything."""
    known = read_answers(root).get(str(root.resolve()))
    if not isinstance(known, dict) or known.get("digest") != file_digest(root, file):
        return None
    return known.get("trusted") is True


def file_digest(root: Path, file: SettingsFile) -> str:
    return trust_digest(file, ((name, content_digest(root / name)) for name in files_named_in(file.table)))


def content_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except OSError:
        return "unreadable"


def write_answer(root: Path, file: SettingsFile, trusted: bool | None) -> None:
    """None forgets what was said."""
    answers = read_answers(root)
    answers.pop(str(root.resolve()), None)
    if trusted is not None:
        answers[str(root.resolve())] = {"digest": file_digest(root, file), "trusted": trusted}
    path = config_folder() / ANSWERS
    part = path.with_name(f".{ANSWERS}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", hint="Give --trust-repo instead.") from None


def read_answers(root: Path) -> dict[str, object]:
    """A file that cannot be read is as good as none: then nothing is trusted."""
    path = config_folder() / ANSWERS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    from orchestra.workspace.tracked import is_from_repository

    if is_from_repository(root, path):
        return {}
    return found if isinstance(found, dict) else {}
