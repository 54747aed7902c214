"""Read what `detect` judges: some manifests and tests, and which tools are installed."""

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
# Shell built-ins, for which no program need exist.
SHELL_WORDS = re.compile(
    r"alias|bg|case|cd|command|eval|exec|exit|export|fg|for|if|read|return|set|shift|source|test|time|times|trap|type|"
    r"ulimit|umask|unset|until|wait|while|true|false|echo|printf|kill|pwd|[.:]"
)
# Languages that Aider's tree-sitter can parse and that are no templates of other languages.
LANGUAGES = {
    ".py .pyi .js .jsx .mjs .cjs .ts .tsx .mts .cts .go .rs .java .kt .scala .rb .php .cs .swift .lua .ex .exs .hs .ml",
    ".c .h .cc .cpp .cxx .hpp .sh .bash .json .toml .css .dart .elm .r .zig .jl .clj .erl .sol .hcl .tf .gleam .f90",
}
SYNTAX = tuple(ending for line in sorted(LANGUAGES) for ending in line.split())


def inspect_repository(root: Path, files: Collection[str], environ: Mapping[str, str]) -> RepositoryView:
    """Inspect the work tree, where the tools' own folders (.venv, node_modules) are beside the files."""
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
    """Find a tool's command: the project's own before one on PATH. Empty if there is none."""
    if name in NODE:
        own = f"node_modules/.bin/{name}"  # relative, so that the gated tree's own tool is used
        return own if (root / own).exists() else quote_path(find_program(name, environ))
    if name == "unittest":
        python = find_in_venv(root, "python") or find_program("python3", environ) or find_program("python", environ)
        return f"{quote_path(python)} -m unittest" if python else ""
    own = find_in_venv(root, name)
    found = own or find_program(name, environ)
    if name == "pytest" and found:
        interpreter = str(Path(own).with_name("python")) if own else script_interpreter(found)
        return f"{quote_path(interpreter)} -m pytest" if interpreter else quote_path(found)
    return quote_path(found)


def find_in_venv(root: Path, name: str) -> str:
    folders = (root / ".venv" / "bin", root / "venv" / "bin")
    return next((str(folder / name) for folder in folders if (folder / name).exists()), "")


def find_program(name: str, environ: Mapping[str, str]) -> str:
    return shutil.which(name, path=environ.get("PATH", os.defpath)) or ""


def missing_program(command: str, environ: Mapping[str, str]) -> str:
    """Return the program that a simple command begins with, if it is missing; empty if only a shell could tell."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    first = next((word for word in words if "=" not in word), "")
    if not re.fullmatch(r"[\w.+-]+", first) or SHELL_WORDS.fullmatch(first) or find_program(first, environ):
        return ""
    return first


def script_interpreter(script: str) -> str:
    """Return the interpreter in a script's first line, if it is plainly one."""
    first = (read_beginning(Path(script)) or "").partition("\n")[0].removeprefix("#!").strip()
    return first if first.startswith("/") and "python" in first and " " not in first else ""


def quote_path(path: str) -> str:
    return shlex.quote(path) if path else ""


def make_syntax_gate(python: str, files: Collection[str]) -> list[Gate]:
    """Make the gate that parses files with the grammars of aider; `python` is the interpreter that has them."""
    if not any(path.endswith(SYNTAX) for path in files):
        return []
    command = f"{shlex.quote(python)} {shlex.quote(str(CHILD / 'syntax.py'))}"
    return [Gate("syntax", "syntax", command, "the files' languages are known", SYNTAX)]
