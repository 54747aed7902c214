"""Imports point one way: faces, loop, hosts, edges, rules, words. Edges do not know one another; rules only think."""

import sys
from graphlib import TopologicalSorter

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


def test_modules_import_their_own_layer_or_lower_and_no_neighbouring_edge() -> None:
    wrong = [
        f"{module} ({layer_of(module)}) imports {other} ({layer_of(other)})"
        for module in MODULES
        for other in sorted(MODULES.keys() & set(imports(module)))
        if ORDER.index(layer_of(module)) > ORDER.index(layer_of(other)) or are_neighbouring_edges(module, other)
    ]
    assert wrong == []


def are_neighbouring_edges(module: str, other: str) -> bool:
    both_edges = layer_of(module) == layer_of(other) == "edges"
    return both_edges and package_of(module) != package_of(other) and other not in OPEN_EDGES


def test_rules_and_words_import_nothing_that_does_something() -> None:
    found = {
        module: {name.partition(".")[0] for name in imports(module)} & DOING
        for module in MODULES
        if layer_of(module) in ("rules", "words")
    }
    assert len(found) > 40 and {module: names for module, names in found.items() if names} == {}


def test_child_programs_import_only_the_standard_library_and_what_comes_with_aider() -> None:
    """They run under whatever interpreter has aider."""
    with_aider = {"aider", "git", "grep_ast", "httpx", "json5", "litellm", "openai", "pydantic", "yaml"}
    siblings = {"confine", "group", "own_git", "sandbox", "seccomp", "syntax"}  # beside the program, not in a package
    found = {}
    for module in (module for module in MODULES if package_of(module) == "orchestra.child"):
        others = {name.partition(".")[0] for name in imports(module)} - sys.stdlib_module_names - with_aider - siblings
        found[module] = others - ({"pytest"} if module.endswith("gate_roll") else set())  # which loads it
    assert len(found) > 5 and {module: names for module, names in found.items() if names} == {}


def test_nothing_goes_in_a_circle() -> None:
    """Imports inside functions and for type checks count too."""
    graph = {module: MODULES.keys() & set(imports(module)) - {module} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_packages_of_conduct_import_only_those_below() -> None:
    wrong = {}
    for module in (module for module in MODULES if module.count(".") > 2 and "conduct" in module):
        below = CONDUCT[: CONDUCT.index(module.split(".")[2]) + 1]
        used = {other.split(".")[2] for other in imports(module) if other.startswith("orchestra.conduct.")}
        wrong[module] = used - set(below)
    assert len(wrong) > 20 and {module: upwards for module, upwards in wrong.items() if upwards} == {}


def test_conduct_has_no_other_packages() -> None:
    there = {module.split(".")[2] for module in MODULES if module.startswith("orchestra.conduct.")}
    assert there == set(CONDUCT)


def test_every_room_that_is_there_is_looked_at() -> None:
    assert {"orchestra.conduct.core.context", "orchestra.gateway.gateway", "aider_orchestrator"} <= MODULES.keys()
    assert len(MODULES) > 40
