"""The last word of a command that failed, without any key: whatever is known of them before the settings are."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from orchestra.errors import OrchestraError


def scrub_keys(text: str, argv: list[str]) -> str:
    from orchestra.conduct.core.secrets import Secrets

    places = [("environment", os.environ), *read_dotenv_files()]
    variables = {f"{name} {place}": (value.strip(), place) for place, env in places for name, value in env.items()}
    keys = Secrets.from_variables(
        {name: each for name, each in variables.items() if each[0]}, api_key_argument(argv), *argv
    )
    return keys.scrub(text)


def api_key_argument(argv: list[str]) -> str:
    """What was given as --api-key, in either way of writing it."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word.startswith("--api-key"):
            return word.partition("=")[2] or following
    return ""


def read_dotenv_files() -> list[tuple[str, Mapping[str, str]]]:
    """The .env files, as far as they can be read: it may be they that the error is about."""
    from orchestra.cli.load import SCRIPT, current_folder, read_dotenv
    from orchestra.workspace.git import top_level

    found: list[tuple[str, Mapping[str, str]]] = []
    with contextlib.suppress(OrchestraError, OSError, ValueError):
        for folder in {top_level(Path()) or current_folder(), SCRIPT}:
            if (folder / ".env").is_file():
                found.append((str(folder), read_dotenv(folder / ".env")))
    return found
