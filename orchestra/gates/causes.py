"""Why a gate could not start: the one line of its output that says most, and the modules that are missing. Pure."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

Lines = Sequence[str]
LONGEST = 200
MOST_LINES = 2_000
MOST_MODULES = 3

# What a runner says that cannot begin, each with the part that says why. The first pattern that matches a line decides.
CANNOT_START = tuple(
    re.compile(pattern)
    for pattern in (
        r"^ERROR: (Missing required plugins: .+)$",
        r"^ERROR: (?:\S+: )?(.*\bminversion\b.*?)'?$",
        r"^\S.*: error: (unrecognized arguments: .+)$",
        r"^ERROR: (?!usage: |\S+ \([\w.<>]+\))(.+)$",
        r"^\S*python\S*: (No module named .+)$",
        r"^(?:\S+: (?:line )?\d+: )?([^\s:]+: (?:command )?not found)$",
        r"^(?:\S+: (?:line )?\d+: )(.+: (?:Permission denied|No such file or directory|cannot execute.*))$",
        r"^npm (?:error|ERR!) (Missing script: .+)$",
        r"^npm (?:error|ERR!) (?:JSON\.parse )?(Invalid package\.json: .+)$",
        r"^make(?:\[\d+\])?: (?!\*\*\*|Entering|Leaving|Nothing)(.+: (?:No such file or directory|Permission denied))$",
        r"^make(?:\[\d+\])?: \*\*\* (No rule to make target .+?)(?:, needed by .+)?\.\s+Stop\.$",
        r"^\S+:\d*:? ?\*\*\* (.+?)\.?\s+Stop\.$",
        r"^(?:# )?(?:\w*Error: )(Cannot find (?:module|package) .+)$",
        r"^E\s+([\w.]*(?:Error|Exception|Exit|Failed|Warning)\b: .+)$",
        r"^E\s+(fixture '.+' not found)$",
        r"^INTERNALERROR> ([\w.]*(?:Error|Exception|Exit)\b.*)$",
    )
)
# What says that something is wrong, be it a test.
GOES_WRONG = tuple(
    re.compile(pattern)
    for pattern in (
        r"^error(?:\[E\d+\])?: (.+)$",
        r"^([\w.]*(?:Error|Exception)\b: .+)$",
        r"^(Error: .+)$",
        r"^(Fatal .+)$",
        r"^make(?:\[\d+\])?: \*\*\* \[(.+?)\] (Error \d+)",
    )
)
NO_MODULE = re.compile(r"No module named '?([\w.]*\w)'?")
PART_OF_MODULE = re.compile(r"cannot import name '\w+' from (?:partially initialized module )?'([\w.]+)'")
ATTRIBUTE = re.compile(r"AttributeError: (?:partially initialized )?module '([\w.]+)' has no attribute")
NODE_MODULE = re.compile(r"Cannot find (?:module|package) '([^']+)'")
TITLE = re.compile(r"^_{3,} ERROR collecting (\S.*?) _{3,}$")
HEADLINE = re.compile(r"^(?:=+ .* =+|_{3,} .* _{3,})$")


def find_cause(lines: Lines) -> tuple[str, bool]:
    """The cause, empty if nothing was printed; and whether it is one that a runner has for not beginning at all."""
    lines = [*lines[:MOST_LINES], *lines[-MOST_LINES:]] if len(lines) > 2 * MOST_LINES else lines
    if absent := dict.fromkeys(hit[1] for line in lines for hit in NO_MODULE.finditer(line)):
        names = ", ".join(f"'{name}'" for name in list(absent)[:MOST_MODULES])
        more = f" and {len(absent) - MOST_MODULES} more" if len(absent) > MOST_MODULES else ""
        return f"No module named {names}{more}", True
    for pattern in (*CANNOT_START, *GOES_WRONG):
        for line in lines:
            if hit := pattern.match(line):
                return shorten_cause(": ".join(hit.groups())), pattern in CANNOT_START
    said = [line for line in lines if line.strip() and not HEADLINE.match(line)]
    return (shorten_cause(said[-1]) if said else ""), False


def shorten_cause(text: str) -> str:
    words = " ".join(text.split())
    words = re.sub(r"^ImportError: (?=cannot import name)", "", words)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def missing_modules(lines: Lines) -> frozenset[str]:
    """As the errors name them: `requests_mock`, `shop.reset`, `./reset`."""
    return frozenset(name for line in lines for name in missing_in_line(line))


def missing_in_line(line: str) -> Iterator[str]:
    for pattern in (NO_MODULE, PART_OF_MODULE, ATTRIBUTE, NODE_MODULE):
        for hit in pattern.finditer(line):
            yield hit[1]


def missing_by_file(lines: Lines) -> dict[str, frozenset[str]]:
    """For each file that pytest could not collect, the modules that it did not find."""
    found, file = dict[str, set[str]](), ""
    for line in lines:
        if hit := TITLE.match(line):
            file = hit[1]
        elif HEADLINE.match(line):
            file = ""
        elif file and line.startswith("E "):
            found.setdefault(file, set()).update(missing_in_line(line))
    return {name: frozenset(modules) for name, modules in found.items() if modules}


def is_own_module(module: str, files: Collection[str]) -> bool:
    """Whether a module is a part of the repository, so that its own code is wrong and not the machine's set-up."""
    if module.startswith(".") or module in files:
        return True
    top = module.split("/" if "/" in module else ".")[0]
    return any(top in PurePosixPath(path).with_suffix("").parts for path in files if path.endswith(".py"))
