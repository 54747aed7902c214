"""Which gates a repository has, from its configuration and not from guesses. Pure: `look.py` reads what this judges."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from configparser import Error as IniError
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from orchestra.model import Gate

MANIFESTS = (
    *("pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini", "noxfile.py", "package.json"),
    *("Makefile", "makefile", "GNUmakefile", "Cargo.toml", "go.mod"),
)
TOOLS = (
    "pytest",
    "unittest",
    "ruff",
    "flake8",
    "mypy",
    "pyright",
    "npm",
    "pnpm",
    "yarn",
    "tsc",
    "eslint",
    "go",
    "cargo",
    "make",
)
NO_TEST = "no test specified"
TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests?)\.py$")
JS = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts")
PY = (".py", ".pyi")


@dataclass(frozen=True)
class RepositoryView:
    """The repository as far as detection goes. `texts` are the manifests and some tests, `tools` the commands that can
    be run here, by name. `packages` says whether node's packages are installed."""

    files: Collection[str]
    texts: Mapping[str, str]
    tools: Mapping[str, str]
    packages: bool = True


@dataclass(frozen=True)
class UnusableGate:
    """A gate that the repository has but that cannot be used here, and why: a clause."""

    gate: Gate
    why: str

    @property
    def note(self) -> str:
        return f"{self.gate.name} is not used: {self.gate.why}, but {self.why}."


@dataclass(frozen=True)
class DetectedGates:
    gates: tuple[Gate, ...] = ()
    unusable: tuple[UnusableGate, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(each.note for each in self.unusable)


def detect_gates(seen: RepositoryView) -> DetectedGates:
    finders = (python_tests, node_tests, go_tests, cargo_tests, python_checks, node_checks)
    offers = [each for find in finders for each in find(seen)]
    # `make test` mostly runs what was found already.
    if not any(gate.kind == "tests" for gate, why_not in offers if not why_not):
        offers += make_tests(seen)
    gates = tuple(gate for gate, why_not in offers if not why_not)
    return DetectedGates(gates, tuple(UnusableGate(gate, why_not) for gate, why_not in offers if why_not))


Offer = tuple[Gate, str]  # the second is empty for a gate that can be used


def offer_gate(
    seen: RepositoryView, name: str, kind: str, why: str, tool: str, words: str = "", endings: tuple[str, ...] = ()
) -> Offer:
    """The gate, or why it cannot be used."""
    command = seen.tools.get(tool, "")
    gate = Gate(name, kind, f"{command} {words}".strip(), why, endings)
    return gate, "" if command else f"{tool} is not installed here"


# --- tests ----------------------------------------------------------------------------------------------------------


def python_tests(seen: RepositoryView) -> Iterator[Offer]:
    if why := find_pytest_use(seen):
        yield offer_gate(seen, "pytest", "tests", why, "pytest", "-q --continue-on-collection-errors")
    elif tests := unittest_files(seen):
        yield offer_gate(
            seen, "unittest", "tests", f"{tests[0]} uses unittest", "unittest", discovery_arguments(tests, seen.files)
        )


def find_pytest_use(seen: RepositoryView) -> str:
    for name in ("pytest.ini", ".pytest.ini"):
        if name in seen.files:
            return f"{name} is there"
    if "pytest" in read_toml_table(seen, "pyproject.toml", "tool"):
        return "pyproject.toml configures pytest"
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if section in ini_sections(seen.texts.get(name, "")):
            return f"{name} configures pytest"
    tests = [path for path in sorted(seen.files) if TEST_FILE.search(path)]
    conftests = [path for path in sorted(seen.files) if PurePosixPath(path).name == "conftest.py"]
    if conftests and tests:
        return f"{conftests[0]} is there"
    naming = [name for name, text in sorted(seen.texts.items()) if not TEST_FILE.search(name) and requires_pytest(text)]
    if tests and naming:
        return f"{naming[0]} names pytest"
    using = [path for path in tests if re.search(r"^(import|from) pytest\b", seen.texts.get(path, ""), re.MULTILINE)]
    return f"{using[0]} imports pytest" if using else ""


def requires_pytest(text: str) -> bool:
    """Among requirements, not in a comment."""
    return any(re.search(r"\bpytest\b", line.split("#")[0]) for line in text.splitlines())


def unittest_files(seen: RepositoryView) -> list[str]:
    uses = re.compile(r"^\s*(import|from) (unittest|django\.test)\b", re.MULTILINE)
    return [path for path in sorted(seen.files) if TEST_FILE.search(path) and uses.search(seen.texts.get(path, ""))]


def discovery_arguments(tests: list[str], files: Collection[str]) -> str:
    """unittest finds by itself what lies in packages below the root and is called test*.py. It must be told of any
    other folder, and of any other name."""
    (folder, _), *_ = Counter(folder_above_packages(path, files) for path in tests).most_common()
    usual = any(PurePosixPath(path).name.startswith("test") for path in tests)
    words = ([] if folder == "." else ["-s", folder]) + ([] if usual else ["-p", "'*_test.py'"])
    return " ".join(["discover", *words]) if words else ""


def folder_above_packages(test: str, files: Collection[str]) -> str:
    """The folder above the packages that a test lies in."""
    folder = PurePosixPath(test).parent
    while f"{folder}/__init__.py" in files:
        folder = folder.parent
    return str(folder)


def node_tests(seen: RepositoryView) -> Iterator[Offer]:
    script = npm_scripts(seen).get("test", "")
    if not script.strip() or NO_TEST in script:
        return
    tool = package_manager(seen)
    gate, why_not = offer_gate(seen, f"{tool} test", "tests", "package.json has a test script", tool, "test")
    yield gate, why_not or why_no_packages(seen)


def why_no_packages(seen: RepositoryView) -> str:
    asked = [key for key in ("dependencies", "devDependencies") if parse_package_json(seen).get(key)]
    if seen.packages or not asked:
        return ""
    return "the packages of package.json are not installed here (there is no node_modules)"


def package_manager(seen: RepositoryView) -> str:
    named = str(parse_package_json(seen).get("packageManager", "")).partition("@")[0]
    if named in ("npm", "pnpm", "yarn"):
        return named
    locks = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn"}
    return next((tool for lock, tool in locks.items() if lock in seen.files), "npm")


def go_tests(seen: RepositoryView) -> Iterator[Offer]:
    if "go.mod" in seen.files and any(path.endswith("_test.go") for path in seen.files):
        yield offer_gate(seen, "go test", "tests", "go.mod and tests are there", "go", "test ./...")


def cargo_tests(seen: RepositoryView) -> Iterator[Offer]:
    if "Cargo.toml" in seen.files:
        words = "test --no-fail-fast" + (" --workspace" if "[workspace]" in seen.texts.get("Cargo.toml", "") else "")
        yield offer_gate(seen, "cargo test", "tests", "Cargo.toml is there", "cargo", words)


def make_tests(seen: RepositoryView) -> Iterator[Offer]:
    for name in ("GNUmakefile", "makefile", "Makefile"):  # as make itself looks for them
        if name in seen.texts:
            if re.search(r"^test[ \t]*::?(?![:=])", seen.texts[name], re.MULTILINE):
                yield offer_gate(seen, "make test", "tests", f"{name} has a target `test`", "make", "test")
            return


# --- checks ---------------------------------------------------------------------------------------------------------


def python_checks(seen: RepositoryView) -> Iterator[Offer]:
    if why := find_tool_config(seen, "ruff", ("ruff.toml", ".ruff.toml"), ()):
        yield offer_gate(
            seen, "ruff", "lint", why, "ruff", "check --no-cache --force-exclude --output-format concise", PY
        )
    if why := find_tool_config(seen, "flake8", (".flake8",), ("setup.cfg", "tox.ini")):
        yield offer_gate(seen, "flake8", "lint", why, "flake8", "", PY)
    if why := find_tool_config(seen, "mypy", ("mypy.ini", ".mypy.ini"), ("setup.cfg",)):
        yield offer_gate(seen, "mypy", "types", why, "mypy", mypy_arguments(seen))
    if why := find_tool_config(seen, "pyright", ("pyrightconfig.json",), ()):
        yield offer_gate(seen, "pyright", "types", why, "pyright")


def find_tool_config(seen: RepositoryView, tool: str, own: tuple[str, ...], shared: tuple[str, ...]) -> str:
    for name in own:
        if name in seen.files:
            return f"{name} is there"
    if tool in read_toml_table(seen, "pyproject.toml", "tool"):
        return f"pyproject.toml configures {tool}"
    return next((f"{name} configures {tool}" for name in shared if tool in ini_sections(seen.texts.get(name, ""))), "")


def mypy_arguments(seen: RepositoryView) -> str:
    """What to check, where the configuration does not say it."""
    own = read_toml_table(seen, "pyproject.toml", "tool", "mypy")
    told = [seen.texts.get(name, "") for name in ("mypy.ini", ".mypy.ini", "setup.cfg")]
    if {"files", "packages", "modules"} & own.keys() or any(
        re.search(r"^(files|packages|modules)\s*=", text, re.MULTILINE) for text in told
    ):
        return ""
    packages = sorted({path.split("/")[0] for path in seen.files if re.fullmatch(r"[^/]+/__init__\.py", path)})
    return "src" if any(path.startswith("src/") for path in seen.files) else " ".join(packages) or "."


def node_checks(seen: RepositoryView) -> Iterator[Offer]:
    if "tsconfig.json" in seen.files:
        gate, why_not = offer_gate(seen, "tsc", "types", "tsconfig.json is there", "tsc", "--noEmit --pretty false")
        yield gate, why_not or why_no_packages(seen)
    configs = [path for path in sorted(seen.files) if re.fullmatch(r"eslint\.config\.\w+|\.eslintrc(\.\w+)?", path)]
    if configs or "eslintConfig" in parse_package_json(seen):
        why = f"{configs[0]} is there" if configs else "package.json configures eslint"
        gate, why_not = offer_gate(seen, "eslint", "lint", why, "eslint", "--no-color", JS)
        yield gate, why_not or why_no_packages(seen)


# --- manifests, which may be broken ---------------------------------------------------------------------------------


def read_toml_table(seen: RepositoryView, name: str, *keys: str) -> dict[str, Any]:
    found: Any = {}
    try:
        found = tomllib.loads(seen.texts.get(name, ""))
    except (ValueError, RecursionError):
        return {}
    for key in keys:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def ini_sections(text: str) -> list[str]:
    parser = RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except IniError:
        return []
    return parser.sections()


def parse_package_json(seen: RepositoryView) -> dict[str, Any]:
    try:
        found = json.loads(seen.texts.get("package.json", "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def npm_scripts(seen: RepositoryView) -> dict[str, str]:
    found = parse_package_json(seen).get("scripts", {})
    return {name: str(text) for name, text in found.items()} if isinstance(found, dict) else {}
