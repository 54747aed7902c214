"""Which tests run when: `--tier everyday` is `make test`, `rest` what CI runs beside it, `all` both, `soak` more.

A module, a test or its cases that are marked `thorough` are not everyday. `@pytest.mark.thorough(but="retry")` leaves
the cases everyday whose id holds one of these words. CONTRIBUTING.md says what deserves the mark.
"""

import re
from pathlib import Path

import pytest

TIERS = ("everyday", "rest", "all", "soak")
SERVERS = ("postgresql", "mariadb")
WHOLE_MODULE = re.compile(r"^pytestmark = .*\bthorough\b(?!\()", re.MULTILINE)


def is_selected(tier: str, item: pytest.Item) -> bool:
    is_soak = item.get_closest_marker("soak") is not None
    match tier:
        case "everyday":
            return not is_soak and not is_thorough(item)
        case "rest":
            return not is_soak and is_thorough(item)
        case "all":
            return not is_soak
    return True


def is_thorough(item: pytest.Item) -> bool:
    """Whether a mark says so. A case that is marked by itself is thorough whatever a mark of its test excepts."""
    case = item.callspec.id if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    for mark in item.iter_markers("thorough"):
        words = mark.kwargs.get("but", ())
        if not any(word in case for word in ((words,) if isinstance(words, str) else words)):
            return True
    return False


def group_of(item: pytest.Item) -> str | None:
    """Tests that run on one worker, so that it makes once what they share: a database server, a module's fixtures."""
    if not isinstance(item, pytest.Function):
        return None
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    for server in SERVERS:
        if server in values:
            return server
    definitions = (found[-1] for found in item._fixtureinfo.name2fixturedefs.values())
    return item.path.stem if any(found.scope == "module" for found in definitions) else None


def has_no_test_of(tier: str, module: Path) -> bool:
    """Whether a module need not be imported, as its text shows: importing is most of what collecting costs."""
    text = module.read_text("utf-8")
    if tier == "everyday":
        return WHOLE_MODULE.search(text) is not None
    return tier == "rest" and "thorough" not in text
