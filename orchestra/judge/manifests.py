"""What an edit of a manifest does: add plain dependencies, or more, which is then protected. In doubt, it is more.

A dependency is plain when it is a name and a version of the ecosystem's usual index: no address, path, alias or script.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestra.judge.protected import TABLE, normalise_path

DEPENDENCIES, TEST_SETUP = "changes dependencies", "test set-up"
KeyPath = tuple[str, ...]


class NotPlainEdit(Exception):
    """The edit does more than change plain dependencies; its text says what."""


# --- one dependency -------------------------------------------------------------------------------------------------

VERSIONS = r"(?:(?:===?|~=|!=|<=?|>=?) *[\w.*+!-]+(?: *, *(?:===?|~=|!=|<=?|>=?) *[\w.*+!-]+)*)"
# Name, extras, versions, and a marker that only compares.
PEP_508 = re.compile(
    rf"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])? *(?:\[[\w., -]*\])? *(?:{VERSIONS}|\( *{VERSIONS} *\))?"
    r" *(?:; *[\w.\"'<>=!~()*+ -]+)?"
)
NOT_A_NAME = re.compile(r"\s-|\.(?:whl|zip|tar|tgz|tbz2?|txz|gz|bz2|xz|egg)\b", re.IGNORECASE)
NPM_NAME = re.compile(r"(?:@[a-z0-9~-][\w.~-]*/)?[a-z0-9~-][\w.~-]*", re.IGNORECASE)
NPM_VERSION = re.compile(r"\*|latest|next|[\^~<>=v \d][\w.+*|<>=^~ -]*")
VERSION = re.compile(r"[\^~<>=! \d*][\w.+*,<>=^~!| -]*")  # Cargo's and Poetry's
NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
GO_MODULE = re.compile(r"(?:require )?[\w.~-]+\.[\w.~-]+(?:/[\w.~-]+)* v\d[\w.+-]*(?: *// *indirect)?")
DETAILS = {"version", "features", "default-features", "optional", "extras", "markers", "python", "workspace"}


def is_plain_python(line: Any) -> bool:
    """pip takes options behind a dependency (--global-option), and the name of an archive for a file."""
    return isinstance(line, str) and bool(PEP_508.fullmatch(line.strip())) and not NOT_A_NAME.search(line)


def are_plain_python(_: str, lines: Any) -> bool:
    return isinstance(lines, list) and all(map(is_plain_python, lines))


def is_plain_npm(name: str, version: Any) -> bool:
    return isinstance(version, str) and bool(NPM_NAME.fullmatch(name) and NPM_VERSION.fullmatch(version.strip()))


def is_plain_toml(name: str, wanted: Any) -> bool:
    """Of Cargo and Poetry: a version, or a table that says no more than which version, and when."""
    details = {"version": wanted} if isinstance(wanted, str) else wanted
    if not (NAME.fullmatch(name) and isinstance(details, dict) and details.keys() <= DETAILS):
        return False
    version = details.get("version", "*")
    return isinstance(version, str) and bool(VERSION.fullmatch(version.strip()))


# --- what differs ---------------------------------------------------------------------------------------------------


def diff_tables(before: Any, after: Any, place: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Where two parsed files differ, as deep as both have tables, with what stands there now (None: nothing)."""
    if isinstance(after, dict) and after and not before:
        before = {}  # a new table is looked at entry by entry
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield place, after
        return
    for key in dict.fromkeys((*before, *after)):
        # By repr, because 1 == True == 1.0.
        if key not in before or key not in after or repr(before[key]) != repr(after[key]):
            yield from diff_tables(before.get(key), after.get(key), (*place, key))


def more_than_dependencies(place: KeyPath) -> NotPlainEdit:
    return NotPlainEdit(f"changes more than dependencies: {'.'.join(place) or 'all of it'}")


def foreign_dependency(place: KeyPath) -> NotPlainEdit:
    return NotPlainEdit(f"has a dependency that is not a plain name and version: {'.'.join(place)}")


# --- files ----------------------------------------------------------------------------------------------------------


def check_requirements_txt(before: str, after: str) -> set[str]:
    lines = [Counter(line.strip() for line in text.splitlines()) for text in (before, after)]
    changed = [line for line in (lines[0] - lines[1]) + (lines[1] - lines[0]) if line and not line.startswith("#")]
    for line in changed:
        if not is_plain_python(re.sub(r"\s#.*", "", line)):
            raise NotPlainEdit(f"changes more than plain dependencies: {line[:60]}")
    return {DEPENDENCIES} if changed else set()


def check_go_mod(before: str, after: str) -> set[str]:
    """Blocks of `replace`, `exclude` and the like look as those of `require` do, so their openings may not change."""
    lines = [[line.strip() for line in text.splitlines() if line.strip()] for text in (before, after)]
    others = [[line for line in text if not GO_MODULE.fullmatch(line)] for text in lines]
    if others[0] != others[1]:
        changed = [line for line in others[1] if line not in others[0]] or ["a line was taken out"]
        raise NotPlainEdit(f"changes more than dependencies: {changed[0][:60]}")
    if lines_not_required(lines[0]) != lines_not_required(lines[1]):
        raise NotPlainEdit("changes what is not required, but replaced or left out")
    return {DEPENDENCIES} if lines[0] != lines[1] else set()


def lines_not_required(lines: list[str]) -> list[tuple[str, str]]:
    """The lines inside of blocks that are not `require`, each with its block."""
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
    for place, value in diff_tables(parse_json(before), parse_json(after)):
        table, *names = place or ("",)
        if table in NPM_TEST_SETUP:
            found.add(TEST_SETUP)
        elif table in NPM_TABLES and (value is None or (len(names) == 1 and is_plain_npm(names[0], value))):
            found.add(DEPENDENCIES)
        elif table in NPM_TABLES:
            raise foreign_dependency(place)
        else:
            raise more_than_dependencies(place)
    return found


NPM_TABLES = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
NPM_TEST_SETUP = ("jest", "nyc", "mocha", "ava", "c8", "vitest")


def parse_json(text: str) -> Any:
    """Of a key that stands twice, nobody knows which one counts for whom."""

    def reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise NotPlainEdit("has a key twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=reject_duplicates) if text.strip() else {}


def check_cargo_toml(before: str, after: str) -> set[str]:
    return check_toml(before, after, CARGO)


def check_pyproject_toml(before: str, after: str) -> set[str]:
    return check_toml(before, after, PYPROJECT)


# Where dependencies stand in a file: the way to a table of them, or to a list. * is any one key.
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
    for place, value in diff_tables(tomllib.loads(before), tomllib.loads(after)):
        way = next((way for way in places if matches_key_path(way, place)), None)
        if way is None:
            raise more_than_dependencies(place)
        is_plain = places[way]
        if is_plain is None:
            found.add(TEST_SETUP)
            continue
        # The way may end above what differs: one detail of a dependency. Then all of it is asked about.
        if len(place) > len(way):
            value = value_at(tomllib.loads(after), place[: len(way)])
        if value is not None and not is_plain(place[len(way) - 1], value):
            raise foreign_dependency(place)
        found.add(DEPENDENCIES)
    return found


def matches_key_path(way: KeyPath, place: KeyPath) -> bool:
    return len(place) >= len(way) and all(key in ("*", part) for key, part in zip(way, place, strict=False))


def value_at(table: Any, place: KeyPath) -> Any:
    for key in place:
        table = table.get(key) if isinstance(table, dict) else None
    return table


MANIFEST_READERS: Mapping[str, Callable[[str, str], set[str]]] = {
    r"(?:.*/)?(?:[\w.-]*requirements[\w.-]*|constraints[\w.-]*)\.(?:txt|in)|(?:.*/)?requirements/[\w.-]+\.(?:txt|in)": (
        check_requirements_txt
    ),
    r"(?:.*/)?go\.mod": check_go_mod,
    r"(?:.*/)?package\.json": check_package_json,
    r"(?:.*/)?cargo\.toml": check_cargo_toml,
    r"(?:.*/)?pyproject\.toml": check_pyproject_toml,
}


def manifest_reader(path: str) -> Callable[[str, str], set[str]] | None:
    plain = normalise_path(path)
    return next((reader for pattern, reader in MANIFEST_READERS.items() if re.fullmatch(pattern, plain)), None)


def manifest_changes(path: str, before: bytes, after: bytes) -> set[str]:
    """What an edit of this manifest does, of DEPENDENCIES and TEST_SETUP. Raises NotPlain where it does more."""
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
