"""Decide when two insertions at the same place may follow one another. Pure."""

import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

Lines = Sequence[str]
Pair = tuple[Lines, Lines]
Key = tuple[str, ...]

IMPORTS = {
    (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".vue", ".svelte"): (
        r"(import|export)\b.* from ['\"][^'\"]+['\"];?|import ['\"][^'\"]+['\"];?"
        r"|(const|let|var) [^=]+ = require\(['\"][^'\"]+['\"]\);?"
    ),
    (".rs",): r"(pub )?(use [^;{}]+|mod \w+);",
    (".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh"): r"#\s*include [<\"][^>\"]+[>\"]",
    (".java", ".kt", ".kts", ".scala", ".swift"): r"import [\w.*]+;?",
    (".cs",): r"using [\w.]+;",
    (".rb",): r"require(_relative)? ['\"][^'\"]+['\"]",
}
LISTS = {
    ".gitignore": r"\S.*",
    ".dockerignore": r"\S.*",
    "requirements.txt": r"[\w.\[\],-]+\s*([=<>!~]=?.*)?",
}
BULLET = r"[-*] \S.*"
PYTHON = (".py", ".pyi")


def propose_unions(path: str, pairs: Sequence[Pair]) -> Iterator[list[Lines]]:
    """Propose the ways to join each pair of insertions."""
    if not pairs:
        yield []
    elif path.endswith(PYTHON):
        yield [[*one, *two] for one, two in pairs]
        yield [[*one, *(line for line in two if line not in one or not is_import_line(line))] for one, two in pairs]
    elif (entry := entry_pattern(path)) and all(are_entries(pair, entry) for pair in pairs):
        yield [[*one, *(line for line in two if line not in one)] for one, two in pairs]


def is_safe_union(path: str, base: str, ours: str, theirs: str, merged: str) -> bool:
    """Whether the merged text has both sides' changes, once each. List entries have this by their form."""
    return keeps_meaning(base, ours, theirs, merged) if path.endswith(PYTHON) else True


def still_parses(path: str, ours: str, theirs: str, merged: str) -> bool:
    """Whether the merged text parses no worse than its sides, if the standard library can tell."""
    return is_parseable(path, merged) or not (is_parseable(path, ours) and is_parseable(path, theirs))


def is_parseable(path: str, text: str) -> bool:
    readers: dict[str, Callable[[str], object]] = {
        ".py": ast.parse,
        ".pyi": ast.parse,
        ".json": json.loads,
        ".toml": tomllib.loads,
    }
    reader = readers.get(PurePosixPath(path).suffix)
    if reader is None:
        return True
    try:
        reader(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def entry_pattern(path: str) -> str:
    """Return the pattern of lines that may be in any order in this file."""
    name = PurePosixPath(path)
    if name.suffix == ".txt" and name.name.startswith("requirements"):
        return LISTS["requirements.txt"]
    if name.suffix == ".md":
        return BULLET
    return LISTS.get(name.name) or next((entry for ends, entry in IMPORTS.items() if name.suffix in ends), "")


def are_entries(pair: Pair, entry: str) -> bool:
    """Whether all lines are such entries, and no two of both sides are about the same thing."""
    one, two = ([line.strip() for line in lines] for lines in pair)
    if not all(re.fullmatch(entry, line) for line in (*one, *two)):
        return False
    if len({len(line) - len(line.lstrip()) for lines in pair for line in lines}) > 1:
        return False
    return entry == BULLET or not any(a != b and entry_subjects(a) & entry_subjects(b) for a in one for b in two)


def entry_subjects(line: str) -> set[str]:
    """Return what an entry is about: imported names, or the required package."""
    head = re.split(r"\bfrom\b|[=<>!~]", line)[0]
    words = set(re.findall(r"[\w$./-]+", head)) - {"import", "export", "const", "let", "var", "use", "pub", "mod"}
    return words - {"type", "using", "include", "require", "require_relative", "default", "as"}


def is_import_line(line: str) -> bool:
    return line.lstrip().startswith(("import ", "from "))


def keeps_meaning(base: str, ours: str, theirs: str, merged: str) -> bool:
    """Whether each import, definition and statement of the merged text is what the three texts require, and no side
    added a name, or a statement whose order matters, beside the other's."""
    try:
        parts = [Counter(list_atoms(ast.parse(text).body, ())) for text in (base, ours, theirs, merged)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    was, mine, yours, now = parts
    if are_rivals(mine - was, yours - was):
        return False
    return all(now[key] == expected_count(was[key], mine[key], yours[key]) for key in was | mine | yours | now)


def expected_count(was: int, mine: int, yours: int) -> int:
    return yours if mine == was else mine


def are_rivals(mine: Counter[Key], yours: Counter[Key]) -> bool:
    """Whether both sides added something different under one name, or both added something whose order matters."""
    new_mine, new_yours = set(mine) - set(yours), set(yours) - set(mine)
    ordered = [{key[0] for key in new if key[1] == "statement"} for new in (new_mine, new_yours)]
    names = [{(key[0], key[2]) for key in new if key[1] in ("def", "import")} for new in (new_mine, new_yours)]
    return bool(ordered[0] & ordered[1] or names[0] & names[1])


def list_atoms(body: Sequence[ast.stmt], scope: Key) -> Iterator[Key]:
    """List what a module or class holds: (where, kind, name, content). A definition counts as a whole."""
    where = ".".join(scope)
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            source = "." * getattr(node, "level", 0) + (getattr(node, "module", None) or "")
            for alias in node.names:
                yield (where, "import", alias.asname or alias.name, f"{source}:{alias.name}")
        elif isinstance(node, ast.ClassDef):
            head = [ast.dump(part) for part in (*node.bases, *node.keywords, *node.decorator_list)]
            yield (where, "def", node.name, f"class {head}")
            yield from list_atoms(node.body, (*scope, node.name))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (where, "def", node.name, ast.dump(node))
        elif names := exported_names(node):
            yield from ((where, "all", name, "") for name in names)
        elif not scope and (name := constant_name(node)):
            yield (where, "def", name, ast.dump(node))
        else:
            yield (where, "statement", "", ast.dump(node))


def exported_names(node: ast.stmt) -> list[str]:
    """Return the names in an __all__."""
    if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
        with suppress(ValueError):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def constant_name(node: ast.stmt) -> str:
    """Return the name that a statement gives to a plain value. The order of class members may matter."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        with suppress(ValueError):
            ast.literal_eval(node.value)
            return node.targets[0].id
    return ""
