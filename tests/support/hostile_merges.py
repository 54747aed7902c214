"""Files that make a careless merge slow: long, deep, repetitive, or on one line. Each case takes a size."""

from collections.abc import Callable
from dataclasses import dataclass

BODY = "    pass\n" * 18


@dataclass(frozen=True)
class HostileMerge:
    name: str
    path: str
    base: str
    ours: str
    theirs: str


def make_long(name: str, size: int) -> HostileMerge:
    """A long module, with one conflict at its end."""
    base = "".join(f"def f{n}(a):\n    return a + {n}\n\n" for n in range(size // 3))
    return HostileMerge(name, "a.py", base, base + "def ours():\n    pass\n", base + "def theirs():\n    pass\n")


def make_conflicts(name: str, size: int) -> HostileMerge:
    """As many conflicts as a twentieth of the lines."""
    count = size // 20
    base, ours, theirs = (
        "".join(f"def f{n}(a{more}):\n{BODY}\n" for n in range(count)) for more in ("", ", b=1", ", c=2")
    )
    return HostileMerge(name, "a.py", base, ours, theirs)


def make_text_conflicts(name: str, size: int) -> HostileMerge:
    """As many conflicts, in a file that no grammar knows."""
    base, ours, theirs = (
        "".join(f"line {n}\n{more}" for n in range(size // 20)) for more in ("", "ours\n", "theirs\n")
    )
    return HostileMerge(name, "a.xyz", base, ours, theirs)


def make_repeated(name: str, size: int) -> HostileMerge:
    """The same two lines again and again: the worst of a line by line comparison."""
    return HostileMerge(name, "a.xyz", "a\nb\n" * (size // 2), "b\na\na\n" * (size // 3), "b\nb\na\n" * (size // 3))


def make_rewritten(name: str, size: int) -> HostileMerge:
    """Everything rewritten by both."""
    base, ours, theirs = ("".join(f"{side} {n}\n" for n in range(size)) for side in ("base", "ours", "theirs"))
    return HostileMerge(name, "a.xyz", base, ours, theirs)


def make_shuffled(name: str, size: int) -> HostileMerge:
    """The lines of the base in two other orders."""
    orders = [[n * step % size for n in range(size)] for step in (1, 7919, 6007)]
    base, ours, theirs = ("".join(f"x{n} = {n}\n" for n in order) for order in orders)
    return HostileMerge(name, "a.py", base, ours, theirs)


def make_deep(name: str, size: int) -> HostileMerge:
    """Brackets inside of brackets, deeper than any merge goes."""
    depth = size // 3
    base, ours, theirs = (f"x = {'[' * depth}{core}{']' * depth}\n" for core in ("1", "1, 2", "1, 3"))
    return HostileMerge(name, "a.js", base, ours, theirs)


def make_nested(name: str, size: int) -> HostileMerge:
    """Modules inside of modules, with a conflict in the innermost."""
    depth = size // 20
    base, ours, theirs = (
        "mod a {\n" * depth + core + "}\n" * depth for core in ("fn a() {}\n", "fn b() {}\nfn a() {}\n", "fn c() {}\n")
    )
    return HostileMerge(name, "a.rs", base, ours, theirs)


def make_one_line(name: str, size: int) -> HostileMerge:
    """One line of many elements."""
    base = ", ".join(map(str, range(size)))
    return HostileMerge(name, "a.js", f"x = [{base}]\n", f"x = [{base}, 'ours']\n", f"x = [{base}, 'theirs']\n")


def make_huge_line(name: str, size: int) -> HostileMerge:
    """One line of 250 characters for each line of the others: 5 MB for 20,000."""
    base = "x" * size * 250
    return HostileMerge(name, "a.min.js", base + "\n", base + " 1\n", base + " 2\n")


def make_statements(name: str, size: int) -> HostileMerge:
    """Calls that are all alike, with insertions of both sides everywhere."""
    base, ours, theirs = (
        "".join(f"run({n % 7})\n{more if n % 20 == 0 else ''}" for n in range(size))
        for more in ("", "ours()\n", "theirs()\n")
    )
    return HostileMerge(name, "a.py", base, ours, theirs)


CASES: dict[str, Callable[[str, int], HostileMerge]] = {
    "a long module": make_long,
    "a conflict in every twentieth line": make_conflicts,
    "conflicts without a grammar": make_text_conflicts,
    "repeated lines": make_repeated,
    "everything rewritten": make_rewritten,
    "shuffled lines": make_shuffled,
    "deep brackets": make_deep,
    "nested modules": make_nested,
    "one line of many elements": make_one_line,
    "one line of megabytes": make_huge_line,
    "statements that are alike": make_statements,
}
