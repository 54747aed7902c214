"""CONTRIBUTING.md is true to the code: its files and names exist, its drawing is the layers, its words the glossary."""

import re
import tomllib

import pytest

from orchestra.agents import AGENTS
from orchestra.agents.base import CommandAgent
from orchestra.report.formats import REPORT_FORMATS
from tests.support.docs import ROOT, commands
from tools.layers import LAYERS

PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text("utf-8")


def test_files_that_it_names_exist() -> None:
    paths = set(re.findall(r"`([\w./-]+/[\w./-]*|[\w.-]+\.(?:py|toml|md))`", TEXT)) - {"__init__.py"}
    assert len(paths) > 30
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("name", "path"), sorted(set(re.findall(r"`(\w+)`\s+(?:in|of)\s+`(orchestra/[\w/]+\.py)`", TEXT)))
)
def test_names_stand_in_the_files_that_it_says(name: str, path: str) -> None:
    assert re.search(rf"(?m)^ *(?:class |def |async def )?{name}\b", (ROOT / path).read_text("utf-8")), (name, path)


def test_drawing_has_every_package_in_its_layer() -> None:
    drawing = TEXT.partition("Imports point downward only:\n")[2].partition("\n`tests/")[0]
    drawn, layer = dict[str, set[str]](), ""
    for line in drawing.splitlines():
        columns = re.split(r" {3,}", line.strip())
        if columns[0] in LAYERS:
            layer, *columns = columns
        if columns[0] not in ("", "|"):
            drawn.setdefault(layer, set()).update(columns[0].split())
    packages = {layer: {name.removeprefix("orchestra.") for name in names} for layer, names in LAYERS.items()}
    assert drawn == packages | {"words": packages["words"] - {"orchestra"}}


def test_glossary_has_the_words_that_are_said_instead_of_old_ones() -> None:
    known = tomllib.loads((ROOT / "tools/names.toml").read_text("utf-8"))["old"]
    glossary = TEXT.partition("| word | meaning |")[2].partition("## Stored runs")[0]
    said = {word.strip() for words in known.values() for word in words.split(",")} - {"clone", "check out", "set up"}
    said -= {"reservation callbacks"}
    missing = sorted(word for word in said if not re.search(rf"(?m)(?:^\| |\*){re.escape(word)}", glossary))
    assert missing == []


def test_how_one_test_is_run() -> None:
    [file, one] = [line for line in commands(PAGE) if " -m pytest " in line]
    assert (ROOT / file.split()[-1]).is_file()
    path, _, word = one.split(" -m pytest ")[1].partition(" -k ")
    assert word in (ROOT / path).read_text("utf-8")


def test_what_it_says_of_agents_and_reports() -> None:
    assert isinstance(AGENTS["exec"], CommandAgent)
    assert {"html", "markdown", "junit"} <= REPORT_FORMATS.keys()
    for make in re.findall(r"(?m)^    make ([\w-]+)", TEXT):
        assert re.search(rf"(?m)^{make}:", (ROOT / "Makefile").read_text("utf-8")), make
