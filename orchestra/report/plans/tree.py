"""A plan as people look at it: its tasks by phases, what each needs, and the chain that takes longest."""

from collections.abc import Mapping, Sequence

from orchestra.plan.draft import Draft, Item, critical_path, phases
from orchestra.report.safe import line
from orchestra.report.sentence import plural

NORMAL = ("", "normal")
FILES = 6


def tree(draft: Draft, weights: Mapping[str, float], estimates: Mapping[str, str] | None = None) -> str:
    """`weights` say how long each task takes beside the others, `estimates` what each is thought to cost."""
    left, told = draft.left, estimates or {}
    lines = [line(draft.goal, 200), ""]
    for n, phase in enumerate(phases(left), start=1):
        lines.append(f"Phase {n}" + (", at the same time" if len(phase) > 1 else ""))
        for item in phase:
            lines += task(item, told.get(item.id, ""))
    way = critical_path(left, weights)
    lines += ["", f"The longest chain: {' → '.join(way)}"] if len(way) > 1 else []
    lines += others("Done", [item for item in draft.task if item.done])
    lines += others("Proposed by agents, and not begun without a yes", [item for item in draft.task if item.proposed])
    yes = "approved" if draft.approved else "not approved yet"
    return "\n".join([*lines, "", f"{plural(len(left), 'task')} to do, {yes}"])


def task(item: Item, estimate: str) -> list[str]:
    marks = [item.role] + [f"{word} {what}" for what, word in marked(item) if word not in NORMAL] + [estimate]
    about = ", ".join(mark for mark in marks if mark)
    files = [f"{path} (new)" if path in item.new else path for path in item.files[:FILES]]
    more = [f"and {len(item.files) - FILES} more"] if len(item.files) > FILES else []
    return [
        f"  {item.id}: {line(item.title, 120)}" + (f"  [{about}]" if about else ""),
        *([f"      files: {line(', '.join([*files, *more]), 400)}"] if files else []),
        *([f"      needs: {', '.join(item.needs)}"] if item.needs else []),
    ]


def marked(item: Item) -> tuple[tuple[str, str], ...]:
    return (("priority", item.priority), ("risk", item.risk))


def others(head: str, items: Sequence[Item]) -> list[str]:
    return ["", f"{head}:", *(f"  {item.id}: {line(item.title, 120)}" for item in items)] if items else []
