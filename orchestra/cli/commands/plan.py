"""`plan`: make a plan, look at it, change it, say yes to it."""

import asyncio
import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orchestra.cli.command_io import print_json, print_plain
from orchestra.cli.commands.steer import split_leading_words
from orchestra.cli.load import read_settings
from orchestra.cli.plan_editor.drafting import run_planning
from orchestra.cli.plan_editor.edited_plan import EditedPlan, open_plan
from orchestra.cli.plan_editor.editor import run_plan_editor
from orchestra.cli.start import run_until_done, settings_to_run
from orchestra.conduct.core.locations import LOGS
from orchestra.conduct.core.permits import is_users_plan
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.session.clone import find_repository
from orchestra.errors import PlanError, UsageError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import Draft
from orchestra.plan.edit import HELP, edit_draft
from orchestra.report.phrases import plural
from orchestra.settings import Settings
from orchestra.workspace.repository import path_exists

PLAN_USAGE = f"""usage: aider-orchestrator plan "WHAT YOU WANT" [--name NAME] [options of a run]
       aider-orchestrator plan list | show NAME | check NAME | approve NAME | continue NAME
       aider-orchestrator plan edit NAME [CHANGE]

Make a plan: a PRD, and a graph of tasks in .aider_logs/plans/NAME.toml that you can read and edit. Nothing is changed
until `execute NAME`. On a terminal you can talk about it at once, and later with `plan continue NAME`. Without a
Google key say --no-prd --files ...: the files are divided by what belongs together.
`plan edit NAME` opens your editor; a CHANGE is made at once and is one of

{HELP}"""


def cmd_plan(argv: list[str]) -> int:
    if not argv or argv[0] in ("--help", "-h"):
        print(PLAN_USAGE, end="")
        return 0
    if argv[0] == "continue":
        desk = open_named_plan(argv[1:])
        return run_plan_editor(desk)
    if argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:])
    return create_plan(argv)


def create_plan(argv: list[str]) -> int:
    goal, flags = argv[0], argv[1:]
    if goal.startswith("-") and goal != "-":
        raise UsageError("say first what you want.", hint='It goes: plan "WHAT YOU WANT" [options].')
    name, flags = take_flag_value(flags, "--name")
    settings = settings_to_run(["--change", goal, *flags])
    repository = asyncio.run(find_repository(settings, begin=not settings.files))
    path = drafts.new_plan_path(repository.root, settings.change, name)

    def save_plan(checked: CheckedDraft) -> Path:
        drafts.save_draft(path, checked.draft)
        return path

    code = run_until_done(run_planning(settings, save_plan))
    desk = EditedPlan(settings, repository, path)
    if code == 0 and at_terminal(settings):
        return run_plan_editor(desk)
    if code == 0 and not (settings.json or settings.quiet or settings.events):
        print_plain(f"\n{desk.format_page(desk.load())}")
    return code


def at_terminal(settings: Settings) -> bool:
    alone = settings.quiet or settings.json or settings.events or os.environ.get("CI")
    return not alone and sys.stdin.isatty() and sys.stdout.isatty()


def take_flag_value(flags: list[str], flag: str) -> tuple[str, list[str]]:
    """The value of a flag that only this command knows, and the other words."""
    for n, word in enumerate(flags):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2], [*flags[:n], *flags[n + 1 :]]
        if word == flag:
            if n + 1 == len(flags):
                raise UsageError(f"{flag} wants a value.")
            return flags[n + 1], [*flags[:n], *flags[n + 2 :]]
    return "", flags


def open_named_plan(argv: list[str]) -> EditedPlan:
    (name,), flags = split_leading_words(
        argv, PLAN_USAGE.replace('"WHAT YOU WANT" [--name NAME]', "show|check|... NAME"), 1
    )
    return open_plan(read_settings(flags), name)


# --- looking --------------------------------------------------------------------------------------------------------


def list_plans(argv: list[str]) -> int:
    as_json = "--json" in argv
    settings = read_settings([word for word in argv if word != "--json"])
    root = asyncio.run(find_repository(settings)).root
    found = [(name, drafts.load_draft(drafts.plans_folder(root) / f"{name}.toml")) for name in drafts.plan_names(root)]
    if as_json:
        print_json([{"name": name, "approved": draft.approved} | count_items(draft) for name, draft in found])
        return 0
    for name, draft in found:
        told = count_items(draft)
        yes = "approved" if draft.approved else "not approved"
        goal = " ".join(draft.goal.split())[:60]
        print_plain(f"{name}  {told['left']} of {plural(len(draft.task), 'task')} to do, {yes}  {goal}")
    if not found:
        print_plain('There are no plans here. Make one: plan "what you want"')
    return 0


def count_items(draft: Draft) -> dict[str, int]:
    proposed = sum(item.proposed for item in draft.task)
    return {"tasks": len(draft.task), "left": len(draft.unfinished), "proposed": proposed}


def print_plan(argv: list[str]) -> int:
    desk = open_named_plan([word for word in argv if word != "--json"])
    draft = desk.load()
    if "--json" in argv:
        checked = desk.check_with_repository(draft)
        said = {"name": desk.name, "repairs": list(checked.repairs), "problems": list(checked.problems)}
        print_json(said | dataclasses.asdict(checked.draft))
    else:
        desk.show(draft)
    return 0


def check_plan_file(argv: list[str]) -> int:
    """Exit code 2 where it cannot be carried out."""
    desk = open_named_plan(argv)
    checked = desk.check_with_repository(desk.load())
    if checked.problems:
        raise PlanError(f"the plan {desk.name} cannot be carried out: {checked.problem_text}.")
    for repair in checked.repairs:
        print_plain(f"will be put right: {repair}")
    print_plain(f"The plan {desk.name} can be carried out: {plural(len(checked.draft.unfinished), 'task')}.")
    return 0


# --- changing -------------------------------------------------------------------------------------------------------


def approve_plan(argv: list[str]) -> int:
    """Also what agents have proposed is approved then."""
    desk = approve_draft(open_named_plan(argv))
    print_plain(f"The plan {desk.name} is approved. Carry it out: aider-orchestrator execute {desk.name}")
    return 0


def approve_draft(desk: EditedPlan) -> EditedPlan:
    draft = desk.load()
    items = [dataclasses.replace(item, proposed=False) for item in draft.task]
    yes = dataclasses.replace(draft.with_items(items), approved=True)
    if problem := desk.check_with_repository(yes).problem_text:
        raise PlanError(f"the plan {desk.name} cannot be carried out: {problem}.")
    own = find_uncommitted_plan(desk)
    own.save(yes)
    return own


def find_uncommitted_plan(desk: EditedPlan) -> EditedPlan:
    """Where a yes can be written. In a file that git tracks anyone may have written it, so it does not count there."""
    root = desk.repository.root
    if is_users_plan(root, desk.path):
        return desk
    path = drafts.plans_folder(root) / desk.path.name
    if path_exists(path):
        raise PlanError(
            f"{drafts.display_path(desk.path)} is committed, so a yes in it does not count,"
            f" and {drafts.display_path(path)} exists.",
            hint="Copy it to a file of another name that is not committed, and approve that.",
        )
    prepare_log_folder(root / LOGS)
    return dataclasses.replace(desk, path=path)


def edit_plan(argv: list[str]) -> int:
    """With the words of a change, or in the user's editor."""
    if not argv or argv[0].startswith("-"):
        open_named_plan(argv)
    desk, words = open_plan(read_settings([]), argv[0]), argv[1:]
    if words:
        desk.save(unapproved(edit_draft(desk.load(), words)))
    else:
        open_in_editor(desk)
    desk.show(desk.load())
    return 0


def unapproved(draft: Draft) -> Draft:
    """Who said yes said it to another plan."""
    return dataclasses.replace(draft, approved=False)


def open_in_editor(desk: EditedPlan) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if not sys.stdin.isatty() and not os.environ.get("VISUAL", os.environ.get("EDITOR")):
        raise UsageError(f"there is no terminal for an editor: change {desk.path} by any other means, or say a CHANGE.")
    try:
        code = subprocess.call([*shlex.split(editor), str(desk.path)])
    except (OSError, ValueError) as error:
        raise UsageError(f"the editor {editor!r} cannot be started: {error}.", hint="Set EDITOR.") from None
    if code:
        raise UsageError(f"the editor {editor!r} ended with exit code {code}.")


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "list": list_plans,
    "show": print_plan,
    "check": check_plan_file,
    "approve": approve_plan,
    "edit": edit_plan,
}
