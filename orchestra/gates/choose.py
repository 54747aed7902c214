"""Choose the gates of a run: the detected ones, as changed by the user's options. Pure."""

from collections.abc import Iterable

from orchestra.gates.detect import UnusableGate
from orchestra.model import Gate
from orchestra.settings import Settings

KINDS = {
    **dict.fromkeys(("test", "tests", "pytest", "unittest", "npm test", "go test", "cargo test", "make test"), "tests"),
    **dict.fromkeys(("lint", "ruff", "flake8", "eslint"), "lint"),
    **dict.fromkeys(("type", "types", "mypy", "pyright", "tsc"), "types"),
    "syntax": "syntax",
}


def choose_gates(settings: Settings, detected: Iterable[Gate]) -> list[Gate]:
    """Choose the gates. A user's command replaces the detected gates of its kind; `--gate NAME=` leaves one out."""
    given = {
        kind: Gate(kind, kind, command, describe_source(settings, option), named=True)
        for kind, (option, command) in given_commands(settings).items()
    }
    gates = {gate.name: gate for gate in detected if gate.kind not in given} | given
    for entry in settings.gate:
        name, _, command = (part.strip() for part in entry.partition("="))
        gates.pop(name, None)
        if command:
            gates[name] = Gate(name, KINDS.get(name, "command"), command, describe_source(settings, "gate"), named=True)
    order = ("tests", "types", "lint", "syntax", "command")
    return sorted(gates.values(), key=lambda gate: order.index(gate.kind))


def describe_source(settings: Settings, option: str) -> str:
    """Describe where a command came from. A resumed run has lost the sources of its settings."""
    committed = settings.committed
    named = committed is not None and settings.source_of(option) == committed.origin
    return f"{settings.source_of(option)} names it" if named else "you gave it"


def remaining_unusable(settings: Settings, unusable: Iterable[UnusableGate]) -> tuple[UnusableGate, ...]:
    """Return the unusable gates that the user has not replaced or turned off."""
    named = {entry.partition("=")[0].strip() for entry in settings.gate}
    given = given_commands(settings).keys() | {KINDS.get(name, "command") for name in named}
    return tuple(one for one in unusable if one.gate.kind not in given and one.gate.name not in named)


def given_commands(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return the user's options and commands by the kind of gate that they replace."""
    options = {"tests": "test_cmd", "lint": "lint_cmd", "types": "type_cmd"}
    return {kind: (name, command) for kind, name in options.items() if (command := getattr(settings, name))}
