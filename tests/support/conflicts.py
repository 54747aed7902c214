"""Pairs of edits to one file that nobody has seen before, drawn from a seed, and what must be found after merging.

Every edit writes a mark that stands nowhere else, so that by content alone one can say whether anything was lost.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

WORDS = ("lamp", "harbour", "gull", "tide", "rope", "signal", "keeper", "fog", "bell", "north", "buoy", "chart")


@dataclass(frozen=True)
class Pair:
    """`kind` names what was done. `marks` are each side's lines; `gone` what a side took out on purpose. `solvable`
    says whether both can be had in one text without anybody's judgement; where it is None, that is open."""

    kind: str
    path: str
    base: str
    ours: str
    theirs: str
    marks: tuple[tuple[str, ...], tuple[str, ...]]
    gone: tuple[str, ...]
    solvable: bool | None


def draw(seed: int) -> Pair:
    rng = random.Random(seed)
    return rng.choice(KINDS)(rng)


def prose(rng: random.Random) -> list[str]:
    return [f"{rng.choice(WORDS)} {rng.choice(WORDS)} {n}\n" for n in range(rng.randint(12, 60))]


def made(
    kind: str,
    path: str,
    base: list[str],
    ours: list[str],
    theirs: list[str],
    solvable: bool | None,
) -> Pair:
    sides = [tuple(line for line in side if line not in base) for side in (ours, theirs)]
    gone = tuple(line for line in base if line not in ours or line not in theirs)
    return Pair(kind, path, "".join(base), "".join(ours), "".join(theirs), (sides[0], sides[1]), gone, solvable)


def replaced(lines: list[str], at: int, mark: str, count: int = 1) -> list[str]:
    return [*lines[:at], *(f"{mark} {n} {lines[at + n]}" for n in range(count)), *lines[at + count :]]


def apart(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(0, len(base) // 2 - 2)
    b = rng.randrange(len(base) // 2 + 1, len(base))
    return made("far apart", "a.txt", base, replaced(base, a, "OURS"), replaced(base, b, "THEIRS"), True)


def one_between(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(0, len(base) - 3)
    return made("a line between", "a.txt", base, replaced(base, a, "OURS"), replaced(base, a + 2, "THEIRS"), True)


def neighbours(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(0, len(base) - 2)
    sides = [replaced(base, a, "OURS"), replaced(base, a + 1, "THEIRS")]
    rng.shuffle(sides)
    return made("neighbouring lines", "a.txt", base, sides[0], sides[1], True)


def insert_beside(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(1, len(base) - 2)
    return made(
        "an insertion beside an edit",
        "a.txt",
        base,
        [*base[:a], "OURS new\n", *base[a:]],
        replaced(base, a, "THEIRS"),
        True,
    )


def same_line(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(0, len(base))
    return made("the same line", "a.txt", base, replaced(base, a, "OURS"), replaced(base, a, "THEIRS"), False)


def overlapping(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(0, len(base) - 4)
    return made("overlapping", "a.txt", base, replaced(base, a, "OURS", 3), replaced(base, a + 1, "THEIRS", 3), False)


def deleted_and_edited(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(1, len(base) - 3)
    return made(
        "taken out here, edited there", "a.txt", base, base[:a] + base[a + 2 :], replaced(base, a, "THEIRS"), False
    )


def prose_insertions(rng: random.Random) -> Pair:
    """Two paragraphs at one place: which comes first is for a person to say."""
    base = prose(rng)
    a = rng.randrange(1, len(base))
    return made(
        "two insertions in prose",
        "a.txt",
        base,
        [*base[:a], "OURS one\n", "OURS two\n", *base[a:]],
        [*base[:a], "THEIRS one\n", *base[a:]],
        False,
    )


def python(rng: random.Random) -> tuple[list[str], int, int]:
    """A module, where its imports end, and where its functions end."""
    imports = [f"import {word}\n" for word in rng.sample(WORDS, 3)]
    bodies = [[f"\n\ndef {word}_{n}(x):\n", f"    return x + {n}\n"] for n, word in enumerate(rng.choices(WORDS, k=4))]
    return [*imports, *(line for body in bodies for line in "".join(body).splitlines(keepends=True))], 3, 0


def python_imports(rng: random.Random) -> Pair:
    base, at, _ = python(rng)
    mine, yours = rng.sample(("re", "json", "abc", "ast", "csv", "math"), 2)
    ours, theirs = ([*base[:at], f"import {name}\n", *base[at:]] for name in (mine, yours))
    return made("two imports", "m.py", base, ours, theirs, True)


def python_functions(rng: random.Random) -> Pair:
    base, _, _ = python(rng)
    one, two = (
        [*base, "\n", "\n", f"def {name}(x):\n", f"    y = x * {rng.randint(2, 9)}\n", f"    return y  # {name}\n"]
        for name in ("ours_fn", "theirs_fn")
    )
    return made("two functions at the end", "m.py", base, one, two, True)


def python_same_function(rng: random.Random) -> Pair:
    base, _, _ = python(rng)
    one, two = ([*base, "\n", "\n", "def both(x):\n", f"    return x * {n}  # {n}\n"] for n in (2, 3))
    return made("one function twice", "m.py", base, one, two, False)


def python_statements(rng: random.Random) -> Pair:
    """Statements in one function: their order has a meaning."""
    base, _, _ = python(rng)
    at = next(n for n, line in enumerate(base) if line.startswith("    return"))
    one, two = ([*base[:at], f"    x = x {sign} 7  # {sign}\n", *base[at:]] for sign in "+*")
    return made("two statements in one function", "m.py", base, one, two, False)


def bullets(rng: random.Random) -> Pair:
    base = ["# Changes\n", "\n", *(f"- {line}" for line in prose(rng))]
    at = rng.choice((2, len(base)))
    one, two = ([*base[:at], f"- {side} did this\n", *base[at:]] for side in ("OURS", "THEIRS"))
    return made("two entries in a list", "CHANGES.md", base, one, two, True)


def ts_imports(rng: random.Random) -> Pair:
    base = ["import { a } from './a';\n", "import { b } from './b';\n", "\n", *prose(rng)]
    one, two = ([*base[:2], f"import {{ {name} }} from './{name}';\n", *base[2:]] for name in ("ours", "theirs"))
    return made("two imports in TypeScript", "m.ts", base, one, two, True)


def the_same_and_more(rng: random.Random) -> Pair:
    base = prose(rng)
    a = rng.randrange(0, len(base) - 4)
    both = replaced(base, a, "BOTH")
    return made("the same edit, and one more", "a.txt", base, both, replaced(both, a + 3, "THEIRS"), True)


KINDS: tuple[Callable[[random.Random], Pair], ...] = (
    *(apart, one_between, neighbours, insert_beside, same_line, overlapping, deleted_and_edited, prose_insertions),
    *(python_imports, python_functions, python_same_function, python_statements, bullets, ts_imports),
    the_same_and_more,
)
