"""The commands that stand in the documentation, as a reader would type them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(path: Path) -> list[str]:
    """The indented blocks. Fenced ones are other people's files, or what a program answers."""
    prose = re.sub(r"(?ms)^```.*?^```$", "", path.read_text("utf-8"))
    found = re.findall(r"(?m)(?:^    .*\n)+", prose)
    return ["".join(line[4:] + "\n" for line in block.splitlines()) for block in found]


def fenced(path: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", path.read_text("utf-8"))


def commands(path: Path) -> list[str]:
    """Each command in one line, without its comment."""
    lines = "".join(blocks(path)).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip()]


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
