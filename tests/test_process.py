"""Commands under guard: how they end, that nothing of them stays behind, and that their words fill no disk."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestra.process import GRACE, CommandResult, base_environment, read_tail, run_command
from tests.support.load import LONGEST, holds_soon, within
from tests.support.processes import all_gone, written_pids

ROOT = Path(__file__).parents[1]


def sh(folder: Path, script: str, timeout: float | None = LONGEST, **env: str) -> tuple[CommandResult, str]:
    output = folder / "output"
    words = ["/bin/sh", "-c", script]
    env = {"PATH": os.environ["PATH"]} | env
    ended = asyncio.run(run_command(words, cwd=folder, env=env, output=output, timeout=timeout))
    return ended, output.read_text("utf-8", "replace")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 128 + 9), ("kill -TERM $$", 128 + 15)],
)
def test_the_code_is_the_commands_and_a_signals_as_a_shell_says_it(tmp_path: Path, script: str, code: int) -> None:
    ended, _ = sh(tmp_path, script)
    assert (ended.code, ended.timed_out) == (code, False)


def test_a_command_that_is_not_there_is_127_and_one_sentence(tmp_path: Path) -> None:
    output = tmp_path / "output"
    ended = asyncio.run(run_command(["no-such-command-at-all"], cwd=tmp_path, env={}, output=output, timeout=9))
    assert (ended.code, output.read_text()) == (127, "no-such-command-at-all: No such file or directory\n")


def test_output_of_both_streams_goes_to_the_file_only_and_stdin_is_empty(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output").write_text("before\n")
    _, said = sh(tmp_path, "cat; echo out; echo err >&2")
    assert said == "before\nout\nerr\n"
    assert capfd.readouterr() == ("", "")


def test_the_command_sees_the_given_environment_and_no_other(tmp_path: Path) -> None:
    _, said = sh(tmp_path, "env", MARK="here", PYTHONHOME="/nowhere")
    # LC_CTYPE is what Python gives to a process that has no locale at all, the guard's and so its command's.
    added = {"PWD", "SHLVL", "_", "LC_CTYPE"}
    assert {line.split("=")[0] for line in said.split()} - added == {"PATH", "MARK", "PYTHONHOME"}
    assert "MARK=here" in said


def test_at_the_deadline_the_whole_group_gets_term_and_may_tidy_up(tmp_path: Path) -> None:
    script = 'sleep 3600 & echo $! >pids; trap "echo bye; exit 3" TERM; wait'
    ended, said = sh(tmp_path, script, timeout=within(2.0))
    assert (ended.code, ended.timed_out, said) == (3, True, "bye\n")
    assert all_gone(written_pids(tmp_path / "pids"))


@pytest.mark.skipif(sys.platform != "linux", reason="orphans cannot be adopted here")
@pytest.mark.parametrize("last", ("exit 3", "sleep 3600"))
def test_child_in_its_own_session_is_found(tmp_path: Path, last: str) -> None:
    daemon = "setsid sh -c 'echo $$ >>pids; setsid sleep 3600 & echo $! >>pids; sleep 3600' >/dev/null 2>&1 &"
    both = "while [ $(wc -w <pids) -lt 2 ]; do sleep 0.05; done"
    ended, _ = sh(tmp_path, f"touch pids; {daemon} {both}; {last}", timeout=within(5.0))
    pids = written_pids(tmp_path / "pids")
    assert ended.timed_out == (last == "sleep 3600")
    assert len(pids) == 2 and all_gone(pids)


def test_child_that_ignores_term_is_killed_with_grandchildren(tmp_path: Path) -> None:
    deaf = 'trap "" TERM; echo $$ >>pids; sleep 3600 & echo $! >>pids; wait; sleep 3600'
    ended, _ = sh(tmp_path, f"({deaf}) & {deaf}", timeout=within(2.0))
    pids = written_pids(tmp_path / "pids")
    assert (ended.code, ended.timed_out) == (128 + signal.SIGKILL, True)
    assert ended.seconds >= GRACE
    assert len(pids) == 4 and all_gone(pids)


def test_what_a_command_left_in_the_background_ends_with_it(tmp_path: Path) -> None:
    ended, _ = sh(tmp_path, "sleep 3600 & echo $! >pids; exit 5")
    assert ended.code == 5
    assert all_gone(written_pids(tmp_path / "pids"))


def test_open_output_of_another_session_does_not_block(tmp_path: Path) -> None:
    ended, said = sh(tmp_path, "setsid sh -c 'echo $$ >pids; while :; do echo noise; done' & sleep 0.3; echo done")
    daemon = written_pids(tmp_path / "pids")
    assert ended.code == 0 and "done" in said
    assert all_gone(daemon), "nobody reads its output any more"


def test_a_command_that_closes_its_output_is_waited_for_without_spinning(tmp_path: Path) -> None:
    before = time.process_time() + sum(os.times()[2:4])
    ended, _ = sh(tmp_path, "exec >&- 2>&-; sleep 4; exit 4")
    assert ended.code == 4
    assert time.process_time() + sum(os.times()[2:4]) - before < 3, "spinning takes the four seconds"


def test_endless_output_keeps_its_beginning_and_its_end_and_fills_no_disk(tmp_path: Path) -> None:
    _, said = sh(tmp_path, "echo first; head -c 300000000 /dev/zero | tr '\\0' 'x'; echo; echo last", timeout=within())
    assert said.startswith("first\nxxx") and said.endswith("x\nlast\n")
    assert "bytes are left out here" in said
    assert len(said) < 10_000_000
    assert read_tail(tmp_path / "output", 5) == "last\n"


def test_output_below_the_bound_is_whole(tmp_path: Path) -> None:
    _, said = sh(tmp_path, "seq 1 900000")
    assert said.split() == [str(n) for n in range(1, 900_001)]


def test_a_full_disk_does_not_stop_the_command(tmp_path: Path) -> None:
    words = ["/bin/sh", "-c", "seq 1 200000; echo >reached"]
    asyncio.run(
        run_command(words, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, output=Path("/dev/full"), timeout=within())
    )
    assert (tmp_path / "reached").exists()


def test_cancelling_ends_the_group(tmp_path: Path) -> None:
    async def cancelled() -> None:
        words = ["/bin/sh", "-c", "sleep 3600 & echo $! $$ >pids; wait"]
        task = asyncio.create_task(run_command(words, cwd=tmp_path, env=dict(os.environ), output=tmp_path / "output"))
        assert await asyncio.to_thread(holds_soon, lambda: written_pids(tmp_path / "pids"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert all_gone(written_pids(tmp_path / "pids"))


def test_command_group_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, os
from pathlib import Path
from orchestra.process import run_command
here = Path({str(tmp_path)!r})
words = ["/bin/sh", "-c", "sleep 3600 & echo $! $$ >pids; wait"]
asyncio.run(run_command(words, cwd=here, env=dict(os.environ), output=here / "output"))
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    assert holds_soon(lambda: written_pids(tmp_path / "pids"))
    parent.kill()
    parent.wait()
    assert all_gone(written_pids(tmp_path / "pids"))


def test_children_inherit_nothing_that_steers_or_holds_a_key() -> None:
    kept = {"PATH": "/bin", "LANG": "C", "SSH_AUTH_SOCK": "/s", "VIRTUAL_ENV": "/v"}
    dropped = ["GIT_DIR", "AIDER_MODEL", "LITELLM_MODEL", "OPENAI_API_KEY", "npm_token", "DB_PASSWORD", "MY_SECRET_X"]
    assert base_environment(kept | dict.fromkeys(dropped, "x")) == kept
