"""What a gate needs beside the tracked files: node's packages, and what the user's build made among the sources."""

import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

MADE = (".py", ".pyi", ".so", ".pyd", ".dylib")
MOST_MADE = 200


def provision_gate(
    tree: Path, checkout: Path, files: Collection[str], ignored: Iterable[str], holds_key: Callable[[bytes], bool]
) -> None:
    """`ignored` are the paths in the checkout that git ignores."""
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
    """Whether no link on the way, of the repository or of a set-up command, leads out of the tree."""
    return target.parent.resolve().is_relative_to(tree.resolve())


def find_build_products(files: Collection[str], ignored: Iterable[str]) -> list[str]:
    """What a build wrote among the sources (_version.py, a compiled module): without it nothing can be imported."""
    packages = {str(PurePosixPath(path).parent) for path in files if path.endswith(".py")} - {"."}
    found = [path for path in ignored if path.endswith(MADE) and str(PurePosixPath(path).parent) in packages]
    return found[:MOST_MADE]


def share_packages(tree: Path, checkout: Path, folder: PurePosixPath) -> None:
    """A node_modules of the tree's own, filled with links to the user's packages one by one. So what a tool keeps in it
    stays in the tree, and a package of this very repository is the tree's and not the checkout's."""
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
    """To where the package really lies; one that lies in the checkout itself is the tree's own."""
    real, root = Path(os.path.realpath(source)), checkout.resolve()
    if real.is_relative_to(root) and "node_modules" not in real.relative_to(root).parts:
        real = tree / real.relative_to(root)
    target.symlink_to(real)
