"""Print how the product's code names things: how many names are one bare word, and which are hard to find with grep.

usage: python -m tools.names [FOLDER]

Functions and classes outside of classes are counted; the old words are looked for in methods and modules too. It exits
with 1 if an old word of the glossary is a whole name, and says where.
"""

import ast
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.house import ROOT, list_product, named

WORDS = Path(__file__).with_name("names.toml")
FILES_OF_NAME = 4
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class Names:
    """The names that a project's product defines."""

    bare: list[str] = field(default_factory=list)  # one word
    longer: list[str] = field(default_factory=list)
    places: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # where each is defined
    old: list[tuple[str, str]] = field(default_factory=list)  # a place, and the name that is an old word there

    def add(self, path: str, text: str, old: frozenset[str]) -> None:
        """Count the definitions of one module."""
        stem = Path(path).stem
        if stem in old:
            self.old.append((path, stem))
        for node, is_member in list_definitions(ast.parse(text)):
            if split_words(node.name) in old:
                self.old.append((f"{path}:{node.lineno}", node.name))
            if not is_member:
                (self.longer if "_" in split_words(node.name) else self.bare).append(node.name)
                self.places[node.name].add(path)

    @property
    def share(self) -> float:
        """The percentage of names that are one word."""
        return 100 * len(self.bare) / max(1, len(self.bare) + len(self.longer))

    @property
    def spread(self) -> dict[str, int]:
        """Names that are defined in more files than one can look through."""
        counts = {name: len(paths) for name, paths in self.places.items() if len(paths) > FILES_OF_NAME}
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def list_definitions(node: ast.AST, is_member: bool = False) -> Iterator[tuple[Definition, bool]]:
    """Yield each function and class below a node, and whether it is a member of a class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child, is_member
            yield from list_definitions(child, isinstance(child, ast.ClassDef))
        else:
            yield from list_definitions(child, is_member)


def split_words(name: str) -> str:
    """A name as words joined by underscores: `ReplyText` and `_reply_text` are `reply_text`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")


def count_names(root: Path, old: frozenset[str]) -> Names:
    """Count the names of a project's product."""
    names = Names()
    for path in list_product(root):
        names.add(path, (root / path).read_text(encoding="utf-8"), old)
    return names


def main(argv: Sequence[str]) -> int:
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    names = count_names(Path(argv[0]) if argv else ROOT, frozenset(words["old"]))
    models = ", ".join(f"{model} {share} %" for model, share in words["models"].items())
    problems = [
        f"{place}: {name} is an old word: say {words['old'][split_words(name)]}"
        for place, name in names.old
        if words["ordinary"].keys().isdisjoint({name, f"{place.partition(':')[0]} {name}"})
    ]
    problems += [
        f"{name} is defined in {count} files: names.toml gives no reason"
        for name, count in names.spread.items()
        if name not in words["shared"]
    ]
    print(f"names of one word: {names.share:.0f} % of {len(names.bare) + len(names.longer)} ({models})")
    print(f"most frequent: {named(Counter(names.bare).most_common(10))}")
    print(f"defined in more than {FILES_OF_NAME} files: {named(list(names.spread.items())) or 'none'}")
    print("".join(f"{problem}\n" for problem in problems), end="")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
