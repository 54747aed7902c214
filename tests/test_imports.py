"""Imports point one way: faces, loop, hosts, edges, rules, words. Edges do not know one another; rules only think."""

import sys
from graphlib import TopologicalSorter

import pytest

from tools.layers import CONDUCT, LAYERS, MODULES, imports, layer_of, package_of

ORDER = list(LAYERS)
OPEN_EDGES = {"orchestra.process"}
DOING = {
    "asyncio",
    "httpx",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "sqlalchemy",
    "tempfile",
    "threading",
}


@pytest.mark.parametrize("module", MODULES)
def test_direction(module: str) -> None:
    for other in MODULES.keys() & set(imports(module)):
        here, there = layer_of(module), layer_of(other)
        assert ORDER.index(here) <= ORDER.index(there), f"{module} ({here}) imports {other} ({there})"
        neighbours = here == there == "edges" and package_of(module) != package_of(other)
        assert not neighbours or other in OPEN_EDGES, f"{module} imports another edge, {other}"


@pytest.mark.parametrize("module", [module for module in MODULES if layer_of(module) in ("rules", "words")])
def test_rules_do_nothing(module: str) -> None:
    assert {name.partition(".")[0] for name in imports(module)} & DOING == set()


@pytest.mark.parametrize("module", [module for module in MODULES if package_of(module) == "orchestra.child"])
def test_child_programs_lean_on_nothing_of_ours(module: str) -> None:
    """They run under whatever interpreter has aider: the standard library, and what comes with aider."""
    with_aider = {"aider", "git", "grep_ast", "httpx", "json5", "litellm", "openai", "pydantic", "yaml"}
    with_aider |= {"pytest"} if module.endswith("gate_roll") else set()  # which loads it
    siblings = {"confine", "group", "own_git", "sandbox", "syntax"}  # beside the program, not in a package
    others = {name.partition(".")[0] for name in imports(module)} - sys.stdlib_module_names
    assert others <= with_aider | siblings


def test_nothing_goes_in_a_circle() -> None:
    """Imports inside functions and for type checks count too."""
    graph = {module: MODULES.keys() & set(imports(module)) - {module} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", [module for module in MODULES if module.count(".") > 2 and "conduct" in module])
def test_packages_of_conduct_import_only_those_below(module: str) -> None:
    below = CONDUCT[: CONDUCT.index(module.split(".")[2]) + 1]
    used = {other.split(".")[2] for other in imports(module) if other.startswith("orchestra.conduct.")}
    assert used <= set(below), f"{module} imports upwards: {used - set(below)}"


def test_conduct_has_no_other_packages() -> None:
    there = {module.split(".")[2] for module in MODULES if module.startswith("orchestra.conduct.")}
    assert there == set(CONDUCT)


def test_every_room_that_is_there_is_looked_at() -> None:
    assert {"orchestra.conduct.core.context", "orchestra.gateway.gateway", "aider_orchestrator"} <= MODULES.keys()
    assert len(MODULES) > 40
