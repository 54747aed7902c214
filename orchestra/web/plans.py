"""The plan files of the server's repositories: read, checked and changed as by `plan`. The methods read the disk: call
them in a thread."""

import asyncio
import dataclasses
import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestra.cli.commands.plan import count_items
from orchestra.cli.find import RunIndex
from orchestra.cli.load import read_settings
from orchestra.cli.plan_editor import EditedPlan
from orchestra.conduct.core.locations import find_repository
from orchestra.conduct.core.models import estimate_with_roles
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.lead import plan_from_draft
from orchestra.errors import OrchestraError, PlanError
from orchestra.events import to_json_value
from orchestra.plan.draft import Draft, needs_by_id
from orchestra.plan.toml_file import format_draft, parse_draft
from orchestra.report.page.graph_layout import lay_out_graph
from orchestra.web.envelope import ApiError
from orchestra.web.repositories import Repositories
from orchestra.web.rows import Row

NAME = re.compile(r"[\w-]{1,120}")
Change = Callable[[EditedPlan], EditedPlan]


@dataclass
class PlanFiles:
    """The plan files. A change reads and writes a file under the lock, so that two changes do not lose one."""

    repositories: Repositories
    lock: threading.Lock = field(default_factory=threading.Lock)

    def list_plans(self) -> list[Row]:
        """List the plans of all repositories; of each repository the latest first."""
        indexes = self.repositories.indexes
        return [plan_summary(index, name) for index in indexes for name in plan_files.plan_names(index.root)]

    def find_index(self, name: str, repository: str) -> RunIndex:
        """Return the repository that has this plan."""
        indexes = [self.repositories.find_index(repository)] if repository else self.repositories.indexes
        matches = [index for index in indexes if has_plan(index, name)]
        if not matches:
            raise ApiError(404, f"There is no plan {name!r}.")
        if len(matches) > 1:
            raise ApiError(409, f"Several repositories have a plan {name}: give `repository`.", "AMBIGUOUS_PLAN")
        return matches[0]

    def read(self, name: str, repository: str) -> Row:
        index = self.find_index(name, repository)
        return plan_record(index, open_plan_of(index, name))

    def change(self, name: str, repository: str, check: Callable[[str], None], change: Change) -> Row:
        """Change a plan. `check` gets the tag of its file first, and may refuse."""
        index = self.find_index(name, repository)
        with self.lock:
            plan = open_plan_of(index, name)
            check(plan_tag(plan))
            return plan_record(index, change(plan))

    def write_new(self, name: str, repository: str, draft: Draft) -> Row:
        """Write a plan that does not exist yet."""
        index = self.repositories.find_index(repository)
        with self.lock:
            path = plan_files.new_plan_path(index.root, draft.goal, name)
            plan_files.save_draft(path, draft)
            return plan_record(index, open_plan_of(index, path.stem))


def has_plan(index: RunIndex, name: str) -> bool:
    return NAME.fullmatch(name) is not None and (plan_files.plans_folder(index.root) / f"{name}.toml").is_file()


def open_plan_of(index: RunIndex, name: str) -> EditedPlan:
    settings = read_settings({"repo": str(index.root), "json": None})
    path = plan_files.plans_folder(index.root) / f"{name}.toml"
    return EditedPlan(settings, asyncio.run(find_repository(settings)), path)


def plan_tag(plan: EditedPlan) -> str:
    """Return the ETag of the plan's file, which an editor may have changed meanwhile."""
    return f'"{hashlib.sha256(plan.path.read_bytes()).hexdigest()[:20]}"'


def plan_summary(index: RunIndex, name: str) -> Row:
    record = {"name": name, "repository": str(index.root)}
    try:
        draft = plan_files.load_draft(plan_files.plans_folder(index.root) / f"{name}.toml")
    except PlanError as error:
        return record | {"problem": str(error)}
    return record | {"goal": draft.goal, "approved": draft.approved, "problem": ""} | count_items(draft)


def plan_record(index: RunIndex, plan: EditedPlan) -> Row:
    """Describe a plan as it would be executed: its file, tasks, problems, graph and estimate."""
    tag = plan_tag(plan)
    record = {"name": plan.name, "repository": str(index.root), "etag": tag}
    record["toml"] = plan.path.read_text("utf-8", "replace")
    try:
        draft = plan.load()
    except PlanError as error:  # the file is edited by hand too
        return record | {"problems": [str(error)], "repairs": [], "tasks": [], "graph": None, "estimate": None}
    checked = plan.check_with_repository(draft)
    numbers = {item.id: number for number, item in enumerate(draft.task, 1)}
    needs = {numbers[id]: [numbers[need] for need in needed] for id, needed in needs_by_id(draft.task).items()}
    graph = lay_out_graph(needs)
    return record | {
        "goal": draft.goal,
        "prd": draft.prd,
        "approved": draft.approved,
        "tasks": [dataclasses.asdict(item) | {"number": numbers[item.id]} for item in draft.task],
        "repairs": list(checked.repairs),
        "problems": list(checked.problems),
        "graph": graph._asdict() if graph else None,
        "estimate": None if checked.problems else estimate_record(plan, draft, checked.draft),
    }


def estimate_record(plan: EditedPlan, draft: Draft, checked: Draft) -> Row | None:
    """Return the estimate of the unfinished tasks, by their ids; None without a model that can be estimated."""
    try:
        made = asyncio.run(plan_from_draft(plan.project, plan.load_prd(draft), checked))
        whole: dict[str, Any] = to_json_value(estimate_with_roles(plan.project, made))
    except OrchestraError:
        return None
    names = {task.id: task.name for task in made.tasks}
    tasks = {names[task.pop("task")]: task for task in whole.pop("tasks")}
    return whole | {"tasks": tasks, "agents": made.agents, "notes": list(made.basis.notes)}


def draft_of_text(name: str, text: str) -> Draft:
    """Read a plan that a person wrote. An approval in it does not count: `approve` checks the plan."""
    return dataclasses.replace(parse_draft(text, f"the plan {name}"), approved=False)


def replaced_text(plan: EditedPlan, text: str) -> str:
    """Return the text of the file, with its comments, and without an approval."""
    draft = draft_of_text(plan.name, text)
    return text if not parse_draft(text, plan.name).approved else format_draft(draft, plan.name)
