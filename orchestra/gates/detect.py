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
class Seen:
    """The repository as far as detection goes. `texts` are the manifests and some tests, `tools` the commands that can
    be run here, by name. `packages` says whether node's packages are installed."""

    files: Collection[str]
    texts: Mapping[str, str]
    tools: Mapping[str, str]
    packages: bool = True


@dataclass(frozen=True)
class Unusable:
    """A gate that the repository has but that cannot be used here, and why: a clause."""

    gate: Gate
    why: str

    @property
    def note(self) -> str:
        return f"{self.gate.name} is not used: {self.gate.why}, but {self.why}."


@dataclass(frozen=True)
class Detected:
    gates: tuple[Gate, ...] = ()
    unusable: tuple[Unusable, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(each.note for each in self.unusable)


def detect(seen: Seen) -> Detected:
    finders = (python_tests, node_tests, go_tests, cargo_tests, python_checks, node_checks)
    offers = [each for find in finders for each in find(seen)]
    # `make test` mostly runs what was found already.
    if not any(gate.kind == "tests" for gate, why_not in offers if not why_not):
        offers += make_tests(seen)
    gates = tuple(gate for gate, why_not in offers if not why_not)
    return Detected(gates, tuple(Unusable(gate, why_not) for gate, why_not in offers if why_not))


Offer = tuple[Gate, str]  # the second is empty for a gate that can be used


def offer(
    seen: Seen, name: str, kind: str, why: str, tool: str, words: str = "", endings: tuple[str, ...] = ()
) -> Offer:
    """The gate, or why it cannot be used."""
    command = seen.tools.get(tool, "")
    gate = Gate(name, kind, f"{command} {words}".strip(), why, endings)
    return gate, "" if command else f"{tool} is not installed here"


# --- tests ----------------------------------------------------------------------------------------------------------


def python_tests(seen: Seen) -> Iterator[Offer]:
    if why := configures_pytest(seen):
        yield offer(seen, "pytest", "tests", why, "pytest", "-q --continue-on-collection-errors")
    elif tests := unittest_files(seen):
        yield offer(seen, "unittest", "tests", f"{tests[0]} uses unittest", "unittest", discovery(tests, seen.files))


def configures_pytest(seen: Seen) -> str:
    for name in ("pytest.ini", ".pytest.ini"):
        if name in seen.files:
            return f"{name} is there"
    if "pytest" in table(seen, "pyproject.toml", "tool"):
        return "pyproject.toml configures pytest"
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if section in sections(seen.texts.get(name, "")):
            return f"{name} configures pytest"
    tests = [path for path in sorted(seen.files) if TEST_FILE.search(path)]
    conftests = [path for path in sorted(seen.files) if PurePosixPath(path).name == "conftest.py"]
    if conftests and tests:
        return f"{conftests[0]} is there"
    naming = [name for name, text in sorted(seen.texts.items()) if not TEST_FILE.search(name) and names_pytest(text)]
    if tests and naming:
        return f"{naming[0]} names pytest"
    using = [path for path in tests if re.search(r"^(import|from) pytest\b", seen.texts.get(path, ""), re.MULTILINE)]
    return f"{using[0]} imports pytest" if using else ""


def names_pytest(text: str) -> bool:
    """Among requirements, not in a comment."""
    return any(re.search(r"\bpytest\b", line.split("#")[0]) for line in text.splitlines())


def unittest_files(seen: Seen) -> list[str]:
    uses = re.compile(r"^\s*(import|from) (unittest|django\.test)\b", re.MULTILINE)
    return [path for path in sorted(seen.files) if TEST_FILE.search(path) and uses.search(seen.texts.get(path, ""))]


def discovery(tests: list[str], files: Collection[str]) -> str:
    """unittest finds by itself what lies in packages below the root and is called test*.py. It must be told of any
    other folder, and of any other name."""
    (folder, _), *_ = Counter(start_of(path, files) for path in tests).most_common()
    usual = any(PurePosixPath(path).name.startswith("test") for path in tests)
    words = ([] if folder == "." else ["-s", folder]) + ([] if usual else ["-p", "'*_test.py'"])
    return " ".join(["discover", *words]) if words else ""


def start_of(test: str, files: Collection[str]) -> str:
    """The folder above the packages that a test lies in."""
    folder = PurePosixPath(test).parent
    while f"{folder}/__init__.py" in files:
        folder = folder.parent
    return str(folder)


def node_tests(seen: Seen) -> Iterator[Offer]:
    script = scripts(seen).get("test", "")
    if not script.strip() or NO_TEST in script:
        return
    tool = package_manager(seen)
    gate, why_not = offer(seen, f"{tool} test", "tests", "package.json has a test script", tool, "test")
    yield gate, why_not or needs_packages(seen)


def needs_packages(seen: Seen) -> str:
    asked = [key for key in ("dependencies", "devDependencies") if manifest(seen).get(key)]
    if seen.packages or not asked:
        return ""
    return "the packages of package.json are not installed here (there is no node_modules)"


def package_manager(seen: Seen) -> str:
    named = str(manifest(seen).get("packageManager", "")).partition("@")[0]
    if named in ("npm", "pnpm", "yarn"):
        return named
    locks = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn"}
    return next((tool for lock, tool in locks.items() if lock in seen.files), "npm")


def go_tests(seen: Seen) -> Iterator[Offer]:
    if "go.mod" in seen.files and any(path.endswith("_test.go") for path in seen.files):
        yield offer(seen, "go test", "tests", "go.mod and tests are there", "go", "test ./...")


def cargo_tests(seen: Seen) -> Iterator[Offer]:
    if "Cargo.toml" in seen.files:
        words = "test --no-fail-fast" + (" --workspace" if "[workspace]" in seen.texts.get("Cargo.toml", "") else "")
        yield offer(seen, "cargo test", "tests", "Cargo.toml is there", "cargo", words)


def make_tests(seen: Seen) -> Iterator[Offer]:
    for name in ("GNUmakefile", "makefile", "Makefile"):  # as make itself looks for them
        if name in seen.texts:
            if re.search(r"^test[ \t]*::?(?![:=])", seen.texts[name], re.MULTILINE):
                yield offer(seen, "make test", "tests", f"{name} has a target `test`", "make", "test")
            return


# --- checks ---------------------------------------------------------------------------------------------------------


def python_checks(seen: Seen) -> Iterator[Offer]:
    if why := configured(seen, "ruff", ("ruff.toml", ".ruff.toml"), ()):
        yield offer(seen, "ruff", "lint", why, "ruff", "check --no-cache --force-exclude --output-format concise", PY)
    if why := configured(seen, "flake8", (".flake8",), ("setup.cfg", "tox.ini")):
        yield offer(seen, "flake8", "lint", why, "flake8", "", PY)
    if why := configured(seen, "mypy", ("mypy.ini", ".mypy.ini"), ("setup.cfg",)):
        yield offer(seen, "mypy", "types", why, "mypy", mypy_words(seen))
    if why := configured(seen, "pyright", ("pyrightconfig.json",), ()):
        yield offer(seen, "pyright", "types", why, "pyright")


def configured(seen: Seen, tool: str, own: tuple[str, ...], shared: tuple[str, ...]) -> str:
    for name in own:
        if name in seen.files:
            return f"{name} is there"
    if tool in table(seen, "pyproject.toml", "tool"):
        return f"pyproject.toml configures {tool}"
    return next((f"{name} configures {tool}" for name in shared if tool in sections(seen.texts.get(name, ""))), "")


def mypy_words(seen: Seen) -> str:
    """What to check, where the configuration does not say it."""
    own = table(seen, "pyproject.toml", "tool", "mypy")
    told = [seen.texts.get(name, "") for name in ("mypy.ini", ".mypy.ini", "setup.cfg")]
    if {"files", "packages", "modules"} & own.keys() or any(
        re.search(r"^(files|packages|modules)\s*=", text, re.MULTILINE) for text in told
    ):
        return ""
    packages = sorted({path.split("/")[0] for path in seen.files if re.fullmatch(r"[^/]+/__init__\.py", path)})
    return "src" if any(path.startswith("src/") for path in seen.files) else " ".join(packages) or "."


def node_checks(seen: Seen) -> Iterator[Offer]:
    if "tsconfig.json" in seen.files:
        gate, why_not = offer(seen, "tsc", "types", "tsconfig.json is there", "tsc", "--noEmit --pretty false")
        yield gate, why_not or needs_packages(seen)
    configs = [path for path in sorted(seen.files) if re.fullmatch(r"eslint\.config\.\w+|\.eslintrc(\.\w+)?", path)]
    if configs or "eslintConfig" in manifest(seen):
        why = f"{configs[0]} is there" if configs else "package.json configures eslint"
        gate, why_not = offer(seen, "eslint", "lint", why, "eslint", "--no-color", JS)
        yield gate, why_not or needs_packages(seen)


# --- manifests, which may be broken ---------------------------------------------------------------------------------


def table(seen: Seen, name: str, *keys: str) -> dict[str, Any]:
    found: Any = {}
    try:
        found = tomllib.loads(seen.texts.get(name, ""))
    except (ValueError, RecursionError):
        return {}
    for key in keys:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def sections(text: str) -> list[str]:
    parser = RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except IniError:
        return []
    return parser.sections()


def manifest(seen: Seen) -> dict[str, Any]:
    try:
        found = json.loads(seen.texts.get("package.json", "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def scripts(seen: Seen) -> dict[str, str]:
    found = manifest(seen).get("scripts", {})
    return {name: str(text) for name, text in found.items()} if isinstance(found, dict) else {}
