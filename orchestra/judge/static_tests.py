"""List the tests of a Python file, if its text alone shows them. Pure."""

import ast
from collections.abc import Iterable

CALLS_THAT_CHOOSE = {"skip", "skipif", "xfail", "skipIf", "skipUnless", "expectedFailure", "usefixtures_none"}
PLAIN_BASES = {"object", "TestCase", "unittest.TestCase", "IsolatedAsyncioTestCase", "unittest.IsolatedAsyncioTestCase"}


class DynamicTests(Exception):
    """Only a run can list the tests of this file."""


def static_tests(text: str) -> set[tuple[str, str]] | None:
    """Return class (empty for none) and function of each test. None if something in the file decides at run time."""
    try:
        module = ast.parse(text)
        return set(collect_tests(module.body, ""))
    except (SyntaxError, ValueError, DynamicTests, RecursionError):
        return None


def collect_tests(body: Iterable[ast.stmt], owner: str) -> Iterable[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name in ("pytest_generate_tests", "load_tests"):
                raise DynamicTests
            if node.name.startswith("test"):
                check_decorators(node.decorator_list)
                yield owner, node.name
        elif isinstance(node, ast.ClassDef):
            yield from collect_class_tests(node, owner)
        elif may_define_tests(node):
            raise DynamicTests


def collect_class_tests(node: ast.ClassDef, owner: str) -> Iterable[tuple[str, str]]:
    bases = {ast.unparse(base) for base in node.bases}
    if not node.name.startswith("Test") and not bases & PLAIN_BASES - {"object"}:
        if bases or may_define_tests(node):
            raise DynamicTests  # its tests may be another class's
        return
    if bases - PLAIN_BASES or owner:
        raise DynamicTests
    check_decorators(node.decorator_list)
    yield from collect_tests(node.body, node.name)


def may_define_tests(node: ast.AST) -> bool:
    """Whether a statement other than a definition could create or select tests."""
    names = list[str]()
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(each.name)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.append(each.id)
        elif isinstance(each, ast.ImportFrom):
            names += [alias.asname or alias.name for alias in each.names]
    return any(name.startswith(("test_", "Test", "pytestmark", "__test__", "load_tests", "*")) for name in names)


def check_decorators(decorators: Iterable[ast.expr]) -> None:
    """Refuse decorators that could select tests. With fixed parameters a test has as many cases in every run."""
    for decorator in decorators:
        name = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        if name.rpartition(".")[2] in CALLS_THAT_CHOOSE:
            raise DynamicTests
        arguments = decorator.args if isinstance(decorator, ast.Call) else ()
        if name.endswith("parametrize") and not all(map(is_literal, arguments)):
            raise DynamicTests


def is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("param"):
        return not node.keywords and all(map(is_literal, node.args))
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return all(map(is_literal, node.elts))
    if isinstance(node, ast.Dict):
        return all(key is not None and is_literal(key) for key in node.keys) and all(map(is_literal, node.values))
    if isinstance(node, ast.UnaryOp):
        return is_literal(node.operand)
    return isinstance(node, ast.Constant)
