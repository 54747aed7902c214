"""Plans as files: what is written is read back, what is sloppy is put right, what is wrong is said in one sentence."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.agents.base import NOT_EDITABLE
from orchestra.answers.shape import parse_answer as read_answer
from orchestra.errors import PlanError
from orchestra.plan.check import PlanContext, check_draft
from orchestra.plan.draft import (
    Draft,
    PlanItem,
    all_needs_by_id,
    critical_path,
    draft_from_plan,
    group_phases,
    needs_by_id,
)
from orchestra.plan.edit import edit_draft
from orchestra.plan.planner import PlanAnswer, draft_from_answer
from orchestra.plan.targets import TrackedFile
from orchestra.plan.toml_file import format_draft, parse_draft
from orchestra.report.plans.preview import plan_tree

TRACKED = {path: TrackedFile(path, 300) for path in ("src/app.py", "src/user.py", "tests/test_app.py", "README.md")}
ODD = {"link.py": "link", "logo.png": "binary"}
TRACKED |= {path: TrackedFile(path, 9, kind, NOT_EDITABLE[kind]) for path, kind in ODD.items()}
TRACKED |= {path: TrackedFile(path, 100_000) for path in ("big/one.py", "big/two.py")}
WORLD = PlanContext(TRACKED, ("coder", "tester", "writer", "researcher"), ("researcher",), ("R1", "R2"), 100_000)


def item(id: str, *files: str, **more: Any) -> PlanItem:
    return dataclasses.replace(PlanItem(id, id.title(), f"Do {id}.", files), **more)


def plan(*items: PlanItem) -> Draft:
    return Draft("The goal", task=items)


# --- the file -------------------------------------------------------------------------------------------------------

TEXT = st.text(st.sampled_from('a"\\\n\t\r é😀#]='), max_size=12)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
ITEMS = st.builds(
    PlanItem, TEXT, TEXT, TEXT, files=NAMES, new=NAMES, needs=NAMES, acceptance=NAMES, role=TEXT, priority=TEXT,
    proposed=st.booleans(), done=TEXT,
)  # fmt: skip


@given(st.builds(Draft, TEXT, prd=TEXT, approved=st.booleans(), task=st.lists(ITEMS, max_size=3).map(tuple)))
@settings(max_examples=300)
def test_what_is_written_is_read_back(draft: Draft) -> None:
    assert parse_draft(format_draft(draft, "x"), "x") == draft


def test_hand_written_plan_states_each_thing_once() -> None:
    text = 'goal = "G"\n[[task]]\nbrief = "Do it."\nfiles = ["src/app.py"]\n'
    checked = check_draft(parse_draft(text, "x"), WORLD)
    assert checked.problems == ()
    (only,) = checked.draft.task
    assert (only.id, only.title, only.brief, only.role) == ("do-it", "Do it.", "Do it.", "coder")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("goal = ", "this is not TOML"),
        ("", "goal is missing"),
        ("goal = 3", "goal must be a string, not a number"),
        ('goal = "g"\nweight = 3', "there is no 'weight'; known: goal, prd"),
        ('goal = "g"\n[[task]]\nneed = []', "there is no 'need' in task 1 (without an id), did you mean 'needs'?"),
        ('goal = "g"\n[[task]]\nid = "a"\nfiles = "a.py"', "task[0].files must be a list, not 'a.py'"),
        ('goal = "g"\ntask = 1', "task must be a list"),
        ('goal = "g"\ntask = [1]', "task[0] must be an object"),
    ],
)
def test_a_file_that_is_wrong(text: str, words: str) -> None:
    with pytest.raises(PlanError) as told:
        parse_draft(text, "plans/x.toml")
    assert str(told.value).startswith("plans/x.toml: ") and words in str(told.value)


# --- the check ------------------------------------------------------------------------------------------------------

SLOPPY = {
    "no id": ((item("", "src/app.py", title="Do this"),), ["task 1 is called do-this"]),
    "an id twice": (
        (item("a", "src/app.py"), item("a", "README.md")),
        ["task 2 is called a-2, not 'a'"],
    ),
    "an id that is no name": ((item("My Task!", "src/app.py"),), ["task 1 is called my-task, not 'My Task!'"]),
    "a path that is almost right": (
        (item("a", "app.py", "./README.md", "SRC/user.py"),),
        ["a: src/app.py is meant by app.py", "a: './README.md' is README.md", "a: src/user.py is meant by SRC/user.py"],
    ),
    "a new file that is not marked": ((item("a", "src/new.py"),), ["a: src/new.py is new"]),
    "a file that is marked new": ((item("a", "src/app.py", new=("src/app.py",)),), ["a: src/app.py is there already"]),
    "a file twice": ((item("a", "README.md", "README.md"),), ["a: README.md stood there twice"]),
    "reads what is not there": (
        (item("a", "README.md", reads=("gone.py", "src/app.py", "README.md", "logo.png")),),
        ["a does not read gone.py, which is no text file here", "a does not read logo.png, which is no text file here"],
    ),
    "a role that nobody knows": (
        (item("a", "README.md", role="wizard"),),
        ["a: unknown role 'wizard', so it is coder"],
    ),
    "words that nobody knows": (
        (item("a", "README.md", priority="URGENT", risk="Low", requirements=("R1", "R7")),),
        ["a: there is no requirement R7", "a: the priority 'URGENT' is unknown, so it is normal"],
    ),
    "needs itself and nobody": (
        (item("a", "README.md", needs=("a", "zz")),),
        ["a does not need itself", "a does not need zz, which is no task"],
    ),
    "needs by title": ((item("a", "README.md"), item("b", "src/app.py", needs=("A",))), []),
    "two at one file": (
        (item("a", "README.md"), item("b", "README.md", "src/app.py"), item("c", "src/app.py", needs=("b",))),
        ["b waits for a: both change README.md"],
    ),
    "two create one file": (
        (item("a", "new.py", new=("new.py",)), item("b", "new.py", needs=("a",), reads=("new.py",))),
        [],
    ),
}


@pytest.mark.parametrize("name", SLOPPY)
def test_small_errors_of_a_plan_are_corrected_and_noted(name: str) -> None:
    items, repairs = SLOPPY[name]
    checked = check_draft(plan(*items), WORLD)
    assert (checked.problems, list(checked.repairs)) == ((), repairs)
    again = check_draft(checked.draft, WORLD)
    assert again.draft == checked.draft and again.problems == ()
    assert again.repairs == (), "a plan that was put right needs no more"


BROKEN = {
    "no tasks": ((), "it has no tasks"),
    "says nothing": ((item("", "README.md", title=" ", brief="\n"),), "task 1 does not say what is to be done"),
    "no files": ((item("a"),), "a names no file to change"),
    "outside": ((item("a", "../x.py"),), "a names '../x.py', which is outside the repository"),
    "absolute": ((item("a", "/etc/passwd"),), "a names '/etc/passwd', which is outside"),
    "of git": ((item("a", "x/.git/hooks/post-merge"),), "which is outside the repository"),
    "a folder": ((item("a", "src"),), "a names src, which is a folder: name its files"),
    "in a file": ((item("a", "README.md/x"),), "a names README.md/x, but README.md is a file, not a folder"),
    "a link": ((item("a", "link.py"),), "a names link.py, which is a symbolic link"),
    "binary": ((item("a", "logo.png"),), "a names logo.png, which is not UTF-8 text"),
    "a circle": (
        (
            item("a", "src/app.py", needs=("b",)),
            item("b", "README.md", needs=("c",)),
            item("c", "src/user.py", needs=("b",)),
        ),
        "it goes in a circle: b needs c needs b",
    ),
    "too large": (
        (item("a", "big/one.py", "big/two.py"),),
        "a has files of about 66,668 tokens, more than the 42,000 that an agent works on well: split it (big/one.py",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_wrong_plan_is_refused_in_one_sentence(name: str) -> None:
    items, words = BROKEN[name]
    assert words in check_draft(plan(*items), WORLD).problem_text


def test_answering_task_needs_no_files() -> None:
    assert check_draft(plan(item("a", role="researcher")), WORLD).problems == ()


def test_what_is_done_is_looked_at_no_more() -> None:
    done = item("a", "gone/for/good.py", done="20260101_000000", needs=("never",))
    checked = check_draft(plan(done, item("b", "README.md", needs=("a",))), WORLD)
    assert (checked.repairs, checked.problems) == ((), ())
    assert checked.draft.task[0] == done
    assert "it has no unfinished tasks" in check_draft(plan(done), WORLD).problem_text


@pytest.mark.parametrize("seed", range(30))
def test_any_plan_is_refused_or_can_be_carried_out(seed: int) -> None:
    """Whatever a model says: either there is a complaint, or no two tasks may change one file at the same time."""
    chance = random.Random(seed)
    names = [f"t{n}" for n in range(chance.randint(1, 40))]
    paths = [*TRACKED, "new/a.py", "new/b.py", "..", "app.py", ""]
    items = [
        item(
            chance.choice([*names, "", "x y"]),
            *chance.choices(paths, k=chance.randint(0, 3)),
            needs=tuple(chance.choices(names, k=chance.choice([0, 0, 1, 2]))),
            role=chance.choice(["", "coder", "boss"]),
        )
        for _ in names
    ]
    checked = check_draft(plan(*items), WORLD)
    if checked.problems:
        return
    found, before = checked.draft.task, all_needs_by_id(checked.draft.task)
    assert len({one.id for one in found}) == len(found) == len(names)
    for one in found:
        for other in found:
            if one.id < other.id and set(one.files) & set(other.files):
                assert one.id in before[other.id] or other.id in before[one.id]
        assert one.id not in before[one.id]


def test_check_accepts_a_draft_of_two_hundred_tasks() -> None:
    items = [item(f"t{n}", f"new/{n % 50}.py", needs=(f"t{n - 1}",) if n % 3 else ()) for n in range(200)]
    checked = check_draft(plan(*items), WORLD)
    assert checked.problems == () and len(checked.draft.task) == 200


def test_a_models_answer_becomes_a_draft() -> None:
    said = {"tasks": [{"id": "a", "title": "A", "brief": "b", "files": ["README.md"], "needs": [], "extra": 1}]}
    draft = draft_from_answer(read_answer(PlanAnswer, f"Sure!\n```json\n{json.dumps(said)}\n```"), "G", "p.md")
    assert draft == Draft("G", "p.md", task=(PlanItem("a", "A", "b", ("README.md",)),))


# --- the graph ------------------------------------------------------------------------------------------------------


def diamond() -> Draft:
    return plan(
        item("a", "a.py"), item("b", "b.py", needs=("a",)), item("c", "c.py", needs=("a",)),
        item("d", "d.py", needs=("b", "c")),
    )  # fmt: skip


def test_phases_and_the_longest_chain() -> None:
    items = diamond().task
    assert [[one.id for one in phase] for phase in group_phases(items)] == [["a"], ["b", "c"], ["d"]]
    assert critical_path(items, {"a": 1, "b": 1, "c": 5, "d": 1}) == ["a", "c", "d"]
    assert all_needs_by_id(items)["d"] == {"a", "b", "c"}
    assert needs_by_id(items[1:]) == {"b": (), "c": (), "d": ("b", "c")}
    shown = plan_tree(diamond(), {})
    assert [line for line in shown.splitlines() if line.startswith("Phase")] == [
        "Phase 1", "Phase 2, at the same time", "Phase 3",
    ]  # fmt: skip
    assert "needs: b, c" in shown and "4 tasks to do, not approved yet" in shown


# --- changes --------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Any], bool]] = {
    "add e Tell of it": lambda d: (d.ids[-1], d.task[-1].title) == ("e", "Tell of it"),
    "remove b": lambda d: d.ids == ["a", "c", "d"] and d.find_item("d").needs == ("a", "c"),
    "set b title Better words": lambda d: d.find_item("b").title == "Better words",
    "set b priority high": lambda d: d.find_item("b").priority == "high",
    "set b role tester": lambda d: d.find_item("b").role == "tester",
    "files b x.py y.py": lambda d: d.find_item("b").files == ("x.py", "y.py"),
    "files b +x.py -b.py": lambda d: d.find_item("b").files == ("x.py",),
    "acceptance b +works": lambda d: d.find_item("b").acceptance == ("works",),
    "connect b c": lambda d: d.find_item("b").needs == ("a", "c"),
    "disconnect d b": lambda d: d.find_item("d").needs == ("c",),
    "merge b c": lambda d: (
        d.ids == ["a", "b", "d"] and d.find_item("b").files == ("b.py", "c.py") and d.find_item("d").needs == ("b",)
    ),
    "move d before a": lambda d: d.ids == ["d", "a", "b", "c"],
    "move a after c": lambda d: d.ids == ["b", "c", "a", "d"],
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_change(words: str) -> None:
    before = diamond()
    after = edit_draft(before, words.split())
    assert CHANGES[words](after)
    assert before == diamond()


def test_split_divides_the_brief_by_the_files_that_its_sentences_name() -> None:
    brief = "Prices have hints. Add price_hint to shop/price.py; add order_hint to order.py.\n- Test price.py first\n"
    draft = plan(dataclasses.replace(item("a", "shop/price.py", "shop/order.py"), brief=brief))
    price, order = edit_draft(draft, ["split", "a", "b", "shop/order.py"]).task
    assert price.brief.splitlines()[:2] == [
        "Prices have hints. Add price_hint to shop/price.py;",
        "- Test price.py first",
    ]
    assert order.brief.splitlines()[0] == "Prices have hints. add order_hint to order.py."
    assert order.brief.endswith("Only the part in shop/order.py is meant here; another task changes shop/price.py.")


def test_a_split_leaves_nothing_behind() -> None:
    draft = plan(
        item("a", "x.py", "y.py", "z.py", new=("z.py",), needs=("o",)), item("b", "b.py", needs=("a",)), item("o", "o")
    )
    after = edit_draft(draft, ["split", "a", "tail", "y.py", "z.py"])
    assert [one.id for one in after.task] == ["a", "tail", "b", "o"]
    first, tail = after.task[:2]
    assert (first.files, first.new, tail.files, tail.new) == (("x.py",), (), ("y.py", "z.py"), ("z.py",))
    assert first.brief.endswith("Only the part in x.py is meant here; another task changes y.py, z.py.")
    assert first.needs == tail.needs == ("o",) and after.find_item("b").needs == ("a", "tail")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("conect a b", "Did you mean connect?"),
        ("add a Title", "there is a task a already"),
        ("add e", "there are too few words. Usage: add ID TITLE"),
        ("remove zz", "the plan has no task 'zz'"),
        ("set b colour red", "a task has no 'colour' to set"),
        ("set b priority urgent", "priority must be high or normal or low"),
        ("files b +x y", "say either all files of b, or only +TEXT and -TEXT"),
        ("files b -nope", "b has no 'nope' among its files"),
        ("split b x b.py", "these are all files of b"),
        ("split b x nope.py", "b has no file nope.py"),
        ("merge b b", "b is the same task"),
        ("connect b b", "b cannot need itself"),
        ("disconnect a d", "a does not need d"),
        ("move a near b", "move a before or after a task"),
    ],
)
def test_a_change_that_cannot_be_made(words: str, told: str) -> None:
    with pytest.raises(PlanError) as error:
        edit_draft(diamond(), words.split())
    assert told in str(error.value)


def test_a_division_by_coupling_is_a_draft_too(tmp_path: Path) -> None:
    from orchestra.model import Plan, TargetFile, Task

    one = Task(1, "a.py", (TargetFile("README.md"),), requirements=("R1",))
    draft = draft_from_plan(Plan((one,), 1), "G", "")
    assert check_draft(draft, WORLD).problems == () and draft.task[0].id == "part-1"
