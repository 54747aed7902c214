"""Digest a repository for a prompt: its files with sizes, and the signatures in them, in bounded space."""

import re
from collections.abc import Iterable
from typing import NamedTuple

LIMIT = 60_000
HEADINGS = 300  # bytes for the headings of the two lists
SIGNATURES_PER_FILE = 40
SIGNATURE_LENGTH = 160
SIGNATURE_LINES = 12
SCANNED = 400_000  # characters of a file that are scanned

BRACE, COLON, LINE = "{;", ":", ""


class Language(NamedTuple):
    """How a signature begins at the start of a line, and the characters that end it outside parentheses."""

    start: re.Pattern[str]
    stop: str


def make_language(start: str, stop: str = BRACE) -> Language:
    return Language(re.compile(rf"^(?:{start})", re.MULTILINE), stop)


MODIFIERS = (
    "public|protected|private|internal|static|final|abstract|sealed|open|data|override|suspend|partial|async|virtual|"
    "inline|case|implicit|export|readonly|unsafe|fileprivate|mutating|indirect"
)
KINDS = "class|interface|enum|record|object|struct|trait|namespace|protocol|extension|actor"
PYTHON = make_language(r"(?:async +)?def +\w+ *[(\[]|class +\w+ *[(:\[]", COLON)
SCRIPT = make_language(
    r"export\b|(?:async +)?function\b|(?:abstract +)?class +\w|(?:interface|declare|namespace|(?:const +)?enum) +\w"
    r"|type +\w+[^=\n]{0,80}=|(?:const|let|var) +\w+ *= *(?:async *)?(?:\(|function\b|\w+ *=>)"
    r"|[\w.]{1,80} *= *(?:async *)?function\b|module\.exports\b"
)
PUB = r"pub(?:\([^)\n]*\))? +"
RUST_FN = r"(?:(?:async|unsafe|const|extern(?: +\"[^\"\n]*\")?) +)*fn\b"
RUST = make_language(
    rf"(?:{PUB})?(?:{RUST_FN}|(?:struct|enum|trait|union|type|mod|(?:unsafe +)?impl)\b)|macro_rules!|    {PUB}{RUST_FN}"
)
# In languages where everything is in classes, members that others may call are included.
CLASSES = make_language(
    rf"[ \t]{{0,8}}(?:(?:{MODIFIERS}) +)*(?:{KINDS}) +\w"
    rf"|[ \t]{{0,4}}(?:(?:{MODIFIERS}) +)*(?:fun|func|def|function) +[\w<&]"
    r"|[ \t]{1,8}public +[^=;\n(]{1,120}\("
)
C = make_language(
    r"(?:struct|class|enum|union|namespace|typedef|template)\b|[A-Za-z_][\w *&:<>,]{0,120}[ *&]~?\w[\w:]{0,80} *\("
)
SCHEMA = make_language(r"(?:message|service|enum|type|interface|input|union|scalar|extend) +\w|[ \t]+rpc +\w")

LANGUAGES = {
    extension: found
    for extensions, found in (
        ("py pyi", PYTHON),
        ("js jsx mjs cjs ts tsx mts cts vue svelte", SCRIPT),
        ("go", make_language(r"func\b|type\b")),
        ("rs", RUST),
        ("java kt kts cs scala swift php dart groovy", CLASSES),
        ("c h cc cpp cxx hh hpp hxx m mm", C),
        ("rb", make_language(r"[ \t]{0,4}(?:class|module|def) ", LINE)),
        ("sh bash zsh", make_language(r"(?:function +)?[\w-]+ *\(\)|function +[\w-]+")),
        ("sql", make_language(r"(?i:create)\b", ";")),
        ("proto graphql gql", SCHEMA),
        ("ex exs", make_language(r"[ \t]{0,2}(?:defmodule|defprotocol|defmacro|def) ", LINE)),
        ("lua", make_language(r"(?:local +)?function\b", LINE)),
    )
    for extension in extensions.split()
}

TEST = re.compile(r"(?:^|/)(?:tests?|specs?|__tests__)/|(?:^|/)test_|[._-](?:test|spec)\.", re.IGNORECASE)
NOISE = re.compile(
    r"(?:^|/)(?:node_modules|vendor|third_party|dist|__pycache__|__snapshots__|testdata)/"
    r"|[.-]lock(?:\.\w+)?$|[.](?:min\.\w+|map|snap|sum|svg|png|jpe?g|gif|ico|webp|pdf|woff2?|ttf|eot|mp[34]|zip|gz|whl|jar|so|dll|exe|bin)$",
    re.IGNORECASE,
)
# A name with a line break or broken encoding cannot be written so that a model could repeat it.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def build_digest(files: Iterable[tuple[str, int, str | None]], limit_bytes: int = LIMIT) -> str:
    """Build the digest, in at most this many bytes, but never less than its headings. A file may come without text."""
    names: dict[str, str] = {}
    blocks: dict[str, str] = {}
    total = 0
    for path, size, text in files:
        total += 1
        if not UNWRITABLE.search(path):
            names[path] = f"{size} {path}"
            blocks |= {path: block} if (block := signature_block(path, text or "")) else {}
    if not total:
        return "The repository has no tracked files yet."
    room = limit_bytes - HEADINGS
    order = sorted(names, key=rank_path)
    # Signatures get what the list of names leaves, and half of the space in any case.
    listed = take_fitting(order, names, room // 2)
    outlined = take_fitting([path for path in order if path in blocks], blocks, room - count_bytes(listed, names))
    listed = take_fitting(order, names, room - count_bytes(outlined, blocks))
    counts = f"{len(listed)} of {total}, each after its size in bytes; {total - len(listed)} left out"
    lines = [f"## Tracked files: {counts}", *(names[path] for path in sorted(listed))]
    if blocks:
        counts = f"{len(outlined)} of {len(blocks)} source files; {len(blocks) - len(outlined)} left out"
        lines += ["", f"## Signatures: those of {counts}", *(blocks[path] for path in outlined)]
    return "\n".join(lines)


def find_signatures(path: str, text: str) -> list[str]:
    """List a file's signatures, a line each, in order; empty for an unknown language."""
    spoken = LANGUAGES.get(file_extension(path))
    if spoken is None:
        return []
    text = text[:SCANNED]
    found = (
        extract_signature(text[match.start() : match.start() + 2_000], spoken.stop)
        for match in spoken.start.finditer(text)
    )
    return [one for one in dict.fromkeys(found) if one not in ("", "export")]


def has_signatures(path: str) -> bool:
    """Whether the file is worth reading for a digest."""
    return file_extension(path) in LANGUAGES and not NOISE.search(path)


def rank_path(path: str) -> tuple[int, int, str]:
    """Rank files: sources, tests, other files that people write, files made by tools; shallow before deep."""
    kind = 3 if NOISE.search(path) else 1 if TEST.search(path) else 0 if file_extension(path) in LANGUAGES else 2
    return kind, path.count("/"), path


def take_fitting(order: Iterable[str], parts: dict[str, str], room: int) -> list[str]:
    """Take as many as fit, the first ones first; one that is too long does not keep out later ones."""
    taken = []
    for path in order:
        cost = len(parts[path].encode()) + 1
        if cost <= room:
            taken.append(path)
            room -= cost
    return taken


def count_bytes(paths: Iterable[str], parts: dict[str, str]) -> int:
    return sum(len(parts[path].encode()) + 1 for path in paths)


def signature_block(path: str, text: str) -> str:
    found = find_signatures(path, text) if text and has_signatures(path) else []
    more = [f"... and {len(found) - SIGNATURES_PER_FILE} more"] if len(found) > SIGNATURES_PER_FILE else []
    return "\n  ".join([path, *found[:SIGNATURES_PER_FILE], *more]) if found else ""


def extract_signature(text: str, stop: str) -> str:
    """Return a signature from its start to its body on one line, across lines while a parenthesis is open."""
    depth = lines = 0
    end = len(text)
    for at, char in enumerate(text):
        lines += char == "\n"
        depth += (char in "([") - (char in ")]")
        if (depth <= 0 and (char in stop or char == "\n")) or lines == SIGNATURE_LINES:
            end = at
            break
    words = UNWRITABLE.sub("", " ".join(text[:end].split()))
    words = re.sub(r"(?<=[(\[]) | (?=[)\]])|,(?= ?[)\]])", "", words)
    words = re.sub(r" *(?:=>|=|:)$", "", words)
    return words if len(words) <= SIGNATURE_LENGTH else words[: SIGNATURE_LENGTH - 3] + "..."


def file_extension(path: str) -> str:
    _, dot, end = path.rsplit("/", 1)[-1].rpartition(".")
    return end.lower() if dot else ""
