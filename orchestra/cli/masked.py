"""A setting's value in one line, without secrets."""

import shlex

from orchestra.conduct.core.secrets import Secrets
from orchestra.settings import masked


def without_secrets(name: str, value: object, secrets: Secrets) -> str:
    """In one line. A key may also stand inside a value, say in a command."""
    if isinstance(value, bool):
        return str(value).lower()
    text = shlex.join(value) if isinstance(value, tuple) else str(value or "-")
    return " ".join(secrets.scrub(masked(name, text)).split()) or "-"
