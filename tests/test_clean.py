"""Cleaning up after runs: exactly what belongs to them, and nothing that is in use or not merged yet."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from orchestra.journal.jsonl import stamp_of
from orchestra.journal.ownership import machine_identity
from tests.support.shell import Shell, shell
from tests.support.stories import STAMP, files, logs_of, sentence, stored, story, told
from tests.support.written import event

__all__ = ["shell"]

DAY = 86_400_000


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        (f"run_{STAMP}.jsonl", STAMP),
        (f"agent12_{STAMP}.jsonl", STAMP),
        (f"agent1_{STAMP}_attempt2.patch", STAMP),
        (f"setup_task1-2_{STAMP}.txt", STAMP),
        (f"summary_{STAMP}_2.json", f"{STAMP}_2"),
        (f"agent1_{STAMP}_2_attempt3.out", f"{STAMP}_2"),
        (f"run_{STAMP}_23.jsonl", f"{STAMP}_23"),
        (f"run_{STAMP}.jsonl.bak", ""),
        (f"{STAMP}.txt", ""),
        (f"my notes_{STAMP}.txt", ""),
        (f"run_{STAMP}0.jsonl", ""),
        (f"run_{STAMP}", ""),
        ("orchestra.db", ""),
    ],
)
def test_whose_a_file_is(name: str, stamp: str) -> None:
    assert stamp_of(name) == stamp


def names(shell: Shell) -> set[str]:
    return (
        {path.name for path in logs_of(shell).iterdir()}
        - {".gitignore"}
        - {f"orchestra.db{x}" for x in ("", "-wal", "-shm")}
    )


def test_only_what_belongs_to_the_named_run_goes(shell: Shell) -> None:
    logs, precious = logs_of(shell), shell.place.home / "precious"
    precious.write_text("mine")
    for stamp in (STAMP, f"{STAMP}_2"):
        files(shell, story(shell.place.repo, stamp))
        (logs / f"summary_{stamp}.json").write_text("{}")
        shell.place.git("update-ref", f"refs/heads/aider-orchestrator/{stamp}/task1", "HEAD")
    stored(shell, story(shell.place.repo), story(shell.place.repo, f"{STAMP}_2")).close()
    (logs / f"agent9_{STAMP}.txt").symlink_to(precious)
    (logs / "notes.txt").write_text("mine")
    (logs / f"run_{STAMP}.jsonl.bak").write_text("mine")
    before, shown = names(shell), told(shell, "clean", STAMP, "--dry-run")
    assert shown.startswith(f"{STAMP}  exit 0: 4 files") and f"branch aider-orchestrator/{STAMP}/task1," in shown
    refused = shell.run("clean", STAMP)
    assert (refused.code, refused.out) == (2, shown)
    assert refused.err == "aider-orchestrator: nothing was deleted: without a terminal to ask on, clean needs --yes.\n"
    assert names(shell) == before
    assert told(shell, "clean", STAMP, "--yes") == shown
    gone = {f"run_{STAMP}.jsonl", f"agent1_{STAMP}.jsonl", f"summary_{STAMP}.json", f"agent9_{STAMP}.txt"}
    assert names(shell) == before - gone and precious.read_text() == "mine"
    refs = shell.place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    assert refs == [f"aider-orchestrator/{STAMP}_2/task1", "main"]
    assert told(shell, "runs").split()[0] == f"{STAMP}_2" and told(shell, "runs").count("\n") == 1
    # The beginning of another run's name is not that run.
    assert f"To clean {STAMP}_2, give its whole name." in sentence(shell.run("clean", STAMP, "--yes"))


def test_what_a_started_run_printed_goes_with_it(shell: Shell) -> None:
    """`serve` names the file by its launch, and the run's events have that launch."""
    logs, own, other = logs_of(shell), "a" * 16, "b" * 16
    files(shell, story(shell.place.repo, launch=own))
    stored(shell, story(shell.place.repo, launch=own)).close()
    for launch in (own, other):
        (logs / f"console_{launch}.txt").write_text("printed")
    told(shell, "clean", STAMP, "--yes")
    assert names(shell) == {f"console_{other}.txt"}


def test_unmerged_work_stays_unless_it_is_forced(shell: Shell) -> None:
    place, side = shell.place, f"aider-orchestrator/{STAMP}/result"
    place.git("switch", "-q", "-c", side)
    place.write({"a.py": "a = 2\n"})
    place.commit("Agents' work")
    stored(shell, story(place.repo)).close()
    assert f"kept: branch {side}, because it is checked out in {place.repo}" in told(shell, "clean", "--yes", "--force")
    place.git("switch", "-q", "main")
    stored(shell, story(place.repo)).close()
    assert f"kept: branch {side}, because none of your branches has its commits" in told(shell, "clean", "--yes")
    assert place.git("rev-parse", "-q", "--verify", side)
    # The run is still known by its branch.
    assert told(shell, "clean", STAMP, "--dry-run", "--force").startswith(f"{STAMP}  without events: branch {side}")
    told(shell, "clean", STAMP, "--yes", "--force")
    assert place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == ["main"]
    assert told(shell, "clean", "--yes") == "There is nothing to clean.\n"


@pytest.mark.parametrize("how", ["merged", "tagged", "remote", "detached"])
def test_merged_work_is_not_kept(shell: Shell, how: str) -> None:
    place, side = shell.place, f"aider-orchestrator/{STAMP}/result"
    commit = place.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "x").strip()
    place.git("update-ref", f"refs/heads/{side}", commit)
    stored(shell, story(place.repo)).close()
    taken = {
        "merged": ("merge", "-q", "--ff-only", side),
        "tagged": ("tag", "-a", "-m", "x", "v1", commit),
        "remote": ("update-ref", "refs/remotes/origin/work", commit),
        "detached": ("checkout", "-q", "--detach", commit),
    }
    place.git(*taken[how])
    told(shell, "clean", "--yes")
    assert place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == ["main"]


def test_clean_keeps_running_runs(shell: Shell) -> None:
    events = story(shell.place.repo, code=None)
    files(shell, events)
    store = stored(shell, events)
    assert store.acquire_run(".", STAMP, "me", "lighthouse", 4711, 60_000) is None
    shown = told(shell, "clean", STAMP, "--yes", "--force")
    assert shown == f"kept: {STAMP}, because pid 4711 on lighthouse works on it\n"
    assert f"run_{STAMP}.jsonl" in names(shell) and len(store.read_events(".", STAMP)) == len(events)
    store.close()


def test_what_a_killed_process_was_at_work_on_is_free_at_once(shell: Shell) -> None:
    """Its lease goes on for a while, but on this machine one can see that it is gone."""
    child = subprocess.Popen(["true"])
    child.wait()
    store = stored(shell, story(shell.place.repo, code=None))
    assert store.acquire_run(".", STAMP, "me", machine_identity(), child.pid, 60_000) is None
    assert "No process works on it" in told(shell, "status")
    told(shell, "clean", "--yes")
    assert store.list_runs(".") == []
    store.append_events(".", story(shell.place.repo, code=None))
    assert store.acquire_run(".", STAMP, "me", machine_identity(), os.getpid(), 60_000) is None
    assert f"pid {os.getpid()} on {socket.gethostname()} works on it" in told(shell, "clean", "--yes")
    store.close()


def test_worktrees_of_a_run_that_died_go_and_the_users_stay(shell: Shell) -> None:
    place = shell.place
    folder, other = place.tmp / "aider-orchestrator-abcd1234", place.tmp / "aider-orchestrator-wxyz5678"
    for path in (
        folder / "task1-1" / "tree",
        folder / "task2-1" / "tree",
        other / "task1-1" / "tree",
        place.tmp / "mine",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        place.git("worktree", "add", "-q", "--detach", str(path))
    subprocess.run(["rm", "-rf", str(folder / "task2-1")], check=True)
    stored(
        shell, story(place.repo, code=None, folder=str(folder)), story(place.repo, f"{STAMP}_2", folder=str(place.home))
    ).close()
    assert f"worktree {folder}/task1-1/tree, worktree {folder}/task2-1/tree, folder {folder}" in told(
        shell, "clean", "--yes"
    )
    left = [
        line.split()[1] for line in place.git("worktree", "list", "--porcelain").splitlines() if line[:9] == "worktree "
    ]
    assert left == [str(place.repo), str(other / "task1-1" / "tree"), str(place.tmp / "mine")]
    assert not folder.exists() and place.home.exists() and (other / "task1-1" / "tree" / "a.py").exists()


def test_an_event_cannot_name_any_folder_to_delete(shell: Shell) -> None:
    """A run from elsewhere says that it worked in this folder; one from here, that it worked in the user's own."""
    folder = shell.place.tmp / "aider-orchestrator-abcd1234"
    (folder / "deep").mkdir(parents=True)
    link = shell.place.tmp / "aider-orchestrator-linked12"
    link.symlink_to(shell.place.home)
    runs = [(Path("/elsewhere"), folder), (shell.place.repo, link), (shell.place.repo, shell.place.home)]
    stored(shell, *(story(root, f"{STAMP}_{n}", folder=str(its)) for n, (root, its) in enumerate(runs, 2))).close()
    assert "folder" not in told(shell, "clean", "--yes")
    assert (folder / "deep").exists() and link.is_symlink() and shell.place.home.exists()


def test_age_and_failure_choose(shell: Shell) -> None:
    now = time.time_ns() // 1_000_000
    ages = {
        "20260101_000001": (40, 0),
        "20260101_000002": (40, 1),
        "20260101_000003": (40, None),
        "20260101_000004": (2, 0),
    }
    stored(
        shell, *(story(shell.place.repo, stamp, code, now - days * DAY) for stamp, (days, code) in ages.items())
    ).close()
    assert [line[:15] for line in told(shell, "clean", "--dry-run").splitlines()] == list(ages)
    shown = told(shell, "clean", "--older-than", "30d", "--dry-run").splitlines()
    assert [line[:15] for line in shown[:3]] == list(ages)[:3] and shown[3:] == ["kept: 1 run younger than that"]
    told(shell, "clean", "--older-than", "4w", "--keep-failed", "--yes")
    assert [line.split()[0] for line in told(shell, "runs").splitlines()] == list(ages)[1:]


def test_cleaning_gives_the_space_back(shell: Shell) -> None:
    big = [event("note", run=STAMP, seq=100 + n, text=os.urandom(5000).hex()) for n in range(200)]
    stored(shell, [*story(shell.place.repo), *big], story(shell.place.repo, f"{STAMP}_2")).close()
    before = size(shell)
    told(shell, "clean", STAMP, "--yes")
    assert before > 2_000_000 > 200_000 > size(shell)


def size(shell: Shell) -> int:
    return sum(path.stat().st_size for path in logs_of(shell).glob("orchestra.db*"))
