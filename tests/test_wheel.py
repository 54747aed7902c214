"""What the program needs beside its modules is in the wheel: no new kind of file, and no package, is forgotten."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "orchestra"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, TOOLS = SETTINGS["project"], SETTINGS["tool"]["setuptools"]
EXTRAS = {"ray", "opentelemetry"}
BROUGHT = {"markupsafe": "jinja2"}  # by what is required for itself


def is_module(path: Path) -> bool:
    """In a folder that setuptools takes for a package."""
    folders = [folder for folder in path.parents if folder.is_relative_to(PACKAGE)]
    excluded = PACKAGE / "demo_project" in folders
    return path.suffix == ".py" and not excluded and all((folder / "__init__.py").exists() for folder in folders)


def test_every_file_is_packed() -> None:
    assert TOOLS["packages"]["find"]["exclude"] == ["orchestra.demo_project*"]
    data = {path for pattern in TOOLS["package-data"]["orchestra"] for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path for path in files if not is_module(path)} - data == set()
    wanted = (
        "providers/models.json",
        "demo_tape.jsonl",
        "report/page/page.css",
        "report/page/page.html",
        "report/page/page.js",
        "report/page/report.md.jinja",
        "demo_project/prd.md",
    )
    assert {PACKAGE / name for name in wanted} <= data
    assert {path.stem for path in ROOT.glob("*.py")} == set(TOOLS["py-modules"])


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def requirement_name(text: str) -> str:
    return re.split(r"[^\w.-]", text, maxsplit=1)[0].lower().replace("_", "-")


def test_every_package_that_is_imported_is_required_where_aider_is_not_beside() -> None:
    """On Python 3.13 aider-chat is in another environment, and what it brings is not there."""
    paths = [path for path in PACKAGE.rglob("*.py") if not {"child", "demo_project"} & set(path.parts)]
    used = (
        {name for path in paths for name in imported_packages(path)} - sys.stdlib_module_names - EXTRAS - {"orchestra"}
    )
    distributions = importlib.metadata.packages_distributions()
    needed = {requirement_name(distributions[BROUGHT.get(name, name)][0]) for name in used}
    required = {requirement_name(text) for text in PROJECT["dependencies"]} - {"aider-chat"}
    assert needed <= required


def test_grammars_are_pinned_as_aider_pins_them() -> None:
    pinned = {text for text in PROJECT["dependencies"] if "==" in text and not text.startswith("aider-chat")}
    aiders = {text.partition(";")[0].strip() for text in importlib.metadata.requires("aider-chat") or ()}
    assert len(pinned) == 3 and pinned <= aiders
