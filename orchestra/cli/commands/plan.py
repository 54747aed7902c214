"""`plan`: make a plan, look at it, change it, say yes to it."""

import asyncio
import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orchestra.cli.commands.steer import leading
from orchestra.cli.load import settings_of
from orchestra.cli.plan_editor.desk import Desk, desk_for
from orchestra.cli.plan_editor.drafting import planning
from orchestra.cli.plan_editor.session import converse
from orchestra.cli.start import run_until_done, settings_to_run
from orchestra.cli.words import say, say_json
from orchestra.conduct.core.permits import is_persons_plan
from orchestra.conduct.core.where import LOGS
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.session.clone import find_repository
from orchestra.errors import PlanError, UsageError
from orchestra.journal.jsonl import prepare
from orchestra.plan.check import Checked
from orchestra.plan.draft import Draft
from orchestra.plan.edit import HELP, changed
from orchestra.report.sentence import plural
from orchestra.settings import Settings
from orchestra.workspace.repository import present

PLAN_USAGE = f"""usage: aider-orchestrator plan "WHAT YOU WANT" [--name NAME] [options of a run]
       aider-orchestrator plan list | show NAME | check NAME | approve NAME | continue NAME
       aider-orchestrator plan edit NAME [CHANGE]

Make a plan: a PRD, and a graph of tasks in .aider_logs/plans/NAME.toml that you can read and edit. Nothing is changed
until `execute NAME`. On a terminal you can talk about it at once, and later with `plan continue NAME`. Without a
Google key say --no-prd --files ...: the files are divided by what belongs together.
`plan edit NAME` opens your editor; a CHANGE is made at once and is one of

{HELP}"""


def plan(argv: list[str]) -> int:
    if not argv or argv[0] in ("--help", "-h"):
        print(PLAN_USAGE, end="")
        return 0
    if argv[0] == "continue":
        desk = named(argv[1:])
        return converse(desk)
    if argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:])
    return new(argv)


def new(argv: list[str]) -> int:
    goal, flags = argv[0], argv[1:]
    if goal.startswith("-") and goal != "-":
        raise UsageError("say first what you want.", hint='It goes: plan "WHAT YOU WANT" [options].')
    name, flags = taken_out(flags, "--name")
    settings = settings_to_run(["--change", goal, *flags])
    repository = asyncio.run(find_repository(settings, begin=not settings.files))
    path = drafts.new_place(repository.root, settings.change, name)

    def put(checked: Checked) -> Path:
        drafts.save(path, checked.draft)
        return path

    code = run_until_done(planning(settings, put))
    desk = Desk(settings, repository, path)
    if code == 0 and at_terminal(settings):
        return converse(desk)
    if code == 0 and not (settings.json or settings.quiet or settings.events):
        say(f"\n{desk.page(desk.load())}")
    return code


def at_terminal(settings: Settings) -> bool:
    alone = settings.quiet or settings.json or settings.events or os.environ.get("CI")
    return not alone and sys.stdin.isatty() and sys.stdout.isatty()


def taken_out(flags: list[str], flag: str) -> tuple[str, list[str]]:
    """The value of a flag that only this command knows, and the other words."""
    for n, word in enumerate(flags):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2], [*flags[:n], *flags[n + 1 :]]
        if word == flag:
            if n + 1 == len(flags):
                raise UsageError(f"{flag} wants a value.")
            return flags[n + 1], [*flags[:n], *flags[n + 2 :]]
    return "", flags


def named(argv: list[str]) -> Desk:
    (name,), flags = leading(argv, PLAN_USAGE.replace('"WHAT YOU WANT" [--name NAME]', "show|check|... NAME"), 1)
    return desk_for(settings_of(flags), name)


# --- looking --------------------------------------------------------------------------------------------------------


def listing(argv: list[str]) -> int:
    as_json = "--json" in argv
    settings = settings_of([word for word in argv if word != "--json"])
    root = asyncio.run(find_repository(settings)).root
    found = [(name, drafts.load(drafts.plans(root) / f"{name}.toml")) for name in drafts.names(root)]
    if as_json:
        say_json([{"name": name, "approved": draft.approved} | counts(draft) for name, draft in found])
        return 0
    for name, draft in found:
        told = counts(draft)
        yes = "approved" if draft.approved else "not approved"
        goal = " ".join(draft.goal.split())[:60]
        say(f"{name}  {told['left']} of {plural(len(draft.task), 'task')} to do, {yes}  {goal}")
    if not found:
        say('There are no plans here. Make one: plan "what you want"')
    return 0


def counts(draft: Draft) -> dict[str, int]:
    proposed = sum(item.proposed for item in draft.task)
    return {"tasks": len(draft.task), "left": len(draft.left), "proposed": proposed}


def show(argv: list[str]) -> int:
    desk = named([word for word in argv if word != "--json"])
    draft = desk.load()
    if "--json" in argv:
        checked = desk.checked(draft)
        said = {"name": desk.name, "repairs": list(checked.repairs), "problems": list(checked.problems)}
        say_json(said | dataclasses.asdict(checked.draft))
    else:
        desk.show(draft)
    return 0


def checking(argv: list[str]) -> int:
    """Exit code 2 where it cannot be carried out."""
    desk = named(argv)
    checked = desk.checked(desk.load())
    if checked.problems:
        raise PlanError(f"the plan {desk.name} cannot be carried out: {checked.complaint}.")
    for repair in checked.repairs:
        say(f"will be put right: {repair}")
    say(f"The plan {desk.name} can be carried out: {plural(len(checked.draft.left), 'task')}.")
    return 0


# --- changing -------------------------------------------------------------------------------------------------------


def approve(argv: list[str]) -> int:
    """Also what agents have proposed is approved then."""
    desk = approved(named(argv))
    say(f"The plan {desk.name} is approved. Carry it out: aider-orchestrator execute {desk.name}")
    return 0


def approved(desk: Desk) -> Desk:
    draft = desk.load()
    items = [dataclasses.replace(item, proposed=False) for item in draft.task]
    yes = dataclasses.replace(draft.with_items(items), approved=True)
    if problem := desk.checked(yes).complaint:
        raise PlanError(f"the plan {desk.name} cannot be carried out: {problem}.")
    own = own_copy(desk)
    own.save(yes)
    return own


def own_copy(desk: Desk) -> Desk:
    """Where a yes can be written. In a file that git tracks anyone may have written it, so it does not count there."""
    root = desk.repository.root
    if is_persons_plan(root, desk.path):
        return desk
    path = drafts.plans(root) / desk.path.name
    if present(path):
        raise PlanError(
            f"{drafts.shown(desk.path)} is committed, so a yes in it does not count, and {drafts.shown(path)} exists.",
            hint="Copy it to a file of another name that is not committed, and approve that.",
        )
    prepare(root / LOGS)
    return dataclasses.replace(desk, path=path)


def edit(argv: list[str]) -> int:
    """With the words of a change, or in the user's editor."""
    if not argv or argv[0].startswith("-"):
        named(argv)
    desk, words = desk_for(settings_of([]), argv[0]), argv[1:]
    if words:
        desk.save(unapproved(changed(desk.load(), words)))
    else:
        in_editor(desk)
    desk.show(desk.load())
    return 0


def unapproved(draft: Draft) -> Draft:
    """Who said yes said it to another plan."""
    return dataclasses.replace(draft, approved=False)


def in_editor(desk: Desk) -> None:
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
    "list": listing,
    "show": show,
    "check": checking,
    "approve": approve,
    "edit": edit,
}
