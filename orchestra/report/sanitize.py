"""Foreign text (of models, repositories, providers) made harmless before it is shown."""

import re

ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor moves
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"
)
LINE_ENDS = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Controls, halves of characters, what XML cannot hold, and marks that reverse the direction of text.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
# An address of a host, without characters that are special in HTML, Markdown or a shell.
ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?/[\w./~%-]{1,300}", re.ASCII)
REPLACEMENT = "\ufffd"
RESET = "\x1b[0m"
COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}
HEADER_STARTS = ("diff --git ", "index ", "--- ", "+++ ", "new file mode ", "deleted file mode ", "GIT binary patch")
BOLD = "\x1b[1m"
TONES = {"good": "\x1b[1;32m", "warn": "\x1b[1;33m", "bad": "\x1b[1;31m", "idle": "\x1b[1;33m", "head": "\x1b[2m"}


def strip_controls(text: str) -> str:
    """The visible text, in lines that end with \\n: for a page, a file, a terminal."""
    if text.isprintable():  # most texts are, and this is a tenth of the time
        return text
    return INVISIBLE.sub(REPLACEMENT, LINE_ENDS.sub("\n", ANSI.sub("", text)))


def safe_line(text: str, limit: int = 300) -> str:
    """The visible text in one line of at most `limit` characters."""
    words = " ".join(strip_controls(text[: 4 * limit]).split())
    return words if len(words) <= limit and len(text) <= 4 * limit else f"{words[: limit - 1]}…"


def cut_middle(text: str, limit: int, full_text_path: str = "") -> str:
    """The two ends of a long text: the beginning has its purpose, the end its outcome."""
    if len(text) <= limit:
        return text
    head, tail = text[: 2 * limit // 3], text[len(text) - limit // 3 :]
    where = f"; all of it is in {full_text_path}" if full_text_path else ""
    return f"{head}\n[… {len(text) - len(head) - len(tail):,} characters left out{where} …]\n{tail}"


def escape_controls(text: str) -> str:
    """The text with unprintable characters escaped: \\x1b, \\r, \\u202e, \\udcff."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape", "backslashreplace").decode()
        for sign in text
    )


def escaped_line(text: str, limit: int = 0) -> str:
    """The text in one line of at most `limit` characters; 0 for no limit."""
    line = escape_controls(" ".join(text.split()))
    return f"{line[: limit - 1]}…" if limit and len(line) > limit else line


def colour_diff_line(line: str) -> str:
    """A line of a diff in colours. Its control characters must be escaped already."""
    colour = BOLD if line.startswith(HEADER_STARTS) else COLOURS.get(line[:1], "")
    return f"{colour}{line}{RESET}" if colour else line


def colour_text(text: str, tone: str) -> str:
    """A text in the colour of a tone: good, warn, bad, idle, or head for a heading."""
    return f"{TONES[tone]}{text}{RESET}"
