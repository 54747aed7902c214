"""What an agent is told beside its brief: its role, and what the tasks before its own have left for it.

All of it is made from what the run's events tell, so that a resumed run tells the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestra.conduct.run import Run
from orchestra.digest import signature_block
from orchestra.model import Task
from orchestra.plan.order import needs_of
from orchestra.plan.proposals import ASK

LIMIT = 6_000  # characters of all that is handed on
LEAST = 800  # of one task's share in it
HINT = 500
FILES = 20  # of one task, that are looked into
ANSWER = "Change no file, whatever is said above: your reply is the result."
HEAD = "## What the tasks before yours have left for you"


@dataclass(frozen=True)
class Left:
    """What one task has left: what it said, what a person said of it, and its files with their signatures now."""

    title: str
    said: str = ""
    hints: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


async def in_full(run: Run, task: Task, head: str) -> Task:
    """The task with all that its agent is told. `head` is the commit on which it begins."""
    role = run.role(task)
    parts = [
        role.prompt,
        task.brief,
        ANSWER if role.only_answers else "",
        handed_on([await left_by(run, need, head) for need in nearest(task.id, needs_of(run.plan.tasks))]),
        ASK if may_propose(run, task) else "",
    ]
    return replace(task, brief="\n\n".join(filter(None, parts)))


def may_propose(run: Run, task: Task) -> bool:
    # In a reply of whole files the block would be taken for one.
    return bool(task.role and run.report.plan_file and run.role(task).edit_format != "whole")


def nearest(task: int, needs: Mapping[int, Sequence[int]]) -> list[int]:
    """All that a task needs: first what it names itself, then what these name."""
    found: list[int] = []
    level = list(needs[task])
    while level:
        new = [need for need in dict.fromkeys(level) if need not in found and need != task]
        found += new
        level = [need for one in new for need in needs[one]]
    return found


async def left_by(run: Run, task: int, head: str) -> Left:
    record = run.report.tasks[task]
    blocks = []
    for path in record.changed[:FILES]:
        code, raw, _ = await run.repository.git.attempt("cat-file", "blob", f"{head}:{path}")
        text = "" if code else raw.decode("utf-8", "replace")
        blocks.append(signature_block(path, text) or f"{path}{' (deleted)' if code else ''}")
    return Left(f"{record.agent}: {record.title}", record.said, tuple(record.hints), tuple(blocks))


def handed_on(tasks: Sequence[Left]) -> str:
    """The nearest task first, each with its share, and all of them within the limit."""
    if not tasks:
        return ""
    share, parts, room = max(LIMIT // len(tasks), LEAST), [HEAD], LIMIT - len(HEAD)
    for n, left in enumerate(tasks):
        text = cut(told(left), min(share, room - 2))
        if not text:
            parts.append(f"(and {len(tasks) - n} more)")
            break
        parts.append(text)
        room -= len(text) + 2
    return "\n\n".join(parts)


def told(left: Left) -> str:
    """What a person decided can be lost least, so it comes first."""
    parts = [f"### {left.title}"]
    parts += [f"A person has said of it: {cut(hint, HINT)}" for hint in left.hints]
    # Where it said much, there is still room for what others may call.
    files = "\n".join(("Its files, with their signatures as they are now:", *left.files)) if left.files else ""
    parts += [cut(left.said, LIMIT // 3 if files else LIMIT), files]
    return "\n".join(filter(None, parts))


def cut(text: str, room: int) -> str:
    """As many whole lines as there is room for; of a first line that is too long, its beginning."""
    if len(text) <= room:
        return text
    kept = text[: max(room - 2, 0)]
    whole = kept.rpartition("\n")[0] or kept
    return f"{whole.rstrip()}\n…" if room > 40 else ""
