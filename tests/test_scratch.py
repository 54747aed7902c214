"""The temporary folder of a run: swept when its owner is dead, and never while somebody uses it."""

import os
import tempfile
from pathlib import Path

import pytest

from orchestra.workspace.scratch import NODE_PREFIX, make_scratch


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_scratch_sweeps_only_folders_of_dead_runs() -> None:
    dead, its_lock = make_scratch()
    alive, _ = make_scratch()
    os.close(its_lock)  # as the kernel does when a process ends, however it ends
    make_scratch()
    assert not dead.exists() and alive.exists()


def test_one_with_a_worktree_is_left_to_its_run() -> None:
    dead, its_lock = make_scratch()
    (dead / "task1-1" / "tree").mkdir(parents=True)
    os.close(its_lock)
    make_scratch()
    assert dead.exists()


def test_dead_node_keeps_no_worktree() -> None:
    dead, its_lock = make_scratch(NODE_PREFIX)
    (dead / "task1-1" / "tree").mkdir(parents=True)
    os.close(its_lock)
    make_scratch(NODE_PREFIX)
    assert not dead.exists()


def test_what_only_looks_like_ours_is_left_alone(temporary: Path) -> None:
    (temporary / "aider-orchestrator-notes").mkdir()
    (temporary / "aider-orchestrator-file").write_text("mine")
    make_scratch()
    assert {"aider-orchestrator-notes", "aider-orchestrator-file"} <= {path.name for path in temporary.iterdir()}
