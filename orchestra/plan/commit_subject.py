"""The subject of a task's commit: the change, or the task's title in a plan, and what tells it from its siblings."""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from orchestra.model import Plan, Task
from orchestra.wording import join_some, one_line

LONGEST = 72
LONGEST_MARK = 36
MOST_NAMES = 3
SENTENCE_END = re.compile(r"(?<=[.!?])\s")


def commit_subject(task: Task, plan: Plan, change: str, scrub: Callable[[str], str] = str) -> str:
    """The subject in at most 72 characters. Only if other tasks would have the same, it names the task's files."""
    about = task.headline or next((line.strip() for line in change.splitlines() if line.strip()), "Change")
    siblings = [other for other in plan.by_title[task.headline] if other.id != task.id]
    mark = scrub(mark_task(task, siblings)) if siblings else ""
    ending = f": {mark}" if mark else ""
    return f"{shorten_subject(scrub(about), LONGEST - len(ending), bare=bool(mark))}{ending}"


def shorten_subject(text: str, room: int, *, bare: bool) -> str:
    """The text, or its first sentence, or as much of it as there is room for. `bare`: without a full stop."""
    if len(text) > room and len(sentence := SENTENCE_END.split(text)[0]) <= room:
        text = sentence
    return one_line(text.rstrip(".") if bare else text, room)


def mark_task(task: Task, siblings: Sequence[Task]) -> str:
    """The names of the task's files, or their paths, or its number: the first that no sibling has too."""
    for describe in (file_names, file_paths):
        mark = describe(task)
        if mark and mark not in map(describe, siblings):
            return mark
    return f"task {task.id}"


def file_names(task: Task) -> str:
    paths = map(PurePath, task.paths)
    return fit_names([path.parent.name if path.stem == "__init__" else path.stem for path in paths])


def file_paths(task: Task) -> str:
    return fit_names(task.paths)


def fit_names(paths: Sequence[str]) -> str:
    """As many names as there is room for, or the first one in part. What cannot be printed becomes a question mark."""
    names = ["".join(sign if sign.isprintable() else "?" for sign in path) for path in paths]
    most = range(MOST_NAMES, 0, -1)
    return next(
        (text for n in most if len(text := join_some(names, n)) <= LONGEST_MARK),
        one_line("".join(names[:1]), LONGEST_MARK),
    )
