"""Judge an edit of a manifest: does it add plain dependencies, or more, which is protected? In doubt, more.

A dependency is plain if it is a name and a version from the ecosystem's usual index: no address, path, alias or script.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from orchestra.judge.protected import TABLE, normalise_path

DEPENDENCIES, TEST_SETUP = "changes dependencies", "test set-up"
KeyPath = tuple[str, ...]


class NotPlainEdit(Exception):
    """The edit does more than change plain dependencies; the text says what."""


VERSIONS = r"(?:(?:===?|~=|!=|<=?|>=?) *[\w.*+!-]+(?: *, *(?:===?|~=|!=|<=?|>=?) *[\w.*+!-]+)*)"
# Name, extras, versions, and a marker that only compares.
PEP_508 = re.compile(
    rf"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])? *(?:\[[\w., -]*\])? *(?:{VERSIONS}|\( *{VERSIONS} *\))?"
    r" *(?:; *[\w.\"'<>=!~()*+ -]+)?"
)
NOT_A_NAME = re.compile(r"\s-|\.(?:whl|zip|tar|tgz|tbz2?|txz|gz|bz2|xz|egg)\b", re.IGNORECASE)
NPM_NAME = re.compile(r"(?:@[a-z0-9~-][\w.~-]*/)?[a-z0-9~-][\w.~-]*", re.IGNORECASE)
NPM_VERSION = re.compile(r"\*|latest|next|[\^~<>=v \d][\w.+*|<>=^~ -]*")
VERSION = re.compile(r"[\^~<>=! \d*][\w.+*,<>=^~!| -]*")  # of Cargo and Poetry
NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
GO_MODULE = re.compile(r"(?:require )?[\w.~-]+\.[\w.~-]+(?:/[\w.~-]+)* v\d[\w.+-]*(?: *// *indirect)?")
DETAILS = {"version", "features", "default-features", "optional", "extras", "markers", "python", "workspace"}


def is_plain_python(line: Any) -> bool:
    """Whether a requirement is plain: for pip it may also hold options (--global-option) or name an archive."""
    return isinstance(line, str) and bool(PEP_508.fullmatch(line.strip())) and not NOT_A_NAME.search(line)


def are_plain_python(_: str, lines: Any) -> bool:
    return isinstance(lines, list) and all(map(is_plain_python, lines))


def is_plain_npm(name: str, version: Any) -> bool:
    return isinstance(version, str) and bool(NPM_NAME.fullmatch(name) and NPM_VERSION.fullmatch(version.strip()))


def is_plain_toml(name: str, wanted: Any) -> bool:
    """Whether a requirement of Cargo or Poetry is plain: a version, or a table without another source."""
    details = {"version": wanted} if isinstance(wanted, str) else wanted
    if not (NAME.fullmatch(name) and isinstance(details, dict) and details.keys() <= DETAILS):
        return False
    version = details.get("version", "*")
    return isinstance(version, str) and bool(VERSION.fullmatch(version.strip()))


def diff_tables(before: Any, after: Any, key_path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Return where two parsed files differ, as deep as both have tables, with the new value (None: removed)."""
    if isinstance(after, dict) and after and not before:
        before = {}  # a new table is compared entry by entry
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield key_path, after
        return
    for key in dict.fromkeys((*before, *after)):
        # by repr, because 1 == True == 1.0
        if key not in before or key not in after or repr(before[key]) != repr(after[key]):
            yield from diff_tables(before.get(key), after.get(key), (*key_path, key))


def more_than_dependencies(key_path: KeyPath) -> NotPlainEdit:
    return NotPlainEdit(f"changes more than dependencies: {'.'.join(key_path) or 'all of it'}")


def foreign_dependency(key_path: KeyPath) -> NotPlainEdit:
    return NotPlainEdit(f"has a dependency that is not a plain name and version: {'.'.join(key_path)}")


def check_requirements_txt(before: str, after: str) -> set[str]:
    lines = [Counter(line.strip() for line in text.splitlines()) for text in (before, after)]
    changed = [line for line in (lines[0] - lines[1]) + (lines[1] - lines[0]) if line and not line.startswith("#")]
    for line in changed:
        if not is_plain_python(re.sub(r"\s#.*", "", line)):
            raise NotPlainEdit(f"changes more than plain dependencies: {line[:60]}")
    return {DEPENDENCIES} if changed else set()


def check_go_mod(before: str, after: str) -> set[str]:
    """Check go.mod. Blocks of `replace` and others look like those of `require`: their openings may not change."""
    lines = [[line.strip() for line in text.splitlines() if line.strip()] for text in (before, after)]
    others = [[line for line in text if not GO_MODULE.fullmatch(line)] for text in lines]
    if others[0] != others[1]:
        changed = [line for line in others[1] if line not in others[0]] or ["a line was taken out"]
        raise NotPlainEdit(f"changes more than dependencies: {changed[0][:60]}")
    if lines_not_required(lines[0]) != lines_not_required(lines[1]):
        raise NotPlainEdit("changes what is not required, but replaced or left out")
    return {DEPENDENCIES} if lines[0] != lines[1] else set()


def lines_not_required(lines: list[str]) -> list[tuple[str, str]]:
    """Return the lines in blocks other than `require`, each with its block."""
    found, inside = [], ""
    for line in lines:
        if line.endswith("("):
            inside = line.partition(" ")[0].partition("(")[0]
        elif line == ")":
            inside = ""
        elif inside not in ("", "require"):
            found.append((inside, line))
    return found


def check_package_json(before: str, after: str) -> set[str]:
    found = set()
    for key_path, value in diff_tables(parse_json(before), parse_json(after)):
        table, *names = key_path or ("",)
        if table in NPM_TEST_SETUP:
            found.add(TEST_SETUP)
        elif table in NPM_TABLES and (value is None or (len(names) == 1 and is_plain_npm(names[0], value))):
            found.add(DEPENDENCIES)
        elif table in NPM_TABLES:
            raise foreign_dependency(key_path)
        else:
            raise more_than_dependencies(key_path)
    return found


NPM_TABLES = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
NPM_TEST_SETUP = ("jest", "nyc", "mocha", "ava", "c8", "vitest")


def parse_json(text: str) -> Any:
    """Parse JSON. Refuse a key that occurs twice: tools disagree about which one counts."""

    def reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise NotPlainEdit("has a key twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=reject_duplicates) if text.strip() else {}


# Where a file keeps dependencies: the path to a table or list of them. * is any one key.
CARGO = {
    ("dependencies", "*"): is_plain_toml,
    ("dev-dependencies", "*"): is_plain_toml,
    ("target", "*", "dependencies", "*"): is_plain_toml,
    ("target", "*", "dev-dependencies", "*"): is_plain_toml,
    ("workspace", "dependencies", "*"): is_plain_toml,
}
PYPROJECT = {
    ("project", "dependencies"): are_plain_python,
    ("project", "optional-dependencies", "*"): are_plain_python,
    ("dependency-groups", "*"): are_plain_python,
    ("tool", "poetry", "dependencies", "*"): is_plain_toml,
    ("tool", "poetry", "dev-dependencies", "*"): is_plain_toml,
    ("tool", "poetry", "group", "*", "dependencies", "*"): is_plain_toml,
    ("tool", "pytest"): None,
    ("tool", "coverage"): None,
}
DependencyPlaces = Mapping[KeyPath, Callable[[str, Any], bool] | None]


def check_toml(before: str, after: str, places: DependencyPlaces) -> set[str]:
    found = set()
    for key_path, value in diff_tables(tomllib.loads(before), tomllib.loads(after)):
        way = next((way for way in places if matches_key_path(way, key_path)), None)
        if way is None:
            raise more_than_dependencies(key_path)
        is_plain = places[way]
        if is_plain is None:
            found.add(TEST_SETUP)
            continue
        # The path may end above the difference, in one detail of a dependency: then judge all of it.
        if len(key_path) > len(way):
            value = value_at(tomllib.loads(after), key_path[: len(way)])
        if value is not None and not is_plain(key_path[len(way) - 1], value):
            raise foreign_dependency(key_path)
        found.add(DEPENDENCIES)
    return found


def matches_key_path(pattern: KeyPath, key_path: KeyPath) -> bool:
    keys = zip(pattern, key_path, strict=False)
    return len(key_path) >= len(pattern) and all(key in ("*", part) for key, part in keys)


def value_at(table: Any, key_path: KeyPath) -> Any:
    for key in key_path:
        table = table.get(key) if isinstance(table, dict) else None
    return table


MANIFEST_READERS: Mapping[str, Callable[[str, str], set[str]]] = {
    r"(?:.*/)?(?:[\w.-]*requirements[\w.-]*|constraints[\w.-]*)\.(?:txt|in)|(?:.*/)?requirements/[\w.-]+\.(?:txt|in)": (
        check_requirements_txt
    ),
    r"(?:.*/)?go\.mod": check_go_mod,
    r"(?:.*/)?package\.json": check_package_json,
    r"(?:.*/)?cargo\.toml": partial(check_toml, places=CARGO),
    r"(?:.*/)?pyproject\.toml": partial(check_toml, places=PYPROJECT),
}


def manifest_reader(path: str) -> Callable[[str, str], set[str]] | None:
    plain = normalise_path(path)
    return next((reader for pattern, reader in MANIFEST_READERS.items() if re.fullmatch(pattern, plain)), None)


def manifest_changes(path: str, before: bytes, after: bytes) -> set[str]:
    """Return what an edit of this manifest does: DEPENDENCIES, TEST_SETUP. Raise NotPlainEdit if it does more."""
    reader = manifest_reader(path)
    if reader is None:
        return set()
    try:
        return reader(before.decode(), after.decode())
    except (ValueError, RecursionError):
        raise NotPlainEdit("cannot be read") from None


def changes_own_settings(path: str, before: bytes, after: bytes) -> bool:
    """Whether an edit of the root's pyproject.toml changes this program's own settings. In doubt it does."""
    if normalise_path(path) != "pyproject.toml":
        return False
    try:
        old, new = (value_at(tomllib.loads(text.decode()), tuple(TABLE.split("."))) for text in (before, after))
    except (ValueError, RecursionError):
        return TABLE.partition(".")[2].encode() in before + after
    return bool(old != new)
