"""Say in a line what a tool call does, such as [Edit app.py]: a conversation shows it in the place of its arguments."""

import re
from typing import Any

from orchestra.dialects.values import Body, as_object, parse_json_or_none

# The arguments that tell what a call is about, the most telling first.
TELLING = ("file_path", "path", "notebook_path", "cmd", "command", "pattern", "query", "url", "input")
PATCHED = re.compile(r"^\*\*\* (?:Update|Add|Delete) File: (.+)$", re.MULTILINE)
LONGEST_SUBJECT = 120  # characters
MOST_READ = 1 << 16  # characters of arguments in which the subject is looked for
CALL_TYPES = ("tool_use", "server_tool_use", "function_call", "custom_tool_call", "local_shell_call")


def find_call(part: Body) -> tuple[Any, Any] | None:
    """Return the name and the arguments of a part that is a tool call, in any dialect."""
    if part.get("type") in CALL_TYPES:
        given = (part.get(name) for name in ("input", "arguments", "action"))
        return part.get("name") or part["type"], next((value for value in given if value), None)
    if isinstance(called := part.get("functionCall"), dict):
        return called.get("name"), called.get("args")
    if "function" in part:
        called = as_object(part["function"])
        return called.get("name"), called.get("arguments")
    return None


def call_line(name: Any, arguments: Any) -> str:
    parsed = parse_json_or_none(arguments) if isinstance(arguments, str) else arguments
    subject = find_subject(parsed if isinstance(parsed, dict) else arguments)
    return f"[{name if isinstance(name, str) and name else 'call'}{' ' if subject else ''}{subject}]"


def find_subject(arguments: Any) -> str:
    """Return what a call is about: the files of a patch, or the first line of its most telling argument."""
    if isinstance(arguments, dict):
        arguments = next((arguments[name] for name in TELLING if arguments.get(name)), "")
    words = arguments if isinstance(arguments, list) else [arguments]
    text = " ".join(word for word in words if isinstance(word, str))[:MOST_READ]
    # Codex puts a patch into a script, as a string.
    files = list(dict.fromkeys(PATCHED.findall(text.replace("\\n", "\n"))))
    line = ", ".join(files) or next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= LONGEST_SUBJECT else f"{line[:LONGEST_SUBJECT]}…"
