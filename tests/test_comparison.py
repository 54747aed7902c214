"""The benchmarks' own arithmetic, and that they leave nothing running behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import Figures, Round, add, read
from bench.modes import ALL_IN_ONE, AT_ONCE, OUR_FLAGS, OURS
from tests.support.load import LONGEST, within

ROOT = Path(__file__).resolve().parent.parent


def a_round(agents: int, mode: str, wall: float, cpu: float = 1, requests: int = 1) -> Round:
    return Round(agents, mode, wall, cpu, 100, 0, 0, requests, 1000 * requests, 10 * requests, 0.01 * requests)


MEASURED = (
    *(a_round(1, AT_ONCE, wall) for wall in (5, 5.5, 9)),
    a_round(1, OURS, 3),
    a_round(1, OUR_FLAGS, 2.5),
    a_round(32, OURS, 6, cpu=10, requests=32),
    a_round(32, AT_ONCE, 90, cpu=160, requests=64),
    a_round(32, ALL_IN_ONE, 5, requests=2),
)


def test_each_aim_is_met_or_missed_by_the_medians() -> None:
    reached = {aim.words: (aim.reached, aim.met) for aim in Figures(MEASURED, latency=0.5).aims()}
    assert reached == {
        "32 files: at least 12 times less wall time than 32 plain aiders at once": ("15.0 times", True),
        "32 files: at least 20 times less CPU than 32 plain aiders at once": ("16.0 times", False),
        "32 files: at least 5 times less memory than 32 plain aiders at once": ("1.0 times", False),
        "32 files: at most twice the floor, which is 5.0 s": ("1.20 times", True),
        "32 files: fewer requests than plain aiders": ("0.50 times as many", True),
        "32 files: fewer tokens than plain aiders": ("0.50 times as many", True),
        "32 files: fewer dollars than plain aiders": ("0.50 times as many", True),
        "1 file: no slower than plain aider with default flags": ("0.55 times", True),
        "1 file: no slower than plain aider with our flags": ("1.20 times", False),
    }


def test_it_says_when_it_does_not_pay() -> None:
    said = list(Figures(MEASURED, latency=0.5).when_not())
    assert "Against plain aiders at once, measured with 1, 32 files: faster with each of them." in said
    assert "Against plain aiders at once with our flags, measured with 1 files: no faster with 1." in said
    # 5.5 s and one reply of t are less than 4.5 s and one of 32 t
    assert any("as soon as the reply for one file takes 0.03 s" in line for line in said)


def test_rounds_that_were_kept_are_read_again(tmp_path: Path) -> None:
    for one in MEASURED:
        add(tmp_path / "rounds", one)
    assert read(tmp_path / "rounds") == list(MEASURED)


@pytest.mark.parametrize("code", [3, 124])
def test_keeper_ends_what_detached_itself_at_the_end_and_at_the_deadline(tmp_path: Path, code: int) -> None:
    seconds = within(2.0) if code == 124 else LONGEST
    script = f"setsid sh -c 'sleep 3600 & echo $! >{tmp_path}/pid; wait' & sleep {3600 if code == 124 else 0.2}; exit 3"
    words = [sys.executable, "-m", "bench.keeper", str(seconds), "sh", "-c", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "sleep 3600" in done.stdout
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
