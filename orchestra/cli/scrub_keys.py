"""Remove keys from the error message of a command, whose settings may not have been read."""

import contextlib
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from orchestra.errors import OrchestraError


def scrub_keys(text: str, argv: list[str]) -> str:
    from orchestra.conduct.core.secrets import Secrets

    sources = [("environment", os.environ), *read_dotenv_files()]
    variables = {
        f"{name} {source}": (value.strip(), source)
        for source, env in sources
        for name, value in env.items()
        if value.strip()
    }
    # The value of --api-key KEY or --api-key=KEY.
    pairs = pairwise([*argv, ""])
    given = (word.partition("=")[2] or following for word, following in pairs if word.startswith("--api-key"))
    return Secrets.from_variables(variables, next(given, ""), *argv).scrub(text)


def read_dotenv_files() -> list[tuple[str, Mapping[str, str]]]:
    """Return the .env files that can be read; the error may be about one that cannot."""
    from orchestra.cli.load import SCRIPT, current_folder, read_dotenv
    from orchestra.workspace.git import top_level

    files: list[tuple[str, Mapping[str, str]]] = []
    with contextlib.suppress(OrchestraError, OSError, ValueError):
        for folder in {top_level(Path()) or current_folder(), SCRIPT}:
            if (folder / ".env").is_file():
                files.append((str(folder), read_dotenv(folder / ".env")))
    return files
