"""Build the order for an attempt: the prompt, with notes about dependencies from the run's events, and its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestra.agents.aider_args import parse_aider_args
from orchestra.agents.base import AgentModel, AttemptOrder, FileRules
from orchestra.conduct.attempt.research import quote_search
from orchestra.conduct.core.context import AttemptStart, Context, Run
from orchestra.conduct.core.house_rules import house_rules_of
from orchestra.model import Task
from orchestra.plan.digest import SCANNED, signature_block
from orchestra.plan.proposals import ASK
from orchestra.providers import catalogue
from orchestra.report.state import TaskReport
from orchestra.workspace.base_files import list_files, read_files
from orchestra.workspace.git import Git

LIMIT = 6_000  # characters of all notes together
LEAST = 800  # characters of one task's notes, at least
MOST = LIMIT // LEAST  # tasks with notes
HINT = 500
FILES = 20  # files of one task whose signatures are read
ANSWER = "Change no file, whatever is said above: your reply is the result."
HEAD = "## What the tasks before yours have left for you"
EARLIER = "# Earlier attempts at this task did not succeed"


@dataclass(frozen=True)
class DependencyNotes:
    """What a dependency left: its reply, a person's words about it, and its files with their current signatures."""

    title: str
    said: str = ""
    hints: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


async def build_prompt(run: Run, task: Task, base: str) -> str:
    """Build the agent's prompt. `base` is the commit at which the agent begins."""
    role, needed = run.context.role_of(task), list_dependencies(task.id, run.state.plan.needs)
    records = [run.state.report.tasks[need] for need in needed[:MOST]]
    texts = await read_texts_at(run.context.git, base, [path for record in records for path in record.changed[:FILES]])
    parts = [
        role.prompt,
        await house_rules_of(run.context, task),
        task.brief,
        ANSWER if role.only_answers else "",
        format_all_notes([notes_from_report(record, texts) for record in records], len(needed)),
        ASK if can_propose(run, task) else "",
    ]
    return "\n\n".join(filter(None, parts))


async def read_texts_at(git: Git, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """Read the beginning of each path that is a regular file at the commit."""
    if not paths:
        return {}
    found = await read_files(git, await list_files(git, commit, paths), paths)
    return {path: content[:SCANNED] for path, content in found.items()}


def can_propose(run: Run, task: Task) -> bool:
    # In a reply of whole files, a proposal block would be read as a file.
    return bool(task.role and run.state.report.plan_file and run.context.role_of(task).edit_format != "whole")


def list_dependencies(task: int, needs: Mapping[int, Sequence[int]]) -> list[int]:
    """List all tasks that a task depends on: its own needs first, then theirs."""
    found: list[int] = []
    level = list(needs[task])
    while level:
        new = [need for need in dict.fromkeys(level) if need not in found and need != task]
        found += new
        level = [need for one in new for need in needs[one]]
    return found


def notes_from_report(record: TaskReport, texts: Mapping[str, bytes]) -> DependencyNotes:
    files = []
    for path in record.changed[:FILES]:
        text = texts[path].decode("utf-8", "replace") if path in texts else None
        files.append(f"{path} (deleted)" if text is None else signature_block(path, text) or path)
    return DependencyNotes(f"{record.agent}: {record.title}", record.said, tuple(record.hints), tuple(files))


def format_all_notes(tasks: Sequence[DependencyNotes], count: int = 0) -> str:
    """Format the notes within the limit, the nearest dependency first. `count` is the number of all dependencies."""
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
    """Format the notes of one dependency. A person's decision comes first, because it must not be cut off."""
    parts = [f"### {notes.title}"]
    parts += [f"A person's words about it: {cut_at_line_end(hint, HINT)}" for hint in notes.hints]
    # Keep room for signatures even if the reply is long.
    files = "\n".join(("Its files, with their signatures as they are now:", *notes.files)) if notes.files else ""
    parts += [cut_at_line_end(notes.said, LIMIT // 3 if files else LIMIT), files]
    return "\n".join(filter(None, parts))


def cut_at_line_end(text: str, room: int) -> str:
    """Cut a text to whole lines that fit; cut the first line itself if it is too long."""
    if len(text) <= room:
        return text
    kept = text[: max(room - 2, 0)]
    whole = kept.rpartition("\n")[0] or kept
    return f"{whole.rstrip()}\n…" if room > 40 else ""


async def make_attempt_order(run: Run, task: Task, number: int, start: AttemptStart) -> AttemptOrder:
    context = run.context
    role = context.role_of(task)
    found = await quote_search(run, task, number)
    brief = "\n\n".join(filter(None, (await build_prompt(run, task, start.base), found)))
    return AttemptOrder(
        run=context.stamp,
        task=task.id,
        attempt=number,
        base=start.base,
        parent=start.parent,
        message=run.commit_message(task),
        brief=f"{brief}\n\n{EARLIER}\n\n{start.lesson}" if start.lesson else brief,
        agent=context.agent_of(task).name,
        model=agent_model(context, task),
        files=task.paths,
        new=tuple(file.path for file in task.files if file.new),
        reads=task.reads,
        edit_format=role.edit_format,
        chat_mode=role.chat_mode,
        arguments=tuple(parse_aider_args(context.settings.aider_args)),
        command=context.settings.agent_cmd,
        set_up=context.worktree_setup,
        rules=FileRules(run.state.plan.owners, tuple(run.state.report.user_files), run.user_words),
    )


def agent_model(context: Context, task: Task) -> AgentModel:
    model = context.model_of(task)
    weak = catalogue.weak_model(model)
    return AgentModel(
        name=model.name,
        agent_name=model.aider_name,
        weak_name=weak.aider_name,
        key_variable=model.provider.agent_key_var,
        base_variable=model.provider.agent_base_var,
        upstream_name=model.upstream_name,
        output_cap=model.max_output or 0,
        metadata={each.aider_name: catalogue.metadata_entry(each) for each in (model, weak)},
        settings=catalogue.settings_entry(model, weak.aider_name, task.tokens, context.role_of(task).temperature),
    )
