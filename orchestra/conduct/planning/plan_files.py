"""Plans as files in .aider_logs/plans: found, read, written, and marked with what a run has done of them."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from orchestra.answers.prd_format import change_slug
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.locations import LOGS
from orchestra.errors import PlanError
from orchestra.events import ProposedTask
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.model import TaskState
from orchestra.plan import toml_file
from orchestra.plan.draft import Draft, PlanItem, unused_name
from orchestra.settings import Settings
from orchestra.workspace.git import top_level
from orchestra.workspace.repository import path_exists

PLANS = "plans"
SUBMITTED = "submitted"  # what `submit` collects and `run` carries out


def plans_folder(root: Path) -> Path:
    return root / LOGS / PLANS


def plan_names(root: Path) -> list[str]:
    """The latest first."""
    found = sorted(plans_folder(root).glob("*.toml"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return [path.stem for path in found]


def find_plan_file(root: Path, name: str) -> Path:
    """Of a plan that is there: by its name, or as a file from anywhere."""
    path = plans_folder(root) / f"{name}.toml"
    if "/" not in name and path_exists(path):
        return path
    if path_exists(Path(name)) and Path(name).is_file():
        return Path(name).absolute()
    known = plan_names(root)
    hint = f"The plans here: {', '.join(known[:8])}." if known else 'Make one with `plan "what you want"`.'
    raise PlanError(f"there is no plan {name!r}.", hint=hint)


def command_name_of_plan(root: Path, path: Path) -> str:
    """How commands call it."""
    return path.stem if path.parent == plans_folder(root) else display_path(path)


def with_submitted_plan(settings: Settings) -> Settings:
    """Where nothing was said, what was submitted is meant, if there is something left of it."""
    root = top_level(Path(settings.repo or "."))
    path = plans_folder(root) / f"{SUBMITTED}.toml" if root else None
    return (
        settings.with_values(plan=SUBMITTED) if path and path_exists(path) and load_draft(path).unfinished else settings
    )


def load_draft(path: Path) -> Draft:
    try:
        return toml_file.parse_draft(path.read_text(encoding="utf-8"), display_path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{display_path(path)}: it cannot be read ({error}).") from None


def display_path(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def save_draft(path: Path, draft: Draft) -> None:
    """All of it or nothing: a plan that is half written would be lost work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(toml_file.format_draft(draft, path.stem), encoding="utf-8")
    part.replace(path)


def new_plan_path(root: Path, goal: str, name: str = "") -> Path:
    """Where a new plan goes. A name that somebody has chosen must be free; one that we choose is made so."""
    prepare_log_folder(root / LOGS)
    known = plan_names(root)
    if name and (change_slug(name) != name.lower() or name.lower() in known):
        why = "it is taken" if name.lower() in known else "use letters, digits and dashes"
        raise PlanError(f"a plan cannot be called {name!r}: {why}.")
    return plans_folder(root) / f"{name.lower() or unused_name(goal, known)}.toml"


# --- what became of it ----------------------------------------------------------------------------------------------


def update_plan_file(run: Run) -> None:
    """Write into the plan's file what of it the user's branch now holds, and what the agents propose further."""
    path = run.context.repository.root / run.state.report.plan_file
    if not (run.state.report.plan_file and path_exists(path)):
        return
    tasks = {task.name: run.state.report.tasks[task.id] for task in run.state.plan.tasks}
    done = {
        name: task.said if task.answered else ""
        for name, task in tasks.items()
        if task.state == TaskState.COMPLETE and (run.state.report.applied or task.answered)
    }
    draft = load_draft(path)
    items = [
        dataclasses.replace(item, done=run.context.stamp, said=done[item.id]) if item.id in done else item
        for item in draft.task
    ]
    save_draft(path, draft.with_items(add_proposals(items, run.state.report.proposals.values())))


def add_proposals(items: list[PlanItem], proposals: Iterable[Iterable[ProposedTask]]) -> list[PlanItem]:
    """What agents propose stands in the plan, and waits there for a yes of its own."""
    found = list(items)
    for one in (one for several in proposals for one in several):
        if all(one.title != item.title for item in found):
            id = unused_name(one.title, (item.id for item in found))
            found.append(PlanItem(id, one.title, one.brief, one.files, proposed=True))
    return found
