"""A plan as people look at it: its tasks by phases, what each needs, and the chain that takes longest."""

from collections.abc import Mapping, Sequence

from orchestra.plan.draft import Draft, PlanItem, critical_path, group_phases
from orchestra.report.phrases import plural
from orchestra.report.sanitize import safe_line

USUAL_MARKS = ("", "normal")
MAX_FILES = 6


def plan_tree(draft: Draft, weights: Mapping[str, float], estimates: Mapping[str, str] | None = None) -> str:
    """`weights` say how long each task takes beside the others, `estimates` what each is thought to cost."""
    left, told = draft.unfinished, estimates or {}
    lines = [safe_line(draft.goal, 200), ""]
    for n, phase in enumerate(group_phases(left), start=1):
        lines.append(f"Phase {n}" + (", at the same time" if len(phase) > 1 else ""))
        for item in phase:
            lines += item_lines(item, told.get(item.id, ""))
    way = critical_path(left, weights)
    lines += ["", f"The longest chain: {' → '.join(way)}"] if len(way) > 1 else []
    lines += titled_items("Done", [item for item in draft.task if item.done])
    lines += titled_items(
        "Proposed by agents, and not begun without a yes", [item for item in draft.task if item.proposed]
    )
    yes = "approved" if draft.approved else "not approved yet"
    return "\n".join([*lines, "", f"{plural(len(left), 'task')} to do, {yes}"])


def item_lines(item: PlanItem, estimate: str) -> list[str]:
    marks = [item.role] + [f"{word} {what}" for what, word in marked(item) if word not in USUAL_MARKS] + [estimate]
    about = ", ".join(mark for mark in marks if mark)
    files = [f"{path} (new)" if path in item.new else path for path in item.files[:MAX_FILES]]
    more = [f"and {len(item.files) - MAX_FILES} more"] if len(item.files) > MAX_FILES else []
    return [
        f"  {item.id}: {safe_line(item.title, 120)}" + (f"  [{about}]" if about else ""),
        *([f"      files: {safe_line(', '.join([*files, *more]), 400)}"] if files else []),
        *([f"      needs: {', '.join(item.needs)}"] if item.needs else []),
    ]


def marked(item: PlanItem) -> tuple[tuple[str, str], ...]:
    return (("priority", item.priority), ("risk", item.risk))


def titled_items(head: str, items: Sequence[PlanItem]) -> list[str]:
    return ["", f"{head}:", *(f"  {item.id}: {safe_line(item.title, 120)}" for item in items)] if items else []
