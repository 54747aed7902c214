"""Text for a terminal: what models and repositories say may hold control characters, and none of them gets through."""

RESET = "\x1b[0m"
COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}
HEADER_STARTS = ("diff --git ", "index ", "--- ", "+++ ", "new file mode ", "deleted file mode ", "GIT binary patch")
BOLD = "\x1b[1m"


def escape_controls(text: str) -> str:
    """The text with everything that is not to be printed in its escaped form: \\x1b, \\r, \\u202e, \\udcff."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else escaped(sign) for sign in text)


def escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "backslashreplace").decode("ascii")


def escaped_line(text: str, limit: int = 0) -> str:
    """The text in one line, cut where it is longer than wanted."""
    line = escape_controls(" ".join(text.split()))
    return f"{line[: limit - 1]}…" if limit and len(line) > limit else line


def colour_diff(diff: str) -> str:
    """A diff that is plain already, in colours."""
    return "\n".join(colour_diff_line(line) for line in diff.split("\n"))


def colour_diff_line(line: str) -> str:
    colour = BOLD if line.startswith(HEADER_STARTS) else COLOURS.get(line[:1], "")
    return f"{colour}{line}{RESET}" if colour else line
