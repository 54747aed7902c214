"""What one source file tells of its relations: what it imports, and the names it speaks of. Any language, no parser."""

import re
import zlib
from array import array
from typing import NamedTuple

SCANNED = 64 << 10
IMPORTS_PER_FILE = 200
# A path in quotes or angle brackets behind a word that fetches it: JavaScript, C, Ruby, PHP, shell, Go on one line.
# Asking for whole words here would take six times as long.
QUOTED = re.compile(
    rb"(?:from|import|require(?:_relative|_once)?|include(?:_once)?|load|source|part|use)"
    rb"""[ \t]*\(?[ \t]*["'<]([^"'<>\n]{1,200})["'>]"""
)
# A module's name behind such a word at the start of a line: Python, Rust, Java, C#, PHP, Haskell.
NAMED = re.compile(
    rb"^[ \t]*(?:pub(?:\([^)\n]*\))? +)?(?:from|import|use|mod|using|alias|require)[ \t]+(?:static +|qualified +)?"
    rb"([\w.:\\]{1,200}+)(?![ \t]+from\b)(?:[ \t]+import[ \t]+\(?([\w, \t]+))?",
    re.MULTILINE,
)
# A line of Go's import block.
BLOCK = re.compile(rb"""^\t(?:[\w.]+ )?"([\w.~/-]+)"[ \t]*(?://.*)?$""", re.MULTILINE)
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{3,}")


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
