"""Detect a repository's gates from its configuration, without guessing, and choose those of a run. Pure."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from configparser import Error as IniError
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from orchestra.model import Gate
from orchestra.settings import Settings

MAKEFILES = ("GNUmakefile", "makefile", "Makefile")  # in make's own order
MANIFESTS = (
    *("pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini", "noxfile.py", "package.json"),
    *(*MAKEFILES, "Cargo.toml", "go.mod"),
)
TOOLS = (
    *("pytest", "unittest", "ruff", "flake8", "mypy", "pyright", "npm", "pnpm", "yarn", "tsc", "eslint"),
    *("go", "cargo", "make"),
)
NO_TEST = "no test specified"
TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests?)\.py$")
JS = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts")
PY = (".py", ".pyi")
KINDS = {
    **dict.fromkeys(("test", "tests", "pytest", "unittest", "npm test", "go test", "cargo test", "make test"), "tests"),
    **dict.fromkeys(("lint", "ruff", "flake8", "eslint"), "lint"),
    **dict.fromkeys(("type", "types", "mypy", "pyright", "tsc"), "types"),
    "syntax": "syntax",
}


@dataclass(frozen=True)
class RepositoryView:
    """The repository as detection sees it.

    `texts`: manifests and some tests. `tools`: commands that can be run here, by name. `packages`: whether node's
    packages are installed.
    """

    files: Collection[str]
    texts: Mapping[str, str]
    tools: Mapping[str, str]
    packages: bool = True


@dataclass(frozen=True)
class UnusableGate:
    """A gate of the repository that cannot run here, and why (a clause)."""

    gate: Gate
    why: str

    @property
    def note(self) -> str:
        return f"{self.gate.name} is not used: {self.gate.why}, but {self.why}."


@dataclass(frozen=True)
class DetectedGates:
    gates: tuple[Gate, ...] = ()
    unusable: tuple[UnusableGate, ...] = ()


def detect_gates(seen: RepositoryView) -> DetectedGates:
    finders = (python_tests, node_tests, go_tests, cargo_tests, python_checks, node_checks)
    offers = [each for find in finders for each in find(seen)]
    # `make test` mostly runs what is detected already.
    if not any(gate.kind == "tests" for gate, why_not in offers if not why_not):
        offers += make_tests(seen)
    gates = tuple(gate for gate, why_not in offers if not why_not)
    return DetectedGates(gates, tuple(UnusableGate(gate, why_not) for gate, why_not in offers if why_not))


Offer = tuple[Gate, str]  # the second is empty for a usable gate


def offer_gate(
    seen: RepositoryView, name: str, kind: str, why: str, tool: str, words: str = "", endings: tuple[str, ...] = ()
) -> Offer:
    """Return the gate, with the reason if it cannot be used."""
    command = seen.tools.get(tool, "")
    gate = Gate(name, kind, f"{command} {words}".strip(), why, endings)
    return gate, "" if command else f"{tool} is not installed here"


def check_node_packages(seen: RepositoryView, offer: Offer) -> Offer:
    """Return the offer, unusable if node's packages are missing."""
    gate, why_not = offer
    package = parse_package_json(seen.texts.get("package.json", ""))
    if not (why_not or seen.packages) and (package.get("dependencies") or package.get("devDependencies")):
        why_not = "the packages of package.json are not installed here (there is no node_modules)"
    return gate, why_not


def python_tests(seen: RepositoryView) -> Iterator[Offer]:
    if why := find_pytest_use(seen):
        yield offer_gate(seen, "pytest", "tests", why, "pytest", "-q --continue-on-collection-errors")
        return
    uses = re.compile(r"^\s*(import|from) (unittest|django\.test)\b", re.MULTILINE)
    tests = [path for path in sorted(seen.files) if TEST_FILE.search(path) and uses.search(seen.texts.get(path, ""))]
    if tests:
        words = discovery_arguments(tests, seen.files)
        yield offer_gate(seen, "unittest", "tests", f"{tests[0]} uses unittest", "unittest", words)


def find_pytest_use(seen: RepositoryView) -> str:
    shared = {"tox.ini": "pytest", "setup.cfg": "tool:pytest"}
    if why := find_tool_config(seen, "pytest", ("pytest.ini", ".pytest.ini"), shared):
        return why
    tests = [path for path in sorted(seen.files) if TEST_FILE.search(path)]
    conftests = [path for path in sorted(seen.files) if PurePosixPath(path).name == "conftest.py"]
    if conftests and tests:
        return f"{conftests[0]} is there"
    # Not only in a comment.
    requires = re.compile(r"^[^#\n]*\bpytest\b", re.MULTILINE)
    naming = [name for name, text in sorted(seen.texts.items()) if not TEST_FILE.search(name) and requires.search(text)]
    if tests and naming:
        return f"{naming[0]} names pytest"
    using = [path for path in tests if re.search(r"^(import|from) pytest\b", seen.texts.get(path, ""), re.MULTILINE)]
    return f"{using[0]} imports pytest" if using else ""


def discovery_arguments(tests: list[str], files: Collection[str]) -> str:
    """Return unittest's discovery arguments, where tests are not test*.py in packages below the root."""
    (folder, _), *_ = Counter(folder_above_packages(path, files) for path in tests).most_common()
    usual = any(PurePosixPath(path).name.startswith("test") for path in tests)
    words = ([] if folder == "." else ["-s", folder]) + ([] if usual else ["-p", "'*_test.py'"])
    return " ".join(["discover", *words]) if words else ""


def folder_above_packages(test: str, files: Collection[str]) -> str:
    """Return the folder above the packages that contain a test."""
    folder = PurePosixPath(test).parent
    while f"{folder}/__init__.py" in files:
        folder = folder.parent
    return str(folder)


def node_tests(seen: RepositoryView) -> Iterator[Offer]:
    manifest = seen.texts.get("package.json", "")
    script = npm_scripts(manifest).get("test", "")
    if not script.strip() or NO_TEST in script:
        return
    tool = str(parse_package_json(manifest).get("packageManager", "")).partition("@")[0]
    if tool not in ("npm", "pnpm", "yarn"):
        locks = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn"}
        tool = next((tool for lock, tool in locks.items() if lock in seen.files), "npm")
    offer = offer_gate(seen, f"{tool} test", "tests", "package.json has a test script", tool, "test")
    yield check_node_packages(seen, offer)


def go_tests(seen: RepositoryView) -> Iterator[Offer]:
    if "go.mod" in seen.files and any(path.endswith("_test.go") for path in seen.files):
        yield offer_gate(seen, "go test", "tests", "go.mod and tests are there", "go", "test ./...")


def cargo_tests(seen: RepositoryView) -> Iterator[Offer]:
    if "Cargo.toml" in seen.files:
        words = "test --no-fail-fast" + (" --workspace" if "[workspace]" in seen.texts.get("Cargo.toml", "") else "")
        yield offer_gate(seen, "cargo test", "tests", "Cargo.toml is there", "cargo", words)


def make_tests(seen: RepositoryView) -> Iterator[Offer]:
    name = next((name for name in MAKEFILES if name in seen.texts), "")
    if re.search(r"^test[ \t]*::?(?![:=])", seen.texts.get(name, ""), re.MULTILINE):
        yield offer_gate(seen, "make test", "tests", f"{name} has a target `test`", "make", "test")


def python_checks(seen: RepositoryView) -> Iterator[Offer]:
    if why := find_tool_config(seen, "ruff", ("ruff.toml", ".ruff.toml"), {}):
        words = "check --no-cache --force-exclude --output-format concise"
        yield offer_gate(seen, "ruff", "lint", why, "ruff", words, PY)
    if why := find_tool_config(seen, "flake8", (".flake8",), {"setup.cfg": "flake8", "tox.ini": "flake8"}):
        yield offer_gate(seen, "flake8", "lint", why, "flake8", "", PY)
    if why := find_tool_config(seen, "mypy", ("mypy.ini", ".mypy.ini"), {"setup.cfg": "mypy"}):
        yield offer_gate(seen, "mypy", "types", why, "mypy", mypy_arguments(seen))
    if why := find_tool_config(seen, "pyright", ("pyrightconfig.json",), {}):
        yield offer_gate(seen, "pyright", "types", why, "pyright")


def find_tool_config(seen: RepositoryView, tool: str, own: tuple[str, ...], shared: Mapping[str, str]) -> str:
    """Return the file that configures a tool, as a reason. `shared`: its sections in files of several tools."""
    for name in own:
        if name in seen.files:
            return f"{name} is there"
    configs = [name for name, section in shared.items() if section in ini_sections(seen.texts.get(name, ""))]
    if tool in read_tool_table(seen):
        configs.insert(0, "pyproject.toml")
    return f"{configs[0]} configures {tool}" if configs else ""


def mypy_arguments(seen: RepositoryView) -> str:
    """Return what mypy is to check if its configuration does not say so."""
    own = read_tool_table(seen).get("mypy")
    configs = [seen.texts.get(name, "") for name in ("mypy.ini", ".mypy.ini", "setup.cfg")]
    if {"files", "packages", "modules"} & (own.keys() if isinstance(own, dict) else set()) or any(
        re.search(r"^(files|packages|modules)\s*=", text, re.MULTILINE) for text in configs
    ):
        return ""
    packages = sorted({path.split("/")[0] for path in seen.files if re.fullmatch(r"[^/]+/__init__\.py", path)})
    return "src" if any(path.startswith("src/") for path in seen.files) else " ".join(packages) or "."


def node_checks(seen: RepositoryView) -> Iterator[Offer]:
    if "tsconfig.json" in seen.files:
        offer = offer_gate(seen, "tsc", "types", "tsconfig.json is there", "tsc", "--noEmit --pretty false")
        yield check_node_packages(seen, offer)
    configs = [path for path in sorted(seen.files) if re.fullmatch(r"eslint\.config\.\w+|\.eslintrc(\.\w+)?", path)]
    if configs or "eslintConfig" in parse_package_json(seen.texts.get("package.json", "")):
        why = f"{configs[0]} is there" if configs else "package.json configures eslint"
        yield check_node_packages(seen, offer_gate(seen, "eslint", "lint", why, "eslint", "--no-color", JS))


def read_tool_table(seen: RepositoryView) -> dict[str, Any]:
    """Return the table `tool` of pyproject.toml."""
    try:
        found = tomllib.loads(seen.texts.get("pyproject.toml", "")).get("tool")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def ini_sections(text: str) -> list[str]:
    parser = RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except IniError:
        return []
    return parser.sections()


def parse_package_json(manifest: str) -> dict[str, Any]:
    try:
        found = json.loads(manifest)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def npm_scripts(manifest: str) -> dict[str, str]:
    found = parse_package_json(manifest).get("scripts")
    return {name: str(text) for name, text in found.items()} if isinstance(found, dict) else {}


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
