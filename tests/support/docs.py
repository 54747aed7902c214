"""The commands that stand in the documentation, as a reader would type them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
HOW_TO = ROOT / "docs/how-to.md"
# How an indented block begins that is no command, and what it is instead.
NO_COMMANDS = {
    "{": "a file in JSON",
    "[": "a settings file",
    "```json": "the block of a PRD",
    "change ─▶": "a drawing",
}


def blocks(path: Path) -> list[str]:
    """The indented blocks. Fenced ones are other people's files, or what a program answers."""
    return blocks_of(path.read_text("utf-8"))


def blocks_of(text: str) -> list[str]:
    prose = re.sub(r"(?ms)^```.*?^```$", "", text)
    found = re.findall(r"(?m)(?:^    .*\n)+", prose)
    return ["".join(line[4:] + "\n" for line in block.splitlines()) for block in found]


def fenced(path: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", path.read_text("utf-8"))


def sections(path: Path) -> dict[str, list[str]]:
    """The indented blocks below each heading of the second level; those above the first are below the page's title."""
    parts = re.split(r"(?m)^##? (.+)$", path.read_text("utf-8"))
    return {heading: blocks_of(text) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def commands(path: Path) -> list[str]:
    """Each command in one line, without its comment."""
    return [line for block in blocks(path) for line in commands_of(block)]


def commands_of(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip()]


def is_command(block: str) -> bool:
    return not block.startswith(tuple(NO_COMMANDS))


def named_flags(path: Path) -> Iterator[str]:
    """Flags of ours: in commands of the program, and alone in the text."""
    text = path.read_text("utf-8")
    spans = [words for words in re.findall(r"`([^`\n]+)`", text) if words.startswith(("--", "aider-orchestrator "))]
    ours = [
        line for line in commands(path) if re.search(r"(^|\s)(aider-orchestrator|\S*aider_orchestrator\.py) ", line)
    ]
    for command in (*spans, *ours):
        for word in shlex.split(command.replace("'", "\\'") if command in spans else command):
            if re.match(r"--[a-z]", word):
                yield word.partition("=")[0].rstrip(",.…")
