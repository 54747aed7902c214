"""Foreign text for a terminal, without the control characters it may hold."""

RESET = "\x1b[0m"
COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}
HEADER_STARTS = ("diff --git ", "index ", "--- ", "+++ ", "new file mode ", "deleted file mode ", "GIT binary patch")
BOLD = "\x1b[1m"


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


def colour_diff(diff: str) -> str:
    """A diff in colours. Its control characters must be escaped already."""
    return "\n".join(map(colour_diff_line, diff.split("\n")))


def colour_diff_line(line: str) -> str:
    colour = BOLD if line.startswith(HEADER_STARTS) else COLOURS.get(line[:1], "")
    return f"{colour}{line}{RESET}" if colour else line
