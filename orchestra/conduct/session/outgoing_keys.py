"""The run's own keys in what goes out to a model: each way to write one, and whether it is a secret at all."""

from collections.abc import Awaitable, Callable

from orchestra.conduct.core.secrets import Secrets, encoded_forms
from orchestra.gateway.guard import KeyGuard
from orchestra.workspace.repository import Repository

SHORTEST = 20  # characters; what is shorter may stand in any text by chance


def make_key_guard(secrets: Secrets, repository: Repository) -> KeyGuard:
    """Return what has the gateway refuse requests that hold a key of this run."""
    return KeyGuard(forms_of_known_keys(secrets), make_tracked_key_check(secrets, repository))


def forms_of_known_keys(secrets: Secrets) -> tuple[tuple[str, str], ...]:
    long = [(value, name) for value, name in secrets.known if len(value) >= SHORTEST]
    return tuple((form, name) for value, name in long for form in forms_to_refuse(value))


def forms_to_refuse(value: str) -> list[str]:
    hexadecimal = value.encode("utf-8", "surrogateescape").hex().upper()
    return list(dict.fromkeys((*encoded_forms(value), hexadecimal)))


def make_tracked_key_check(secrets: Secrets, repository: Repository) -> Callable[[str], Awaitable[bool]]:
    """Whether the files of the base hold the key of a variable, so that it is known to whoever has the repository.

    Git is asked only when a request holds that key, and once. The key goes to its stdin: an argument could be seen.
    """
    known: dict[str, bool] = {}

    async def is_tracked(name: str) -> bool:
        if name not in known:
            values = [value for value, other in secrets.known if other == name and len(value) >= SHORTEST]
            found = [await is_key_in_base(repository, value) for value in values]
            known[name] = bool(found) and all(found)
        return known[name]

    return is_tracked


async def is_key_in_base(repository: Repository, value: str) -> bool:
    forms = [form for form in forms_to_refuse(value) if "\n" not in form]
    patterns = "\n".join(forms).encode("utf-8", "surrogateescape") + b"\n"
    code, _, _ = await repository.git.attempt("grep", "-q", "-a", "-F", "-f", "-", repository.base, input=patterns)
    return code == 0
