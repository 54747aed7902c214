"""The page about the dashboard: its pictures are there, small, and all shown; its keys are those of the program."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/dashboard.md").read_text("utf-8")
COMMANDS = (ROOT / "orchestra/web/static/commands.js").read_text("utf-8")
MOST_BYTES = 1_600_000


def test_every_picture_is_shown_and_all_are_small() -> None:
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs/images").glob("dashboard-*.png")}
    assert sorted(re.findall(r"\(images/(dashboard-[\w-]+\.png)\)", PAGE)) == sorted(pictures)
    assert sum(pictures.values()) < MOST_BYTES


def test_keys_of_the_page_are_those_of_the_program() -> None:
    known = dict(re.findall(r'\{ key: "(.+?)", words: "(.+?)"', COMMANDS))
    told = dict(re.findall(r"^\| `(.+?)` \| (.+?) \|$", PAGE, re.MULTILINE))
    assert {key: told.get(key) for key in known} == known
    assert set(told) - set(known) == {"Enter", "← ↑ → ↓"}


def test_files_of_others_are_named_and_no_module_is_forgotten() -> None:
    """Each module of the page is imported by another, from `main.js` on."""
    static = ROOT / "orchestra/web/static"
    vendored = {each["file"] for each in tomllib.loads((static / "vendor.toml").read_text("utf-8")).values()}
    imported = {"main.js"}
    for path in static.glob("*.js"):
        imported |= set(re.findall(r'from "\./([\w.]+)"', path.read_text("utf-8", "replace")))
    assert imported == {path.name for path in static.glob("*.js")} and vendored <= imported
