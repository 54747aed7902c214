"""Plans as files in .aider_logs/plans: find, read, write, and mark what a run has completed."""

import dataclasses
from pathlib import Path

from orchestra.answers.prd_format import change_slug
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.locations import LOGS
from orchestra.errors import PlanError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.model import TaskState
from orchestra.plan import toml_file
from orchestra.plan.draft import Draft, unused_name
from orchestra.plan.proposals import add_proposals
from orchestra.process import replace_file
from orchestra.settings import Settings
from orchestra.workspace.git import top_level
from orchestra.workspace.repository import path_exists
from orchestra.workspace.tracked import may_be_tracked

PLANS = "plans"
SUBMITTED = "submitted"  # the plan that `submit` collects and `run` carries out


def plans_folder(root: Path) -> Path:
    return root / LOGS / PLANS


def plan_names(root: Path) -> list[str]:
    """List the plans, the latest first."""
    found = plans_folder(root).glob("*.toml")
    return [path.stem for path in sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name))]


def find_plan_file(root: Path, name: str) -> Path:
    """Find an existing plan by its name, or as a file from anywhere."""
    path = plans_folder(root) / f"{name}.toml"
    if "/" not in name and path_exists(path):
        return path
    if path_exists(Path(name)) and Path(name).is_file():
        return Path(name).absolute()
    known = plan_names(root)
    hint = f"The plans here: {', '.join(known[:8])}." if known else 'Make one with `plan "what you want"`.'
    raise PlanError(f"there is no plan {name!r}.", hint=hint)


def with_submitted_plan(settings: Settings) -> Settings:
    """Use the submitted tasks if no change was given and some of them are left."""
    root = top_level(Path(settings.repo or "."))
    path = plans_folder(root) / f"{SUBMITTED}.toml" if root else None
    left = path and path_exists(path) and load_draft(path).unfinished
    return settings.with_values(plan=SUBMITTED) if left else settings


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
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, toml_file.format_draft(draft, path.stem).encode())


def new_plan_path(root: Path, goal: str, name: str = "") -> Path:
    """Return the path for a new plan. A name given by the user must be free; a name made here is made unique."""
    prepare_log_folder(root / LOGS)
    known = plan_names(root)
    if name and (change_slug(name) != name.lower() or name.lower() in known):
        why = "it is taken" if name.lower() in known else "use letters, digits and dashes"
        raise PlanError(f"a plan cannot be named {name!r}: {why}.")
    return plans_folder(root) / f"{name.lower() or unused_name(goal, known)}.toml"


def is_users_plan(root: Path, path: Path) -> bool:
    """Whether a plan's file is the user's own: a tracked one came with the repository, and is not approved here."""
    real_path, root = path.parent.resolve() / path.name, root.resolve()
    return not (real_path.is_relative_to(root) and may_be_tracked(root, str(real_path.relative_to(root))))


# --- after a run


def update_plan_file(run: Run) -> None:
    """Write into the plan's file what the user's branch now holds, and what agents propose."""
    report = run.state.report
    path = run.context.repository.root / report.plan_file
    if not (report.plan_file and path_exists(path)):
        return
    draft, tasks = load_draft(path), {task.name: report.tasks[task.id] for task in run.state.plan.tasks}
    items = list(draft.task)
    for number, item in enumerate(items):
        task = tasks.get(item.id)
        if task and task.state == TaskState.COMPLETE and (report.applied or task.answered or task.nothing_to_do):
            said = task.said if task.answered else ""
            items[number] = dataclasses.replace(item, done=run.context.stamp, said=said)
    save_draft(path, draft.with_items(add_proposals(items, report.proposals.values())))
