"""Find why a gate could not start: the most telling line of its output, and the modules that are missing. Pure."""

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from orchestra.wording import join_some, one_line

Lines = Sequence[str]
LONGEST = 200
MOST_LINES = 2_000
MOST_MODULES = 3

# What a runner prints when it cannot start, with the part that gives the reason. The first matching pattern decides
# about a line.
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
# What an error looks like, also a failing test's.
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
# A package that lacks a private part of itself: a compiled one, which was not built here.
UNBUILT_PART = re.compile(r"cannot import name '(_\w+)' from partially initialized module '([\w.]+)'")
NODE_MODULE = re.compile(r"Cannot find (?:module|package) '([^']+)'")
TITLE = re.compile(r"^_{3,} ERROR collecting (\S.*?) _{3,}$")
HEADLINE = re.compile(r"^(?:=+ .* =+|_{3,} .* _{3,})$")


def find_cause(lines: Lines) -> tuple[str, bool]:
    """Return the cause, empty if nothing was printed, and whether it is one that kept the runner from starting."""
    lines = [*lines[:MOST_LINES], *lines[-MOST_LINES:]] if len(lines) > 2 * MOST_LINES else lines
    if absent := dict.fromkeys(hit[1] for line in lines for hit in NO_MODULE.finditer(line)):
        return f"No module named {join_some([repr(name) for name in absent], MOST_MODULES)}", True
    for pattern in (*CANNOT_START, *GOES_WRONG):
        for line in lines:
            if hit := pattern.match(line):
                return shorten_cause(": ".join(hit.groups())), pattern in CANNOT_START
    output = [line for line in lines if line.strip() and not HEADLINE.match(line)]
    return (shorten_cause(output[-1]) if output else ""), False


def shorten_cause(text: str) -> str:
    return one_line(re.sub(r"^\s*ImportError: (?=cannot import name)", "", text), LONGEST)


def missing_modules(lines: Lines) -> frozenset[str]:
    """Return missing modules as the errors name them: `requests_mock`, `shop.reset`, `./reset`."""
    patterns = (NO_MODULE, PART_OF_MODULE, ATTRIBUTE, NODE_MODULE)
    lines = [UNBUILT_PART.sub(r"No module named '\2.\1'", line) for line in lines]
    return frozenset(hit[1] for line in lines for pattern in patterns for hit in pattern.finditer(line))


def missing_by_file(lines: Lines) -> dict[str, frozenset[str]]:
    """Return, for each file that pytest could not collect, the modules that it did not find."""
    found, file = dict[str, set[str]](), ""
    for line in lines:
        if hit := TITLE.match(line):
            file = hit[1]
        elif HEADLINE.match(line):
            file = ""
        elif file and line.startswith("E "):
            found.setdefault(file, set()).update(missing_modules([line]))
    return {name: frozenset(modules) for name, modules in found.items() if modules}


def is_own_module(module: str, files: Collection[str]) -> bool:
    """Whether a module is part of the repository, so that its code is wrong and not the machine's set-up."""
    stems = {PurePosixPath(path).stem for path in files}
    package, _, name = module.rpartition(".")
    if package and re.match(r"_[a-z]", name) and name not in stems:
        return False  # the compiled part of a package, which has no file until it is built
    if module.startswith(".") or module in files:
        return True
    top = module.split("/" if "/" in module else ".")[0]
    return any(top in PurePosixPath(path).with_suffix("").parts for path in files if path.endswith(".py"))
