"""What is handed on from task to task, and what agents propose: bounded, nearest first, and never a failure."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestra.answers.shape import MisshapenAnswer
from orchestra.conduct.attempt.prompt import (
    HEAD,
    LIMIT,
    DependencyNotes,
    format_all_notes,
    list_dependencies,
    notes_from_report,
    read_texts_at,
)
from orchestra.events import ProposedTask
from orchestra.plan.proposals import ASK, MOST, read_proposals, strip_proposals
from orchestra.report.closing import closing_text
from orchestra.report.fold import fold_events
from orchestra.report.state import DecisionMade, TaskReport
from orchestra.report.summary import build_summary
from orchestra.workspace.git import Git
from tests.support.seating import plant
from tests.support.written import event


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ({1: ()}, []),
        ({1: (2,), 2: ()}, [2]),
        ({1: (3, 2), 2: (), 3: ()}, [3, 2]),
        ({1: (2,), 2: (3,), 3: (4,), 4: ()}, [2, 3, 4]),
        ({1: (2, 3), 2: (4,), 3: (4, 5), 4: (6,), 5: (), 6: ()}, [2, 3, 4, 5, 6]),
        ({1: (2,), 2: (1,)}, [2]),  # a ring, which no checked plan has
    ],
)
def test_the_nearest_come_first(needs: dict[int, tuple[int, ...]], found: list[int]) -> None:
    assert list_dependencies(1, needs) == found


def test_task_without_needs_gets_no_notes() -> None:
    assert format_all_notes([]) == ""


def test_notes_hold_reply_decision_and_signatures() -> None:
    left = DependencyNotes(
        "agent2: Look", "It is free.", ("Keep the old name.",), ("app.py\n  def greeting()", "old.py (deleted)")
    )
    assert format_all_notes([left]) == (
        f"{HEAD}\n\n### agent2: Look\nA person's words about it: Keep the old name.\nIt is free.\n"
        "Its files, with their signatures as they are now:\napp.py\n  def greeting()\nold.py (deleted)"
    )


@pytest.mark.parametrize("count", [1, 2, 7, 8, 30, 200])
@pytest.mark.parametrize("said", ["a word\n" * 2_000, "x" * 9_000])
def test_it_is_bounded_and_says_what_is_left_out(count: int, said: str) -> None:
    left = [
        DependencyNotes(f"agent{n}: Task {n}", said, ("hint " * 400,), ("app.py\n  def f()" * 900,))
        for n in range(count)
    ]
    text = format_all_notes(left)
    assert len(text) <= LIMIT + 40 and "### agent0: Task 0" in text
    told = text.count("### agent")
    assert told >= min(count, 6) and (told == count or text.endswith(f"(and {count - told} more)"))


def test_a_long_answer_leaves_room_for_the_files() -> None:
    text = format_all_notes([DependencyNotes("agent1: Much", "word\n" * 3_000, (), ("app.py\n  def f()",))])
    assert "def f()" in text and len(text) <= LIMIT


def test_notes_read_files_at_the_commit(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(b"def greet(name: str) -> str:\n    return '\xff'\n")
    (tmp_path / "data.bin").write_bytes(bytes(9))
    (tmp_path / "link.py").symlink_to("app.py")
    plant(tmp_path, {})
    changed = ["app.py", "data.bin", "gone.py", "link.py"]
    texts = asyncio.run(read_texts_at(Git(tmp_path), "HEAD", changed))
    decisions = [DecisionMade("why", "retry", "Be polite.")]
    left = notes_from_report(TaskReport(2, "Greet", [], changed=changed, said="Done.", decisions=decisions), texts)
    files = (
        "app.py\n  def greet(name: str) -> str",
        "data.bin",
        "gone.py (deleted)",
        "link.py (deleted)",
    )
    assert left == DependencyNotes("agent2: Greet", "Done.", ("Be polite.",), files)


def test_notes_count_dependencies_without_notes() -> None:
    assert format_all_notes([DependencyNotes("agent1: One")], 30).endswith("### agent1: One\n\n(and 29 more)")


# --- proposals ------------------------------------------------------------------------------------------------------

ONE = {"title": "Say goodbye", "brief": "Politely.", "files": ["bye.py"]}


def block(record: Any, fence: str = "```json") -> str:
    return f"{fence}\n{record if isinstance(record, str) else json.dumps(record, indent=1)}\n```"


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Done.", ()),
        ('```json\n{"a": 1}\n```', ()),
        (f"Done.\n\n{block({'propose': [ONE]})}\n", (ProposedTask("Say goodbye", "Politely.", ("bye.py",)),)),
        (f"{block({'propose': [ONE]}, '```')}\nSo be it.", (ProposedTask("Say goodbye", "Politely.", ("bye.py",)),)),
        (block({"propose": [{"title": " Only \n a title "}]}), (ProposedTask("Only a title", "", ()),)),
        (block({"propose": [{"title": "  "}], "why": "extra"}), ()),
        (block({"propose": []}), ()),
        (f"{block({'propose': [ONE]})}\n{block({'propose': [{'title': 'Last'}]})}", (ProposedTask("Last", "", ()),)),
        (
            block({"propose": [{"title": f"T{n}"} for n in range(99)]}),
            tuple(ProposedTask(f"T{n}", "", ()) for n in range(MOST)),
        ),
    ],
)
def test_proposals_are_read(reply: str, found: tuple[ProposedTask, ...]) -> None:
    assert read_proposals(reply) == found
    assert "propose" not in strip_proposals(reply)


@pytest.mark.parametrize(
    "reply",
    [
        block('{"propose": [{"title": "A"'),
        '```json\n{"propose": [',
        block({"propose": [{"brief": "no title"}]}),
        block({"propose": "a task"}),
        block({"propose": [{"title": "A", "files": "a.py"}]}),
        block({"propose": [{"title": 5}]}),
    ],
)
def test_broken_proposal_block_is_only_a_note(reply: str) -> None:
    with pytest.raises(MisshapenAnswer):
        read_proposals(reply)


def test_the_example_that_agents_are_shown_can_be_read() -> None:
    assert len(read_proposals(ASK)) == 1


def test_what_was_proposed_is_reported() -> None:
    made = event("tasks_proposed", 3, 1, tasks=[ONE, {"title": "\x1b[31mRed", "brief": "", "files": []}])
    report = fold_events([made])
    assert build_summary(report, {})["proposed"][0] == {"task": 3, **ONE}
    assert "Proposed, not started:\n  agent3: Say goodbye (bye.py)\n  agent3: " in closing_text(report, "")
    assert "\x1b" not in closing_text(report, "")
