"""The extra `ray`: it fits Aider's pins, and nothing that uses no cluster imports it."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.load import within
from tests.support.ray_nodes import RAY, needs_ray
from tests.support.runs import PROGRAM

pytestmark = [needs_ray, pytest.mark.thorough]
ROOT = Path(__file__).resolve().parents[1]


def run_with_ray(*words: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {name: os.environ[name] for name in ("PATH", "HOME")} | {"PYTHONPATH": str(RAY)}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=within())


def read_pinned_names() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    return {found[0].lower() for line in lines if (found := re.match(r"[\w.-]+(?===)", line))}


def test_ray_fits_the_pins() -> None:
    """`make ray` has installed it without its requirements, which stand at our pins in the environment of the tests."""
    checked = run_with_ray("-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout
    added = {found.name.lower() for found in importlib.metadata.distributions(path=[str(RAY)])}
    assert "ray" in added and len(read_pinned_names()) > 50
    assert added & read_pinned_names() == set()


def test_extras_of_ray_are_named_nowhere() -> None:
    """They move a pin of Aider's."""
    found = subprocess.run(["git", "grep", "-lE", r"\bray\[[a-z]"], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.parametrize("words", [("--help",), ("worker", "join", "--help"), ("models",)])
def test_ray_that_is_installed_is_not_imported(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run_with_ray("-X", "importtime", str(PROGRAM), *words, folder=tmp_path)
    assert ran.returncode == 0 and "import time:" in ran.stderr
    assert re.findall(r"\| +ray\b.*", ran.stderr) == []
