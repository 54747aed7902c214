"""The tasks that `submit` collects and `run` carries out, with the words of agent-orchestrator-platform. Its fields are
`title`, `description`, `priority` (1 is the first of 5), `riskLevel`, `filesHint`. The functions read the disk: call
them in a thread."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from orchestra.cli.commands.plan import add_submissions, draft_from_files, load_submissions
from orchestra.cli.find import RunIndex
from orchestra.cli.load import read_settings
from orchestra.cli.plan_editor import EditedPlan
from orchestra.conduct.core.locations import LOGS, find_repository
from orchestra.conduct.planning.plan_files import SUBMITTED, plans_folder
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.plan.draft import PRIORITIES, PlanItem, unused_name
from orchestra.plan.edit import edit_draft, replace_values
from orchestra.report.state import Report
from orchestra.web.envelope import ApiError
from orchestra.web.launch import check_text
from orchestra.web.rows import Row

TASK_FIELDS = ("title", "description", "priority", "riskLevel", "filesHint", "agent")
PRIORITY_NAMES = {1: "high", 2: "high", 3: "normal", 4: "low", 5: "low"}
PRIORITY_NUMBERS = {"high": 1, "normal": 3, "low": 5}
RISK_NAMES = {"LOW": "low", "MEDIUM": "normal", "NORMAL": "normal", "HIGH": "high"}
RISK_WORDS = {"low": "LOW", "normal": "MEDIUM", "high": "HIGH"}
LEVEL_NAMES = {level: name for name, level in PRIORITIES.items()}
SUBMITTED_MARK, MOST_FILES = "s", 1_000


def open_task_list(index: RunIndex, change: str = "", files: tuple[str, ...] = ()) -> EditedPlan:
    """Return the list of a repository, which need not exist yet."""
    given = {"change": change, "files": list(files)} if files else {}
    settings = read_settings({"repo": str(index.root), "json": None} | given)
    repository = asyncio.run(find_repository(settings))
    prepare_log_folder(repository.root / LOGS)
    return EditedPlan(settings, repository, plans_folder(repository.root) / f"{SUBMITTED}.toml")


def submitted_rows(index: RunIndex) -> list[Row]:
    plan = open_task_list(index)
    return [submitted_row(index, item) for item in (plan.load().task if plan.path.exists() else ())]


def submitted_row(index: RunIndex, item: PlanItem) -> Row:
    status = "DONE" if item.done else "PROPOSED" if item.proposed else "PENDING"
    return {
        "id": f"{SUBMITTED_MARK}:{item.id}",
        "repository": str(index.root),
        "title": item.title,
        "description": item.brief,
        "status": status,
        "priority": PRIORITY_NUMBERS[item.priority],
        "riskLevel": RISK_WORDS[item.risk],
        "filesHint": list(item.files),
        "needs": [f"{SUBMITTED_MARK}:{need}" for need in item.needs],
        "agent": item.role or None,
        "run": item.done or None,
    }


def run_task_rows(report: Report, ref: str) -> list[Row]:
    return [
        {
            "id": f"{ref}:{task.id}",
            "title": task.title,
            "description": task.brief,
            "status": str(task.state).upper(),
            "priority": PRIORITY_NUMBERS[
                {level: name for name, level in PRIORITIES.items()}.get(task.priority, "normal")
            ],
            "filesHint": list(task.files),
            "needs": [f"{ref}:{need}" for need in task.needs],
            "agent": task.agent,
            "run": ref,
        }
        for task in report.tasks.values()
    ]


def read_task_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a plan's item that a request gives. Raise 400 for what is unknown or wrong."""
    if unknown := [name for name in values if name not in TASK_FIELDS]:
        raise ApiError(400, f"A task has no `{unknown[0]}` to set: {', '.join(TASK_FIELDS)}.")
    fields: dict[str, Any] = {}
    for name, own in (("title", "title"), ("description", "brief"), ("agent", "role")):
        if name in values:
            fields[own] = check_text(values[name], name)
    if "priority" in values:
        fields["priority"] = read_level(values["priority"], "priority", PRIORITY_NAMES, "1 to 5, high, normal or low")
    if "riskLevel" in values:
        fields["risk"] = read_level(values["riskLevel"], "riskLevel", RISK_NAMES, "LOW, MEDIUM or HIGH")
    if "filesHint" in values:
        files = values["filesHint"]
        if not isinstance(files, list) or len(files) > MOST_FILES:
            raise ApiError(400, f"`filesHint` must be a list of at most {MOST_FILES} paths.")
        fields["files"] = tuple(check_text(path, "filesHint") for path in files)
    return fields


def read_level(value: Any, name: str, known: Mapping[Any, str], choices: str) -> str:
    key = value.upper() if isinstance(value, str) and name == "riskLevel" else value
    if isinstance(key, str | int) and not isinstance(key, bool):
        if key in known:
            return known[key]
        if name == "priority" and key in PRIORITIES:
            return str(key)
    raise ApiError(400, f"`{name}` must be {choices}.")


def submit_task(index: RunIndex, fields: Mapping[str, Any]) -> Row:
    """Add a task about these files to the list."""
    title = str(fields.get("title") or fields.get("brief", "")).strip()
    if not title:
        raise ApiError(400, "Give a `title`.")
    change = str(fields.get("brief") or title)
    plan = open_task_list(index, change, fields["files"])
    draft = draft_from_files(plan.settings, plan.repository)
    values = {name: value for name, value in fields.items() if name in ("priority", "risk", "role") and value}
    named = {"id": unused_name(title, ()), "title": title[:200]}
    add_submissions(plan, draft.with_items(replace_values(item, **named) for item in draft.task), values)
    return submitted_row(index, load_submissions(plan).task[-1])


def change_submitted(index: RunIndex, id: str, fields: Mapping[str, Any]) -> Row:
    plan = open_task_list(index)
    item = require_submitted(plan, id)
    changed = replace_values(item, **fields)
    plan.save(dataclasses.replace(plan.load().with_item(changed), approved=False))
    return submitted_row(index, changed)


def remove_submitted(index: RunIndex, id: str) -> Row:
    plan = open_task_list(index)
    item = require_submitted(plan, id)
    plan.save(dataclasses.replace(edit_draft(plan.load(), ["remove", id]), approved=False))
    return submitted_row(index, item)


def require_submitted(plan: EditedPlan, id: str) -> PlanItem:
    item = plan.load().find_item(id) if plan.path.exists() else None
    if item is None:
        raise ApiError(404, f"The list has no task {id!r}.")
    return item
