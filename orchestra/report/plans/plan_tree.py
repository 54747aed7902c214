"""A plan as text: its tasks by phases, what each needs, and the longest chain."""

from collections.abc import Mapping, Sequence

from orchestra.plan.draft import Draft, PlanItem, critical_path, group_phases
from orchestra.report.phrases import plural
from orchestra.report.sanitize import safe_line
from orchestra.report.state import join_some

USUAL_LEVELS = ("", "normal")
MAX_FILES = 6


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
    marks = [item.role, *(f"{level} {name}" for name, level in levels if level not in USUAL_LEVELS), estimate]
    about = ", ".join(filter(None, marks))
    files = join_some([f"{path} (new)" if path in item.new else path for path in item.files], MAX_FILES)
    return [
        f"  {item.id}: {safe_line(item.title, 120)}" + (f"  [{about}]" if about else ""),
        *([f"      files: {safe_line(files, 400)}"] if files else []),
        *([f"      needs: {', '.join(item.needs)}"] if item.needs else []),
    ]


def titled_items(head: str, items: Sequence[PlanItem]) -> list[str]:
    return ["", f"{head}:", *(f"  {item.id}: {safe_line(item.title, 120)}" for item in items)] if items else []
