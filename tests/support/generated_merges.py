"""Two edits of one file at one place, drawn from a seed, in eight languages and in files that no grammar knows.

Every edit writes marks that stand nowhere else, so content alone says whether anything was lost or doubled.
"""

import random
import re
from dataclasses import dataclass

# Per language: the path, the text with its places, and what an edit writes at each place (@ is the mark).
PYTHON = (
    "pkg/größe.py",
    '''"""Words.
<docs>"""
import os
<imports>
TABLE = {
    "a": 1,
<entries>}


class Keeper:
    def first(self, a, b<params>):
        total = a + b
<statements>        return call(total<args>)

<methods>    def last(self):
        return 2
''',
    {
        "docs": "About @.\n",
        "imports": "import @\n",
        "entries": '    "@": 1,\n',
        "params": ", @=1",
        "statements": "        log('@')\n",
        "args": ", @",
        "methods": "    def @(self):\n        return 1\n\n",
    },
)
JAVASCRIPT = (
    "web/a.js",
    """import a from 'a';
<imports>
const table = {
  a: 1,
<entries>};

export function first(a, b<params>) {
  const total = a + b;
<statements>  return call(total<args>);
}

<functions>export function last() {
  return 2;
}
""",
    {
        "imports": "import @ from '@';\n",
        "entries": "  @: 1,\n",
        "params": ", @ = 1",
        "statements": "  log('@');\n",
        "args": ", @",
        "functions": "export function @() {\n  return 1;\n}\n\n",
    },
)
TYPESCRIPT = (
    "web/b.ts",
    """import { a<names> } from './a';
<imports>
interface Shape {
  a: number;
<members>}

export class Keeper {
<methods>  last(a: number<params>): number {
<statements>    return call(a<args>);
  }
}
""",
    {
        "names": ", @",
        "imports": "import { @ as x@ } from './@';\n",
        "members": "  @: string;\n",
        "methods": "  @(): number {\n    return 1;\n  }\n\n",
        "params": ", @ = 1",
        "statements": "    log('@');\n",
        "args": ", @",
    },
)
GO = (
    "cmd/a.go",
    """package main

import (
\t"fmt"
<imports>)

type Keeper struct {
\tA int
<members>}

func first(a int<params>) int {
\ttotal := a + 1
<statements>\treturn call(total<args>)
}

<functions>func last() int {
\treturn 2
}
""",
    {
        "imports": '\t"example/@"\n',
        "members": "\t@ string\n",
        "params": ", @ int",
        "statements": '\tlog("@")\n',
        "args": ", @",
        "functions": "func @() int {\n\treturn 1\n}\n\n",
    },
)
RUST = (
    "src/a.rs",
    """use std::a;
<imports>
pub struct Keeper {
    a: u8,
<members>}

fn first(a: u8<params>) -> u8 {
    let total = a + 1;
<statements>    match total {
        1 => 2,
<arms>        _ => call(total<args>),
    }
}

<functions>fn last() -> u8 {
    2
}
""",
    {
        "imports": "use crate::@;\n",
        "members": "    @: String,\n",
        "params": ", @: u8",
        "statements": '    log("@");\n',
        "arms": "        v if v == @ => 3,\n",
        "args": ", @",
        "functions": "fn @() -> u8 {\n    1\n}\n\n",
    },
)
JAVA = (
    "src/A.java",
    """package a;

import java.util.A;
<imports>
class Keeper {
    private int a = 1;
<members>
    int first(int a<params>) {
        int total = a + 1;
<statements>        return call(total<args>);
    }

<methods>    int last() {
        return 2;
    }
}
""",
    {
        "imports": "import java.util.@;\n",
        "members": "    private int @ = 2;\n",
        "params": ", int @",
        "statements": '        log("@");\n',
        "args": ", @",
        "methods": "    int @() {\n        return 1;\n    }\n\n",
    },
)
C = (
    "src/a.c",
    """#include <a.h>
<imports>
enum kind {
\tKIND_A = 1,
<members>};

int first(int a<params>)
{
\tint total = a + 1;
<statements>\treturn call(total<args>);
}

<functions>int last(void)
{
\treturn 2;
}
""",
    {
        "imports": "#include <@.h>\n",
        "members": "\tKIND_@ = 7,\n",
        "params": ", int @",
        "statements": '\tlog("@");\n',
        "args": ", @",
        "functions": "int @(void)\n{\n\treturn 1;\n}\n\n",
    },
)
RUBY = (
    "lib/a.rb",
    """require 'a'
<imports>
TABLE = {
  a: 1,
<entries>}

class Keeper
  def first(a<params>)
    total = a + 1
<statements>    call(total<args>)
  end

<methods>  def last
    2
  end
end
""",
    {
        "imports": "require '@'\n",
        "entries": "  @: 1,\n",
        "params": ", @ = 1",
        "statements": "    log('@')\n",
        "args": ", @",
        "methods": "  def @\n    1\n  end\n\n",
    },
)
UNKNOWN = ("notes.xyz", "one\n<first>two three\n<second>four\n", {"first": "a @ line\n", "second": "@ (\n"})
IGNORED = (".gitignore", "*.o\n<entries>*.a\n", {"entries": "*.@\n"})
CHANGELOG = ("CHANGELOG.md", "# Changes\n\n## Next\n\n- One.\n<entries>\n## 1.0\n", {"entries": "- The @.\n"})
LANGUAGES = (PYTHON, JAVASCRIPT, TYPESCRIPT, GO, RUST, JAVA, C, RUBY, UNKNOWN, IGNORED, CHANGELOG)


@dataclass(frozen=True)
class GeneratedMerge:
    """Three texts. `marks` stand once in a right merge; `kind`: the language's path and the place of the conflict."""

    path: str
    kind: str
    base: str
    ours: str
    theirs: str
    marks: tuple[str, ...]


def draw_merge(seed: int) -> GeneratedMerge:
    rng = random.Random(seed)
    path, template, places = LANGUAGES[seed % len(LANGUAGES)]
    place = rng.choice(list(places))
    edits: list[dict[str, str]] = [{}, {}]
    marks = []
    for side, edit in zip(("ours", "theirs"), edits, strict=True):
        marks += [f"{side}{seed}x{n}" for n in range(rng.choice((1, 1, 2)))]
        own = [mark for mark in marks if mark.startswith(side)]
        edit[place] = "".join(places[place].replace("@", mark) for mark in own)
    for other in rng.sample(sorted(places), k=rng.choice((0, 0, 1))):
        if other != place:
            mark = f"other{seed}"
            edits[rng.randrange(2)][other] = places[other].replace("@", mark)
            marks.append(mark)
    finish = rng.choice((str, str, use_crlf, drop_last_newline, add_bom, finish_as_windows))
    base, ours, theirs = (finish(fill(template, edit)) for edit in ({}, *edits))
    return GeneratedMerge(path, f"{path} {place}", base, ours, theirs, tuple(marks))


def fill(template: str, edit: dict[str, str]) -> str:
    return re.sub(r"<([a-z]{4,})>", lambda place: edit.get(place[1], ""), template)


def use_crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def drop_last_newline(text: str) -> str:
    return text.removesuffix("\n")


def add_bom(text: str) -> str:
    return "\ufeff" + text


def finish_as_windows(text: str) -> str:
    return add_bom(drop_last_newline(text)).replace("\n", "\r\n")
