"""Trouble of the machine is said with its place and its remedy, before anything is paid, and is never called a bug."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.edits import appends
from tests.support.load import NEVER, wait_until
from tests.support.misfortunes import sends
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, assert_clean, make_place

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
JOB = ("--change", "Add a line", "--no-prd", "--files", "a.py")
GOOD = appends("# hi")
BUG = ("bug", "Traceback")


def in_a_namespace(*commands: str) -> str:
    return f'exec unshare -m sh -c \'{" && ".join(commands)} && exec "$@"\' sh "$@"'


READ_ONLY_GIT = in_a_namespace("mount --bind .git .git", "mount -o remount,ro,bind .git")
READ_ONLY_OBJECTS = in_a_namespace("mount --bind .git/objects .git/objects", "mount -o remount,ro,bind .git/objects")
FULL_TMP = in_a_namespace('mount -t tmpfs -o size=8k tmpfs "$TMPDIR"')
SMALL_TMP = in_a_namespace('mount -t tmpfs -o size=2m tmpfs "$TMPDIR"')


def lose(path: str) -> Callable[[Place], None]:
    def lost(place: Place) -> None:
        blob = place.git("rev-parse", f"HEAD:{path}").strip()
        (place.repo / ".git/objects" / blob[:2] / blob[2:]).unlink()

    return lost


def nothing(place: Place) -> None:
    """The trouble is in the shell."""


TROUBLES: dict[str, tuple[Callable[[Place], None], str, tuple[str, ...]]] = {
    "read-only .git": (
        nothing,
        READ_ONLY_GIT,
        ("/.git cannot be written to: Read-only file system", "Make it writable"),
    ),
    "read-only objects": (nothing, READ_ONLY_OBJECTS, ("/.git/objects cannot be written to", "Make it writable")),
    "full TMPDIR": (nothing, FULL_TMP, ("/tmp", "Free some space", "TMPDIR")),
    "small TMPDIR": (lambda place: big(place), SMALL_TMP, ("2.0 MB free", "takes 5.0 MB", "TMPDIR")),
    "a lost target": (lose("a.py"), "", ("git has lost the content of a.py", "git fsck")),
    "another lost file": (lose("b.py"), "", ("git has lost the content of b.py", "git fsck")),
    "a lost tree": (lose("src"), "", ("git cannot read", "git fsck")),
}


def big(place: Place) -> None:
    place.write({"big.bin": os.urandom(4 << 20)})
    place.commit()


@pytest.mark.thorough(but="a lost target")
@pytest.mark.parametrize("name", TROUBLES)
def test_machine_faults_are_reported_before_paying(name: str, tmp_path: Path) -> None:
    does, shell, words = TROUBLES[name]
    place = make_place(tmp_path, FILES | {"src/c.py": "c = 1\n"})
    does(place)
    with ModelServer(GOOD) as server:
        ran = place.start(*JOB, server=server, shell=shell, ORCHESTRA_RETRIES="4").end()
        assert server.count() == 0
    assert ran.code == 2, ran.out + ran.err
    assert all(word in ran.err for word in words), ran.err
    assert not any(word in ran.err for word in BUG) and len(ran.err.strip().splitlines()) == 1
    assert not list(place.tmp.glob("*"))


@pytest.mark.thorough
def test_a_repository_without_commits_that_cannot_be_written_to(tmp_path: Path) -> None:
    place = make_place(tmp_path, {})
    place.git("update-ref", "-d", "HEAD")
    with ModelServer(GOOD) as server:
        ran = place.start("--change", "x", "--prd", "p.md", server=server, shell=READ_ONLY_GIT).end()
    assert ran.code == 2 and "cannot be written to: Read-only file system" in ran.err, ran.err


@pytest.mark.thorough
def test_objects_that_are_lost_while_the_run_goes_on(tmp_path: Path) -> None:
    """One attempt, and the remedy: another one would end the same way."""
    place = make_place(tmp_path, FILES)

    def reply(request: Request) -> Reply:
        (place.repo / ".git/objects").rename(place.repo / ".git/gone")
        (place.repo / ".git/objects").symlink_to("/proc")
        return GOOD(request)

    with ModelServer(reply) as server:
        ran = place.run(*JOB, server=server, ORCHESTRA_RETRIES="4")
        assert server.count() == 1
    (place.repo / ".git/objects").unlink()
    (place.repo / ".git/gone").rename(place.repo / ".git/objects")
    assert ran.code == 1 and ran.verdicts == ["crashed"], ran.out
    assert ran.agents["agent1"]["attempts"] == 1 and str(place.repo) in ran.agents["agent1"]["remedy"], ran.out


@pytest.mark.thorough
@pytest.mark.cold
@pytest.mark.parametrize("prints", (False, True))
def test_a_crash_names_the_file_that_tells_more(prints: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: Reply(GOOD(request).text, latency=NEVER)) as server:
        running = place.start(*JOB, *(("--aider-args=--verbose",) if prints else ()), server=server)
        wait_until(lambda: server.count() == 1)
        sends(signal.SIGKILL)(running, server)
        ran = running.end()
    assert (ran.code, ran.verdicts) == (1, ["crashed"])
    remedy = ran.agents["agent1"]["remedy"]
    path = remedy.removeprefix("See ").partition(";")[0]
    assert path.startswith(".aider_logs/agent1_") and (place.repo / path).stat().st_size, remedy
    assert path in ran.out
    assert_clean(ran)


@pytest.mark.thorough
def test_missing_certificates_are_one_sentence_and_leave_no_run(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(GOOD) as server:
        ran = place.run(*JOB, server=server, SSL_CERT_FILE="/nowhere.pem")
    assert ran.code == 2 and "SSL_CERT_FILE" in ran.err and not any(word in ran.err for word in BUG), ran.err
    assert not list(place.repo.glob(".aider_logs/run_*"))
