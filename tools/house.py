"""Print how the product's code is built: its sizes, its functions, and what it leaves untyped.

usage: python -m tools.house [FOLDER]

Tests, docs, examples, tools and bench are no product. It exits with 1 if a limit is passed, and says which in a line
each.
"""

import ast
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_PRODUCT = {"bench", "demo_project", "docs", "examples", "tests", "tools"}
SHOWN = 5  # of the fullest and the largest
FILES_IN_FOLDER = 20
LINES_OF_FILE = 450
MEDIAN = (6, 12)  # lines of a function
P90 = 30
UNTYPED = 3.0  # dict[str, Any] per 1,000 lines
BROAD = {"Exception", "BaseException"}


@dataclass
class House:
    """What was counted. Functions are named by file and line."""

    files: dict[str, int] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)
    broad_excepts: list[str] = field(default_factory=list)
    untyped: int = 0
    test_lines: int = 0
    doc_lines: int = 0

    def add(self, path: str, text: str) -> None:
        self.files[path] = text.count("\n")
        self.untyped += text.count("dict[str, Any]")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_declaration(node):
                self.functions[f"{path}:{node.lineno} {node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
            elif isinstance(node, ast.ExceptHandler) and is_broad(node):
                self.broad_excepts.append(f"{path}:{node.lineno}")

    @property
    def lines(self) -> int:
        return sum(self.files.values())

    @property
    def folders(self) -> Counter[str]:
        return Counter(str(Path(path).parent) for path in self.files)

    @property
    def median(self) -> float:
        return statistics.median(self.functions.values())

    @property
    def p90(self) -> int:
        return sorted(self.functions.values())[len(self.functions) * 9 // 10]

    @property
    def untyped_share(self) -> float:
        return 1000 * self.untyped / self.lines

    def figures(self) -> list[str]:
        longest = max(self.functions, key=self.functions.__getitem__)
        return [
            f"files {len(self.files)}, lines {self.lines}; lines of tests {self.test_lines}, of docs {self.doc_lines}",
            f"fullest folders: {named(self.folders.most_common(SHOWN))}",
            f"largest files: {named(Counter(self.files).most_common(SHOWN))}",
            f"functions {len(self.functions)}: median {self.median:g} lines, p90 {self.p90},"
            f" longest {self.functions[longest]} ({longest})",
            f"dict[str, Any]: {self.untyped}, {self.untyped_share:.1f} per 1,000 lines",
            f"broad excepts {len(self.broad_excepts)}: {', '.join(self.broad_excepts)}",
        ]

    def problems(self) -> Iterator[str]:
        """What passes a limit, in a line each."""
        for folder, count in self.folders.items():
            if count > FILES_IN_FOLDER:
                yield f"{folder} has {count} files; the limit is {FILES_IN_FOLDER}"
        for path, lines in self.files.items():
            if lines > LINES_OF_FILE:
                yield f"{path} has {lines} lines; the limit is {LINES_OF_FILE}"
        least, most = MEDIAN
        if not least <= self.median <= most:
            yield f"the median of functions is {self.median:g} lines; it should be {least} to {most}"
        if self.p90 > P90:
            yield f"p90 of functions is {self.p90} lines; the limit is {P90}"
        if self.untyped_share > UNTYPED:
            yield f"dict[str, Any] stands {self.untyped_share:.1f} times in 1,000 lines; the limit is {UNTYPED:g}"


def is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it only says what others implement: a member of a Protocol."""
    return all(isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) for each in function.body)


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything."""
    caught = ast.walk(handler.type) if handler.type else [ast.Name("BaseException")]
    return any(isinstance(node, ast.Name) and node.id in BROAD for node in caught)


def named(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts)


def survey(root: Path) -> House:
    """Count a project's product, tests and docs."""
    house = House()
    for path in list_product(root):
        house.add(path, (root / path).read_text(encoding="utf-8"))
    house.test_lines = count_lines(root, "tests/*.py")
    house.doc_lines = count_lines(root, "*.md")
    return house


def list_product(root: Path) -> list[str]:
    """The Python files of a project's product."""
    return [path for path in list_files(root, "*.py") if NOT_PRODUCT.isdisjoint(Path(path).parts)]


def list_files(root: Path, pattern: str) -> list[str]:
    """The files that git has, or would add, by a pattern."""
    words = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", pattern)
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for path in sorted(filter(None, listed.split("\0"))) if (root / path).is_file()]


def count_lines(root: Path, pattern: str) -> int:
    return sum((root / path).read_bytes().count(b"\n") for path in list_files(root, pattern))


def main(argv: Sequence[str]) -> int:
    house = survey(Path(argv[0]) if argv else ROOT)
    problems = list(house.problems())
    print("\n".join([*house.figures(), *problems]))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
