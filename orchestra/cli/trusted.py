"""The user's consent to committed settings files, stored in their config folder, as direnv does it."""

import hashlib
import json
from pathlib import Path

from orchestra.cli.folder import config_folder
from orchestra.errors import SettingsError
from orchestra.process import replace_file
from orchestra.settings import SettingsFile
from orchestra.settings.trust import files_named_in, trust_digest

ANSWERS = "trusted.json"


def recall_answer(root: Path, file: SettingsFile) -> bool | None:
    """Return the user's answer for the present content of the file and of the files that it names; None if there is
    none."""
    answer = read_answers(root).get(str(root.resolve()))
    if not isinstance(answer, dict) or answer.get("digest") != file_digest(root, file):
        return None
    return answer.get("trusted") is True


def file_digest(root: Path, file: SettingsFile) -> str:
    return trust_digest(file, ((name, content_digest(root / name)) for name in files_named_in(file.table)))


def content_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except OSError:
        return "unreadable"


def write_answer(root: Path, file: SettingsFile, trusted: bool | None) -> None:
    """Store the answer; None deletes it."""
    answers = read_answers(root)
    answers.pop(str(root.resolve()), None)
    if trusted is not None:
        answers[str(root.resolve())] = {"digest": file_digest(root, file), "trusted": trusted}
    path = config_folder() / ANSWERS
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, f"{json.dumps(answers, indent=1, sort_keys=True)}\n".encode())
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", hint="Give --trust-repo instead.") from None


def read_answers(root: Path) -> dict[str, object]:
    """Return the stored answers: none if the file cannot be read, or may have come with the repository."""
    path = config_folder() / ANSWERS
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    from orchestra.workspace.tracked import is_from_repository

    if is_from_repository(root, path):
        return {}
    return answers if isinstance(answers, dict) else {}
