"""Which tests are run when: `--tier everyday` is `make test`, `rest` what CI runs beside it, `all` is both, `soak` more.

A test, a case or a whole module that is marked `thorough` is not everyday. CONTRIBUTING.md says what deserves the mark.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

TIERS = ("everyday", "rest", "all", "soak")
thorough = pytest.mark.thorough
WHOLE_MODULE = re.compile(r"^pytestmark = .*\bthorough\b", re.MULTILINE)


def everyday_first(values: Iterable[Any], count: int = 1) -> list[ParameterSet]:
    """The first cases of a table are everyday, the others thorough."""
    return [pytest.param(each, marks=() if at < count else thorough) for at, each in enumerate(values)]


def everyday_if(values: Iterable[Any], chosen: Collection[Any]) -> list[ParameterSet]:
    """The chosen cases of a table are everyday, the others thorough."""
    return [pytest.param(each, marks=() if each in chosen else thorough) for each in values]


def is_selected(tier: str, item: pytest.Item) -> bool:
    is_thorough, is_soak = (item.get_closest_marker(name) is not None for name in ("thorough", "soak"))
    match tier:
        case "everyday":
            return not is_thorough and not is_soak
        case "rest":
            return is_thorough and not is_soak
        case "all":
            return not is_soak
    return True


def has_no_test_of(tier: str, module: Path) -> bool:
    """Whether a module need not be imported, as its text shows: that is most of what collecting costs."""
    text = module.read_text("utf-8")
    if tier == "everyday":
        return WHOLE_MODULE.search(text) is not None
    return tier == "rest" and not any(word in text for word in ("thorough", "everyday_"))
