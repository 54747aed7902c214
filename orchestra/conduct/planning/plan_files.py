"""Plans as files in .aider_logs/plans: found, read, written, and marked with what a run has done of them."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from orchestra.answers.prd import slug
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.where import LOGS
from orchestra.errors import PlanError
from orchestra.events import ProposedTask
from orchestra.journal.jsonl import prepare
from orchestra.model import TaskState
from orchestra.plan import file
from orchestra.plan.draft import Draft, Item, own_name
from orchestra.settings import Settings
from orchestra.workspace.git import top_level
from orchestra.workspace.repository import present

PLANS = "plans"
SUBMITTED = "submitted"  # what `submit` collects and `run` carries out


def plans(root: Path) -> Path:
    return root / LOGS / PLANS


def names(root: Path) -> list[str]:
    """The latest first."""
    found = sorted(plans(root).glob("*.toml"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return [path.stem for path in found]


def place(root: Path, name: str) -> Path:
    """Of a plan that is there: by its name, or as a file from anywhere."""
    path = plans(root) / f"{name}.toml"
    if "/" not in name and present(path):
        return path
    if present(Path(name)) and Path(name).is_file():
        return Path(name).absolute()
    known = names(root)
    hint = f"The plans here: {', '.join(known[:8])}." if known else 'Make one with `plan "what you want"`.'
    raise PlanError(f"there is no plan {name!r}.", hint=hint)


def name_of(root: Path, path: Path) -> str:
    """How commands call it."""
    return path.stem if path.parent == plans(root) else shown(path)


def with_submitted(settings: Settings) -> Settings:
    """Where nothing was said, what was submitted is meant, if there is something left of it."""
    root = top_level(Path(settings.repo or "."))
    path = plans(root) / f"{SUBMITTED}.toml" if root else None
    return settings.with_values(plan=SUBMITTED) if path and present(path) and load(path).left else settings


def load(path: Path) -> Draft:
    try:
        return file.read(path.read_text(encoding="utf-8"), shown(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{shown(path)}: it cannot be read ({error}).") from None


def shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def save(path: Path, draft: Draft) -> None:
    """All of it or nothing: a plan that is half written would be lost work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(file.write(draft, path.stem), encoding="utf-8")
    part.replace(path)


def new_place(root: Path, goal: str, name: str = "") -> Path:
    """Where a new plan goes. A name that somebody has chosen must be free; one that we choose is made so."""
    prepare(root / LOGS)
    known = names(root)
    if name and (slug(name) != name.lower() or name.lower() in known):
        why = "it is taken" if name.lower() in known else "use letters, digits and dashes"
        raise PlanError(f"a plan cannot be called {name!r}: {why}.")
    return plans(root) / f"{name.lower() or own_name(goal, known)}.toml"


# --- what became of it ----------------------------------------------------------------------------------------------


def keep_up(run: Run) -> None:
    """Write into the plan's file what of it the user's branch now holds, and what the agents propose further."""
    path = run.context.repository.root / run.state.report.plan_file
    if not (run.state.report.plan_file and present(path)):
        return
    tasks = {task.name: run.state.report.tasks[task.id] for task in run.state.plan.tasks}
    done = {
        name: task.said if task.answered else ""
        for name, task in tasks.items()
        if task.state == TaskState.COMPLETE and (run.state.report.applied or task.answered)
    }
    draft = load(path)
    items = [
        dataclasses.replace(item, done=run.context.stamp, said=done[item.id]) if item.id in done else item
        for item in draft.task
    ]
    save(path, draft.with_items(with_proposals(items, run.state.report.proposals.values())))


def with_proposals(items: list[Item], proposals: Iterable[Iterable[ProposedTask]]) -> list[Item]:
    """What agents propose stands in the plan, and waits there for a yes of its own."""
    found = list(items)
    for one in (one for several in proposals for one in several):
        if all(one.title != item.title for item in found):
            id = own_name(one.title, (item.id for item in found))
            found.append(Item(id, one.title, one.brief, one.files, proposed=True))
    return found
