"""Gates that misbehave, and gates that must not be fooled: real processes, real git, real installs."""

import asyncio
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.gates.provision import provision_gate
from orchestra.gates.run import GateContext, GateOutcome, run_gate
from orchestra.hosts.isolation import installed_packages
from orchestra.model import Gate
from orchestra.process import Sandbox
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Trees
from tests.support.load import LONGEST, holds_soon, within
from tests.support.processes import gate_processes
from tests.support.sample import SOAK

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
FILES = {
    "src/shop/__init__.py": "def price():\n    return 1\n",
    "tests/test_shop.py": "import shop\n\ndef test_price():\n    assert shop.price() == 1\n",
    "pyproject.toml": "[tool.pytest.ini_options]\n",
    "README.md": "shop\n",
}
NEW = "def price():\n    return 2\n"


def git(folder: Path, *words: str) -> str:
    who = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *words], cwd=folder, env=ENV | who, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> GateContext:
    """A checkout whose shop costs 1, and a worktree beside it in which it costs 2."""
    checkout, tree = tmp_path / "checkout", tmp_path / "run" / "gate" / "tree"
    for name, text in FILES.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(text)
    git(checkout, "init", "-q", "-b", "main")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "Start")
    tree.parent.mkdir(parents=True)
    git(checkout, "worktree", "add", "-q", "--detach", str(tree))
    (tree / "src/shop/__init__.py").write_text(NEW)
    home = tmp_path / "home"
    home.mkdir()
    sandbox = Sandbox("namespaces", checkout.resolve(), checkout.resolve() / ".git", home.resolve())
    return GateContext(tree, checkout, list(FILES), sandbox=sandbox)


def gated(place: GateContext, command: str, timeout: float = LONGEST, **env: str) -> GateOutcome:
    if place.sandbox:
        shared = tuple(installed_packages(place.checkout, [*FILES, "package.json"], ()))
        place = dataclasses.replace(place, sandbox=dataclasses.replace(place.sandbox, shared=shared))
    output = place.tree.parent / "output.txt"
    gate = Gate("it", "tests", command)
    return asyncio.run(run_gate(gate, place, env=ENV | env, output=output, timeout=timeout, scrub=str))


def checksum(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


# --- gates that misbehave -------------------------------------------------------------------------------------------

MUCH = 1_200_000_000 if SOAK else 100_000_000
BURST = "for n in 1 2 3 4 5 6 7 8 9; do sleep 3600 & echo $! >>../pids; done; exit 1"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("command", "timeout", "failing"),
    [
        ("kill -9 $$", 20, {"killed by signal 9"}),
        ("sleep 3600", 0.5, {"did not end in time"}),
        ("trap '' TERM; sleep 3600 & echo $! $$ >>../pids; wait", 0.5, {"did not end in time"}),
        (BURST, 20, {"exit code 1"}),
        (f"head -c {MUCH} /dev/zero | tr '\\0' 'x'; exit 7", 100, {"exit code 7"}),
        ("no-such-command-at-all", 20, {"/bin/sh: 1: no-such-command-at-all: not found"}),
    ],
    ids=["killed", "hangs", "deaf", "burst", "talks", "missing"],
)
def test_what_goes_wrong_is_a_failure_with_a_name(
    place: GateContext, command: str, timeout: float, failing: set[str]
) -> None:
    before = checksum(place.checkout)
    outcome = gated(place, command, timeout)
    assert outcome.failing == failing and not outcome.passed
    assert outcome.output.stat().st_size < 50_000_000
    assert holds_soon(lambda: not gate_processes(place.tree))
    assert checksum(place.checkout) == before


def test_a_gate_that_deletes_its_worktree(place: GateContext) -> None:
    before = checksum(place.checkout)
    outcome = gated(place, 'rm -rf "$PWD"; exit 0')
    assert outcome.spoiled and "deleted the worktree" in outcome.remarks[0]
    assert checksum(place.checkout) == before


def test_a_gate_that_writes_into_the_checkout(place: GateContext) -> None:
    """Where the kernel lets us, it cannot; elsewhere it is said."""
    before = checksum(place.checkout)
    there = place.checkout / "README.md"
    outcome = gated(place, f"echo bad >>{there}; echo bad >{place.checkout}/new; rm -rf {place.checkout}/src; true")
    if checksum(place.checkout) == before:
        assert outcome.remarks == () and "Read-only" in outcome.output.read_text()
    else:
        assert "your checkout changed: README.md, new" in outcome.remarks[0]


def test_all_else_may_be_written_to_as_ever(place: GateContext) -> None:
    outside = place.checkout.parent
    outcome = gated(
        place, f'echo x >../a && echo x >{outside}/b && echo x >"$TMPDIR/c" && git add -A && git commit -qm x'
    )
    assert outcome.passed or "identity" in outcome.output.read_text(), outcome.output.read_text()
    assert (outside / "b").exists()


def test_gate_that_changes_its_tree_is_reported(place: GateContext) -> None:
    outcome = gated(place, "echo x >>README.md; mkdir -p build; echo x >build/out; echo x >new.txt")
    assert outcome.passed and outcome.spoiled and "changed README.md in the worktree" in outcome.remarks[0]
    assert not gated(place, "echo x >another.txt").spoiled


def test_single_files_are_asked_about_by_their_ending(place: GateContext) -> None:
    gate = Gate("it", "lint", "echo", endings=(".py",))
    for paths, said in ((["a.py", "b c.py", "d.md"], "a.py b c.py\n"), (["d.md"], "")):
        output = place.tree.parent / "out"
        asyncio.run(run_gate(gate, place, env=ENV, output=output, timeout=within(), scrub=str, paths=paths))
        assert output.read_text() == said


# --- gates that must not be fooled ----------------------------------------------------------------------------------


def venv(place: GateContext, pth: str = "", finder: bool = False, copied: bool = False) -> str:
    """A virtual environment of the checkout's, as an editable install leaves it; returns its pytest."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place.checkout / ".venv")], check=True)
    (site,) = (place.checkout / ".venv/lib").glob("python*/site-packages")
    pytests = Path(pytest.__file__).parents[1]
    (site / "tools.pth").write_text(f"{pytests}\n")
    if pth:
        (site / "__editable__.shop.pth").write_text(f"{place.checkout / pth}\n")
    if finder:
        (site / "__editable___shop_finder.py").write_text(FINDER.format(str(place.checkout / "src/shop")))
        (site / "__editable__.shop.pth").write_text("import __editable___shop_finder as f; f.install()\n")
    if copied:
        shutil.copytree(place.checkout / "src/shop", site / "shop")
    return f"{place.checkout}/.venv/bin/python -m pytest -q -p no:cacheprovider tests"


# What setuptools writes, in short.
FINDER = """
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
MAPPING = {{"shop": {!r}}}
class _Finder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in MAPPING:
            return spec_from_file_location(fullname, Path(MAPPING[fullname], "__init__.py"))
def install():
    sys.meta_path.append(_Finder)
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind", [{"pth": "src"}, {"finder": True}, {"copied": True}], ids=["a path", "a finder", "a copy"]
)
def test_an_install_that_points_to_the_checkout_does_not_fool_the_gate(
    place: GateContext, kind: dict[str, object]
) -> None:
    command = venv(place, **kind)  # type: ignore[arg-type]
    outcome = gated(place, command)
    assert outcome.failing == {"tests/test_shop.py::test_price"}, outcome.output.read_text()
    assert outcome.stale == () and outcome.reading.counts.ran == 1
    (place.tree / ".venv").symlink_to(place.checkout / ".venv")  # linked into the worktree, as --worktree-link does
    linked = command.replace(str(place.checkout), str(place.tree))
    assert gated(place, linked).failing == outcome.failing


@pytest.mark.thorough
@pytest.mark.parametrize("layout", ["src", "."])
def test_uninstalled_package_of_the_tree_is_found(place: GateContext, layout: str) -> None:
    """Plain `pytest` does not look at the root, and nobody has said where the package is."""
    if layout == ".":
        (place.tree / "src/shop").rename(place.tree / "shop")
        place = dataclasses.replace(place, files=[path.replace("src/shop", "shop") for path in place.files])
    tool = place.tree.parent / "pytest"
    tool.write_text(f"#!{sys.executable}\nimport sys, pytest\nsys.exit(pytest.main())\n")
    tool.chmod(0o755)
    outcome = gated(place, f"{tool} -q -p no:cacheprovider tests")
    assert outcome.failing == {"tests/test_shop.py::test_price"}, outcome.output.read_text()


def test_foreign_modules_are_named(place: GateContext) -> None:
    """A loader that stands in front of everything: nothing is proven, and that is said."""
    command = venv(place, finder=True)
    (finder,) = (place.checkout / ".venv/lib").glob("python*/site-packages/__editable___shop_finder.py")
    finder.write_text(
        finder.read_text().replace("MAPPING", "PLACES").replace("meta_path.append(", "meta_path.insert(0, ")
    )
    assert gated(place, command).failing == {"tests/test_shop.py::test_price"}  # the tree is what it finds there
    outcome = gated(dataclasses.replace(place, sandbox=None), command)
    assert outcome.passed and outcome.stale == ("shop",)


def test_packages_of_the_repository_are_the_trees_and_caches_stay_there(place: GateContext) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node here")
    checkout, tree = place.checkout, place.tree
    for root, value in ((checkout, 1), (tree, 2)):
        (root / "packages/b").mkdir(parents=True)
        (root / "packages/b/package.json").write_text('{"name": "@shop/b", "main": "i.js"}')
        (root / "packages/b/i.js").write_text(f"module.exports = {value};\n")
        (root / "package.json").write_text("{}")
    modules = checkout / "node_modules"
    (modules / "@shop").mkdir(parents=True)
    (modules / "@shop/b").symlink_to("../../packages/b")
    (modules / "far").mkdir()
    (modules / "far/index.js").write_text("module.exports = 'far';\n")
    (modules / ".bin").mkdir()
    (modules / ".cache").mkdir()
    (tree / "node_modules").symlink_to(modules)
    made = {"src/shop/_version.py": "v = 1\n", "src/shop/key.py": "KEY = 'sk-0123'\n", "junk/a.py": ""}
    for name, text in made.items():
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(text)
    before = checksum(checkout)
    files = [*FILES, "package.json", "packages/b/package.json"]
    provision_gate(tree, checkout, files, list(made), lambda content: b"sk-" in content)
    script = "console.log(require('@shop/b'), require('far'), require('fs').writeFileSync('node_modules/.cache-x', ''))"
    outcome = gated(place, f'node -e "{script}"')
    assert outcome.passed and outcome.output.read_text().startswith("2 far"), outcome.output.read_text()
    assert checksum(checkout) == before
    assert (tree / "src/shop/_version.py").exists() and not (tree / "src/shop/key.py").exists()
    assert not (tree / "junk").exists()


@pytest.mark.parametrize("harm", ["rm -rf tree", "rm -rf tree/* tree/.git", "rm tree/.git", "chmod 500 tree"])
def test_a_worktree_that_was_harmed_leaves_nothing_behind(place: GateContext, harm: str) -> None:
    async def all_of_it() -> None:
        trees = Trees(await open_repository(place.checkout), place.checkout.parent / "trees")
        tree = await trees.add("one", "HEAD")
        await asyncio.to_thread(subprocess.run, harm, shell=True, cwd=tree.path.parent, check=True)
        await trees.remove(tree)
        assert not tree.path.exists()

    asyncio.run(all_of_it())
    assert len(git(place.checkout, "worktree", "list").splitlines()) == 2  # the checkout's and the fixture's
