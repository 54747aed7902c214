"""In every Python that a gate starts: see to it that it runs the tree's code and not the user's checkout's, and bear
witness to what it did run.

An editable install points from site-packages to the checkout it was made in: by lines in .pth files, which have become
entries of sys.path by now, or by finders that hold a mapping from packages to folders. Both are turned to the tree.
When the process ends, every module that was loaded from the checkout all the same is written down.

Nothing here may ever hurt: what goes wrong is passed over in silence, and then nothing is proven.
"""

import atexit
import importlib.machinery
import importlib.util
import os
import sys
from contextlib import suppress

WORDS = ("TREE", "CHECKOUT", "WITNESS", "PACKAGES", "ROLL")
TREE, CHECKOUT, BOOK, PACKAGES, ROLL = (os.environ.get("GATE_" + word, "") for word in WORDS)
# In a sandbox the checkout's path leads to the tree's files.
SAME = os.environ.get("GATE_SAME", "")
OUTSIDE = {".venv", "venv", "node_modules", "site-packages", "dist-packages"}


def path_in_tree(path):
    """The place in the tree for a path in the checkout; empty for all others."""
    real = os.path.realpath(path)
    if real != CHECKOUT and not real.startswith(CHECKOUT + os.sep):
        return ""
    place = os.path.relpath(real, CHECKOUT)
    return "" if OUTSIDE & set(place.split(os.sep)) else os.path.normpath(os.path.join(TREE, place))


def redirect_to_tree():
    turned = [path_in_tree(entry) or entry for entry in sys.path if entry]
    if turned != [entry for entry in sys.path if entry]:
        sys.path[:] = ([""] if "" in sys.path else []) + turned
    for finder in list(sys.meta_path):
        for holder in (finder, sys.modules.get(getattr(finder, "__module__", "") or "")):
            for name in ("MAPPING", "NAMESPACES"):
                mapping = getattr(holder, name, None)
                if isinstance(mapping, dict):
                    for package, place in mapping.items():
                        mapping[package] = redirect_value(place)


def prefer_tree_packages():
    """A package of the tree that is also installed (in another version, or for pytest's own use) is the tree's; unless
    the installed one has compiled parts, which the tree has not. One that is not installed at all is found too."""
    for name in packages():
        root = next((root for root in source_roots() if has_module(root, name)), "")
        spec = importlib.machinery.PathFinder.find_spec(name, sys.path)
        if not root:
            continue
        if importlib.util.find_spec(name) is None:
            sys.path.append(root)
        elif (
            spec
            and spec.origin
            and not (is_in_tree(spec.origin) or has_compiled_parts(os.path.dirname(spec.origin), name))
        ):
            sys.path.insert(0, root)


def source_roots():
    return os.path.join(TREE, "src"), TREE


def has_module(root, name):
    return os.path.exists(os.path.join(root, name, "__init__.py")) or os.path.exists(os.path.join(root, name + ".py"))


def has_compiled_parts(folder, name):
    if os.path.basename(folder) != name:
        return False
    return any(file.endswith((".so", ".pyd")) for _, _, files in os.walk(folder) for file in files)


def is_in_tree(path):
    return os.path.realpath(path).startswith(os.path.realpath(TREE) + os.sep) or bool(SAME and path_in_tree(path))


def redirect_value(place):
    if isinstance(place, str):
        return path_in_tree(place) or place
    return [redirect_value(each) for each in place] if isinstance(place, list) else place


def record_foreign_modules():
    own, outside = 0, []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            real = os.path.realpath(path)
            own += is_in_tree(real)
            copied = name in packages() and not is_in_tree(real)
            if (path_in_tree(real) and not SAME) or copied:
                outside.append(name)
    if own or outside:
        with open(BOOK, "a", encoding="utf-8") as book:
            book.write(" ".join([str(own), *outside[:20]]) + "\n")


def packages():
    """The packages that the tree itself has: one of them that came from anywhere else is a copy."""
    return PACKAGES.split()


def run_other_customize():
    """Somebody else's sitecustomize, which we stand before."""
    here = os.path.dirname(os.path.abspath(__file__))
    places = [entry for entry in sys.path if os.path.abspath(entry) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def record_unittest():
    """With `python -m unittest`: write down what becomes of each test, as gate_roll.py does for pytest."""
    words = sys.orig_argv
    if not (ROLL and "-m" in words and words[words.index("-m") + 1] == "unittest"):
        return
    import json
    from unittest.result import TestResult

    os.environ.pop("GATE_ROLL")  # what the tests start themselves is not recorded
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
