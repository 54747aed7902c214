"""Each task's commit has a subject of its own."""

import pytest

from orchestra.model import Plan, TargetFile, Task
from orchestra.plan.commit_subject import commit_subject

FOG = "Teach the lighthouse about fog."
LONG = f"{FOG} It is foggy when the visibility is below one sea mile, and nobody sees a thing."


def task(number: int, *paths: str, title: str = "", name: str = "") -> Task:
    return Task(number, title, tuple(TargetFile(path, 1) for path in paths), name=name)


def subjects(*tasks: Task, change: str = FOG) -> list[str]:
    return [commit_subject(each, Plan(tasks, 1), change) for each in tasks]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([task(1, "a/kettle.py")], [FOG]),
        (
            [task(1, "a/kettle.py"), task(2, "a/horn.py", "a/lamp.py")],
            ["Teach the lighthouse about fog: kettle", "Teach the lighthouse about fog: horn, lamp"],
        ),
        (
            [task(1, "a/util.py"), task(2, "b/util.py"), task(3, "b/__init__.py")],
            [f"Teach the lighthouse about fog: {mark}" for mark in ("a/util.py", "b/util.py", "b")],
        ),
        (
            [task(1, "a.py"), task(2, "a.py")],
            ["Teach the lighthouse about fog: task 1", "Teach the lighthouse about fog: task 2"],
        ),
        (
            [task(1, *(f"part{n}.py" for n in range(9))), task(2, "x" * 99)],
            ["Teach the lighthouse about fog: part0, part1, part2 and 6 more", f"{FOG[:-1]}: {'x' * 35}…"],
        ),
        ([task(1, "a.py", title="Horn", name="horn"), task(2, "a.py", title="Bell", name="bell")], ["Horn", "Bell"]),
        ([task(1, "a.py", title="Do", name="x"), task(2, "b.py", title="Do", name="y")], ["Do: a", "Do: b"]),
    ],
)
def test_subject_names_files_only_if_others_have_the_same(tasks: list[Task], expected: list[str]) -> None:
    assert subjects(*tasks) == expected


def test_long_change_is_cut_to_its_first_sentence() -> None:
    assert subjects(task(1, "kettle.py"), change=LONG) == [FOG]
    assert subjects(task(1, "kettle.py"), task(2, "horn.py"), change=LONG)[0] == f"{FOG[:-1]}: kettle"
    [one, two] = subjects(task(1, "kettle.py"), task(2, "horn.py"), change="word " * 50)
    assert len(one) <= 72 and one.endswith("…: kettle") and two.endswith("…: horn")


def test_file_names_keep_the_subject_in_one_line() -> None:
    assert subjects(task(1, "odd\n\x1b[31m.py"), task(2, "b.py"), change="Do") == ["Do: odd??[31m", "Do: b"]


def test_secrets_are_taken_out_of_subjects() -> None:
    tasks = [task(1, "k3y.py"), task(2, "b.py")]
    hidden = commit_subject(tasks[0], Plan(tuple(tasks), 1), "Add k3y", lambda text: text.replace("k3y", "***"))
    assert hidden == "Add ***: ***"


def test_change_without_words_has_a_subject() -> None:
    assert subjects(task(1, "a.py"), change=" \n ") == ["Change"]
