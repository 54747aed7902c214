"""The layers of the program, the order of the loop's packages, and what imports what."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# From the outside in. A new package must be put where it belongs.
LAYERS: dict[str, set[str]] = {
    "faces": {
        "aider_orchestrator",
        "gemini_prd_generator",
        "orchestra.board",
        "orchestra.cli",
        "orchestra.console",
        "orchestra.web",
    },
    "loop": {"orchestra.conduct"},
    "hosts": {"orchestra.hosts"},
    "edges": {
        *("orchestra.agents", "orchestra.child", "orchestra.gates", "orchestra.gateway", "orchestra.handover"),
        *("orchestra.journal", "orchestra.models", "orchestra.process", "orchestra.workspace"),
    },
    "rules": {
        *("orchestra.answers", "orchestra.dialects", "orchestra.division", "orchestra.judge"),
        *("orchestra.merging", "orchestra.plan"),
        *("orchestra.providers", "orchestra.report", "orchestra.settings"),
    },
    "words": {"orchestra", "orchestra.errors", "orchestra.events", "orchestra.model", "orchestra.wording"},
}
# The packages of the loop, from the bottom up: each imports only itself and those before it.
CONDUCT = ("core", "planning", "checks", "deliver", "previous", "combine", "attempt", "loop", "session")


def find_modules() -> dict[str, Path]:
    paths = [ROOT / "aider_orchestrator.py", ROOT / "gemini_prd_generator.py", *(ROOT / "orchestra").rglob("*.py")]
    own = (path for path in paths if "demo_project" not in path.parts)
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in own}


MODULES = find_modules()


def imports(module: str) -> Iterator[str]:
    """Everything that a module imports, inside of functions and for type checks too."""
    yield from imported(module, ast.walk(ast.parse(MODULES[module].read_bytes())))


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


def package_of(module: str) -> str:
    """orchestra.plan for orchestra.plan.targets."""
    return ".".join(module.split(".")[:2])


def layer_of(module: str) -> str:
    found = [name for name, packages in LAYERS.items() if package_of(module) in packages]
    assert found, f"{module} is in no package that is known here: say in LAYERS where it belongs"
    return found[0]
