"""Make every Python that a gate starts use the tree's code instead of the checkout's, and record what was used.

An editable install points from site-packages to the checkout that it was made in: by lines in .pth files, which are
entries of sys.path by now, or by finders that map packages to folders. Both are redirected to the tree. When the
process ends, every module that was loaded from the checkout nevertheless is recorded.

Nothing here may ever fail: errors are ignored, and then nothing is proven.
"""

import atexit
import importlib.machinery
import importlib.util
import os
import sys
from contextlib import suppress

WORDS = ("TREE", "CHECKOUT", "WITNESS", "PACKAGES", "ROLL")
TREE, CHECKOUT, BOOK, NAMES, ROLL = (os.environ.get("GATE_" + word, "") for word in WORDS)
PACKAGES = NAMES.split()  # the tree's own: one of them that came from elsewhere is a copy
# In a sandbox the checkout's path leads to the tree's files.
SAME = os.environ.get("GATE_SAME", "")
OUTSIDE = {".venv", "venv", "node_modules", "site-packages", "dist-packages"}


def path_in_tree(path):
    """Return the tree's path for a path in the checkout; empty for all others."""
    real = os.path.realpath(path)
    if real != CHECKOUT and not real.startswith(CHECKOUT + os.sep):
        return ""
    relative = os.path.relpath(real, CHECKOUT)
    return "" if OUTSIDE & set(relative.split(os.sep)) else os.path.normpath(os.path.join(TREE, relative))


def redirect_to_tree():
    turned = [path_in_tree(entry) or entry for entry in sys.path if entry]
    if turned != [entry for entry in sys.path if entry]:
        sys.path[:] = ([""] if "" in sys.path else []) + turned
    for finder in list(sys.meta_path):
        for holder in (finder, sys.modules.get(getattr(finder, "__module__", "") or "")):
            for name in ("MAPPING", "NAMESPACES"):
                mapping = getattr(holder, name, None)
                if isinstance(mapping, dict):
                    for package, location in mapping.items():
                        mapping[package] = redirect_value(location)


def prefer_tree_packages():
    """Prefer a package of the tree to an installed one, unless that has compiled parts. Without one it is found too."""
    for name in PACKAGES:
        root = next((root for root in (os.path.join(TREE, "src"), TREE) if has_module(root, name)), "")
        spec = importlib.machinery.PathFinder.find_spec(name, sys.path)
        if not root:
            continue
        if importlib.util.find_spec(name) is None:
            sys.path.append(root)
        elif spec and spec.origin and not (is_in_tree(spec.origin) or has_compiled_parts(spec.origin, name)):
            sys.path.insert(0, root)


def has_module(root, name):
    return os.path.exists(os.path.join(root, name, "__init__.py")) or os.path.exists(os.path.join(root, name + ".py"))


def has_compiled_parts(path, name):
    folder = os.path.dirname(path)
    if os.path.basename(folder) != name:
        return False
    return any(file.endswith((".so", ".pyd")) for _, _, files in os.walk(folder) for file in files)


def is_in_tree(path):
    return os.path.realpath(path).startswith(os.path.realpath(TREE) + os.sep) or bool(SAME and path_in_tree(path))


def redirect_value(location):
    if isinstance(location, str):
        return path_in_tree(location) or location
    return [redirect_value(each) for each in location] if isinstance(location, list) else location


def record_foreign_modules():
    own, outside = 0, []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            real = os.path.realpath(path)
            own += is_in_tree(real)
            copied = name in PACKAGES and not is_in_tree(real)
            if (path_in_tree(real) and not SAME) or copied:
                outside.append(name)
    if own or outside:
        with open(BOOK, "a", encoding="utf-8") as book:
            book.write(" ".join([str(own), *outside[:20]]) + "\n")


def run_other_customize():
    """Run the other sitecustomize that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    places = [entry for entry in sys.path if os.path.abspath(entry) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def record_unittest():
    """Record the outcome of each test of `python -m unittest`, as gate_roll.py does for pytest."""
    words = sys.orig_argv
    if not (ROLL and "-m" in words and words[words.index("-m") + 1] == "unittest"):
        return
    import json
    from unittest.result import TestResult

    os.environ.pop("GATE_ROLL")  # nested runs are not recorded
    tests = {}

    def record_outcome(name, outcome):
        if tests.get(name) != "failed":
            tests[name] = outcome

    def wrap_method(method, outcome):
        inner = getattr(TestResult, method)

        def outer(self, test, *rest):
            with suppress(Exception):
                if method != "addSubTest" or rest[-1] is not None:
                    record_outcome(test.id(), outcome)
            return inner(self, test, *rest)

        setattr(TestResult, method, outer)

    outcomes = {"addSuccess": "passed", "addFailure": "failed", "addError": "failed", "addSkip": "skipped"}
    outcomes |= {"addExpectedFailure": "expected", "addUnexpectedSuccess": "expected", "addSubTest": "failed"}
    for method, outcome in outcomes.items():
        wrap_method(method, outcome)

    @atexit.register
    def write_roll():
        with suppress(Exception), open(ROLL, "a", encoding="utf-8") as book:
            book.write(json.dumps({"runner": "unittest", "tests": tests}) + "\n")


for step in (run_other_customize, redirect_to_tree, prefer_tree_packages, record_unittest):
    with suppress(Exception):
        step()


@atexit.register
def end():
    with suppress(Exception):
        record_foreign_modules()
