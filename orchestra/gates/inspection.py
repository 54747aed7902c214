"""Reads what `detect` judges: a few manifests and tests, and which tools are really installed."""

import os
import re
import shlex
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from orchestra.gates.detect import MANIFESTS, TEST_FILE, TOOLS, RepositoryView
from orchestra.model import Gate
from orchestra.process import CHILD

MOST_TESTS = 40
MOST_BYTES = 200_000
NODE = ("tsc", "eslint")
# What a shell does itself, so that no program of this name need be there.
SHELL_WORDS = re.compile(
    r"alias|bg|case|cd|command|eval|exec|exit|export|fg|for|if|read|return|set|shift|source|test|time|times|trap|type|"
    r"ulimit|umask|unset|until|wait|while|true|false|echo|printf|kill|pwd|[.:]"
)
# The languages whose grammar Aider's tree-sitter knows and that are no templates for something else.
LANGUAGES = {
    ".py .pyi .js .jsx .mjs .cjs .ts .tsx .mts .cts .go .rs .java .kt .scala .rb .php .cs .swift .lua .ex .exs .hs .ml",
    ".c .h .cc .cpp .cxx .hpp .sh .bash .json .toml .css .dart .elm .r .zig .jl .clj .erl .sol .hcl .tf .gleam .f90",
}
SYNTAX = tuple(ending for line in sorted(LANGUAGES) for ending in line.split())


def inspect_repository(root: Path, files: Collection[str], environ: Mapping[str, str]) -> RepositoryView:
    """The repository in its work tree, where the tools' own folders (.venv, node_modules) lie beside the files."""
    tests = [path for path in sorted(files) if TEST_FILE.search(path)][:MOST_TESTS]
    wanted = [name for name in files if name in MANIFESTS or re.fullmatch(r"(requirements|dev)[\w.-]*\.(txt|in)", name)]
    texts = {name: text for name in (*wanted, *tests) if (text := read_beginning(root / name)) is not None}
    tools = {name: command for name in TOOLS if (command := find_tool(root, name, environ))}
    return RepositoryView(files, texts, tools, (root / "node_modules").is_dir())


def read_beginning(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def find_tool(root: Path, name: str, environ: Mapping[str, str]) -> str:
    """The command for it: the project's own before what is on PATH. Empty where there is none."""
    if name in NODE:
        own = root / "node_modules" / ".bin" / name
        # Relative, so that it is the one of the tree that is gated.
        return f"node_modules/.bin/{name}" if own.exists() else quote_path(find_program(name, environ))
    python = project_python(root, environ)
    if name == "unittest":
        return f"{quote_path(python)} -m unittest" if python else ""
    for folder in (root / ".venv" / "bin", root / "venv" / "bin"):
        if (folder / name).exists():
            return (
                f"{quote_path(str(folder / 'python'))} -m {name}"
                if name == "pytest"
                else quote_path(str(folder / name))
            )
    found = find_program(name, environ)
    interpreter = script_interpreter(found) if name == "pytest" and found else ""
    return f"{quote_path(interpreter)} -m pytest" if interpreter else quote_path(found)


def project_python(root: Path, environ: Mapping[str, str]) -> str:
    for folder in (root / ".venv" / "bin", root / "venv" / "bin"):
        if (folder / "python").exists():
            return str(folder / "python")
    return find_program("python3", environ) or find_program("python", environ)


def find_program(name: str, environ: Mapping[str, str]) -> str:
    return shutil.which(name, path=environ.get("PATH", os.defpath)) or ""


def missing_program(command: str, environ: Mapping[str, str]) -> str:
    """The program that a simple command begins with, if it is not there; empty if only a shell could tell."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    first = next((word for word in words if "=" not in word), "")
    if not re.fullmatch(r"[\w.+-]+", first) or SHELL_WORDS.fullmatch(first) or find_program(first, environ):
        return ""
    return first


def script_interpreter(script: str) -> str:
    """The interpreter in a script's first line, where it is plainly that."""
    first = (read_beginning(Path(script)) or "").partition("\n")[0].removeprefix("#!").strip()
    return first if first.startswith("/") and "python" in first and " " not in first else ""


def quote_path(path: str) -> str:
    return shlex.quote(path) if path else ""


def make_syntax_gate(python: str, files: Collection[str]) -> list[Gate]:
    """Whether the files parse, by the grammars that come with aider; `python` is the interpreter that has them."""
    if not any(path.endswith(SYNTAX) for path in files):
        return []
    command = f"{shlex.quote(python)} {shlex.quote(str(CHILD / 'syntax.py'))}"
    return [Gate("syntax", "syntax", command, "the files' languages are known", SYNTAX)]
