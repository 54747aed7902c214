"""Conflicting edits of one file: nothing of either side is ever lost, and what can be merged safely is."""

import ast
import asyncio
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from orchestra.judge.threeway import merge_text
from orchestra.workspace.merge import combine_commit
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Trees
from tests.support.conflicts import Pair, draw
from tests.support.sample import SOAK
from tests.test_merge import User, user

__all__ = ["user"]

COUNT = 200 if SOAK else 30


def imported(user: User, pairs: list[Pair]) -> list[tuple[str, str, str]]:
    """Base, ours and theirs of each pair as commits; made by one git, for there are many."""
    stream: list[bytes] = []

    def commit(mark: int, above: int, files: dict[str, str]) -> None:
        stream.append(f"commit refs/made/{mark}\nmark :{mark}\ncommitter A <a> {mark} +0000\ndata 0\n".encode())
        stream.extend([f"from :{above}\n".encode()] if above else [])
        for name, text in files.items():
            stream.append(f"M 644 inline {name}\ndata {len(text.encode())}\n".encode() + text.encode() + b"\n")

    for n, pair in enumerate(pairs):
        commit(3 * n + 1, 0, {pair.path: pair.base, "other.txt": "other\n"})
        commit(3 * n + 2, 3 * n + 1, {pair.path: pair.ours})
        commit(3 * n + 3, 3 * n + 1, {pair.path: pair.theirs, "other.txt": "changed\n"})
    subprocess.run(["git", "fast-import", "--quiet"], cwd=user.root, input=b"".join(stream), check=True)
    made = dict(
        line.split()[::-1]
        for line in user.git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/made").splitlines()
    )
    return [(made[f"{3 * n + 1}"], made[f"{3 * n + 2}"], made[f"{3 * n + 3}"]) for n in range(len(pairs))]


def assert_nothing_lost(pair: Pair, text: str) -> None:
    lines = text.splitlines(keepends=True)
    for side in pair.marks:
        assert set(side) <= set(lines), "a side's own line is lost"
    for line, count in (Counter(pair.base.splitlines(keepends=True)) - Counter(pair.gone)).items():
        assert lines.count(line) >= count, "a line that nobody touched is lost"
    ours, theirs = (Counter(side.splitlines(keepends=True)) for side in (pair.ours, pair.theirs))
    assert not Counter(lines) - (ours + theirs), "a line that nobody wrote"
    if pair.path.endswith(".py"):
        ast.parse(text)


@pytest.mark.thorough
def test_pairs_of_edits_lose_nothing_and_mostly_merge(user: User, tmp_path: Path) -> None:
    pairs = [draw(seed) for seed in range(COUNT)]
    commits = imported(user, pairs)
    tally: Counter[str] = Counter()

    async def all_of_them() -> None:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        for seed, (pair, (base, ours, theirs)) in enumerate(zip(pairs, commits, strict=True)):
            head, merged = await combine_commit(trees, ours, base, theirs, "Task 2\n")
            about = f"{seed}: {pair.kind}"
            if merged.tree:
                text = user.git("show", f"{head}:{pair.path}") + "\n"
                assert_nothing_lost(pair, text)
                assert user.git("show", f"{head}:other.txt") == "changed"
                assert pair.solvable is not False, f"{about} was merged without asking"
            else:
                assert merged.conflicts == (pair.path,) and head == ours, about
                assert user.git("show", f"{ours}:{pair.path}") + "\n" == pair.ours
                assert user.git("show", f"{theirs}:{pair.path}") + "\n" == pair.theirs
            tally[merged.how or "by git at once" if merged.tree else "asked"] += 1
            tally[f"{'solvable' if pair.solvable else 'not'} {'merged' if merged.tree else 'asked'}"] += 1
        assert not trees.open

    asyncio.run(all_of_them())
    assert len(user.git("worktree", "list").splitlines()) == 1
    assert tally["solvable merged"] >= 0.6 * (tally["solvable merged"] + tally["solvable asked"]), tally
    assert tally["not merged"] == 0, tally
    print(dict(tally))


# --- the rules themselves -------------------------------------------------------------------------------------------

PY = """import os
import sys

__all__ = [
    'a',
]


class K:
    x: int

    def m(self):
        return 1


def a():
    return 1
"""
END = "        return 1\n\n\ndef a"


def sub(old: str, new: str, text: str = PY) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


MERGES = {
    "neighbouring lines": ("a.txt", "1\n2\n3\n", "one\n2\n3\n", "1\ntwo\n3\n", "one\ntwo\n3\n"),
    "neighbours in Python": ("a.py", PY, sub("import os", "import re"), sub("import sys", "import abc"), None),
    "two methods": (
        "a.py",
        PY,
        sub(END, "        return 1\n\n    def n(self):\n        return 2\n\n\ndef a"),
        sub(END, "        return 1\n\n    def o(self):\n        return 3\n\n\ndef a"),
        None,
    ),
    "names in __all__": (
        "a.py",
        PY,
        sub("    'a',\n", "    'a',\n    'b',\n"),
        sub("    'a',\n", "    'a',\n    'c',\n"),
        None,
    ),
    "the same import and another": (
        "a.py",
        PY,
        sub("import sys\n", "import sys\nimport re\nimport abc\n"),
        sub("import sys\n", "import sys\nimport re\nimport csv\n"),
        None,
    ),
    "two constants": ("a.py", "A = 1\n", "A = 1\nB = 2\n", "A = 1\nC = 3\n", "A = 1\nB = 2\nC = 3\n"),
    "ignored files": (".gitignore", "*.o\n", "*.o\n*.a\n", "*.o\n*.so\n", "*.o\n*.a\n*.so\n"),
    "requirements": ("requirements.txt", "a\n", "a\nb==1\n", "a\nc>=2\n", "a\nb==1\nc>=2\n"),
    "includes": (
        "a.c",
        "#include <a.h>\n",
        "#include <a.h>\n#include <b.h>\n",
        "#include <a.h>\n#include <c.h>\n",
        None,
    ),
}
REFUSED = {
    "the same line": ("a.txt", "1\n2\n", "one\n2\n", "uno\n2\n"),
    "an edit of what is deleted": ("a.txt", "1\n2\n3\n", "1\n3\n", "1\ntwo\n3\n"),
    "beside a rewritten passage": ("a.txt", "1\n2\n3\n", "one\none and a half\n2\n3\n", "1\ntwo\n3\n"),
    "two insertions in prose": ("a.txt", "1\n2\n", "1\nx\n2\n", "1\ny\n2\n"),
    "two functions of one name": ("a.py", PY, PY + "\n\ndef b():\n    return 2\n", PY + "\n\ndef b():\n    return 3\n"),
    "a function and a constant of one name": ("a.py", PY, PY + "\n\ndef b():\n    return 2\n", PY + "\n\nb = 3\n"),
    "two imports of one name": (
        "a.py",
        PY,
        sub("sys\n", "sys\nimport a.b as q\n"),
        sub("sys\n", "sys\nimport c as q\n"),
    ),
    "two fields of a class": (
        "a.py",
        PY,
        sub("x: int\n", "x: int\n    y: int\n"),
        sub("x: int\n", "x: int\n    z: int\n"),
    ),
    "two members of a class": (
        "a.py",
        PY,
        sub("x: int\n", "x: int\n    y = 1\n"),
        sub("x: int\n", "x: int\n    z = 2\n"),
    ),
    "two calls at the end": ("a.py", "run()\n", "run()\nstop()\n", "run()\nsleep()\n"),
    "two decorators": ("a.py", PY, sub("def a", "@x\ndef a"), sub("def a", "@y\ndef a")),
    "entries of a call": ("a.py", "f([\n    1,\n])\n", "f([\n    1,\n    2,\n])\n", "f([\n    1,\n    3,\n])\n"),
    "Python that is broken": ("a.py", "import a\n", "import a\nimport b\n", "import a\nimport (\n"),
    "one package twice": ("requirements.txt", "a\n", "a\nb==1\n", "a\nb==2\n"),
    "one name from two modules": (
        "a.ts",
        "import a from 'a';\n",
        "import a from 'a';\nimport b from 'b';\n",
        "import a from 'a';\nimport b from 'c';\n",
    ),
    "statements of TypeScript": ("a.ts", "a();\n", "a();\nb();\n", "a();\nc();\n"),
    "no last newline": ("a.txt", "1\n2", "one\n2", "1\ntwo"),
}


@pytest.mark.parametrize("name", MERGES)
def test_what_is_safe_is_merged_whichever_side_is_ours(name: str) -> None:
    path, base, ours, theirs, wanted = MERGES[name]
    for one, two in ((ours, theirs), (theirs, ours)):
        merged = merge_text(path, base, one, two)
        assert merged is not None
        for side in (ours, theirs):
            new = Counter(side.splitlines()) - Counter(base.splitlines())
            assert not new - Counter(merged.splitlines())
        if path.endswith(".py"):
            ast.parse(merged)
    assert wanted is None or merge_text(path, base, ours, theirs) == wanted


@pytest.mark.parametrize("name", REFUSED)
def test_unsafe_merges_stay_conflicts(name: str) -> None:
    path, base, ours, theirs = REFUSED[name]
    assert merge_text(path, base, ours, theirs) is None
    assert merge_text(path, base, theirs, ours) is None


def test_an_odd_number_of_lines_is_no_trouble() -> None:
    assert merge_text("a.txt", "", "a\n", "b\n") is None
    assert merge_text("a.txt", "a\n", "a\n", "b\n") == "b\n"
    assert merge_text("a.txt", "a\n", "b\n", "b\n") == "b\n"
    assert merge_text("a.txt", "x\n" * 30_000, "a\n" * 30_000, "b\n") is None
