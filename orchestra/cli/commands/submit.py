"""`submit`: put tasks on the list that `run` carries out."""

import asyncio
import dataclasses
from pathlib import Path

from orchestra.cli.command_io import print_plain
from orchestra.cli.commands.plan import take_flag_value
from orchestra.cli.plan_editor.drafting import run_planning
from orchestra.cli.plan_editor.edited_plan import EditedPlan
from orchestra.cli.start import run_until_done, settings_to_run
from orchestra.conduct.core.locations import LOGS
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.planning.prd import chosen_targets
from orchestra.conduct.session.clone import find_repository
from orchestra.errors import PlanError, UsageError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import PRIORITIES, Draft, PlanItem, unused_name
from orchestra.plan.edit import replace_values
from orchestra.plan.roles import known_roles
from orchestra.report.phrases import plural
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository, path_exists

SUBMIT_USAGE = """usage: aider-orchestrator submit "WHAT YOU WANT" [--decompose] [--agent ROLE]
                               [--priority high|normal|low] [--files FILE ...] [options of a run]

Put a task on the list that `run` carries out. With --files it is about these; else a model says which files it is
about, and with --decompose (or -d) makes a graph of tasks of it.
"""


def cmd_submit(argv: list[str]) -> int:
    if not argv or argv[0] in ("--help", "-h"):
        print(SUBMIT_USAGE, end="")
        return 0
    goal, flags = argv[0], ["--decompose" if word == "-d" else word for word in argv[1:]]
    role, flags = take_flag_value(flags, "--agent")
    priority, flags = take_flag_value(flags, "--priority")
    many = "--decompose" in flags
    settings = settings_to_run(["--change", goal, *(word for word in flags if word != "--decompose")])
    check_submission(settings, role, priority, many)
    repository = asyncio.run(find_repository(settings))
    desk = EditedPlan(settings, repository, submissions_path(repository.root))
    wanted = {"role": role, "priority": priority}
    if settings.files:
        added = add_submissions(desk, draft_from_files(settings, repository), wanted)
    else:
        before = len(load_submissions(desk).task)
        single = settings.with_values(use_prd=bool(settings.prd)) if not many else settings
        work = run_planning(single, lambda checked: submit_tasks(desk, checked, wanted), single=not many)
        if code := run_until_done(work):
            return code
        added = len(load_submissions(desk).task) - before
    print_plain(f"{plural(added, 'task')} submitted. Carry out what was submitted: aider-orchestrator run")
    return 0


def check_submission(settings: Settings, role: str, priority: str, many: bool) -> None:
    if not settings.change:
        raise UsageError("say what you want.")
    if role and role not in known_roles(settings.roles):
        raise UsageError(
            f"nobody knows the role {role!r}.", hint=f"There are {', '.join(known_roles(settings.roles))}."
        )
    if priority and priority not in PRIORITIES:
        raise UsageError(f"--priority must be {', '.join(PRIORITIES)}, not {priority!r}.")
    if many and settings.files:
        raise UsageError("--decompose and --files exclude each other.")


def submissions_path(root: Path) -> Path:
    prepare_log_folder(root / LOGS)
    return drafts.plans_folder(root) / f"{drafts.SUBMITTED}.toml"


def load_submissions(desk: EditedPlan) -> Draft:
    """What is on the list and still to be done."""
    if not path_exists(desk.path):
        return Draft("")
    draft = desk.load()
    return draft.with_items(item for item in draft.task if not item.done)


def draft_from_files(settings: Settings, repository: Repository) -> Draft:
    entries = asyncio.run(repository.entries())
    targets = asyncio.run(chosen_targets(settings, repository, entries, Path.cwd()))
    if targets is None:
        raise PlanError("no files were named.")
    first = settings.change.strip().splitlines()[0][:80]
    paths = tuple(file.path for file in targets.files)
    item = PlanItem(unused_name(first, ()), first, settings.change, paths, named=targets.named)
    return Draft(settings.change, "", False, (item,))


def submit_tasks(desk: EditedPlan, checked: CheckedDraft, wanted: dict[str, str]) -> Path:
    add_submissions(desk, checked.draft, wanted)
    return desk.path


def add_submissions(desk: EditedPlan, more: Draft, wanted: dict[str, str]) -> int:
    """Put tasks on the list, under names that are free there."""
    old = load_submissions(desk)
    names: dict[str, str] = {}
    for item in more.task:
        names[item.id] = unused_name(item.id, [*old.ids, *names.values()])
    said = {name: value for name, value in wanted.items() if value}
    new = [
        replace_values(
            dataclasses.replace(item, id=names[item.id], needs=tuple(names[need] for need in item.needs)), **said
        )
        for item in more.task
    ]
    goal = "\n".join(filter(None, (old.goal.strip(), more.goal.strip())))
    desk.save(dataclasses.replace(old, goal=goal, prd=more.prd or old.prd, task=(*old.task, *new)))
    return len(new)
