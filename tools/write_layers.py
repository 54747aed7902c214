"""Write docs/layers.md: the layers of the program and the packages in them, made from what really imports what.

usage: python -m tools.write_layers
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tools.layers import CONDUCT, LAYERS, MODULES, imports, layer_of, package_of
from tools.write_reference import table

TARGET = Path(__file__).resolve().parents[1] / "docs" / "layers.md"
Graph = Mapping[str, frozenset[str]]
LOOP = "orchestra.conduct"
HEAD = """\
# Layers

<!-- Written by `make reference` from the imports themselves: do not edit. -->

An arrow means "imports". Imports point downward only; arrows that follow from others are left out. Edges do not import
one another, but for `process`. Rules do no input or output. `tests/test_imports.py` holds all of this, and
`tools/layers.py` says which package belongs to which layer.
"""
ABOUT = {
    "faces": "What people see and type.",
    "loop": "The steps of a run, in the order of the story in `aider_orchestrator.py`.",
    "hosts": "Where attempts and gates run.",
    "edges": "What touches the outside: processes, git, files, databases, the network.",
    "rules": "Decisions. They compute, and do nothing.",
    "words": "Records and errors that every layer uses.",
}


def graph_of(names: Mapping[str, str]) -> Graph:
    """Which groups import which. `names` puts modules into groups."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, group in names.items():
        found[group] |= {names[other] for other in imports(module) if other in names} - {group}
    return {group: frozenset(others) for group, others in found.items()}


def reach(graph: Graph, group: str) -> frozenset[str]:
    """All that a group imports, directly or through others."""
    found = graph[group]
    return found.union(*(reach(graph, other) for other in found))


def arrows(graph: Graph) -> Iterator[tuple[str, str]]:
    """The imports that do not follow from others."""
    for group, others in graph.items():
        through = frozenset[str]().union(*(reach(graph, other) for other in others))
        yield from ((group, other) for other in others - through)


def conduct_package(module: str) -> str:
    return module.split(".")[2] if module.startswith(f"{LOOP}.") else ""


def packages(layer: str) -> list[str]:
    """The packages of a layer that are there."""
    return sorted({package_of(module) for module in MODULES} & LAYERS[layer] - {"orchestra"})


def short(package: str) -> str:
    return package.removeprefix("orchestra.")


def picture() -> str:
    """The layers, each with its packages, as a Mermaid chart."""
    inner = graph_of({module: name for module in MODULES if (name := conduct_package(module))})
    layers = graph_of({module: layer_of(module) for module in MODULES})
    lines = ["flowchart TD"]
    for layer in LAYERS:
        lines.append(f"    subgraph {layer}")
        if layer == "loop":
            pairs = ordered(arrows(inner), reversed(CONDUCT))
            lines += [f"        conduct-{one} --> conduct-{other}" for one, other in pairs]
        else:
            lines.append(f'        {layer}-packages["{" · ".join(map(short, packages(layer)))}"]')
        lines.append("    end")
    lines += [f"    {one} --> {other}" for one, other in ordered(arrows(layers), list(LAYERS))]
    return "\n".join(lines)


def ordered(pairs: Iterable[tuple[str, str]], order: Iterable[str]) -> list[tuple[str, str]]:
    places = {name: place for place, name in enumerate(order)}
    return sorted(pairs, key=lambda pair: (places[pair[0]], places[pair[1]]))


def about(package: str) -> str:
    """The first sentence of a package's docstring."""
    text = ast.get_docstring(ast.parse(MODULES[package].read_bytes())) or ""
    return " ".join(text.split("\n\n")[0].split()).removesuffix(" Pure.").removesuffix(" Pure rules.")


def rows(layer: str) -> Iterator[tuple[str, str, str]]:
    graph = graph_of({module: package_of(module) for module in MODULES})
    for package in packages(layer):
        used = sorted(map(short, graph[package] - {"orchestra"} - LAYERS["words"]))
        yield f"`{short(package)}`", about(package), ", ".join(used) or "–"


def conduct_rows() -> Iterator[tuple[str, str, str]]:
    graph = graph_of({module: name for module in MODULES if (name := conduct_package(module))})
    for name in reversed(CONDUCT):
        used = sorted(graph[name], key=CONDUCT.index, reverse=True)
        yield f"`conduct/{name}`", about(f"{LOOP}.{name}"), ", ".join(used) or "–"


def text() -> str:
    parts = [HEAD, f"```mermaid\n{picture()}\n```\n"]
    for layer in LAYERS:
        body = conduct_rows() if layer == "loop" else rows(layer)
        parts.append(
            f"## {layer.capitalize()}\n\n{ABOUT[layer]}\n\n" + table(("Package", "What it is", "Imports"), body)
        )
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(MODULES)} modules\n")
