"""Diffs as markup, with Pygments' tokens in colours."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from orchestra.report.sanitize import strip_controls

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_LINE_LENGTH = 1_000
SKIPPED_HEADERS = ("index ", "--- ", "+++ ", "GIT binary")


@dataclass
class LexerBudget:
    """CPU seconds that lexers may still use. Usual diffs need less than one; some lexers are quadratic in odd texts."""

    seconds: float = 10.0


def highlight_diff(text: str, budget: LexerBudget) -> "Markup":
    """A diff with a heading for each file, and neighbouring lines of one kind in one element."""
    from markupsafe import Markup

    groups = groupby(diff_lines(strip_controls(text).split("\n"), budget), key=lambda line: line[0])
    blocks = "".join(f"<{kind}>{''.join(line for _, line in lines)}</{kind}>" for kind, lines in groups)
    return Markup(f'<pre class="diff" tabindex="0"><code>{blocks}</code></pre>')


def diff_lines(lines: list[str], budget: LexerBudget) -> Iterator[tuple[str, str]]:
    """Each line as markup, with its element. What stands before a file's first hunk is its heading."""
    in_heading, lexer, hunk = False, None, list[str]()
    for line in (line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]} …" for line in lines):
        starts_file = line.startswith("diff --git ")
        in_heading = starts_file or (in_heading and not line.startswith("@@"))
        if not in_heading and not line.startswith("@@"):
            hunk.append(line)
            continue
        yield from hunk_lines(hunk, lexer, budget)
        hunk = []
        if starts_file:
            name = line.rpartition(" b/")[2]
            lexer = find_lexer(name) if budget.seconds > 0 else None
            yield "strong", escape(f"{name}\n", quote=False)
        elif not (in_heading and line.startswith(SKIPPED_HEADERS)):
            yield "strong" if in_heading else "em", escape(f"{line}\n", quote=False)
    yield from hunk_lines(hunk, lexer, budget)


def hunk_lines(lines: list[str], lexer: Any, budget: LexerBudget) -> Iterator[tuple[str, str]]:
    """The lines of a hunk. Removed lines are read apart, because the others are the text after the change."""
    removed = iter(highlight_lines([line[1:] for line in lines if line.startswith("-")], lexer, budget))
    others = iter(highlight_lines([line[1:] for line in lines if not line.startswith("-")], lexer, budget))
    for line in lines:
        kind = {"+": "ins", "-": "del"}.get(line[:1], "s")
        yield kind, f"{escape(line[:1], quote=False)}{next(removed if kind == 'del' else others)}\n"


def highlight_lines(lines: list[str], lexer: Any, budget: LexerBudget) -> list[str]:
    """Each line as markup: keywords in <b>, comments in <i>, strings in <u>. With so many tokens, classes on <span>
    would double the size of a page."""
    text = "\n".join(lines)
    tokens = read_tokens(text, lexer, budget) if lexer and text else []
    if "".join(value for _, value in tokens) != text:
        return [escape(line, quote=False) for line in lines]
    groups = groupby(tokens, key=lambda token: token_tag(token[0]))
    return "".join(wrap_lines(tag, "".join(value for _, value in group)) for tag, group in groups).split("\n")


def read_tokens(text: str, lexer: Any, budget: LexerBudget) -> list[tuple[Any, str]]:
    """The tokens of the text; none if the lexer uses up the budget."""
    tokens, start = [], time.process_time()
    for _, kind, value in lexer.get_tokens_unprocessed(text):
        tokens.append((kind, value))
        if time.process_time() - start > budget.seconds:
            budget.seconds = 0
            return []
    budget.seconds -= time.process_time() - start
    return tokens


def token_tag(kind: Any) -> str:
    from pygments.token import Comment, Keyword, Operator, String

    if kind in Keyword or kind in Operator.Word:
        return "b"
    return "i" if kind in Comment else "u" if kind in String else ""


def wrap_lines(tag: str, text: str) -> str:
    """The text in elements that end with each line, because a line can end the diff's block."""
    escaped = escape(text, quote=False)
    if not tag:
        return escaped
    return "\n".join(f"<{tag}>{line}</{tag}>" if line.strip() else line for line in escaped.split("\n"))


def find_lexer(file_name: str) -> Any:
    """Pygments' lexer for a file; None if there is none."""
    path, aliases = PurePath(file_name), lexer_aliases()
    alias = aliases.get(path.name) or aliases.get(f"*{path.suffix}")
    return load_lexer(alias) if alias else None


@cache
def load_lexer(alias: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(alias)


@cache
def lexer_aliases() -> dict[str, str]:
    """By pattern of file names (`*.py`, `Makefile`). Without plugins: the search for them takes longer than a page."""
    from pygments.lexers import get_all_lexers

    aliases: dict[str, str] = {}
    for _, names, patterns, _ in get_all_lexers(plugins=False):
        for pattern in patterns if names else ():
            aliases.setdefault(pattern, names[0])
    return aliases
