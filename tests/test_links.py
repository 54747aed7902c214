"""Every link of the README and the docs leads somewhere: to a file, and to a heading as GitHub names it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.docs import PAGES, ROOT

ALL_PAGES = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
CODE = re.compile(r"(?ms)^```.*?^```$|^    .*?$|`[^`\n]*`")
MARKDOWN = re.compile(r"\]\(([^)\s]+)\)")
HTML = re.compile(r'(?:src|href)="([^"]+)"')
HEADING = re.compile(r"(?m)^#{1,6} +(.+?) *#*$")


def links_of(page: Path) -> list[str]:
    prose = CODE.sub("", page.read_text("utf-8"))
    return [target for pattern in (MARKDOWN, HTML) for target in pattern.findall(prose)]


def anchors_of(page: Path) -> set[str]:
    """The names that GitHub gives to the headings: lower case, words joined by hyphens, a number if there are two."""
    known, anchors = Counter[str](), set[str]()
    for heading in HEADING.findall(re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        anchors.add(f"{name}-{known[name]}" if known[name] else name)
        known[name] += 1
    return anchors


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.stem))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links_of(page):
        if re.match(r"\w+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target} is not there"
        assert there.resolve().is_relative_to(ROOT), f"{page.name}: {target} leaves the repository"
        if anchor:
            assert anchor in anchors_of(there), f"{page.name}: {there.name} has no heading #{anchor}"


def test_anchors_are_those_of_github() -> None:
    assert anchors_of(ROOT / "docs/how-to.md") >= {"how-to-", "-watch-runs-in-the-browser", "-use-it-in-ci-and-make"}
    assert "what-happens-on-kill--9" in anchors_of(ROOT / "docs/explanation.md")


def test_every_picture_is_shown_with_words_for_it() -> None:
    shown = dict[str, str]()
    for page in ALL_PAGES:
        text = page.read_text("utf-8")
        found = [(path, words) for words, path in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", text)]
        found += re.findall(r'<img src="([^"]+)"[^>]* alt="([^"]*)"', text)
        shown |= {Path(path).name: words for path, words in found}
    pictures = {path.name for path in (ROOT / "docs/images").iterdir() if path.suffix in (".png", ".svg")}
    assert shown.keys() == pictures and all(len(words) > 10 for words in shown.values())
