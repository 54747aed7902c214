"""`plan shard`, `execute --shard` and `combine`: one plan, done in several jobs of a CI system."""

import asyncio
import dataclasses
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestra import __version__
from orchestra.cli.ci import append_to_file
from orchestra.cli.command_io import add_plan_argument, print_plain
from orchestra.cli.commands.archive import export_archive
from orchestra.cli.find import open_run_index
from orchestra.cli.launch import Story, run_until_done, settings_to_run
from orchestra.cli.load import read_settings
from orchestra.cli.parser import CommandParser, run_options
from orchestra.cli.plan_editor import EditedPlan, open_plan
from orchestra.cli.shard_number import detect_shard_number
from orchestra.conduct.core.locations import LOGS
from orchestra.conduct.core.models import estimate_with_roles
from orchestra.conduct.planning.lead import load_plan_settings, plan_from_draft
from orchestra.conduct.planning.shard_plan import check_cut, find_shard, limit_to_shard
from orchestra.conduct.previous.sessions import PreviousSessions, find_previous_sessions
from orchestra.conduct.session.combine_shards import gather_shards
from orchestra.errors import PlanError, UsageError
from orchestra.events import PlanMade, RunStarted
from orchestra.journal import jsonl, run_archive
from orchestra.plan.draft import Draft, digest_draft
from orchestra.plan.shards import (
    MOST_SHARDS,
    ShardNumber,
    Shards,
    describe_groups,
    group_tasks,
    pack_shards,
    share_limits,
)
from orchestra.report.ci import json_text
from orchestra.report.phrases import format_usd, plural
from orchestra.report.sanitize import safe_line
from orchestra.settings import Settings
from orchestra.wording import align_columns
from orchestra.workspace.git import top_level

MATRICES = ("github", "gitlab", "env")
MOST_SHOWN = 20
LONGEST_TITLE = 60
MOST_TRIES = 100  # of one shard in one folder


def add_plan_shard_arguments(parser: CommandParser) -> None:
    add_plan_argument(parser)
    parser.add_argument("--into", metavar="N", required=True, help="into how many shards, at most 256")
    parser.add_argument("--matrix", choices=MATRICES, help="print only the jobs, as this CI system reads them")
    parser.add_run_options()


def cmd_plan_shard(arguments: Namespace) -> None:
    """Cut a plan into shards, so that several jobs of a CI system do it without a server: `execute PLAN --shard I/N` in
    each, then `combine PLAN ARCHIVE ...` in one. Tasks that belong together stay together. Each shard gets its share of
    --budget and --rpm, which it does not exceed."""
    if not (arguments.into.isdecimal() and 1 <= int(arguments.into) <= MOST_SHARDS):
        raise UsageError(f"--into must be a number from 1 to {MOST_SHARDS}, not {arguments.into!r}.")
    plan = open_plan(read_settings(run_options(arguments)), arguments.name)
    draft, remark = cut_draft(plan, plan.load(), int(arguments.into))
    plan.save(draft)
    if arguments.matrix:
        matrix = format_matrix(arguments.matrix, draft)
        print(matrix)
        if arguments.matrix == "github":
            append_to_file(os.environ.get("GITHUB_OUTPUT", ""), f"matrix={matrix}\n")
        print(remark or f"The plan {plan.name} is cut.", file=sys.stderr)
        return
    many, base = len(draft.shards.shard), draft.shards.base[:10]
    lines = [
        f"The plan {plan.name} is cut into {plural(many, 'shard')}, from commit {base}.",
        *shard_lines(draft.shards),
    ]
    steps = [f"In each job:  aider-orchestrator execute {plan.name} --shard I/{many}"]
    steps += [f"At the end:   aider-orchestrator combine {plan.name} shard_*_of_{many}*.tar.gz"]
    print_plain("\n".join([*lines, *filter(None, [remark]), "", *steps]))


def cut_draft(plan: EditedPlan, draft: Draft, many: int) -> tuple[Draft, str]:
    """Return the plan with its shards, and how many of them pay off, if fewer."""
    checked = plan.check_with_repository(draft)
    if checked.problems:
        raise PlanError(f"the plan {plan.name} cannot be executed: {checked.problem_text}.")
    if plan.repository.unborn:
        raise PlanError("the repository has no commit that jobs could begin at.", hint="Commit something first.")
    made = asyncio.run(plan_from_draft(plan.project, plan.load_prd(draft), checked.draft))
    names = {task.id: task.name for task in made.tasks}
    estimates = estimate_with_roles(plan.project, made).tasks
    tokens = {names[each.task]: sum(each.tokens) // 2 for each in estimates}
    groups, settings = group_tasks(made), plan.settings
    parts = share_limits(pack_shards(groups, tokens, many), settings.budget, settings.rpm)
    cut = dataclasses.replace(checked.draft, shards=Shards(plan.repository.base, "", settings.budget, tuple(parts)))
    shards = dataclasses.replace(cut.shards, digest=digest_draft(cut))
    return dataclasses.replace(cut, shards=shards), describe_groups(groups, tokens, many)


def shard_lines(shards: Shards) -> list[str]:
    rows = []
    for number, shard in enumerate(shards.shard[:MOST_SHOWN], start=1):
        limits = [format_usd(shard.budget)] if shard.budget else []
        limits += [f"{shard.rpm} requests a minute"] if shard.rpm else []
        about = [plural(len(shard.tasks), "task"), f"{shard.tokens:,} tokens", ", ".join(limits)]
        rows.append([f"  {number}/{len(shards.shard)}", *about])
    more = [f"  and {len(shards.shard) - MOST_SHOWN} more"] if len(shards.shard) > MOST_SHOWN else []
    return [*(line.rstrip() for line in align_columns(rows)), *more]


def format_matrix(kind: str, draft: Draft) -> str:
    """Format the jobs of the shards that have tasks. They hold no files: the plan travels as one."""
    many = len(draft.shards.shard)
    jobs = [(number, shard) for number, shard in enumerate(draft.shards.shard, start=1) if shard.tasks]
    if kind == "env":
        return f'SHARDS="{" ".join(f"{number}/{many}" for number, _ in jobs)}"'
    if kind == "gitlab":
        job = "shard {0}/{1}:\n  extends: .shard\n  variables:\n    SHARD: {0}/{1}\n"
        return "\n".join(job.format(number, many) for number, _ in jobs)
    titles = {item.id: safe_line(item.title, LONGEST_TITLE) for item in draft.task}
    include = [
        {"shard": number, "of": many, "title": f"{titles[shard.tasks[0]]} ({plural(len(shard.tasks), 'task')})"}
        for number, shard in jobs
    ]
    return json_text({"include": include})


def execute_shard(arguments: Namespace, story: Story) -> int:
    """Do one shard of a plan, and write its archive, also when the run is stopped."""
    settings = settings_to_run(run_options(arguments))
    plan = open_plan(settings, settings.plan)
    draft = plan.load()
    check_cut(settings.plan, draft)
    if settings.shard == "auto":
        settings = settings.with_values(shard=str(detect_shard_number(os.environ, len(draft.shards.shard))))
    shard = find_shard(settings, draft)
    if not draft.shards.shard[shard.number - 1].tasks:
        print_plain(f"Shard {shard} of the plan {settings.plan} has no tasks: there is nothing to do.")
        return 0
    root = plan.repository.root
    past = find_shard_run(root / LOGS, draft.shards, shard)
    settings, _ = load_plan_settings(limit_to_shard(settings, draft, shard), root)
    target = Path(getattr(arguments, "archive", "") or f"shard_{shard.number}_of_{shard.of}.tar.gz")
    check_archive_target(target)
    if resume_from := getattr(arguments, "resume_from", ""):  # of `execute` only
        settings, past = resume_from_archives(settings, [Path(resume_from)], root)
    elif past is not None:
        print(f"note: shard {shard} goes on from run {past.stamp} of this clone.", file=sys.stderr)
    elif earlier := [path for path in archive_names(target) if path.exists()]:
        settings, past = resume_from_earlier(settings, earlier, root)

    async def archive_run() -> None:
        if run := find_shard_run(root / LOGS, draft.shards, shard):
            print_plain(f"Archive: {await write_shard_archive(settings, run.stamp, target)}")

    return run_until_done(end_with(archive_run, story(settings, past=past)))


async def end_with(step: Callable[[], Coroutine[Any, Any, None]], work: Coroutine[Any, Any, int]) -> int:
    """Do the work, then the step, whatever happens: a signal stops the work, but not the step. CI systems send a second
    signal a few seconds after the first."""
    try:
        return await work
    finally:
        last, stopped = asyncio.ensure_future(step()), False
        while not last.done():
            try:
                await asyncio.wait([last])
            except asyncio.CancelledError:
                stopped = True
        last.result()
        if stopped:
            raise asyncio.CancelledError


def resume_from_archives(settings: Settings, archives: Sequence[Path], root: Path) -> tuple[Settings, PreviousSessions]:
    """Begin a run with what the archives hold. Return it, and the settings with what is left of the shard's budget."""
    gathered = asyncio.run(gather_shards(settings, archives))
    return gathered.settings, find_previous_sessions(root / LOGS, gathered.stamp)


def resume_from_earlier(
    settings: Settings, archives: Sequence[Path], root: Path
) -> tuple[Settings, PreviousSessions | None]:
    """Resume from archives of earlier tries, which are where this one will be written, if one can be used."""
    names = ", ".join(map(str, archives))
    try:
        resumed = resume_from_archives(settings, archives, root)
    except UsageError as error:
        print(f"note: {names} cannot be used, so the shard begins anew: {error}", file=sys.stderr)
        return settings, None
    print(f"note: the shard goes on from {names}.", file=sys.stderr)
    return resumed


def archive_names(target: Path) -> Iterator[Path]:
    """The names of a shard's archives: none is written over another one."""
    stem, dot, ending = target.name.partition(".")
    yield target
    yield from (target.with_name(f"{stem}-{n}{dot}{ending}") for n in range(2, MOST_TRIES))


def check_archive_target(target: Path) -> None:
    """Refuse, before anything is paid, a name that no archive can be written under."""
    folder = target.parent
    if not folder.is_dir():
        raise UsageError(f"the archive cannot be written: there is no folder {folder}.", hint="Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"the archive cannot be written: {folder} is read-only.", hint="Give --archive FILE.")
    free_archive_name(target)


def free_archive_name(target: Path) -> Path:
    for name in archive_names(target):
        if not name.exists():
            return name
    raise UsageError(f"there are {MOST_TRIES - 1} archives such as {target}.", hint="Give another --archive FILE.")


def find_shard_run(logs: Path, shards: Shards, shard: ShardNumber) -> PreviousSessions | None:
    """Find the latest run of this shard in this clone, unless it died before it had a plan."""
    for stamp in reversed(jsonl.list_run_stamps(logs)):
        log = [event.payload for event in jsonl.read_log_file(logs / f"run_{stamp}.jsonl").events]
        made = next((payload for payload in log if isinstance(payload, PlanMade)), None)
        started = next((payload for payload in log if isinstance(payload, RunStarted)), None)
        if made and started and (made.cut, started.options.get("shard")) == (shards.digest, str(shard)):
            return find_previous_sessions(logs, stamp)
    return None


async def write_shard_archive(settings: Settings, stamp: str, target: Path) -> Path:
    """Write the run into an archive, never over another file. Return its path."""
    target = free_archive_name(target)
    with open_run_index(Namespace(repo=settings.repo, store=settings.store)) as index:
        with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
            archive = await export_archive(index, index.find(stamp), Path(folder) / run_archive.BUNDLE)
            run_archive.write_run_archive(target, archive, __version__)
    return target


def add_combine_arguments(parser: CommandParser) -> None:
    add_plan_argument(parser)
    parser.add_argument("archives", metavar="ARCHIVE", nargs="+", help="the archives that the shards have written")
    parser.add_argument(
        "--retry", action="store_true", help="try again what failed or is missing, with what money is left"
    )
    parser.add_run_options()


def cmd_combine(arguments: Namespace, story: Story) -> int:
    """Combine what the shards of a plan have done: a run of its own, which integrates, checks, delivers and reports as
    ever. No model is asked, and no key is needed, unless with --retry. Of two archives of one shard the newer counts; a
    missing shard is not done."""
    settings = settings_to_run(run_options(arguments) | {"plan": arguments.name, "shard": None})
    gathered = asyncio.run(gather_shards(settings.with_values(shard=""), [Path(each) for each in arguments.archives]))
    for note in gathered.notes:
        print(f"note: {note}", file=sys.stderr)
    root = top_level(Path(settings.repo or ".")) or Path.cwd()
    past = find_previous_sessions(root / LOGS, gathered.stamp)
    settings = gathered.settings
    if arguments.retry:
        return run_until_done(story(settings, past=past))
    combining = settings.with_values(retries=0, ask="never")
    return run_until_done(story(combining, past=dataclasses.replace(past, combines_only=True)))
