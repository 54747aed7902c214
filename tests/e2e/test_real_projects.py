"""Real projects with their real tests, from the registries: `make soak` only, for it needs a network. The gates are
found, the base passes them, a change is verified by them, and a bad one is refused."""

import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.edits import say
from tests.support.modelserver import ModelServer, Reply
from tests.support.runs import Place, make_place
from tests.support.sample import SOAK


@dataclass(frozen=True)
class Project:
    """Where it comes from, the gate that it must be found to have, and what breaks it."""

    name: str
    gate: str
    file: str
    right: str
    wrong: str
    comment: str = "#"
    prepare: str = ""

    def fetch(self, into: Path) -> Path:
        if self.name.startswith("npm:"):
            words = ["npm", "pack", "--silent", self.name.removeprefix("npm:")]
        else:
            words = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", self.name]
        subprocess.run(words, cwd=into, check=True, capture_output=True)
        (archive,) = (*into.glob("*.tgz"), *into.glob("*.tar.gz"))
        with tarfile.open(archive) as packed:
            packed.extractall(into / "unpacked", filter="data")
        (folder,) = (into / "unpacked").iterdir()
        return folder


EDITABLE = f"{sys.executable} -m venv .venv && .venv/bin/pip install -q pytest && .venv/bin/pip install -q -e ."
INSTALL = "npm install --ignore-scripts --no-audit --no-fund --silent"
PROJECTS = (
    Project("toolz==0.12.1", "pytest", "toolz/functoolz.py", "    return x\n", "    return None\n"),
    Project("toolz==0.12.1", "pytest", "toolz/functoolz.py", "    return x\n", "    return None\n", prepare=EDITABLE),
    Project("colorama==0.4.6", "unittest", "colorama/ansi.py", "str(code) + 'm'", "str(code) + 'x'"),
    Project("pathspec==0.12.1", "unittest", "pathspec/util.py", "out_include, out_index\n", "out_index, out_include\n"),
    Project("npm:reusify@1.0.4", "npm test", "reusify.js", "return current", "return {}", "//", INSTALL),
    Project("npm:split2@4.2.0", "npm test", "index.js", "return incoming", "return null", "//", INSTALL),
)
IGNORED = ".venv/\nnode_modules/\n__pycache__/\n*.egg-info/\n.aider_logs/\n"

if SOAK:

    @pytest.mark.parametrize("project", PROJECTS, ids=lambda one: f"{one.name}{' installed' if one.prepare else ''}")
    def test_a_change_is_verified_and_a_bad_one_refused_by_its_own_tests(project: Project, tmp_path: Path) -> None:
        fetched = tmp_path / "fetched"
        fetched.mkdir()
        place = make_place(tmp_path / "place", contents(project.fetch(fetched)) | {".gitignore": IGNORED})
        subprocess.run(project.prepare, shell=True, cwd=place.repo, check=True, capture_output=True)
        before = (place.repo / project.file).read_text()
        bad, good = before.replace(project.right, project.wrong, 1), f"{before.rstrip()}\n{project.comment} Checked.\n"
        assert bad != before
        refused, verified = [run(place, project.file, before, after) for after in (bad, good)]
        assert refused == (1, before, "none", [])
        assert verified == (0, good, "tests", [project.gate])


def contents(folder: Path) -> dict[str, bytes | str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".egg-info" not in str(path))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(place: Place, file: str, before: str, after: str) -> tuple[int, str, str, list[str]]:
    """The exit code, what the file is afterwards, how far the result was checked, and which tests did."""
    with ModelServer(lambda request: Reply(say(request, file, before, after))) as server:
        ran = place.run("--change", "Change it", "--no-prd", "--files", file, server=server)
    gates = [gate["name"] for gate in ran.summary["gates"] if gate["about"] == "tests" and not gate["old"]]
    return ran.code, (place.repo / file).read_text(), ran.summary["verified"], gates
