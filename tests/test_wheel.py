"""What the program needs beside its modules is in the wheel: a new kind of file is not forgotten."""

import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "orchestra"
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


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
