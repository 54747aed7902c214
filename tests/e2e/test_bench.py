"""A bench that is broken is found only when somebody wants to measure: the whole waterfall, once and small."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import hosts, waterfall

pytestmark = pytest.mark.thorough


def test_a_waterfall_accounts_for_all_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "picture.svg"
    assert waterfall.main(["--agents", "2", "--latency", "0.1", "--patience", "0", "--out", str(out)]) == 0
    clock, processors, details = capsys.readouterr().out.split("\n\n")
    for table in (clock, processors):
        *seconds, total = [float(number) for number in re.findall(r"(-?\d+\.\d\d)(?: +\d+%)?\s*$", table, re.MULTILINE)]
        assert sum(seconds) == pytest.approx(total, abs=0.01 * len(seconds)) and min(seconds) >= 0, table
    assert "fork server: 2 forks and Aiders" in processors and "worktree " in details
    texts = [
        element.text or "" for element in ElementTree.parse(out).getroot().iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"imports", "fork server", "agent 1", "agent 2", "gate: tests"} <= set(texts)


def test_orders_are_driven_through_the_head(capfd: pytest.CaptureFixture[str]) -> None:
    code = hosts.main(["--orders", "4", "8", "--agents", "4", "--seconds", "0", "--least", "8"])
    _, *rows, said = capfd.readouterr().out.strip().split("\n")[:4]
    assert [row.split()[0] for row in rows] == ["4", "8"] and len(rows[0].split()) == 7
    assert code == (0 if said.startswith("Flat") else 1)
