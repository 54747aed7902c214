"""What belongs together, by each kind of evidence, in any language; and the same numbers every time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.division.coupling import (
    KINDS,
    STRONGEST,
    Coupling,
    Evidence,
    commit_weight,
    find_links,
    subject_stem,
)
from orchestra.division.imports import ModuleIndex, Source, scan_source
from orchestra.division.shares import cut_share
from orchestra.model import TargetFile


def row(coupling: Coupling, kind: str, path: str) -> dict[str, float]:
    found = coupling.rows_by_kind(coupling.number[path])[kind]
    return {coupling.paths[n]: weight for n, weight in found.items() if coupling.paths[n] != path}


def coupled(**texts: str) -> Coupling:
    files = {name.replace("__", "/").replace("_dot_", "."): text for name, text in texts.items()}
    return Coupling(files, Evidence(sources={path: scan_source(text.encode()) for path, text in files.items()}))


# --- imports --------------------------------------------------------------------------------------------------------

TREE = [
    *("app/users/models.py", "app/users/__init__.py", "app/orders/models.py", "app/main.py", "app/json.py"),
    *("web/src/api.ts", "web/src/pages/home.tsx", "web/src/pages/index.ts", "web/src/lib/date.js"),
    *("cmd/server/main.go", "internal/store/store.go", "internal/store/cache.go"),
    *("src/lib.rs", "src/parse/mod.rs", "src/parse/token.rs"),
    *("java/org/shop/Cart.java", "java/org/shop/Item.java", "c/list.h", "c/list.c", "ruby/lib/shop/cart.rb"),
    *("php/App/Models/User.php",),
]


@pytest.mark.parametrize(
    ("importer", "line", "meant"),
    [
        ("app/main.py", "from app.users.models import User", ["app/users/models.py"]),
        ("app/main.py", "import app.orders.models as m", ["app/orders/models.py"]),
        ("app/main.py", "from app.users import models", ["app/users/__init__.py", "app/users/models.py"]),
        ("app/orders/models.py", "from ..users.models import User", ["app/users/models.py"]),
        ("app/users/__init__.py", "from .models import User", ["app/users/models.py"]),
        ("app/main.py", "import os.path", []),
        ("web/src/pages/home.tsx", "import { get } from '../api'", ["web/src/api.ts"]),
        ("web/src/api.ts", "const x = require('./lib/date.js')", ["web/src/lib/date.js"]),
        ("web/src/api.ts", "import react from 'react'", []),
        ("web/src/api.ts", "import home from './pages'", ["web/src/pages/index.ts"]),
        (
            "cmd/server/main.go",
            'import (\n\t"fmt"\n\t"example.com/x/internal/store"\n)',
            ["internal/store/cache.go", "internal/store/store.go"],
        ),
        ("src/lib.rs", "pub mod parse;", ["src/parse/mod.rs"]),
        ("src/lib.rs", "use crate::parse::token::Token;", ["src/parse/token.rs"]),
        ("java/org/shop/Cart.java", "import org.shop.Item;", ["java/org/shop/Item.java"]),
        ("c/list.c", '#include "list.h"', ["c/list.h"]),
        ("c/list.c", "#include <stdio.h>", []),
        ("app/main.py", "require 'shop/cart'", ["ruby/lib/shop/cart.rb"]),
        ("app/main.py", "use App\\Models\\User;", ["php/App/Models/User.php"]),
    ],
)
def test_what_an_import_means(importer: str, line: str, meant: list[str]) -> None:
    modules = ModuleIndex(TREE)
    found = {path for name in scan_source(line.encode()).imports for path in modules.resolve(name, importer)}
    assert sorted(found) == meant


def test_common_imports_couple_no_pair() -> None:
    files = {f"m{n}.py": "import util\n" for n in range(9)} | {"util.py": "", "one.py": "import only\n", "only.py": ""}
    coupling = Coupling(files, Evidence(sources={path: scan_source(text.encode()) for path, text in files.items()}))
    assert row(coupling, "imports", "m0.py") == {"util.py": pytest.approx(1 / 3)}
    assert row(coupling, "imports", "only.py") == {"one.py": 1.0}


# --- the other kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["a/user.py", "t/test_user.py", "user_test.go", "x/UserTest.java", "user.spec.ts", "User.kt", "user-spec.rb"],
)
def test_a_test_has_the_name_of_what_it_tests(path: str) -> None:
    assert subject_stem(path) == "user"


@pytest.mark.parametrize(("path", "name"), [("latest.py", "latest"), ("contest.js", "contest"), ("test.py", "test")])
def test_a_word_that_ends_like_a_test_is_none(path: str, name: str) -> None:
    assert subject_stem(path) == name


def test_rare_names_bind_and_common_ones_do_not() -> None:
    common = "".join(f"def everywhere(): pass{n}\n" for n in range(1))
    files = {f"f{n:02}.py": common + (f"reset_token_{n // 2}\n") for n in range(20)}
    coupling = Coupling(files, Evidence(sources={path: scan_source(text.encode()) for path, text in files.items()}))
    assert set(row(coupling, "symbols", "f00.py")) == {"f01.py"}


def test_without_history_large_files_are_bound_more_and_with_it_they_are_not() -> None:
    files = {"a.py": "import b\n", "b.py": "#" * 1_000, "c.py": "import d\n" + "#" * 1_000, "d.py": "#" * 1_000}
    sources = {path: scan_source(text.encode()) for path, text in files.items()}

    def bound(one: str, other: str, *commits: tuple[str, ...]) -> float:
        coupling = Coupling(files, Evidence(commits, sources))
        return coupling.row(coupling.number[one])[coupling.number[other]]

    assert bound("c.py", "d.py") > bound("a.py", "b.py") > 0
    assert bound("c.py", "d.py", ("b.py", "c.py")) == bound("a.py", "b.py", ("b.py", "c.py"))


def test_commits_bind_by_how_many_files_they_have_and_how_long_ago_they_were() -> None:
    commits = [("a", "b"), ("a", "c", "d"), *[("z",)] * 998, ("a", "e")]
    coupling = Coupling("abcde", Evidence(commits=commits))
    found = row(coupling, "cochange", "a")
    assert found["b"] == 1.0 and found["c"] == found["d"] == pytest.approx(0.5, abs=0.001)
    assert found["e"] == 0.5


def test_a_commit_of_very_many_files_says_nothing() -> None:
    paths = [f"f{n}" for n in range(31)]
    assert row(Coupling(paths, Evidence(commits=[tuple(paths)])), "cochange", "f0") == {}


def test_age_fades_evenly() -> None:
    assert [commit_weight(back) for back in (0, 500, 1000, 1500, 2000, 3000)] == [1, 0.75, 0.5, 0.375, 0.25, 0.125]


def test_neighbours_in_the_tree() -> None:
    found = row(coupled(a__x_dot_py="", a__y_dot_py="", b__z_dot_py=""), "path", "a/x.py")
    assert found["a/y.py"] > found["b/z.py"]


# --- the graph ------------------------------------------------------------------------------------------------------


def many() -> Coupling:
    paths = [f"p{n // 7}/f{n:03}.py" for n in range(120)]
    commits = [tuple(paths[(n * 7 + k * n) % 120] for k in range(2 + n % 4)) for n in range(300)]
    sources = {path: scan_source(f"import f{(n * 13) % 120:03}\nname_{n % 40} = shared_{n % 17}\n".encode())
               for n, path in enumerate(paths)}  # fmt: skip
    return Coupling(paths, Evidence(commits, sources))


def test_the_graph_is_the_same_in_both_directions_and_bounded() -> None:
    graph = many().build_graph()
    assert all(graph[other][n] == band > 0 for n, bands in enumerate(graph) for other, band in bands.items())
    assert all(n not in bands for n, bands in enumerate(graph))
    assert sum(map(len, graph)) <= 2 * STRONGEST * len(graph)


@pytest.mark.thorough
def test_the_same_numbers_whatever_the_hash_seed_and_the_order() -> None:
    program = (
        "import random; from tests.test_coupling import many; from orchestra.division.partition import partition\n"
        "graph = many().build_graph(); print(graph, partition([7 + n % 31 for n in range(120)], graph, 6))"
    )
    root = Path(__file__).resolve().parents[1]
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env=dict(os.environ) | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(told) == 1


def test_every_kind_has_a_weight() -> None:
    assert set(many().rows_by_kind(0)) == set(KINDS)


def test_odd_sources_are_read() -> None:
    assert scan_source(b"") == Source((), scan_source(b"").words)
    assert scan_source(b"\xff\xfe import x\nfrom caf\xe9 import y\n\0" * 100).words


# --- how much is cut ------------------------------------------------------------------------------------------------


def test_the_share_that_is_cut() -> None:
    commits = [("a", "b"), ("c", "d")] * 6
    whole, among = cut_share(Evidence(commits), {"a": 0, "b": 0, "c": 1, "d": 1})
    assert (whole, among) == (0, 12)
    assert cut_share(Evidence(commits), {"a": 0, "b": 1, "c": 0, "d": 1}) == (1.0, 12)
    half, _ = cut_share(Evidence(commits), {"a": 0, "b": 1, "c": 1, "d": 1})
    assert half == pytest.approx(0.5, abs=0.01)
    assert cut_share(Evidence(commits[:4]), {"a": 0, "b": 1, "c": 1, "d": 1}) == (None, 4)


def links_cut(**texts: str) -> list[str]:
    """The reasons of what is cut if every file has an agent of its own."""
    coupling = coupled(**texts)
    coupling.build_graph()
    return [link.why for link in find_links(coupling, [[TargetFile(path)] for path in coupling.paths])[1]]


def test_only_telling_reasons_are_given_for_what_is_cut() -> None:
    """In a handful of files nearly every word is rare, and all lie side by side."""
    tiny = {f"{name}_dot_py": f"def {name}_price(total):\n    return total\n" for name in ("cart", "mail", "stock")}
    assert links_cut(**tiny, README_dot_md="The cart_price of the shop, and its total.\n") == []
    names = "parse_voucher = check_voucher = redeem_voucher = voucher_book = 1\n"
    assert links_cut(**tiny, one_dot_py=names, two_dot_py=names) == ["share rare identifiers"]
    assert links_cut(**tiny, shop_dot_py="import cart\n") == ["one imports the other"]
