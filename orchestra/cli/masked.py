"""The value of a setting in one line, without secrets."""

import shlex

from orchestra.conduct.core.secrets import Secrets
from orchestra.settings import mask_value


def mask_setting(name: str, value: object, secrets: Secrets) -> str:
    """Return the value with keys masked, also inside a text such as a command."""
    if isinstance(value, bool):
        return str(value).lower()
    text = shlex.join(value) if isinstance(value, tuple) else str(value or "-")
    return " ".join(secrets.scrub(mask_value(name, text)).split()) or "-"
