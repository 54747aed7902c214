"""Which gates a run has: those that were found, but for what the user says. Pure."""

from collections.abc import Iterable

from orchestra.model import Gate
from orchestra.settings import Settings

KINDS = {
    **dict.fromkeys(("test", "tests", "pytest", "unittest", "npm test", "go test", "cargo test", "make test"), "tests"),
    **dict.fromkeys(("lint", "ruff", "flake8", "eslint"), "lint"),
    **dict.fromkeys(("type", "types", "mypy", "pyright", "tsc"), "types"),
    "syntax": "syntax",
}


def chosen(settings: Settings, detected: Iterable[Gate]) -> list[Gate]:
    """A command of the user's takes the place of all that was found of its kind; `--gate NAME=` leaves one out."""
    said = [
        ("tests", settings.test_cmd, "test_cmd"),
        ("lint", settings.lint_cmd, "lint_cmd"),
        ("types", settings.type_cmd, "type_cmd"),
    ]
    given = {kind: Gate(kind, kind, command, giver(settings, option)) for kind, command, option in said if command}
    gates = {gate.name: gate for gate in detected if gate.kind not in given} | given
    for entry in settings.gate:
        name, _, command = (part.strip() for part in entry.partition("="))
        gates.pop(name, None)
        if command:
            gates[name] = Gate(name, KINDS.get(name, "command"), command, giver(settings, "gate"))
    order = ("tests", "types", "lint", "syntax", "command")
    return sorted(gates.values(), key=lambda gate: order.index(gate.kind))


def giver(settings: Settings, option: str) -> str:
    """A resumed run does not know any more where its settings came from."""
    committed = settings.committed
    named = committed is not None and settings.source(option) == committed.place
    return f"{settings.source(option)} names it" if named else "you gave it"
