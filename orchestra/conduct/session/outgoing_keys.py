"""Keep the run's own keys in: detect them in requests to a model, in every encoding, and hide them from processes."""

import os
import sys
from collections.abc import Awaitable, Callable

from orchestra.conduct.core.secrets import Secrets, encoded_forms
from orchestra.gateway.decode import KeyGuard
from orchestra.workspace.repository import Repository

SHORTEST = 20  # characters; shorter values may occur in any text by chance
DUMPABLE = 4


def make_key_guard(secrets: Secrets, repository: Repository) -> KeyGuard:
    """Make the check by which the gateway refuses requests that contain a key of this run."""
    return KeyGuard(forms_of_known_keys(secrets), make_tracked_key_check(secrets, repository))


def forms_of_known_keys(secrets: Secrets) -> tuple[tuple[str, str], ...]:
    long = [(value, name) for value, name in secrets.known if len(value) >= SHORTEST]
    return tuple((form, name) for value, name in long for form in forms_to_refuse(value))


def forms_to_refuse(value: str) -> list[str]:
    hexadecimal = value.encode("utf-8", "surrogateescape").hex().upper()
    return list(dict.fromkeys((*encoded_forms(value), hexadecimal)))


def make_tracked_key_check(secrets: Secrets, repository: Repository) -> Callable[[str], Awaitable[bool]]:
    """Make a check whether the base's files contain the key of a variable: then everyone with the repository knows it.

    Git is asked only when a request contains that key, and once. The key goes to its stdin, because arguments are
    visible.
    """
    known: dict[str, bool] = {}
    command = ("grep", "-q", "-a", "-F", "-f", "-", repository.base)

    async def is_tracked(name: str) -> bool:
        if name not in known:
            codes = []
            for value in [value for value, other in secrets.known if other == name and len(value) >= SHORTEST]:
                lines = "".join(f"{form}\n" for form in forms_to_refuse(value) if "\n" not in form)
                code, _, _ = await repository.git.attempt(*command, input=lines.encode("utf-8", "surrogateescape"))
                codes.append(code)
            known[name] = bool(codes) and not any(codes)
        return known[name]

    return is_tracked


def hide_keys(secrets: Secrets) -> None:
    """Remove our keys from the environment, and close it and our memory to this user's other processes (Linux)."""
    names = [name for name, value in os.environ.items() if any(key in value for key in secrets.values)]
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        for name in names:
            # /proc shows the environment that the process was started with, whatever is deleted from it later.
            address = libc.getenv(os.fsencode(name))
            if address:
                ctypes.memset(address, ord("x"), len(os.fsencode(os.environ[name])))
        libc.prctl(DUMPABLE, 0, 0, 0, 0)
    for name in names:
        del os.environ[name]
