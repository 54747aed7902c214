"""The user goes on working while a run does: what they did stays, and the result is put on top of it where that is
right, or left with the commands that take it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.edits import appends
from tests.support.load import within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place

FILES = {"f0.py": "x = 0\n", "f1.py": "x = 1\n", "notes.txt": "notes\n"}
# The change and what one of the new commits brings are each right, and not together.
TESTS = "if grep -qs hi f0.py && grep -qs quiet more.py; then echo 'error: both'; exit 1; fi"
WORDS = ("--change", "Say hi", "--no-prd", "--files", "f*.py", "--agents", "2", "--test-cmd", TESTS)
HI = "# hi"


def meanwhile(place: Place, does: Callable[[], object], *words: str) -> Ran:
    """The program, and what the user does after an agent has asked and before any is answered."""
    asked, acted = threading.Event(), threading.Event()
    answer = appends(HI)

    def respond(request: Request) -> Reply:
        asked.set()
        acted.wait(within())
        return answer(request)

    with ModelServer(respond) as server:
        running = place.start(*WORDS, *words, server=server)
        assert asked.wait(within()), running.said(1)
        does()
        acted.set()
        return running.end()


def has_result(place: Place) -> bool:
    return all((place.repo / name).read_text() == FILES[name] + HI + "\n" for name in ("f0.py", "f1.py"))


def test_the_result_goes_on_top_of_new_commits_and_nothing_else_is_touched(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)

    def works_on() -> None:
        place.write({"mine.txt": "mine\n"})
        place.commit("Mine")
        place.write({"f0.py": "# above\nx = 0\n"})
        place.commit("Beside it, in the same file")
        place.write({"notes.txt": "dirty\n", "staged.txt": "staged\n", "loose.txt": "loose\n"})
        place.git("add", "staged.txt")

    ran = meanwhile(place, works_on)
    assert ran.code == 0, ran.out + ran.err
    assert (place.repo / "f0.py").read_text() == "# above\nx = 0\n# hi\n"
    assert place.git("log", "--format=%s").splitlines()[2:] == ["Beside it, in the same file", "Mine", "Start"]
    assert sorted(place.status()) == [" M notes.txt", "?? loose.txt", "A  staged.txt"]
    texts = [(place.repo / name).read_text() for name in ("notes.txt", "staged.txt", "loose.txt", "mine.txt")]
    assert texts == ["dirty\n", "staged\n", "loose\n", "mine\n"]
    assert ran.summary["verified"] == "tests" and ran.summary["files"].keys() == {"f0.py", "f1.py"}
    assert all(place.git("merge-base", "--is-ancestor", agent["commit"], "main") == "" for agent in ran.agents.values())
    assert place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == ["main"]


def conflicting(place: Place) -> None:
    place.git("rm", "-q", "f0.py")
    place.commit("It is not needed")


def not_together(place: Place) -> None:
    place.write({"more.py": "# quiet\n"})
    place.commit("Be quiet")


def in_the_way(place: Place) -> None:
    place.write({"mine.txt": "mine\n"})
    place.commit("Mine")
    place.write({"f0.py": "x = 'mine'\n"})


def only_dirty(place: Place) -> None:
    place.write({"f0.py": "x = 'mine'\n"})


def rewritten(place: Place) -> None:
    place.git("commit", "-q", "--amend", "-m", "Said better")


def switched(place: Place) -> None:
    place.git("switch", "-q", "-c", "other")
    place.write({"mine.txt": "mine\n"})
    place.commit("Mine")


LEFT: dict[Callable[[Place], None], tuple[str, str]] = {
    conflicting: ("its new commits conflict with the result in f0.py", "git merge"),
    not_together: ("on its new commits tests failed: error: both", "git merge"),
    in_the_way: ("your uncommitted changes in f0.py are in the way", "commit, stash or move those files"),
    only_dirty: ("your uncommitted changes in f0.py are in the way", "commit, stash or move those files"),
    rewritten: ("main was rewritten during the run", "git merge"),
    switched: ("main is no longer checked out", "git switch main && git merge"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("does", LEFT, ids=lambda does: does.__name__)
def test_where_it_would_not_be_right_the_result_is_left_with_instructions(
    does: Callable[[Place], None], tmp_path: Path
) -> None:
    place = make_place(tmp_path, FILES)
    after: list[object] = []

    def acts() -> None:
        does(place)
        after.extend(look(place))

    ran = meanwhile(place, acts)
    assert ran.code == 1, ran.out + ran.err
    assert look(place) == after
    why, take = LEFT[does]
    side = ran.summary["result"]["side_branch"]
    assert why in ran.summary["result"]["reason"] and take in ran.out and side in ran.out
    assert ran.summary["verified"] == "tests", "the result itself is"
    assert place.git("show", f"{side}:f1.py") == FILES["f1.py"] + HI + "\n"
    assert [agent["state"] for agent in ran.agents.values()] == ["complete", "complete"]
    if does in (in_the_way, only_dirty):
        # The commands that are told do finish it.
        place.git("stash", "-q")
        place.git("merge", "-q", "--ff-only", side)
        assert has_result(place)


def look(place: Place) -> list[object]:
    files = {path.name: path.read_bytes() for path in place.repo.iterdir() if path.is_file()}
    return [files, place.head(), place.status(), place.git("symbolic-ref", "HEAD")]


@pytest.mark.thorough
def test_delivery_stops_when_commits_keep_coming(tmp_path: Path) -> None:
    """Each time that the result is gated on the branch's new head, there is a newer one."""
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server:
        program = tmp_path / "commit.sh"
        program.write_text(f"touch {tmp_path}/asked; while [ -e {tmp_path}/asked ]; do sleep 0.05; done\n")
        running = place.start(*WORDS[:-1], f"sh {program}", server=server)
        commits = 0
        while running.child.poll() is None:
            if (tmp_path / "asked").exists():
                place.write({"mine.txt": f"{commits}\n"})
                place.commit(f"Again {commits}")
                commits += 1
                (tmp_path / "asked").unlink()
            threading.Event().wait(0.05)
        ran = running.end()
    assert ran.code == 1 and "has moved during the run repeatedly" in ran.out, ran.out + ran.err
    assert commits == 5, "the result alone, and on top of each new head but the last"
    assert place.git("log", "-1", "--format=%s").strip() == "Again 4"
    assert_clean(ran, branches=(ran.summary["result"]["side_branch"], "main"))
