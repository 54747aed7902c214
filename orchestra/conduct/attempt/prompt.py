"""What an agent is told beside its brief: its role, and what the tasks before its own have left for it.

All of it is made from what the run's events tell, so that a resumed run tells the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestra.conduct.core.context import Run
from orchestra.model import Task
from orchestra.plan.digest import SCANNED, signature_block
from orchestra.plan.proposals import ASK
from orchestra.report.state import TaskReport
from orchestra.workspace.base_files import list_files, read_files
from orchestra.workspace.git import Git

LIMIT = 6_000  # characters of all that is handed on
LEAST = 800  # of one task's share in it
MOST = LIMIT // LEAST  # tasks
HINT = 500
FILES = 20  # of one task, that are looked into
ANSWER = "Change no file, whatever is said above: your reply is the result."
HEAD = "## What the tasks before yours have left for you"


@dataclass(frozen=True)
class DependencyNotes:
    """What one task has left: what it said, what a person said of it, and its files with their signatures now."""

    title: str
    said: str = ""
    hints: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


async def build_prompt(run: Run, task: Task, base: str) -> str:
    """All that the task's agent is told. `base` is the commit at which it begins."""
    role, needed = run.context.role_of(task), list_dependencies(task.id, run.state.plan.needs)
    records = [run.state.report.tasks[need] for need in needed[:MOST]]
    texts = await read_texts_at(
        run.context.repository.git, base, [path for record in records for path in record.changed[:FILES]]
    )
    parts = [
        role.prompt,
        task.brief,
        ANSWER if role.only_answers else "",
        format_all_notes([notes_from_report(record, texts) for record in records], len(needed)),
        ASK if can_propose(run, task) else "",
    ]
    return "\n\n".join(filter(None, parts))


async def read_texts_at(git: Git, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The beginnings of those of the paths that are regular files at the commit."""
    if not paths:
        return {}
    found = await read_files(git, await list_files(git, commit, paths), paths)
    return {path: content[:SCANNED] for path, content in found.items()}


def can_propose(run: Run, task: Task) -> bool:
    # In a reply of whole files the block would be taken for one.
    return bool(task.role and run.state.report.plan_file and run.context.role_of(task).edit_format != "whole")


def list_dependencies(task: int, needs: Mapping[int, Sequence[int]]) -> list[int]:
    """All that a task needs: first what it names itself, then what these name."""
    found: list[int] = []
    level = list(needs[task])
    while level:
        new = [need for need in dict.fromkeys(level) if need not in found and need != task]
        found += new
        level = [need for one in new for need in needs[one]]
    return found


def notes_from_report(record: TaskReport, texts: Mapping[str, bytes]) -> DependencyNotes:
    files = tuple(signatures_in(path, texts.get(path)) for path in record.changed[:FILES])
    return DependencyNotes(f"{record.agent}: {record.title}", record.said, tuple(record.hints), files)


def signatures_in(path: str, text: bytes | None) -> str:
    if text is None:
        return f"{path} (no file any more)"
    return signature_block(path, text.decode("utf-8", "replace")) or path


def format_all_notes(tasks: Sequence[DependencyNotes], count: int = 0) -> str:
    """The nearest task first, each with its share, and all of them within the limit. `count` are all that there are."""
    if not tasks:
        return ""
    count = count or len(tasks)
    share, parts, room = max(LIMIT // count, LEAST), [HEAD], LIMIT - len(HEAD)
    for left in tasks:
        if not (text := cut_at_line_end(format_notes(left), min(share, room - 2))):
            break
        parts.append(text)
        room -= len(text) + 2
    missing = count - len(parts) + 1
    return "\n\n".join([*parts, *([f"(and {missing} more)"] if missing else [])])


def format_notes(notes: DependencyNotes) -> str:
    """What a person decided can be lost least, so it comes first."""
    parts = [f"### {notes.title}"]
    parts += [f"A person has said of it: {cut_at_line_end(hint, HINT)}" for hint in notes.hints]
    # Where it said much, there is still room for what others may call.
    files = "\n".join(("Its files, with their signatures as they are now:", *notes.files)) if notes.files else ""
    parts += [cut_at_line_end(notes.said, LIMIT // 3 if files else LIMIT), files]
    return "\n".join(filter(None, parts))


def cut_at_line_end(text: str, room: int) -> str:
    """As many whole lines as there is room for; of a first line that is too long, its beginning."""
    if len(text) <= room:
        return text
    kept = text[: max(room - 2, 0)]
    whole = kept.rpartition("\n")[0] or kept
    return f"{whole.rstrip()}\n…" if room > 40 else ""
