"""The format of a PRD: Markdown for people, and one fenced JSON block for the program."""

import json
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from orchestra.errors import UsageError
from orchestra.model import Contract, Prd, Requirement, WorkItem

T = TypeVar("T")

# An unclosed block runs to the end, as in Markdown: a reply that broke off is then reported as invalid JSON.
BLOCK_PATTERN = re.compile(
    r"^[ \t]*(?P<fence>```+|~~~+)[ \t]*json\b[^\n]*\n(?P<json>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*(?:\n|\Z)|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
OUR_KEYS = re.compile(r'"(?:requirements|contracts|work)"\s*:')
# Characters that JSON can hold, but a file, a command line or a terminal cannot.
UNWRITABLE_SIGNS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
JSON_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
ORDINARY_WORD = re.compile(r"[a-z]+")
SLUG_LENGTH = 40

PRD_INSTRUCTIONS = """\
Write one Markdown document with these parts, in this order: a title as `# ...`, then the sections `## Goal`,
`## Requirements`, `## Out of scope`, `## Risks` and `## Acceptance`. End the document with exactly one fenced block,
opened by ```json and closed by ```, which a program reads. Nothing comes after it. Its shape, by an example:

```json
{
  "requirements": [
    {"id": "R1", "text": "A greeting can be shouted.", "acceptance": ["shout('hi') returns 'HI!'"]}
  ],
  "contracts": [
    {"name": "shout", "signature": "def shout(text: str) -> str", "file": "app/voice.py", "purpose": "Makes it loud."}
  ],
  "work": [
    {"file": "app/voice.py", "new": true, "requirements": ["R1"], "do": "Write shout: upper case and one '!'."},
    {"file": "app/main.py", "new": false, "requirements": ["R1"], "do": "With --loud, pass the greeting to shout."}
  ]
}
```

- `requirements`: every requirement of the text, with ids R1, R2, ...; each acceptance check is one testable sentence.
- `contracts`: every name that one file defines and another one uses because of this change, with its exact signature.
  The files are edited by different engineers at the same time, who know of one another only what stands here.
- `work`: every file that must change and no other, each file once, as a path relative to the root of the repository.
  `new` is true for a file that does not exist yet, and false for every other one. `do` says completely what to change
  in that file, so that somebody who sees only this file can do it.
- The block is strict JSON: double quotes, no comments, no trailing commas."""


def parse_prd(text: str) -> Prd:
    """Parse a PRD. Without our block it is prose, and is marked so."""
    text = re.sub(r"\r\n?", "\n", text.removeprefix("\ufeff"))
    block = next((found for found in reversed([*BLOCK_PATTERN.finditer(text)]) if OUR_KEYS.search(found["json"])), None)
    if block is None:
        return Prd(text.strip())
    record = load_block(block["json"], text.count("\n", 0, block.start("json")))
    return Prd(
        prose=f"{text[: block.start()].rstrip()}\n\n{text[block.end() :].lstrip()}".strip(),
        requirements=tuple(
            read_requirement(item, where, n) for n, (item, where) in enumerate(read_objects(record, "requirements"), 1)
        ),
        contracts=tuple(read_contract(item, place) for item, place in read_objects(record, "contracts")),
        work=merge_work(read_work(item, place) for item, place in read_objects(record, "work")),
        structured=True,
    )


def files_named_in_prose(prose: str, tracked: Iterable[str]) -> tuple[str, ...]:
    """Return the tracked paths that the prose names, the longest first, so that `my a.py` does not also name `a.py`."""
    paths = list(tracked)
    prose = re.sub(r"(?<![\w./\\-])\./", "", prose)
    found = set()
    for path in sorted((path for path in paths if path in prose), key=lambda path: (-len(path), path)):
        prose, times = mention_pattern(path).subn("\0", prose)
        if times:
            found.add(path)
    return tuple(path for path in paths if path in found)


def prd_file_name(change: str, stamp: str) -> str:
    return f"{change_slug(change)}_{stamp}.md"


def change_slug(change: str) -> str:
    """Make a file name from the change: its first words, cut between words if enough is left."""
    ascii_text = unicodedata.normalize("NFKD", change[:400]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    if len(words) > SLUG_LENGTH:
        short, _, _ = words[: SLUG_LENGTH + 1].rpartition("-")
        words = short or words[:SLUG_LENGTH]
    return words or "change"


def mention_pattern(path: str) -> re.Pattern[str]:
    """Match the path as a whole. One like an ordinary word, such as `test`, counts only in backticks."""
    if ORDINARY_WORD.fullmatch(path):
        return re.compile(f"`{path}`")
    return re.compile(rf"(?<![\w./\\-]){re.escape(path)}(?![\w/\\-]|\.\w)")


def load_block(block: str, lines_above: int) -> dict[str, Any]:
    try:
        record = json.loads(block)
    except json.JSONDecodeError as error:
        where = f"line {lines_above + error.lineno} of the document"
        raise block_error(f"is not valid JSON: {error.msg} in {where}") from None
    except RecursionError:
        raise block_error("is nested too deeply") from None
    except ValueError as error:
        raise block_error(f"is not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise block_error(f"must be an object, not {json_kind(record)}")
    return record


def block_error(what: str) -> UsageError:
    return UsageError(f"The PRD's JSON block {what}.")


def json_kind(value: object) -> str:
    return "a number" if type(value) in (int, float) else JSON_KINDS.get(type(value), "null")


def read_objects(record: Mapping[str, Any], key: str) -> list[tuple[dict[str, Any], str]]:
    """Read the objects of a list, each with a name for complaints about it."""
    found = record.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise block_error(f"is wrong: {key} must be a list of objects, not {json_kind(found)}")
    for n, item in enumerate(found):
        if not isinstance(item, dict):
            raise block_error(f"is wrong: {key}[{n}] must be an object, not {json_kind(item)}")
    return [(item, f"{key}[{n}]") for n, item in enumerate(found)]


def read_requirement(item: Mapping[str, Any], where: str, number: int) -> Requirement:
    id = read_text_field(item, "id", where) or f"R{number}"
    return Requirement(id, read_text_field(item, "text", where), read_text_list(item, "acceptance", where))


def read_contract(item: Mapping[str, Any], where: str) -> Contract:
    file = read_text_field(item, "file", where)
    return Contract(
        name=read_text_field(item, "name", where),
        signature=read_text_field(item, "signature", where),
        file=normalize_path(file, f"{where}.file") if file else "",
        purpose=read_text_field(item, "purpose", where),
        together=tuple(normalize_path(one, f"{where}.together") for one in read_text_list(item, "together", where)),
    )


def read_work(item: Mapping[str, Any], where: str) -> WorkItem:
    return WorkItem(
        file=normalize_path(read_text_field(item, "file", where), f"{where}.file"),
        do=read_text_field(item, "do", where),
        new=bool(read_field(item, "new", where, bool)),
        requirements=read_text_list(item, "requirements", where),
    )


def merge_work(works: Iterable[WorkItem]) -> tuple[WorkItem, ...]:
    """Merge the work per file, in the order of first mention."""
    by_file: dict[str, WorkItem] = {}
    for more in works:
        known = by_file.setdefault(more.file, more)
        if known is not more:
            do = known.do if more.do in known.do else f"{known.do} {more.do}".strip()
            requirements = tuple(dict.fromkeys(known.requirements + more.requirements))
            by_file[more.file] = WorkItem(more.file, do, known.new or more.new, requirements)
    return tuple(by_file.values())


def read_text_field(item: Mapping[str, Any], key: str, where: str) -> str:
    value = read_field(item, key, where, str) or ""
    if UNWRITABLE_SIGNS.search(value):
        raise block_error(f"is wrong: {where}.{key} holds control characters")
    return value.strip()


def read_text_list(item: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    named = {f"{key}[{n}]": one for n, one in enumerate(read_field(item, key, where, list) or [])}
    return tuple(read_text_field(named, name, where) for name in named)


def read_field(item: Mapping[str, Any], key: str, where: str, kind: type[T]) -> T | None:
    value = item.get(key)
    if value is not None and not isinstance(value, kind):
        wanted = "a list of strings" if kind is list else JSON_KINDS[kind]
        raise block_error(f"is wrong: {where}.{key} must be {wanted}, not {json_kind(value)}")
    return value


def normalize_path(given: str, where: str) -> str:
    """Normalise a path as git writes it. Refuse one that leaves the repository."""
    path = given.replace("\\", "/")
    normal = posixpath.normpath(path)
    if not path or normal == ".":
        raise block_error(f"is wrong: {where} must name a file")
    if normal.startswith(("/", "../")) or normal == ".." or re.match("[A-Za-z]:", normal):
        raise block_error(f"is wrong: {where} is {given!r}, which is outside the repository")
    if path.endswith("/") or re.search(r"[\r\n]", path):
        raise block_error(f"is wrong: {where} is {given!r}, which is not the name of a file")
    return normal
