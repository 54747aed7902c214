"""What is found out before anything is paid and before Aider is loaded."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from orchestra.conduct.core.models import Project
from orchestra.conduct.session.preflight import check_disk_space
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, open_repository
from tests.support.edits import appends
from tests.support.modelserver import ModelServer, Reply
from tests.support.runs import Place, make_place
from tests.support.tmux import Terminal, open_terminal, terminal_environment

FILES = {"shop/cart.py": "cart = 1\n", "shop/mail.py": "mail = 1\n"}
WORDS = ("--change", "Say hi", "--files", "shop", "--agents", "2", "--no-prd")
HI = "# hi"
DIRTY = "shop/cart.py has uncommitted changes: the result cannot go onto main until you commit or stash it."


def dirty_place(folder: Path) -> Place:
    place = make_place(folder, FILES)
    place.write({"shop/cart.py": "cart = 2\n"})
    return place


def test_refused_key_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI), listing=Reply("Incorrect API key provided: sk-pl**89.", status=401)) as server:
        ran = place.run(*WORDS, server=server)
        host, paid = server.url.removeprefix("http://"), server.count()
    refused = f"OPENAI_API_KEY (…89) was refused by {host}: 401. Set a valid key, or choose another --model."
    assert (ran.code, ran.out, ran.err) == (4, "", f"aider-orchestrator: {refused}\n")
    assert paid == 0 and not ran.logs.exists() and not list(place.tmp.glob("aider-orchestrator-*"))


def test_git_that_is_too_old_is_refused(tmp_path: Path) -> None:
    place, folder = make_place(tmp_path, FILES), tmp_path / "bin"
    folder.mkdir()
    git = folder / "git"
    version = 'echo "git version 2.30.1"'
    git.write_text(f'#!/bin/sh\ncase "$*" in *--version) {version};; *) exec {shutil.which("git")} "$@";; esac\n')
    git.chmod(0o755)
    ran = place.run(*WORDS, PATH=f"{folder}:{os.environ['PATH']}")
    assert (ran.code, ran.err) == (2, "aider-orchestrator: git 2.30 is too old. Install 2.34 or newer.\n")


def test_disk_without_room_for_all_worktrees_is_noted(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    half = shutil.disk_usage(tempfile.gettempdir()).free // 2

    async def check(agents: int) -> list[str]:
        repository = await open_repository(place.repo)
        entries = {"big.bin": Entry("big.bin", "100644", "", half)}
        return await check_disk_space(Project(Settings(agents=agents), repository, entries))

    assert asyncio.run(check(1)) == []
    (note,) = asyncio.run(check(4))
    assert " MB free, and 4 worktrees of this repository take " in note and note.endswith("TMPDIR to a larger disk.")


@pytest.mark.thorough
def test_dirty_target_is_told_without_a_terminal(tmp_path: Path) -> None:
    place = dirty_place(tmp_path)
    with ModelServer(appends(HI)) as server:
        ran = place.run(*WORDS, server=server)
        assert (ran.code, server.count()) == (1, 2), ran.err
    assert f"note: {DIRTY}" in ran.err
    assert ran.err.index(DIRTY) < ran.err.index("agent1: started") and ran.err.count(DIRTY) == 1
    assert DIRTY not in place.run(*WORDS, "--dry-run", "--no-apply").out
    assert DIRTY in " ".join(place.run(*WORDS, "--dry-run").out.split())


def ask(place: Place, server: ModelServer, terminal: Terminal, answer: str) -> int:
    terminal.start(*WORDS, env=terminal_environment(place.environment(server)))
    screen = terminal.wait_for("Go on? [y/N]")
    assert DIRTY in " ".join(line.strip() for line in screen)
    terminal.press(answer, "Enter")
    return terminal.wait_for_end()


@pytest.mark.thorough
@pytest.mark.parametrize(("answer", "code", "paid"), [("", 2, 0), ("y", 1, 2)])
def test_dirty_target_is_asked_about_at_a_terminal(tmp_path: Path, answer: str, code: int, paid: int) -> None:
    place = dirty_place(tmp_path)
    with ModelServer(appends(HI)) as server, open_terminal(place.repo, 80) as terminal:
        assert ask(place, server, terminal, answer) == code
        assert server.count() == paid
        assert (place.repo / ".aider_logs").exists() == bool(paid)
        assert ("Nothing was begun, and nothing is paid." in "\n".join(terminal.screen())) == (not paid)
    assert (place.repo / "shop/cart.py").read_text() == "cart = 2\n"


@pytest.mark.thorough
@pytest.mark.parametrize(("answer", "code", "paid"), [("", 2, 0), ("y", 0, 2)])
def test_missing_cluster_is_asked_about_at_a_terminal(tmp_path: Path, answer: str, code: int, paid: int) -> None:
    """Ray is not installed for this test. Elsewhere than on a terminal the run ends: see test_cluster_settings.py."""
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server, open_terminal(place.repo, 80) as terminal:
        words = (*WORDS, "--cluster", "10.0.0.1:6379")
        terminal.start(*words, env=terminal_environment(place.environment(server)))
        screen = terminal.wait_for("Run on this machine alone? [y/N]")
        assert "A cluster needs Ray, which is not installed." in " ".join(line.strip() for line in screen)
        terminal.press(answer, "Enter")
        assert terminal.wait_for_end() == code and server.count() == paid
        assert (place.repo / ".aider_logs").exists() == bool(paid)


@pytest.mark.thorough
def test_yes_answers_the_question_about_a_dirty_target(tmp_path: Path) -> None:
    place = dirty_place(tmp_path)
    with ModelServer(appends(HI)) as server, open_terminal(place.repo, 80) as terminal:
        terminal.start(*WORDS, "--yes", env=terminal_environment(place.environment(server)))
        assert (terminal.wait_for_end(), server.count()) == (1, 2)
        assert "Go on?" not in "\n".join(terminal.everything())
