"""The tool that measures the product's code counts what it should, and names what passes a limit."""

import subprocess
from pathlib import Path

import pytest

from tools.house import House, main, survey

TEXT = """\
from typing import Any


def first(data: dict[str, Any]) -> None:
    try:
        pass
    except (ValueError, Exception):
        pass


async def second() -> None:
    try:
        pass
    except ValueError:
        pass
    except:
        pass
"""


def test_house_counts_functions_and_broad_excepts() -> None:
    house = House()
    house.add("shop/a.py", TEXT)
    assert house.functions == {"shop/a.py:4 first": 5, "shop/a.py:11 second": 7}
    assert house.broad_excepts == ["shop/a.py:7", "shop/a.py:16"]
    assert (house.lines, house.untyped) == (17, 1)


def test_house_counts_the_product_only(tmp_path: Path) -> None:
    for name in ("app.py", "shop/a.py", "shop/tests/test_a.py", "tests/test_b.py", "bench/c.py", "gone.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def a() -> None: ...\n")
    subprocess.run("git init -q; git add -A; rm gone.py; echo x > new.py", shell=True, cwd=tmp_path, check=True)
    assert sorted(survey(tmp_path).files) == ["app.py", "new.py", "shop/a.py"]


def problems_of(root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    code = main([str(root)])
    problems = capsys.readouterr().out.splitlines()[6:]
    assert code == int(bool(problems))
    return problems


def test_house_names_what_passes_a_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    files = [tmp_path / f"full/m{number}.py" for number in range(21)]
    files[0].parent.mkdir()
    for file in files:
        file.write_text("def a() -> None:\n" + "    a()\n" * 6)
    assert problems_of(tmp_path, capsys) == ["full has 21 files; the limit is 20"]
    files.pop().unlink()
    assert problems_of(tmp_path, capsys) == []
    files[0].write_text("def a() -> None:\n" + "    a()\n" * 450)
    assert problems_of(tmp_path, capsys) == ["full/m0.py has 451 lines; the limit is 450"]
    for file in files:
        file.write_text("def a(b: dict[str, Any]) -> None:\n" + "    a()\n" * 31)
    assert problems_of(tmp_path, capsys) == [
        "the median of functions is 32 lines; it should be 6 to 12",
        "p90 of functions is 32 lines; the limit is 30",
        "dict[str, Any] stands 31.2 times in 1,000 lines; the limit is 3",
    ]
