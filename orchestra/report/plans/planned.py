"""The plan before it is carried out: for a person on one screen, for a program as JSON."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestra.events import plain
from orchestra.model import Link, Plan, Task
from orchestra.report.plans.estimate import Estimate, in_words
from orchestra.report.sentence import plural

WIDTH, HEIGHT = 80, 40
FRAME = 13  # lines that are not about one agent


# --- for a program --------------------------------------------------------------------------------------------------


def record(plan: Plan, model: str, found: Estimate, left_out: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    links = plan.basis.together or ((),) * len(plan.tasks)
    whole = plain(found.record())
    ranges = {one.pop("task"): one for one in whole.pop("tasks")}
    return {
        "model": model,
        "agents": plan.agents,
        "tasks": [
            {
                "agent": task.agent,
                "tokens": task.tokens,
                "files": [asdict(file) for file in task.files],
                "reads": list(task.reads),
                "links": [asdict(link) for link in those],
                "estimate": ranges[task.id],
            }
            for task, those in zip(plan.tasks, links, strict=True)
        ],
        "cut": None if plan.basis.cut is None else round(plan.basis.cut, 4),
        "commits": plan.basis.commits,
        "cut_links": [asdict(link) for link in plan.basis.apart],
        "notes": list(plan.basis.notes),
        "left_out": {why: list(paths) for why, paths in left_out.items()},
        "estimate": whole,
    }


# --- for a person ---------------------------------------------------------------------------------------------------


def page(plan: Plan, model: str, found: Estimate, left_out: Mapping[str, Sequence[str]]) -> str:
    files = sum(len(task.files) for task in plan.tasks)
    waves = -(-len(plan.tasks) // max(plan.agents, 1))
    head = f"{plural(files, 'file')} for {plural(plan.agents, 'agent')} at once, {model}"
    if waves > 1:
        head += f"; {len(plan.tasks)} tasks in {waves} waves"
    lines = [head, *wrapped(found.side_by_side), *(line for note in plan.basis.notes for line in wrapped(note)), ""]
    tail = [*cut(plan), *said_left_out(left_out), *told(found)]
    room = HEIGHT - len(lines) - len(tail) - 1
    return "\n".join([*lines, *agents(plan, room), "", *tail])


def agents(plan: Plan, room: int) -> list[str]:
    """Every file where that fits on the screen, else the folders, and at last one line for each agent."""
    links = plan.basis.together or ((),) * len(plan.tasks)
    whole = [agent(task, those, every_file(task)) for task, those in zip(plan.tasks, links, strict=True)]
    if sum(map(len, whole)) <= room:
        return [line for one in whole for line in one]
    each = max(room // max(len(plan.tasks), 1), 1)
    short = [shortened(task, those, each) for task, those in zip(plan.tasks, links, strict=True)]
    shown = short[: max(room - 1, 1)] if each == 1 and len(short) > room else short
    rest = [f"… and {len(short) - len(shown)} more tasks"] if len(shown) < len(short) else []
    return [line for one in shown for line in one] + rest


def agent(task: Task, links: Sequence[Link], files: Sequence[str]) -> list[str]:
    because = [clipped(f"together: {brief(links[0])}")] if links else []
    return [title(task), *files, *because]


def title(task: Task) -> str:
    return f"agent{task.id}  {plural(len(task.files), 'file')}, about {task.tokens:,} tokens"


def every_file(task: Task) -> list[str]:
    own = [f"  {file.path}{'  (new)' if file.new else ''}" for file in task.files]
    return own + [f"  {path}  (to read only)" for path in task.reads]


def shortened(task: Task, links: Sequence[Link], lines: int) -> list[str]:
    if lines < 3:
        found = [clipped(f"{title(task)}: {folders(task, 2)}")]
        return [*found, clipped(f"  together: {brief(links[0])}")] if lines == 2 and links else found
    because = [clipped(f"  together: {brief(link)}") for link in links[: lines - 2]]
    return [
        title(task),
        *(f"  {line}" for line in wrapped(folders(task, 6), WIDTH - 2)[: lines - 1 - len(because)]),
        *because,
    ]


def folders(task: Task, most: int) -> str:
    """src/auth (12), tests (7) and 3 more: where the files lie."""
    counts = Counter(file.path.rpartition("/")[0] or "." for file in task.files)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[most:])
    return ", ".join(f"{name} ({count})" for name, count in ranked[:most]) + (f" and {rest} more" if rest else "")


def brief(link: Link) -> str:
    """The first reason, and what lies in the same folder by its name alone."""
    folder = link.one.rpartition("/")[0]
    same = folder and link.other.rpartition("/")[0] == folder
    other = link.other.rpartition("/")[2] if same else link.other
    return f"{link.why.split(',')[0]}: {link.one} + {other}"


def cut(plan: Plan) -> list[str]:
    if len(plan.tasks) < 2:
        return []
    basis = plan.basis
    if basis.cut is None:
        said = ["How much of what usually changes together is cut is not known: the history says too little."]
    else:
        said = [f"Cut: {basis.cut:.0%} of what usually changes together ({plural(basis.commits, 'commit')})."]
    return [*said, *(clipped(f"cut: {brief(link)}") for link in basis.apart), ""]


def said_left_out(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    found = [wrapped(f"Left out, because {why}: {some(paths)}") for why, paths in left_out.items() if paths]
    return [*(line for lines in found for line in lines), ""] if found else []


def some(paths: Sequence[str], most: int = 12) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


def told(found: Estimate) -> list[str]:
    return wrapped(f"Estimate: {in_words(found)} ({found.basis}).")


def wrapped(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def clipped(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
