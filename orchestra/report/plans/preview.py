"""A plan as text: that of a dry run on one screen or as JSON, and that of a file by phases."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestra.events import PlanRange, to_json_value
from orchestra.model import FileLink, Plan, Task
from orchestra.plan.draft import Draft, PlanItem, critical_path, group_phases
from orchestra.report.phrases import plural
from orchestra.report.plans.estimate import estimate_phrase
from orchestra.report.sanitize import safe_line
from orchestra.wording import join_some

MAX_FILES = 6
WIDTH, HEIGHT = 80, 40


def preview_record(
    plan: Plan, model: str, estimate: PlanRange, left_out: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    whole = to_json_value(estimate)
    ranges = {task.pop("task"): task for task in whole.pop("tasks")}
    return {
        "model": model,
        "agents": plan.agents,
        "tasks": [
            {
                "agent": task.agent,
                "tokens": task.tokens,
                "files": [asdict(file) for file in task.files],
                "reads": list(task.reads),
                "links": [asdict(link) for link in task_links],
                "estimate": ranges[task.id],
            }
            for task, task_links in tasks_with_links(plan)
        ],
        "cut": None if plan.basis.cut is None else round(plan.basis.cut, 4),
        "commits": plan.basis.commits,
        "cut_links": [asdict(link) for link in plan.basis.apart],
        "notes": list(plan.basis.notes),
        "left_out": {why: list(paths) for why, paths in left_out.items()},
        "estimate": whole,
    }


def preview_page(
    plan: Plan, model: str, estimate: PlanRange, left_out: Mapping[str, Sequence[str]], house_rules: Sequence[str] = ()
) -> str:
    files = sum(len(task.files) for task in plan.tasks)
    waves = -(-len(plan.tasks) // max(plan.agents, 1))
    head = f"{plural(files, 'file')} for {plural(plan.agents, 'agent')} at once, {model}"
    if waves > 1:
        head += f"; {len(plan.tasks)} tasks in {waves} waves"
    beside = f"{estimate.each} attempts at each task side by side, of which the best is kept."
    notes = [*([beside] if estimate.each > 1 else []), *plan.basis.notes]
    lines = [head, *(line for note in notes for line in wrap_text(note)), ""]
    left = [f"Left out, because {why}: {join_some(paths, 12)}" for why, paths in left_out.items() if paths]
    left += [f"House rules: {join_some(house_rules, 12)}"] if house_rules else []
    reasons = [line for text in left for line in wrap_text(text)]
    tail = [
        *cut_lines(plan),
        *([*reasons, ""] if reasons else []),
        *wrap_text(f"Estimate: {estimate_phrase(estimate)} ({estimate.basis})."),
    ]
    room = HEIGHT - len(lines) - len(tail) - 1
    return "\n".join([*lines, *agent_blocks(plan, room), "", *tail])


def agent_blocks(plan: Plan, room: int) -> list[str]:
    """Every file if that fits on the screen, else the folders, else one line for each agent."""
    whole = [agent_block(task, task_links) for task, task_links in tasks_with_links(plan)]
    if sum(map(len, whole)) <= room:
        return [line for block in whole for line in block]
    each = max(room // max(len(plan.tasks), 1), 1)
    short = [short_agent_block(task, task_links, each) for task, task_links in tasks_with_links(plan)]
    shown = short[: max(room - 1, 1)] if each == 1 and len(short) > room else short
    rest = [f"… and {len(short) - len(shown)} more tasks"] if len(shown) < len(short) else []
    return [line for block in shown for line in block] + rest


def agent_block(task: Task, links: Sequence[FileLink]) -> list[str]:
    files = [f"  {file.path}{'  (new)' if file.new else ''}" for file in task.files]
    reads = [f"  {path}  (read only)" for path in task.reads]
    reason = [clip_line(f"together: {link_phrase(links[0])}")] if links else []
    return [agent_title(task), *files, *reads, *reason]


def tasks_with_links(plan: Plan) -> Iterator[tuple[Task, Sequence[FileLink]]]:
    return zip(plan.tasks, plan.basis.together or ((),) * len(plan.tasks), strict=True)


def agent_title(task: Task) -> str:
    return f"agent{task.id}  {plural(len(task.files), 'file')}, about {task.tokens:,} tokens"


def short_agent_block(task: Task, links: Sequence[FileLink], lines: int) -> list[str]:
    if lines < 3:
        title = clip_line(f"{agent_title(task)}: {folder_summary(task, 2)}")
        return [title, clip_line(f"  together: {link_phrase(links[0])}")] if lines == 2 and links else [title]
    reasons = [clip_line(f"  together: {link_phrase(link)}") for link in links[: lines - 2]]
    return [
        agent_title(task),
        *(f"  {line}" for line in wrap_text(folder_summary(task, 6), WIDTH - 2)[: lines - 1 - len(reasons)]),
        *reasons,
    ]


def folder_summary(task: Task, most: int) -> str:
    """The folders with the most files: src/auth (12), tests (7) and 3 more."""
    counts = Counter(file.path.rpartition("/")[0] or "." for file in task.files)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[most:])
    return ", ".join(f"{name} ({count})" for name, count in ranked[:most]) + (f" and {rest} more" if rest else "")


def link_phrase(link: FileLink) -> str:
    """The first reason of a link, and its files; the second by its name alone if it is in the same folder."""
    folder = link.one.rpartition("/")[0]
    same = folder and link.other.rpartition("/")[0] == folder
    other = link.other.rpartition("/")[2] if same else link.other
    return f"{link.why.split(',')[0]}: {link.one} + {other}"


def cut_lines(plan: Plan) -> list[str]:
    basis = plan.basis
    if len(plan.tasks) < 2:
        return []
    line = "Too little git history to tell which files belong together."
    if basis.cut is not None:
        line = f"Cut: {basis.cut:.0%} of what usually changes together ({plural(basis.commits, 'commit')})."
    links = basis.apart if basis.cut != 0 else ()
    return [line, *(clip_line(f"cut: {link_phrase(link)}") for link in links), ""]


def wrap_text(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def clip_line(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def plan_tree(draft: Draft, weights: Mapping[str, float], estimates: Mapping[str, str] | None = None) -> str:
    """`weights`: the relative time of each task. `estimates`: what each is expected to cost."""
    unfinished = draft.unfinished
    lines = [safe_line(draft.goal, 200), ""]
    for n, phase in enumerate(group_phases(unfinished), start=1):
        lines.append(f"Phase {n}" + (", at the same time" if len(phase) > 1 else ""))
        for item in phase:
            lines += item_lines(item, (estimates or {}).get(item.id, ""))
    chain = critical_path(unfinished, weights)
    lines += ["", f"The longest chain: {' → '.join(chain)}"] if len(chain) > 1 else []
    lines += titled_items("Done", [item for item in draft.task if item.done])
    lines += titled_items(
        "Proposed by agents, not started without your approval", [item for item in draft.task if item.proposed]
    )
    state = "approved" if draft.approved else "not approved yet"
    return "\n".join([*lines, "", f"{plural(len(unfinished), 'task')} to do, {state}"])


def item_lines(item: PlanItem, estimate: str) -> list[str]:
    levels = (("priority", item.priority), ("risk", item.risk))
    marks = [item.role, *(f"{level} {name}" for name, level in levels if level not in ("", "normal")), estimate]
    about = ", ".join(filter(None, marks))
    files = join_some([f"{path} (new)" if path in item.new else path for path in item.files], MAX_FILES)
    return [
        f"  {item.id}: {safe_line(item.title, 120)}" + (f"  [{about}]" if about else ""),
        *([f"      files: {safe_line(files, 400)}"] if files else []),
        *([f"      needs: {', '.join(item.needs)}"] if item.needs else []),
    ]


def titled_items(head: str, items: Sequence[PlanItem]) -> list[str]:
    return ["", f"{head}:", *(f"  {item.id}: {safe_line(item.title, 120)}" for item in items)] if items else []
