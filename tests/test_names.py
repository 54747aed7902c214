"""The tool that counts names finds one-word names, names in many files, and old words of the glossary."""

import subprocess
from pathlib import Path

import pytest

from tools.names import Names, main, split_words

TEXT = """\
class Budget:
    def told(self) -> None:
        def put() -> None: ...


def find_file() -> None: ...
"""


def test_names_counts_what_is_outside_of_classes() -> None:
    names = Names()
    names.add("shop/a.py", TEXT, frozenset({"told", "seat"}))
    names.add("shop/seat.py", "", frozenset({"told", "seat"}))
    assert (names.bare, names.longer) == (["Budget", "put"], ["find_file"])
    assert names.old == [("shop/a.py:2", "told"), ("shop/seat.py", "seat")]
    assert round(names.share) == 67 and names.spread == {}


def test_split_words_reads_both_spellings() -> None:
    assert [split_words(name) for name in ("ReplyText", "_reply_text", "Seat")] == ["reply_text", "reply_text", "seat"]


def test_names_fails_for_old_words_and_for_names_in_many_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "workshop.py").write_text("def start() -> None: ...\n")
    for number in range(5):
        (tmp_path / f"m{number}.py").write_text("def main() -> None: ...\ndef load_all() -> None: ...\n")
    assert main([str(tmp_path)]) == 1
    problems = capsys.readouterr().out.splitlines()[3:]
    assert problems == [
        "workshop.py: workshop is an old word: say warm-up",
        "load_all is defined in 5 files: names.toml gives no reason",
    ]
