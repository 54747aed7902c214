"""An Aider that is missing, of another version or broken is found before anybody waits for a PRD."""

import sys
from pathlib import Path

import pytest

from tests.support.edits import gemini_prd, no_edits
from tests.support.load import NEVER
from tests.support.modelserver import ModelServer
from tests.support.runs import make_place

pytestmark = pytest.mark.cold

OTHER = "echo aider-chat 0.86.1"
BROKEN = f'case "$1" in -c) exec {sys.executable} "$@";; *) echo no module named litellm >&2; exit 1;; esac'


@pytest.mark.thorough(but="words0-exit 1")
@pytest.mark.parametrize(
    ("script", "asked", "told"),
    [
        ("exit 1", 0, "has no aider-chat"),
        (OTHER, 0, "has aider-chat 0.86.1, but 0.86.2 is needed"),
        (BROKEN, 1, "cannot run aider: no module named litellm"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--no-fork-server",)])
def test_an_aider_that_cannot_work(words: tuple[str, ...], script: str, asked: int, told: str, tmp_path: Path) -> None:
    """Gemini would take ten minutes here; nobody waits for it."""
    python, aider = tmp_path / "python-of-its-own", tmp_path / "aider"
    python.write_text(f"#!/bin/sh\n{script}\n")
    aider.write_text(f"#!{python}\n")
    python.chmod(0o755)
    aider.chmod(0o755)
    place = make_place(tmp_path / "place", {"a.py": "a = 1\n"})
    with ModelServer(gemini_prd("# X", no_edits()), latency=NEVER) as server:
        ran = place.run("--change", "x", *words, server=server, AIDER_BIN=str(aider))
        assert server.count() <= asked
    assert ran.code == 2 and told in ran.out + ran.err, ran.out + ran.err
    assert not place.processes() and place.status() == []


@pytest.mark.thorough(but="words0")
@pytest.mark.parametrize("words", [(), ("--no-fork-server",)])
def test_an_aider_that_warms_up_ends_with_a_run_that_cannot_begin(words: tuple[str, ...], tmp_path: Path) -> None:
    place = make_place(tmp_path / "place", {"a.py": "a = 1\n"})
    ran = place.run("--change", "x", "--no-prd", "--files", "nope.py", *words)
    assert ran.code == 2 and "there is no such file" in ran.err
    assert not place.processes() and not list(place.tmp.glob("*aider-orchestrator-*"))
