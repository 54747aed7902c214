"""The rules of merging: which edits are merged, how sure that is, and what is left to the author."""

import ast
import re
from collections import Counter

import pytest

from orchestra.merging.candidates import Trust, propose_merges

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
DOOR = """class Door:
    def close(self):
        self.stack.close()
        self.stack = Stack()
"""
CLOSE_SLOWLY = """        self.close_slowly()

    def close_slowly(self):
        run(self.stack.close)
        self.stack = """
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
    "a line in a function that the other side renames": (
        "a.py",
        DOOR,
        DOOR.replace("def close(self)", "def shut(self, now)"),
        DOOR.replace("        self.stack.close()", "        log()\n        self.stack.close()"),
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
    "ignored files with comments": (
        ".gitignore",
        "*.o\n",
        "*.o\n\n# editors\n.idea\n*.swp\n",
        "*.o\n\n# tools\n*.swp\n.tox\n",
        "*.o\n\n# editors\n.idea\n*.swp\n\n# tools\n.tox\n",
    ),
    "the same bullet and another": (
        "CHANGELOG.md",
        "# Next\n\n# 1.0\n",
        "# Next\n\n- a\n- b\n\n# 1.0\n",
        "# Next\n\n- c\n- a\n\n# 1.0\n",
        "# Next\n\n- a\n- b\n- c\n\n# 1.0\n",
    ),
    "sections of a changelog": (
        "CHANGES.rst",
        "Log\n===\n\n1.0\n---\n\n- a\n",
        "Log\n===\n\n1.1\n---\n\n- b\n\n1.0\n---\n\n- a\n",
        "Log\n===\n\n1.2\n---\n\n- c\n\n1.0\n---\n\n- a\n",
        None,
    ),
    "requirements": ("requirements.txt", "a\n", "a\nb==1\n", "a\nc>=2\n", "a\nb==1\nc>=2\n"),
    "includes": (
        "a.c",
        "#include <a.h>\n",
        "#include <a.h>\n#include <b.h>\n",
        "#include <a.h>\n#include <c.h>\n",
        None,
    ),
    "entries of a call": ("a.py", "f([\n    1,\n])\n", "f([\n    1,\n    2,\n])\n", "f([\n    1,\n    3,\n])\n", None),
    "keys of YAML": (
        "a.yml",
        "on:\n  push:\n    a: 1\n",
        "on:\n  push:\n    a: 1\n    b: 2\n",
        "on:\n  push:\n    a: 1\n    c: 3\n",
        "on:\n  push:\n    a: 1\n    b: 2\n    c: 3\n",
    ),
    "keyword arguments": ("a.py", "f(a)\n", "f(a, b=1)\n", "f(a, c=2)\n", "f(a, b=1, c=2)\n"),
    "a list that one side breaks into lines": (
        "a.py",
        "x = [1, 2]\n",
        "x = [\n    1,\n    2,\n    3,\n]\n",
        "x = [1, 2, 4]\n",
        "x = [\n    1,\n    2,\n    3,\n    4,\n]\n",
    ),
    "sorted imports": (
        "a.py",
        "import abc\nimport os\n\nrun()\n",
        "import abc\nimport os\nimport re\n\nrun()\n",
        "import abc\nimport os\nimport pwd\n\nrun()\n",
        "import abc\nimport os\nimport pwd\nimport re\n\nrun()\n",
    ),
    "a file that both sides add": (
        "a.py",
        "",
        "import os\n\n\ndef a():\n    pass\n",
        "import os\n\n\ndef b():\n    pass\n",
        "import os\n\n\ndef a():\n    pass\n\n\ndef b():\n    pass\n",
    ),
    "no last newline": ("a.txt", "1\n2", "one\n2", "1\ntwo", "one\ntwo"),
}
BY_TESTS = {
    "spread objects": ("a.js", "x = {a};\n", "x = {a, ...b};\n", "x = {a, ...c};\n"),
    "sorted calls": ("a.py", "a()\nb()\nz()\n", "a()\nb()\ng()\nz()\n", "a()\nb()\nc()\nz()\n"),
    "an exception to ignored files": (".gitignore", "*.o\n", "*.o\n*.log\n", "*.o\n!a.log\n"),
    "a function that is wrapped": (
        "a.py",
        "def f(a):\n    b = a\n    return b\n",
        "def f(a):\n    b = a\n    log(b)\n    return b\n",
        "def f(a):\n    if a:\n        b = a\n        return b\n",
    ),
    "parameters": ("a.py", "def f(a):\n    pass\n", "def f(a, b=1):\n    pass\n", "def f(a, c=2):\n    pass\n"),
    "arms of a match": (
        "a.rs",
        "fn f() {\n    match x {\n        1 => 2,\n    }\n}\n",
        "fn f() {\n    match x {\n        1 => 2,\n        3 => 4,\n    }\n}\n",
        "fn f() {\n    match x {\n        1 => 2,\n        5 => 6,\n    }\n}\n",
    ),
    "beside a rewritten passage": ("a.txt", "1\n2\n3\n", "one\none and a half\n2\n3\n", "1\ntwo\n3\n"),
    "two insertions in prose": ("a.txt", "1\n2\n", "1\nx\n2\n", "1\ny\n2\n"),
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
    "Python that is broken": ("a.py", "import a\n", "import a\nimport b\n", "import a\nimport (\n"),
    "statements of TypeScript": ("a.ts", "a();\n", "a();\nb();\n", "a();\nc();\n"),
}
REFUSED = {
    "one key twice": ("a.json", '{"a": 1}\n', '{"a": 1, "b": 2}\n', '{"a": 1, "b": 3}\n'),
    "two versions": ("a.py", 'V = "1.0"\n', 'V = "1.1"\n', 'V = "2.0"\n'),
    "the same line": ("a.txt", "1\n2\n", "one\n2\n", "uno\n2\n"),
    "an edit of what is deleted": ("a.txt", "1\n2\n3\n", "1\n3\n", "1\ntwo\n3\n"),
    "two functions of one name": ("a.py", PY, PY + "\n\ndef b():\n    return 2\n", PY + "\n\ndef b():\n    return 3\n"),
    "a function and a constant of one name": ("a.py", PY, PY + "\n\ndef b():\n    return 2\n", PY + "\n\nb = 3\n"),
    "two imports of one name": (
        "a.py",
        PY,
        sub("sys\n", "sys\nimport a.b as q\n"),
        sub("sys\n", "sys\nimport c as q\n"),
    ),
    "a line behind one that the other side moves to a new function": (
        "a.py",
        DOOR,
        DOOR.replace("        self.stack = ", CLOSE_SLOWLY) + "        self.open = False\n",
        DOOR + "        self.count = 0\n",
    ),
    "one package twice": ("requirements.txt", "a\n", "a\nb==1\n", "a\nb==2\n"),
    "one name from two modules": (
        "a.ts",
        "import a from 'a';\n",
        "import a from 'a';\nimport b from 'b';\n",
        "import a from 'a';\nimport b from 'c';\n",
    ),
}


ONE_WAY = ("a function that is wrapped", "beside a rewritten passage")


def assert_both_kept(path: str, base: str, ours: str, theirs: str, merged: str) -> None:
    for side in (ours, theirs):
        words = [Counter(re.findall(r"\w+", text)) for text in (side, base, merged)]
        assert not words[0] - words[1] - words[2]
    if path.endswith(".py"):
        ast.parse(merged)


@pytest.mark.parametrize("name", MERGES)
def test_independent_edits_merge_by_their_form(name: str) -> None:
    path, base, ours, theirs, wanted = MERGES[name]
    for one, two in ((ours, theirs), (theirs, ours)):
        first, *_ = propose_merges(path, base, one, two)
        assert first.trust < Trust.BY_TESTS
        assert_both_kept(path, base, ours, theirs, first.text)
    assert wanted is None or propose_merges(path, base, ours, theirs)[0].text == wanted


@pytest.mark.parametrize("name", BY_TESTS)
def test_edits_that_may_interact_merge_by_tests_only(name: str) -> None:
    path, base, ours, theirs = BY_TESTS[name]
    candidates = propose_merges(path, base, ours, theirs)
    assert candidates
    assert {candidate.trust for candidate in candidates} == {Trust.BY_TESTS}
    assert len({candidate.text for candidate in candidates}) == len(candidates)
    assert len(candidates) > 1 or name in ONE_WAY


@pytest.mark.parametrize("name", REFUSED)
def test_contradicting_edits_have_no_candidate(name: str) -> None:
    path, base, ours, theirs = REFUSED[name]
    assert propose_merges(path, base, ours, theirs) == []
    assert propose_merges(path, base, theirs, ours) == []


def test_text_that_is_no_unicode_has_no_candidate() -> None:
    assert propose_merges("a.py", "a\n", "a\n\udcff = 1\n", "a\nb = 2\n") == []
