"""A setting's value in one line, without secrets."""

import shlex

from orchestra.conduct.core.secrets import Secrets
from orchestra.settings import mask_value


def mask_setting(name: str, value: object, secrets: Secrets) -> str:
    """In one line. A key may also stand inside a value, say in a command."""
    if isinstance(value, bool):
        return str(value).lower()
    text = shlex.join(value) if isinstance(value, tuple) else str(value or "-")
    return " ".join(secrets.scrub(mask_value(name, text)).split()) or "-"
