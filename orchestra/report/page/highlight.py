"""Diffs and code in colours, light enough for a page with a thousand of them."""

import html
import re
from collections.abc import Iterator

from orchestra.report.page.markup import Html, escape_html, tag
from orchestra.report.sanitize import strip_controls

LONGEST = 1_000  # characters of a line
KEYWORDS = (
    "and|as|async|await|break|case|catch|class|const|continue|def|default|del|do|elif|else|enum|except|export|extends|"
    "false|False|final|finally|fn|for|from|func|function|if|impl|import|in|interface|is|lambda|let|match|mut|new|nil|"
    "None|not|null|or|package|pass|private|pub|public|raise|return|self|static|struct|super|switch|this|throw|true|"
    "True|try|type|use|var|void|while|with|yield"
)
TOKEN_PATTERN = re.compile(
    r"(?P<i>(?<![^\s+-])#.*|(?<!:)//.*)"
    r"|(?P<u>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`\n]*`)"
    rf"|(?P<b>\b(?:{KEYWORDS})\b)"
)
SKIPPED_HEADERS = ("index ", "--- ", "+++ ", "GIT binary")


def highlight_code(text: str) -> Html:
    """Comments, strings and words of many languages. Short tags, because there are so many: their looks are in the
    style sheet. No token begins or ends inside of an escape, so that all can be escaped at once."""
    escaped = html.escape(text, quote=False)
    return Html(TOKEN_PATTERN.sub(lambda token: f"<{token.lastgroup}>{token[0]}</{token.lastgroup}>", escaped))


def highlight_diff(text: str, *, colours: bool) -> Html:
    """A diff, with a heading for each file, and each run of lines that came or went as one element."""
    shown = highlight_code if colours else escape_html
    made = (
        tag(kind, shown("".join(lines)) if kind in ("ins", "del", "s") else "".join(lines))
        for kind, lines in group_diff_lines(strip_controls(text).split("\n"))
    )
    return tag("pre", tag("code", *made), class_="diff", tabindex=0)


def group_diff_lines(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Neighbouring lines of one kind. What stands before a file's first hunk is its heading."""
    kind, found, heading = "", list[str](), False
    for line in (line if len(line) <= LONGEST else f"{line[:LONGEST]} …" for line in lines):
        heading = line.startswith("diff --git ") or (heading and not line.startswith("@@"))
        if heading and line.startswith(SKIPPED_HEADERS):
            continue
        now = "strong" if heading else "em" if line.startswith("@@") else {"+": "ins", "-": "del"}.get(line[:1], "s")
        if now != kind and found:
            yield kind, found
            found = []
        kind = now
        found.append(f"{name_in(line) if heading else line}\n")
    if found:
        yield kind, found


def name_in(line: str) -> str:
    """A file's name, from the line that begins its part."""
    return line.rpartition(" b/")[2] if line.startswith("diff --git ") else line
