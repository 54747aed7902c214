"""What is read from git: commits by the names of today, sources in any state, and clones that lack some of it."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from orchestra.division.coupling import Evidence
from orchestra.division.imports import scan_source
from orchestra.workspace.evidence import PARTIAL, SHALLOW, gather_evidence
from orchestra.workspace.git import Git
from orchestra.workspace.repository import open_repository
from tests.support.runs import Place, make_place


def told(folder: Path) -> Evidence:
    async def ask() -> Evidence:
        repository = await open_repository(folder)
        entries = await repository.entries()
        return await gather_evidence(repository.git, repository.base, entries, entries)

    return asyncio.run(ask())


def sentences(word: str) -> str:
    return "".join(f"{word} says that line {n} is a long one\n" for n in range(20))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, {"a.py": sentences("a"), "b.py": "import a\n", "c/d.py": "x = 1\n"})
    made.write({"a.py": sentences("a") + "more\n", "b.py": "import a, os\n"})
    made.commit()
    return made


def test_commits_newest_first_and_the_first_one_says_nothing(place: Place) -> None:
    place.write({"c/d.py": "x = 2\n"})
    place.commit()
    assert list(told(place.repo).commits) == [("c/d.py",), ("a.py", "b.py"), ()]


def test_renames_are_followed_through_several_names(place: Place) -> None:
    place.git("mv", "a.py", "middle.py")
    place.commit()
    (place.repo / "new").mkdir()
    place.git("mv", "middle.py", "new/name.py")
    place.write({"new/name.py": sentences("a") + "more\nand more\n"})
    place.commit()
    assert [sorted(paths) for paths in told(place.repo).commits] == [
        ["new/name.py"],
        ["new/name.py"],
        ["b.py", "new/name.py"],
        [],
    ]


def test_a_sweep_through_the_house_couples_nothing(place: Place) -> None:
    place.write({f"many/{n}.py": "x\n" for n in range(91)})
    place.commit()
    assert list(told(place.repo).commits) == [("a.py", "b.py"), ()]


def test_commits_of_earlier_runs_do_not_count_but_their_renames_do(place: Place) -> None:
    place.git("mv", "a.py", "new.py")
    place.write({"b.py": "import new\n"})
    place.commit("Add a line\n\n- a.py\n- b.py\n\nTask: 1\nRun: 20261130_101010\n")
    assert [sorted(paths) for paths in told(place.repo).commits] == [["b.py", "new.py"], []]
    place.write({"b.py": "import new, os\n", "c/d.py": "x = 3\n"})
    place.commit("Add a line\n\nRun: by hand\n")
    assert sorted(told(place.repo).commits[0]) == ["b.py", "c/d.py"]


def test_merges_are_passed_over(place: Place) -> None:
    place.git("checkout", "-q", "-b", "side", "HEAD~1")
    place.write({"c/d.py": "x = 3\n"})
    place.commit()
    place.git("checkout", "-q", "main")
    place.git("merge", "-q", "--no-edit", "side")
    assert sorted(told(place.repo).commits) == [(), ("a.py", "b.py"), ("c/d.py",)]


def test_odd_names_and_contents(place: Place) -> None:
    odd = ["two words.py", "line\nbreak.py", "tab\tand \x01.py", "caf\xe9.py", "[slug].ts", "-dash.py"]
    place.write(dict.fromkeys(odd, b"\xff\xfe\x00 import x\n"))
    (place.repo / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"")
    place.commit()
    place.write(dict.fromkeys(odd, "import a\n"))
    place.commit()
    found = told(place.repo)
    assert set(odd) == set(found.commits[0])
    assert found.sources["two words.py"].imports == ("a",)


def test_sources_are_read_as_they_are_at_the_base(place: Place) -> None:
    (place.repo / "b.py").write_text("import something_else\n", "utf-8")
    found = told(place.repo)
    assert found.sources["b.py"] == scan_source(b"import a, os\n")
    assert found.lost == ""


def cloned(place: Place, *words: str) -> Path:
    target = place.repo.parent / "clone"
    place.git("config", "uploadpack.allowFilter", "true")
    subprocess.run(["git", "clone", "-q", *words, place.repo.as_uri(), str(target)], check=True, capture_output=True)
    return target


def test_a_shallow_clone_says_what_is_lost_and_how_to_get_it(place: Place) -> None:
    found = told(cloned(place, "--depth", "1"))
    assert found.lost == SHALLOW and "git fetch --unshallow" in SHALLOW
    assert list(found.commits) == [()] and found.sources["b.py"].imports


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_clone_without_old_contents_fetches_none(place: Place, kind: str) -> None:
    for n in range(3):
        place.write({"a.py": f"{n}\n", "c/d.py": f"{n}\n"})
        place.commit()
    clone = cloned(place, f"--filter={kind}")
    before = objects(clone)
    found = told(clone)
    assert objects(clone) == before
    assert found.lost == PARTIAL or ("a.py", "c/d.py") in found.commits


def objects(clone: Path) -> str:
    done = subprocess.run(["git", "count-objects", "-v"], cwd=clone, check=True, capture_output=True, text=True)
    return done.stdout


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert told(tmp_path) == Evidence([()], {})


def test_a_broken_history_is_no_history(place: Place) -> None:
    async def ask() -> Evidence:
        return await gather_evidence(Git(place.repo), "0" * 40, {}, ())

    assert asyncio.run(ask()).commits == []
