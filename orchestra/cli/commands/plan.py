"""`plan`: make, show, check, change and approve plans. `submit`: add tasks to the list that `run` carries out."""

import asyncio
import dataclasses
import os
import shlex
import subprocess
import sys
from argparse import REMAINDER, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from orchestra.cli.command_io import add_plan_and_run_options, add_plan_argument, is_attended, print_json, print_plain
from orchestra.cli.launch import Story, run_until_done, settings_to_run
from orchestra.cli.load import read_settings
from orchestra.cli.parser import CommandParser, run_options
from orchestra.cli.plan_editor import EditedPlan, open_plan, run_plan_editor, run_planning
from orchestra.conduct.core.locations import LOGS, find_repository
from orchestra.conduct.core.models import Project
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.plan_files import is_users_plan
from orchestra.conduct.planning.prd import chosen_targets
from orchestra.errors import PlanError, UsageError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import PRIORITIES, Draft, PlanItem, unused_name
from orchestra.plan.edit import HELP, edit_draft, replace_values
from orchestra.plan.roles import find_role
from orchestra.report.phrases import plural
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository, path_exists


def add_plan_new_arguments(parser: CommandParser) -> None:
    text = "what you want (or --change TEXT); @FILE reads it from a file, - from stdin"
    parser.add_argument("goal", metavar="TEXT", nargs="?", default="", help=text)
    parser.add_argument("--name", metavar="NAME", default="", help="the name of the plan (default: made from TEXT)")
    parser.add_run_options()


def cmd_plan_new(arguments: Namespace, story: Story) -> int:
    """Make a plan: a PRD and a graph of tasks in .aider_logs/plans/NAME.toml, which you can read and edit. No file
    is changed until `execute NAME`. On a terminal you can discuss the plan at once, and later with `plan continue`.
    Without a Google key, give --no-prd --files FILE...: the files are divided by what belongs together."""
    settings = settings_to_run(run_options(arguments) | ({"change": arguments.goal} if arguments.goal else {}))
    if not settings.change:
        raise UsageError("TEXT is missing: write what you want.")
    repository = asyncio.run(find_repository(settings, begin=not settings.files))
    path = plan_files.new_plan_path(repository.root, settings.change, arguments.name)

    def save_plan(checked: CheckedDraft) -> Path:
        plan_files.save_draft(path, checked.draft)
        return path

    code = run_until_done(run_planning(settings, save_plan))
    plan = EditedPlan(settings, repository, path)
    if code == 0 and is_attended(settings, sys.stdout):
        return run_plan_editor(plan, partial(execute_plan, arguments, story))
    if code == 0 and not (settings.json or settings.quiet or settings.events):
        print_plain(f"\n{plan.format_page(plan.load())}")
    return code


def open_named_plan(arguments: Namespace) -> EditedPlan:
    return open_plan(read_settings(run_options(arguments) | {"json": None}), arguments.name)


add_plan_list_arguments = CommandParser.add_run_options
add_plan_show_arguments = add_plan_check_arguments = add_plan_and_run_options
add_plan_continue_arguments = add_plan_approve_arguments = add_plan_and_run_options


def cmd_plan_list(arguments: Namespace) -> None:
    """List the plans: how many tasks are unfinished, and whether the plan is approved. --json prints JSON."""
    root = asyncio.run(find_repository(read_settings(run_options(arguments) | {"json": None}))).root
    names = plan_files.plan_names(root)
    drafts = [(name, plan_files.load_draft(plan_files.plans_folder(root) / f"{name}.toml")) for name in names]
    if arguments.json:
        print_json([{"name": name, "approved": draft.approved} | count_items(draft) for name, draft in drafts])
        return
    for name, draft in drafts:
        approved = "approved" if draft.approved else "not approved"
        tasks = f"{len(draft.unfinished)} of {plural(len(draft.task), 'task')} to do"
        print_plain(f"{name}  {tasks}, {approved}  {' '.join(draft.goal.split())[:60]}")
    if not drafts:
        print_plain('There are no plans here. To make one: aider-orchestrator plan "what you want"')


def count_items(draft: Draft) -> dict[str, int]:
    proposed = sum(item.proposed for item in draft.task)
    return {"tasks": len(draft.task), "left": len(draft.unfinished), "proposed": proposed}


def cmd_plan_show(arguments: Namespace) -> None:
    """Print a plan as it would be executed, with an estimate of its cost. --json prints JSON."""
    plan = open_named_plan(arguments)
    draft = plan.load()
    if arguments.json:
        checked = plan.check_with_repository(draft)
        record = {"name": plan.name, "repairs": list(checked.repairs), "problems": list(checked.problems)}
        print_json(record | dataclasses.asdict(checked.draft))
    else:
        plan.show(draft)


def cmd_plan_check(arguments: Namespace) -> None:
    """Check a plan. Exit code 2 if it cannot be executed."""
    plan = open_named_plan(arguments)
    checked = plan.check_with_repository(plan.load())
    if checked.problems:
        raise PlanError(f"the plan {plan.name} cannot be executed: {checked.problem_text}.")
    for repair in checked.repairs:
        print_plain(f"will be corrected: {repair}")
    print_plain(f"The plan {plan.name} can be executed: {plural(len(checked.draft.unfinished), 'task')}.")


def cmd_plan_continue(arguments: Namespace, story: Story) -> int:
    """Discuss and change a plan at the terminal. Each change is checked and saved at once."""
    return run_plan_editor(open_named_plan(arguments), partial(execute_plan, arguments, story))


def execute_plan(arguments: Namespace, story: Story, name: str) -> int:
    """Carry out a plan with the command's options, except those that say what a plan is made from."""
    makes_plan = dict.fromkeys(("change", "files", "assign", "decompose", "approve"))
    return run_until_done(story(settings_to_run(run_options(arguments) | makes_plan | {"plan": name})))


def cmd_plan_approve(arguments: Namespace) -> None:
    """Approve a plan, so that `execute` starts without asking. This also approves the tasks that agents proposed."""
    plan = open_named_plan(arguments)
    approve_plan(plan)
    print_plain(f"The plan {plan.name} is approved. To carry it out: aider-orchestrator execute {plan.name}")


def approve_plan(plan: EditedPlan) -> EditedPlan:
    """Approve the plan if it can be executed. Return the plan whose file has the approval."""
    draft = plan.load()
    items = [dataclasses.replace(item, proposed=False) for item in draft.task]
    approved = dataclasses.replace(draft.with_items(items), approved=True)
    if problem := plan.check_with_repository(approved).problem_text:
        raise PlanError(f"the plan {plan.name} cannot be executed: {problem}.")
    kept = find_uncommitted_plan(plan)
    kept.save(approved)
    return kept


def find_uncommitted_plan(plan: EditedPlan) -> EditedPlan:
    """Return the plan, or its copy to be, in a file that git does not track: in a tracked one, anyone may have written
    the approval, so it does not count."""
    root = plan.repository.root
    if is_users_plan(root, plan.path):
        return plan
    path = plan_files.plans_folder(root) / plan.path.name
    if path_exists(path):
        raise PlanError(
            f"{plan_files.display_path(plan.path)} is committed, so an approval in it does not count,"
            f" and {plan_files.display_path(path)} exists.",
            hint="Copy it to a file of another name that is not committed, and approve that.",
        )
    prepare_log_folder(root / LOGS)
    return dataclasses.replace(plan, path=path)


def add_plan_edit_arguments(parser: CommandParser) -> None:
    add_plan_argument(parser)
    change = parser.add_argument("change", metavar="CHANGE", nargs=REMAINDER, help="the change (default: open $EDITOR)")
    change.required = False
    parser.epilog = f"CHANGE is one of\n{HELP}"


def cmd_plan_edit(arguments: Namespace) -> None:
    """Change a plan in your editor, or by a command."""
    plan = open_plan(read_settings({}), arguments.name)
    if arguments.change:
        plan.save(change_draft(plan.load(), arguments.change))
    else:
        open_in_editor(plan.path)
    plan.show(plan.load())


def change_draft(draft: Draft, words: Sequence[str]) -> Draft:
    """Apply a command. The approval was for the plan before it."""
    return dataclasses.replace(edit_draft(draft, words), approved=False)


def open_in_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if not sys.stdin.isatty() and not os.environ.get("VISUAL", os.environ.get("EDITOR")):
        raise UsageError("there is no terminal for an editor.", hint=f"Edit {path} otherwise, or give a CHANGE.")
    try:
        code = subprocess.call([*shlex.split(editor), str(path)])
    except (OSError, ValueError) as error:
        raise UsageError(f"the editor {editor!r} cannot be started: {error}.", hint="Set EDITOR.") from None
    if code:
        raise UsageError(f"the editor {editor!r} ended with exit code {code}.")


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
    prepare_log_folder(repository.root / LOGS)
    list_path = plan_files.plans_folder(repository.root) / f"{plan_files.SUBMITTED}.toml"
    plan = EditedPlan(settings, repository, list_path)
    values = {"role": find_role(arguments.agent, settings.roles).name, "priority": arguments.priority}
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
    find_role(role, settings.roles)
    if several and settings.files:
        raise UsageError("--decompose and --files exclude each other.")


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
    return Draft(settings.change, task=(item,))


def add_submissions(plan: EditedPlan, more: Draft, values: dict[str, str]) -> None:
    """Add tasks to the list, under names that are unused there."""
    old = load_submissions(plan)
    names, new = dict[str, str](), list[PlanItem]()
    for item in more.task:
        names[item.id] = unused_name(item.id, [*old.ids, *names.values()])
    for item in more.task:
        needs = tuple(names[need] for need in item.needs)
        new.append(replace_values(item, id=names[item.id], needs=needs, **values))
    goal = "\n".join(filter(None, (old.goal.strip(), more.goal.strip())))
    plan.save(dataclasses.replace(old, goal=goal, prd=more.prd or old.prd, task=(*old.task, *new)))
