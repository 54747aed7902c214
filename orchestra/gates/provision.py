"""Provide what a gate needs beside tracked files: node's packages, and what a build wrote among the sources."""

import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

MADE = (".py", ".pyi", ".so", ".pyd", ".dylib")
MOST_MADE = 200


def provision_gate(
    tree: Path, checkout: Path, files: Collection[str], ignored: Iterable[str], holds_key: Callable[[bytes], bool]
) -> None:
    """Provision a tree. `ignored`: the paths in the checkout that git ignores."""
    for path in files:
        if PurePosixPath(path).name == "package.json" and is_inside(tree, tree / path):
            share_packages(tree, checkout, PurePosixPath(path).parent)
    for path in find_build_products(files, ignored):
        source, target = checkout / path, tree / path
        if (
            source.is_file()
            and not os.path.lexists(target)
            and is_inside(tree, target)
            and not holds_key(source.read_bytes())
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def is_inside(tree: Path, target: Path) -> bool:
    """Whether no link on the way, from the repository or a set-up command, leads out of the tree."""
    return target.parent.resolve().is_relative_to(tree.resolve())


def find_build_products(files: Collection[str], ignored: Iterable[str]) -> list[str]:
    """Find what a build wrote among the sources (_version.py, a compiled module): imports need it."""
    packages = {str(PurePosixPath(path).parent) for path in files if path.endswith(".py")} - {"."}
    found = [path for path in ignored if path.endswith(MADE) and str(PurePosixPath(path).parent) in packages]
    return found[:MOST_MADE]


def share_packages(tree: Path, checkout: Path, folder: PurePosixPath) -> None:
    """Make a node_modules in the tree with a link per package. What a tool stores in it stays in the tree, and a
    package of this repository is the tree's, not the checkout's."""
    source, target = checkout / folder / "node_modules", tree / folder / "node_modules"
    if not source.is_dir() or (target.exists() and not target.is_symlink()):
        return
    if target.is_symlink():
        target.unlink()
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name.startswith("@") and entry.is_dir() and not entry.is_symlink():
            (target / entry.name).mkdir()
            for inner in entry.iterdir():
                link_package(inner, target / entry.name / inner.name, tree, checkout)
        elif entry.name not in (".cache", ".vite", ".vitest"):
            link_package(entry, target / entry.name, tree, checkout)


def link_package(source: Path, target: Path, tree: Path, checkout: Path) -> None:
    """Link to the real location of a package. A package inside the checkout is taken from the tree."""
    real, root = Path(os.path.realpath(source)), checkout.resolve()
    if real.is_relative_to(root) and "node_modules" not in real.relative_to(root).parts:
        real = tree / real.relative_to(root)
    target.symlink_to(real)
