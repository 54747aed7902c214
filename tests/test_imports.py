"""Imports point one way: faces, loop, edges, rules, words. Edges do not know one another; rules only think."""

import ast
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the outside in. A new room must be put where it belongs, here and in the design.
LAYERS: dict[str, set[str]] = {
    "faces": {"aider_orchestrator", "gemini_prd_generator", "orchestra.cli", "orchestra.console", "orchestra.web"},
    "loop": {"orchestra.conduct"},
    "edges": {
        *("orchestra.agents", "orchestra.models.ask", "orchestra.child", "orchestra.gates", "orchestra.gateway"),
        *("orchestra.models.gemini", "orchestra.handover", "orchestra.hosts", "orchestra.journal", "orchestra.process"),
        *("orchestra.agents.seat", "orchestra.workspace"),
    },
    "rules": {
        *(
            "orchestra.agents.aider_args",
            "orchestra.providers.catalogue",
            "orchestra.answers.conversation",
            "orchestra.dialects",
        ),
        *("orchestra.plan.digest", "orchestra.providers.redact", "orchestra.answers.shape"),
        *("orchestra.judge", "orchestra.plan", "orchestra.answers.prd"),
        *("orchestra.report", "orchestra.settings"),
    },
    "words": {"orchestra", "orchestra.errors", "orchestra.events", "orchestra.model"},
}
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


def modules() -> dict[str, Path]:
    paths = [ROOT / "aider_orchestrator.py", ROOT / "gemini_prd_generator.py", *(ROOT / "orchestra").rglob("*.py")]
    own = (path for path in paths if "demo_project" not in path.parts)
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in own}


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """Everything that a module imports, inside of functions and for type checks too."""
    yield from imported(module, ast.walk(ast.parse(MODULES[module].read_bytes())))


def imports_at_once(module: str) -> Iterator[str]:
    """What is imported when the module is."""
    yield from imported(module, ast.parse(MODULES[module].read_bytes()).body)


def imported(module: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def room(module: str) -> str:
    """orchestra.plan for orchestra.plan.targets."""
    return ".".join(module.split(".")[:2])


def layer(module: str) -> str:
    found = [name for name, rooms in LAYERS.items() if room(module) in rooms]
    assert found, f"{module} is in no room that this test knows: say in LAYERS where it belongs"
    return found[0]


@pytest.mark.parametrize("module", MODULES)
def test_direction(module: str) -> None:
    for other in MODULES.keys() & set(imports(module)):
        here, there = layer(module), layer(other)
        assert ORDER.index(here) <= ORDER.index(there), f"{module} ({here}) imports {other} ({there})"
        neighbours = here == there == "edges" and room(module) != room(other)
        assert not neighbours or other in OPEN_EDGES, f"{module} imports another edge, {other}"


@pytest.mark.parametrize("module", [module for module in MODULES if layer(module) in ("rules", "words")])
def test_rules_do_nothing(module: str) -> None:
    assert {name.partition(".")[0] for name in imports(module)} & DOING == set()


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) == "orchestra.child"])
def test_child_programs_lean_on_nothing_of_ours(module: str) -> None:
    """They run under whatever interpreter has aider: the standard library, and what comes with aider."""
    with_aider = {"aider", "git", "grep_ast", "httpx", "json5", "litellm", "openai", "pydantic", "yaml"}
    with_aider |= {"pytest"} if module.endswith("gate_roll") else set()  # which loads it
    siblings = {"confine", "group", "own_git", "sandbox", "syntax"}  # beside the program, not in a package
    others = {name.partition(".")[0] for name in imports(module)} - sys.stdlib_module_names
    assert others <= with_aider | siblings


def test_nothing_goes_in_a_circle() -> None:
    graph = {module: MODULES.keys() & set(imports_at_once(module)) - {module} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_every_room_that_is_there_is_looked_at() -> None:
    assert {"orchestra.conduct.session.session", "orchestra.gateway.door", "aider_orchestrator"} <= MODULES.keys()
    assert len(MODULES) > 40
