"""Claude Code and Codex from `make clis`, and scripts of a model that edits by tool calls, as each of them wants it."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import search_replace
from tests.support.modelserver import Call, Reply, Request, Usage

BIN = Path(__file__).resolve().parents[2] / ".tools" / "bin"
PROGRAMS = ("claude", "codex")
MODELS = {"claude": "anthropic/claude-sonnet-5-5", "codex": "openai/gpt-5.4", "exec": "openai/gpt-5.4"}
needs_clis = pytest.mark.skipif(
    not all((BIN / name).exists() for name in PROGRAMS), reason="`make clis` installs Claude Code and Codex"
)
USED = Usage(1_000, 30)
# What a script does next: the calls so far are its only state, so that a request asked again is answered again.
Step = Sequence[Call] | str
Edits = Mapping[str, tuple[str, str]]  # by path: the old text and the new


def with_clis(environment: Mapping[str, str]) -> str:
    return f"{BIN}:{environment['PATH']}"


def cwd_of(request: Request) -> str:
    """The worktree, as the program itself tells its model."""
    found = re.search(r"Primary working directory: (\S+)|<cwd>(\S+)</cwd>", request.text)
    return (found[1] or found[2]) if found else ""


def count_calls(request: Request) -> int:
    if request.dialect == "responses":
        return sum(item.get("type") in ("function_call", "custom_tool_call") for item in request.body["input"])
    parts = [part for message in request.body.get("messages", []) for part in content_parts(message)]
    return sum(part.get("type") == "tool_use" for part in parts)


def content_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def own_files(request: Request) -> list[str]:
    """The files that the brief gives to this task."""
    section = re.search(r"## Your files\n((?:- .+\n?)+)", request.text)
    lines = section[1].splitlines() if section else []
    return [line.removeprefix("- ").removesuffix(" (new: create it)") for line in lines]


def shell(command: str) -> Call:
    return Call("exec_command", {"cmd": command})


def patch(path: str, old: str, new: str) -> Call:
    lines = [*(f"-{line}" for line in old.splitlines()), *(f"+{line}" for line in new.splitlines())]
    body = "\n".join(["*** Begin Patch", f"*** Update File: {path}", "@@", *lines, "*** End Patch"])
    return shell(f"apply_patch <<'EOF'\n{body}\nEOF")


def edit_calls(request: Request, path: str, old: str, new: str) -> list[Call]:
    if request.dialect == "responses":
        return [patch(path, old, new)]
    place = path if path.startswith("/") else f"{cwd_of(request)}/{path}"
    edit = {"file_path": place, "old_string": old.rstrip("\n"), "new_string": new.rstrip("\n")}
    return [Call("Read", {"file_path": place}), Call("Edit", edit)]


def one_call_each(calls: Sequence[Call], request: Request, end: str = "Done.", usage: Usage = USED) -> Reply:
    """One call in each reply, and then the end."""
    number = count_calls(request)
    return Reply(calls=(calls[number],), usage=usage) if number < len(calls) else Reply(end, usage=usage)


def edits_files(edits: Edits, more: Callable[[Request], Sequence[Call]] | None = None) -> Callable[[Request], Reply]:
    """Make each task's own edits, whichever agent asks; then what `more` gives; then say that it is done."""

    def respond(request: Request) -> Reply:
        if request.dialect == "openai" and request.asks:
            said = [search_replace(path, *edits[path]) for path in request.files if path in edits]
            return Reply("\n".join(said), usage=USED)
        if request.dialect == "openai":
            return Reply("Done.", usage=USED)
        mine = [path for path in own_files(request) if path in edits]
        calls = [call for path in mine for call in edit_calls(request, path, *edits[path])]
        return one_call_each([*calls, *(more(request) if more else ())], request)

    return respond


def said_results(request: Request) -> str:
    """All that tools have answered so far."""
    if request.dialect == "responses":
        return "\n".join(json.dumps(item.get("output")) for item in request.body["input"] if "output" in item)
    parts = [part for message in request.body["messages"] for part in content_parts(message)]
    return "\n".join(json.dumps(part) for part in parts if part.get("type") == "tool_result")
