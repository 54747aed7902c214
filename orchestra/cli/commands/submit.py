"""`submit`: add tasks to the list that `run` carries out."""

import asyncio
import dataclasses
from argparse import Namespace
from pathlib import Path

from orchestra.cli.command_io import print_plain
from orchestra.cli.launch import run_until_done, settings_to_run
from orchestra.cli.parser import CommandParser, run_options
from orchestra.cli.plan_editor.drafting import run_planning
from orchestra.cli.plan_editor.edited_plan import EditedPlan
from orchestra.conduct.core.locations import LOGS, find_repository
from orchestra.conduct.core.models import Project
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.prd import chosen_targets
from orchestra.errors import PlanError, UsageError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import PRIORITIES, Draft, PlanItem, unused_name
from orchestra.plan.edit import replace_values
from orchestra.plan.roles import known_roles
from orchestra.report.phrases import plural
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository, path_exists


def add_submit_arguments(parser: CommandParser) -> None:
    parser.add_argument("goal", metavar="TEXT", help="what you want; @FILE reads it from a file, - from stdin")
    parser.add_argument("--agent", metavar="ROLE", default="", help="the role of the agent that does it")
    parser.add_argument("--priority", choices=list(PRIORITIES), default="", help="which tasks start first")
    parser.add_argument(
        "-d", dest="decompose", action="store_const", const=True, help="short for --decompose: make a graph of tasks"
    )
    parser.add_run_options()


def cmd_submit(arguments: Namespace) -> int:
    """Add a task to the list that `run` carries out. With --files FILE... it is about these files; otherwise a model
    chooses the files, and with --decompose makes a graph of tasks."""
    several = bool(arguments.decompose)
    settings = settings_to_run(run_options(arguments) | {"change": arguments.goal, "decompose": None})
    check_submission(settings, arguments.agent, several)
    repository = asyncio.run(find_repository(settings))
    plan = EditedPlan(settings, repository, submissions_path(repository.root))
    values = {"role": arguments.agent, "priority": arguments.priority}
    values = {name: value for name, value in values.items() if value}

    def save_plan(checked: CheckedDraft) -> Path:
        add_submissions(plan, checked.draft, values)
        return plan.path

    before = len(load_submissions(plan).task)
    if settings.files:
        add_submissions(plan, draft_from_files(settings, repository), values)
    else:
        single = settings if several else settings.with_values(use_prd=bool(settings.prd))
        if code := run_until_done(run_planning(single, save_plan, single=not several)):
            return code
    added = len(load_submissions(plan).task) - before
    print_plain(f"{plural(added, 'task')} submitted. To carry out what was submitted: aider-orchestrator run")
    return 0


def check_submission(settings: Settings, role: str, several: bool) -> None:
    if not settings.change:
        raise UsageError("TEXT is empty: write what you want.")
    if role and role not in known_roles(settings.roles):
        raise UsageError(f"there is no role {role!r}.", hint=f"Roles: {', '.join(known_roles(settings.roles))}.")
    if several and settings.files:
        raise UsageError("--decompose and --files exclude each other.")


def submissions_path(root: Path) -> Path:
    prepare_log_folder(root / LOGS)
    return plan_files.plans_folder(root) / f"{plan_files.SUBMITTED}.toml"


def load_submissions(plan: EditedPlan) -> Draft:
    """Return the unfinished tasks of the list."""
    if not path_exists(plan.path):
        return Draft("")
    draft = plan.load()
    return draft.with_items(item for item in draft.task if not item.done)


def draft_from_files(settings: Settings, repository: Repository) -> Draft:
    project = Project(settings, repository, asyncio.run(repository.entries()))
    targets = asyncio.run(chosen_targets(project))
    if targets is None:
        raise PlanError("no files were named.")
    first = settings.change.strip().splitlines()[0][:80]
    paths = tuple(file.path for file in targets.files)
    item = PlanItem(unused_name(first, ()), first, settings.change, paths, named=targets.named)
    return Draft(settings.change, "", False, (item,))


def add_submissions(plan: EditedPlan, more: Draft, values: dict[str, str]) -> None:
    """Add tasks to the list, under names that are unused there."""
    old = load_submissions(plan)
    names: dict[str, str] = {}
    for item in more.task:
        names[item.id] = unused_name(item.id, [*old.ids, *names.values()])
    new = [
        replace_values(
            dataclasses.replace(item, id=names[item.id], needs=tuple(names[need] for need in item.needs)), **values
        )
        for item in more.task
    ]
    goal = "\n".join(filter(None, (old.goal.strip(), more.goal.strip())))
    plan.save(dataclasses.replace(old, goal=goal, prd=more.prd or old.prd, task=(*old.task, *new)))
