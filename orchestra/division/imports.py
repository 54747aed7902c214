"""Scan a source of any language for its imports and names, and find the file that an import means: the one whose path
ends like the imported name."""

import posixpath
import re
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SCANNED = 64 << 10
IMPORTS_PER_FILE = 200
# A quoted path after a word that includes it: JavaScript, C, Ruby, PHP, shell, Go on one line.
# Matching whole words here would take six times as long.
QUOTED = re.compile(
    rb"(?:from|import|require(?:_relative|_once)?|include(?:_once)?|load|source|part|use)"
    rb"""[ \t]*\(?[ \t]*["'<]([^"'<>\n]{1,200})["'>]"""
)
# A module's name after such a word at the start of a line: Python, Rust, Java, C#, PHP, Haskell.
NAMED = re.compile(
    rb"^[ \t]*(?:pub(?:\([^)\n]*\))? +)?(?:from|import|use|mod|using|alias|require)[ \t]+(?:static +|qualified +)?"
    rb"([\w.:\\]{1,200}+)(?![ \t]+from\b)(?:[ \t]+import[ \t]+\(?([\w, \t]+))?",
    re.MULTILINE,
)
# A line of Go's import block.
BLOCK = re.compile(rb"""^\t(?:[\w.]+ )?"([\w.~/-]+)"[ \t]*(?://.*)?$""", re.MULTILINE)
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{3,}")

MOST_MEANT = 30
# A folder's index file stands for the folder.
INDEX = {"__init__", "index", "mod", "lib", "main"}
NO_PART = {"", "crate", "self", "super", "@", "~"}


class ModuleIndex:
    """Files by the last part of their import names."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.by_end: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self.by_folder: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for path in paths:
            parts = tuple(without_extension(path).split("/"))
            self.by_end[parts[-1]].append((parts, path))
            if parts[-1] in INDEX and len(parts) > 1:
                self.by_end[parts[-2]].append((parts[:-1], path))
            if path.endswith(".go") and len(parts) > 1:
                self.by_folder[parts[-2]].append((parts[:-1], path))

    def resolve(self, name: str, importer: str) -> list[str]:
        """Resolve a name; empty if it means a library, or is ambiguous."""
        parts = import_parts(name, importer)
        # The end of the name may be something in the file: a class, a function.
        for end in (len(parts), len(parts) - 1, len(parts) - 2):
            if end > 0 and (found := self.match_ending(parts[:end], importer)):
                return found
        return []

    def match_ending(self, parts: Sequence[str], importer: str) -> list[str]:
        candidates = [*self.by_end.get(parts[-1], ()), *self.by_folder.get(parts[-1], ())]
        others = [(known, path) for known, path in candidates if path != importer]
        agreeing = [(shared_prefix(known[::-1], parts[::-1]), known, path) for known, path in others]
        best = max((many for many, _, _ in agreeing), default=0)
        # One common word at the end says little, unless it is the whole of either name.
        found = [path for many, known, path in agreeing if many == best and (many > 1 or 1 in (len(known), len(parts)))]
        if len(found) > 1:
            near = max(shared_folders(path, importer) for path in found)
            found = [path for path in found if shared_folders(path, importer) == near]
        unclear = best == 1 and len(found) > 1 and not importer.endswith(".go")
        return [] if unclear or len(found) > MOST_MEANT else found


def import_parts(name: str, importer: str) -> list[str]:
    r"""Split app.users.models, crate::users::models, App\\Users, ./users/models and ../models into path parts."""
    folder = posixpath.dirname(importer)
    if name.startswith(("./", "../")):
        return drop_filler_parts(without_extension(posixpath.normpath(f"{folder}/{name}")).split("/"))
    if name.startswith("."):
        dots = len(name) - len(name.lstrip("."))
        above = folder.split("/")[: len(folder.split("/")) - dots + 1]
        return drop_filler_parts([*above, *name[dots:].split(".")])
    if "/" in name:
        return drop_filler_parts(without_extension(name).split("/"))
    return drop_filler_parts(re.split(r"::|\\|\.", name))


def drop_filler_parts(parts: Iterable[str]) -> list[str]:
    kept = [part for part in parts if part not in NO_PART]
    return kept[:-1] if len(kept) > 1 and kept[-1] in INDEX else kept


def shared_folders(a: str, b: str) -> int:
    return shared_prefix(a.split("/")[:-1], b.split("/")[:-1])


def shared_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    """Count equal parts at the beginning."""
    many = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        many += 1
    return many


def without_extension(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name if name.startswith(".") else name.split(".", 1)[0])


class Source(NamedTuple):
    """`words` are checksums, because ten thousand files have millions of names: equal words have equal ones."""

    imports: tuple[str, ...]
    words: "array[int]"
    size: int = 0  # of the whole file, in bytes


def scan_source(content: bytes, limit: int = SCANNED) -> Source:
    size, content = len(content), content[:limit]
    found = [match.decode("utf-8", "replace") for match in QUOTED.findall(content) + BLOCK.findall(content)]
    for module, names in NAMED.findall(content):
        found.append(module.decode("utf-8", "replace"))
        # `from package import module` may mean a file of that name.
        found += [f"{found[-1]}.{name.split()[0].decode()}" for name in names.split(b",")[:20] if name.split()]
    words = array("I", sorted({zlib.crc32(word) for word in WORD.findall(content)}))
    return Source(tuple(dict.fromkeys(found))[:IMPORTS_PER_FILE], words, size)
