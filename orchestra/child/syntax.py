"""Print which of the given files do not parse.

Runs under the interpreter that has aider and its tree-sitter grammars; without them, it checks Python only.
usage: syntax.py FILE...    Exit code 1 if one does not parse.
"""

import ast
import sys
import warnings

MOST = 1_000_000


def main(paths):
    warnings.simplefilter("ignore")
    parsers = {}
    bad = [found for path in paths if (found := find_syntax_error(path, parsers))]
    print("\n".join(bad))
    return 1 if bad else 0


def find_syntax_error(path, parsers):
    """Return `a.py:3:1: error: does not parse`, or empty."""
    try:
        with open(path, "rb") as file:
            content = file.read(MOST + 1)
    except OSError:
        return ""
    if len(content) > MOST:
        return ""
    opinion, line = check_python(content) if path.endswith((".py", ".pyi")) else ("maybe", 0)
    if opinion == "fine":
        return ""
    found = line if opinion == "wrong" else grammar_error(path, content, parsers, line)
    return f"{path}:{line or found}:1: error: does not parse" if found else ""


def check_python(content):
    """Ask Python's own parser. Wrong indentation is certain; other errors may be newer syntax: the grammar decides."""
    try:
        ast.parse(content)
    except IndentationError as error:
        return "wrong", error.lineno or 1
    except SyntaxError as error:
        return "maybe", error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return "maybe", 0
    return "fine", 0


def grammar_error(path, content, parsers, python_line):
    """Return the line of the first error; 0 if there is none, or no grammar. `python_line`: what Python's own parser
    says, which counts if there are no grammars at all."""
    try:
        from grep_ast import filename_to_lang
        from grep_ast.tsl import get_parser
    except ImportError:
        return python_line

    language = filename_to_lang(path)
    if not language:
        return 0
    if language not in parsers:
        try:
            parsers[language] = get_parser(language)
        except Exception:
            parsers[language] = None
    parser = parsers[language]
    if parser is None:
        return 0
    root = parser.parse(content).root_node
    return first_error(root) if root.has_error else 0


def first_error(node):
    while True:
        if node.type == "ERROR" or node.is_missing:
            return node.start_point[0] + 1
        inner = next((child for child in node.children if child.has_error or child.is_missing), None)
        if inner is None:
            return node.start_point[0] + 1
        node = inner


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
