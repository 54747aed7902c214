"""Find the files that decide the outcome of tests: tests, their set-up and fixtures, and what replaces a runner.

Pure.
These get their base version before tests may verify a change. A product file in its base version would be tested as it
was, so what may be one (`doubtful`) is tried in both ways.
"""

import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from orchestra.judge.manifests import DEPENDENCIES, NotPlainEdit, manifest_changes, manifest_reader
from orchestra.judge.permit import CLAUSE, NEGATED
from orchestra.judge.protected import ProtectedKind, is_test_setup, normalise_path, protection_of
from orchestra.plan.digest import TEST

# Tests that digest.TEST does not recognise by name, their expected values, and their helpers.
MORE_TESTS = re.compile(
    r"(?:^|/)(?:tests?|specs?)\.\w+$|(?:^|/)test[-.]|(?:^|/)test[-_.]?(?:utils?|helpers?|set-?up|support|main|data|lib|tools|fixtures)\b"
    r"|(?:^|/)(?:test[-_]?(?:utils?|helpers?)|__mocks__|__snapshots__|__fixtures__|testdata|cypress)/"
    r"|\.(?:snap|ambr|golden|feature)$|[a-z0-9](?:Tests?|Specs?|IT)\.(?:java|kt|cs|swift|php|scala|groovy)$"
    r"|(?:^|/)(?:run|all)[-_]?tests?\b",
)
# These may hold a part of the product as well.
FOLDERS = re.compile(
    r"(?:^|/)(?:testing|mocks|fixtures|golden|cassettes|snapshots|e2e|integration|testkit|harness)/"
    r"|(?:^|/)(?:testing|fixtures|assertions|matchers|mocks|fakes|stubs|testkit)\.(?:py|go|rb|php|[cm]?[jt]sx?)$|(?:^|[/._-])expected[^/]*$",
    re.IGNORECASE,
)
# What is found in place of a tool, or acts in every process of a language.
INSTALLED = re.compile(
    r"(?:^|/)(?:node_modules|\.?venv|site-packages|__pycache__|__pypackages__|[^/]+\.(?:egg-info|dist-info))(?:/|$)"
    r"|\.(?:pyc|pyo|pth|egg-link)$|(?:^|/)(?:go\.work|entry_points\.txt)$",
    re.IGNORECASE,
)
PROGRAMS = re.compile(
    r"py(?:\.)?test|unittest|nose2|nosetests|tox|nox|trial|ward|jest|vitest|mocha|karma|ava|tap|tape|jasmine|cypress|c8"
    r"|playwright|nyc|node(?:js)?|npm|npx|pnpm|yarn|bun|deno|tsx|ts-node|go|gotestsum|cargo|rustc|g?make|just|task"
    r"|python[\d.]*|coverage|uv|poetry|hatch|pipenv|pdm|(?:ba|da|z)?sh|env|git|cat|grep|test|true|false|diff|cmp|echo"
    r"|ls|find|sed|awk|gcc|cc|clang|java|mvn|gradle|dotnet|ruby|rspec|rake|php|phpunit|bundle|mix|(?:run)?_?tests"
)
ENDINGS_OF_SHIMS = ("", ".py", ".sh", ".js", ".mjs", ".cjs", ".cmd", ".bat", ".exe")
# Imported by runners and tests before anything of the project.
RUNNERS = re.compile(
    r"_?pytest|py|pluggy|iniconfig|packaging|exceptiongroup|tomli|xdist|execnet|coverage|pytest_\w+|hypothesis|mock|nose2?"
    r"|tox|nox|anyio|trio|twisted|testtools|django|setuptools|pkg_resources|attrs?|six"
)
KINDS = frozenset(ProtectedKind) - {ProtectedKind.LOCK, ProtectedKind.AGENT}


@dataclass(frozen=True)
class TreeChange:
    """What a combined result did to the base's files, by path with the contents (None: not there).

    `asked`: paths that tasks own or a person has named.
    """

    before: Mapping[str, bytes | None] = field(default_factory=dict)
    after: Mapping[str, bytes | None] = field(default_factory=dict)
    base_files: Collection[str] = ()
    asked: Collection[str] = ()
    imported: Collection[str] = ()  # third-party modules that the base's tests import

    @property
    def paths(self) -> list[str]:
        return sorted(self.before.keys() | self.after.keys())


@dataclass(frozen=True)
class DecisiveFiles:
    """Changed paths that decide the outcome of tests: `sure`, and `doubtful` ones that may hold a part of the product
    as well (build scripts, folders of fixtures, what a command names)."""

    sure: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        return sorted({*self.sure, *self.doubtful})


def find_decisive_files(change: TreeChange, commands: Sequence[str] = (), set_up: Sequence[str] = ()) -> DecisiveFiles:
    """Find the changed files that decide the outcome of tests. `commands`: what the gates run, through make and npm
    too. `set_up`: the base's files that may name plug-ins."""
    sure = tuple(path for path in change.paths if is_decisive(path, change))
    others = [path for path in change.paths if path not in sure]
    named = [path for path in others if is_used_by_commands(path, commands, set_up)]
    return DecisiveFiles(sure, tuple(path for path in others if path in named or may_be_decisive(path, change)))


def is_decisive(path: str, change: TreeChange) -> bool:
    if is_test_path(path) or is_test_setup(path) or INSTALLED.search(normalise_path(path)):
        return True
    return change.before.get(path) is None and (shadows_program(path) or shadows_module(path, change))


def may_be_decisive(path: str, change: TreeChange) -> bool:
    """Whether it may decide, or may be a part of the product. Of a manifest only more than dependencies decides."""
    if manifest_reader(path) is None:
        return protection_of(path) in KINDS or FOLDERS.search(path) is not None
    try:
        effects = manifest_changes(path, change.before.get(path) or b"", change.after.get(path) or b"")
    except NotPlainEdit:
        return True
    return bool(effects - {DEPENDENCIES})


def is_test_path(path: str) -> bool:
    """Whether it is a test, or beside tests."""
    return bool(TEST.search(path) or MORE_TESTS.search(path))


def shadows_program(path: str) -> bool:
    """Whether a new file would be found in place of a program: by PATH, npm, or the working directory."""
    name = PurePosixPath(path).name.casefold()
    stems = [name.removesuffix(ending) for ending in ENDINGS_OF_SHIMS if name.endswith(ending)]
    at_root = "/" not in path
    in_path = re.search(r"(?:^|/)\.?(?:bin|scripts?|shims?|tools|\.local/bin)/[^/]+$", path) is not None
    return (at_root or in_path) and any(PROGRAMS.fullmatch(stem) for stem in stems)


def shadows_module(path: str, change: TreeChange) -> bool:
    """Whether a new top-level module has the name of one that runners or tests import from elsewhere. `src` and test
    folders are on Python's path too. A requested file may have a name that tests of the base import."""
    top = new_top_module(path, change.base_files)
    if top in sys.stdlib_module_names or RUNNERS.fullmatch(top):
        return True
    return bool(top) and top in change.imported and path not in change.asked


def new_top_module(path: str, base_files: Collection[str]) -> str:
    """Return a new file's import name, if Python looks there first and the base has no such module there."""
    hit = re.fullmatch(
        r"(?:(src|lib|scripts|tools|bin)/)?([A-Za-z_]\w*)(?:\.(?:py|pyi|so|pyd)|\.[\w-]+\.so|(?:/.+))", path
    )
    if not hit or not path.endswith((".py", ".so", ".pyd")):
        return ""
    root, name = f"{hit[1]}/" if hit[1] else "", hit[2]
    had = any(old == f"{root}{name}.py" or old.startswith(f"{root}{name}/") for old in base_files)
    return "" if had else name


IMPORT = re.compile(r"^\s*(?:import|from)\s+([A-Za-z_][\w.]*(?:\s*,\s*[A-Za-z_][\w.]*)*)", re.MULTILINE)


def third_party_imports(texts: Iterable[str], base_files: Collection[str]) -> frozenset[str]:
    """Return the modules that Python tests import and that are not the project's own."""
    tops = {name.strip().split(".")[0] for text in texts for hit in IMPORT.finditer(text) for name in hit[1].split(",")}
    own = {part for path in base_files if path.endswith(".py") for part in PurePosixPath(path).with_suffix("").parts}
    return frozenset(tops - own)


def is_used_by_commands(path: str, commands: Iterable[str], set_up: Iterable[str]) -> bool:
    """Whether a command names this script, or a command or a set-up file names this module as a plug-in."""
    # As another program's argument the file is only read.
    runs = rf"{BEGINS}{INTERPRETER}[\"']?(?:\./|\$PWD/)?{re.escape(path)}(?![\w/-]|\.\w)"
    script = PurePosixPath(path).suffix in SCRIPTS and any(re.search(runs, text) for text in commands)
    return script or any(names_plugin(text, path) for text in (*commands, *set_up))


# Other files that a command runs or reads (app.c, data.json) are the code under test.
SCRIPTS = ("", ".sh", ".bash", ".py", ".js", ".mjs", ".cjs", ".ts", ".mts", ".rb", ".pl", ".php", ".mk")
BEGINS = r"(?:^|[;&|(\n]|\b(?:do|then|else|if|while|time|exec|env|xargs)\b)[\s@-]*(?:\w+=\S*\s+)*"
LANGUAGES = r"(?:ba|da|z)?sh|source|\.|python[\d.]*|node|ruby|perl|php|tsx|ts-node|deno run|bun"
INTERPRETER = rf"(?:(?:\S*/)?(?:{LANGUAGES})\s+(?:-\S+\s+)*)?"


def names_plugin(text: str, path: str) -> bool:
    if not path.endswith(".py"):
        return False
    parts = PurePosixPath(path).with_suffix("").parts
    dotted = re.escape(".".join(parts).removesuffix(".__init__").removeprefix("src."))
    option = rf"(?:^|[\s\"'=])-(?:p|m)[\s\"',]*{dotted}(?![\w.])"
    listed = rf"pytest_plugins\b[^\n]*(?:\n[^\n=]*)?[\"']{dotted}[\"']"
    return re.search(option, text) is not None or re.search(listed, text) is not None


TAKEN_OUT = r"\b(?:remov|delet|drop|skip|disabl|xfail|renam|replac|mov|split|merg|quarantin)\w*\b[^.;\n]*"


def asks_to_remove_test(text: str, test: str) -> bool:
    """Whether a text asks to remove, skip or rename a test. Naming a test that should pass is no such request."""
    found = re.finditer(rf"{TAKEN_OUT}(?<!\w){re.escape(test)}(?!\w)", text, re.IGNORECASE)
    return any(not NEGATED.search(CLAUSE.split(text[: hit.start()])[-1]) for hit in found)


ASSERTS = re.compile(
    r"\bassert\w*\b|\bexpect\s*\(|\.should\b|\.to(?:Be|Equal|Throw|Match|Have|Contain)\w*\(|\bt\.(?:Error|Fatal|Fail)\w*\("
    r"|\brequire\.\w+\(|\bself\.fail\b|\bpytest\.(?:raises|fail|approx)\b",
)
MOST_WEAKENED = 8
LONGEST = 160


def list_weakened_asserts(before: str, after: str) -> list[str]:
    """List the assertions that a test file has lost, and its new ones, as a diff does. Empty if none is lost."""
    old, new = assertion_lines(before), assertion_lines(after)
    gone = [line for line in old if line not in new]
    if not gone:
        return []
    come = [line for line in new if line not in old]
    shown = [f"- {line}" for line in gone[:MOST_WEAKENED]] + [f"+ {line}" for line in come[:MOST_WEAKENED]]
    rest = len(gone) + len(come) - len(shown)
    return shown + ([f"and {rest} more"] if rest else [])


def assertion_lines(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line[:LONGEST] for line in lines if ASSERTS.search(line) and not line.startswith(("#", "//"))]


INLINE = re.compile(r"^[ \t]*#\[cfg\(test\)\]", re.MULTILINE)


def restore_inline_tests(path: str, before: bytes, after: bytes) -> bytes | None:
    """Return a Rust source file of now with the tests of before: they begin at the first #[cfg(test)]. None if the
    tests are unchanged or there are none."""
    if not path.endswith(".rs"):
        return None
    old, new = (text.decode("utf-8", "surrogateescape") for text in (before, after))
    begins_old, begins_new = INLINE.search(old), INLINE.search(new)
    if begins_old is None:
        return None
    tests = old[begins_old.start() :]
    product = new[: begins_new.start()] if begins_new else new.rstrip("\n") + "\n\n"
    if begins_new and new[begins_new.start() :] == tests:
        return None
    return (product + tests).encode("utf-8", "surrogateescape")
