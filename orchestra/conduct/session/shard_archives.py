"""Begin a run with what archives of shards hold. An archive may be forged: it is data, and every part is checked.

The events of its tasks are taken, with the money that they cost; their commits only if all of them stand on the plan's
base and change nothing but what its tasks may change. Settings, commands, paths and refs are never taken.
"""

import dataclasses
import heapq
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra import events
from orchestra.conduct.core.locations import LOGS
from orchestra.conduct.core.models import Project
from orchestra.errors import UsageError
from orchestra.events import Event, Payload, event_record, make_event, parse_event, to_json_value
from orchestra.journal import jsonl
from orchestra.journal.run_archive import ArchiveError, RunArchive, read_run_archive
from orchestra.judge.permit import Permit
from orchestra.model import Plan, TaskState, Verdict
from orchestra.plan.shards import ShardNumber, Shards, parse_shard_number
from orchestra.workspace.git import Git
from orchestra.workspace.leftovers import BRANCH, fetch_bundle
from orchestra.workspace.shard_commits import explain_bad_commits

# What is taken of an archive: events of tasks, and those of requests.
TAKEN = (
    *(events.TaskMoved, events.AttemptStarted, events.AttemptEnded, events.AttemptChosen, events.BranchKept),
    *(events.TaskRetried, events.TasksProposed, events.HumanNeeded, events.TaskResolved, events.TaskExcluded),
    *(events.MoneyReserved, events.RequestEnded, events.AssistantResponse, events.Conversation),
    *(events.GateStarted, events.GateEnded),
)
OF_WHOLE_RUN = (events.MoneyReserved, events.RequestEnded)  # taken also without a task
MONEY_KINDS = {kind.kind for kind in OF_WHOLE_RUN}
OF_RUN = ("run_", "summary_", "report_", "junit_", "console_")  # files that the new run has of its own
TASK_BRANCH = re.compile(r"task([1-9]\d{0,8})(-\d{1,9})?", re.ASCII)
MARK = "\0"
LARGEST_AMOUNT = 1 << 40  # dollars, tokens, seconds, or the number of a request


@dataclass(frozen=True)
class ShardArchive:
    """A checked archive of one shard. `moment`: when its last event happened."""

    path: Path
    content: RunArchive
    shard: ShardNumber

    @property
    def moment(self) -> int:
        return max(event.time for event in self.content.events)


@dataclass(frozen=True)
class ArchivedShards:
    """The archives of each shard, the newest first, and a sentence about each that cannot be used."""

    by_shard: Mapping[int, tuple[ShardArchive, ...]]
    refused: tuple[str, ...]


@dataclass(frozen=True)
class FetchedShards:
    """The archives whose commits are here, one of each shard at most, those of the same shards that are not used, and a
    sentence about each of these and of those that cannot be used."""

    used: tuple[ShardArchive, ...]
    unused: tuple[ShardArchive, ...]
    notes: tuple[str, ...]

    @property
    def numbers(self) -> set[int]:
        return {archive.shard.number for archive in self.used}


def read_shard_archives(paths: Sequence[Path], shards: Shards, plan: Plan, folder: Path) -> ArchivedShards:
    """Read archives of the shards of this plan. What cannot be used is named, and the rest is used."""
    found: dict[int, list[ShardArchive]] = {}
    refused = []
    for number, path in enumerate(dict.fromkeys(paths)):
        try:
            archive = read_shard_archive(path, shards, plan, folder / str(number))
        except ArchiveError as error:
            refused.append(str(error))
            continue
        found.setdefault(archive.shard.number, []).insert(0, archive)
    newest_first = {n: tuple(sorted(found[n], key=lambda each: each.moment, reverse=True)) for n in sorted(found)}
    return ArchivedShards(newest_first, tuple(refused))


def read_shard_archive(path: Path, shards: Shards, plan: Plan, folder: Path) -> ShardArchive:
    folder.mkdir()
    content = read_run_archive(path, folder)
    try:
        return ShardArchive(path, content, check_shard_of(content, shards, plan))
    except UsageError as error:
        raise ArchiveError(f"{path}: {error}") from None


def check_shard_of(archive: RunArchive, shards: Shards, plan: Plan) -> ShardNumber:
    """Return which shard of this plan the archive holds. Refuse any other, and events that are not of its tasks."""
    started = archive.events[0].payload
    made = next((event.payload for event in archive.events if isinstance(event.payload, events.PlanMade)), None)
    if not isinstance(started, events.RunStarted) or made is None or not (made.cut and started.options.get("shard")):
        raise ArchiveError("it is no run of a shard.")
    if made.cut != shards.digest or started.base != shards.base or archive.base != shards.base:
        raise ArchiveError("it is of another plan, or of another cut of this one.")
    shard = parse_shard_number(str(started.options.get("shard")))
    own = own_tasks(shards, plan, shard) if shard.of == len(shards.shard) else set[int]()
    if {task.id for task in made.tasks} != own:
        raise ArchiveError(f"it does not have the tasks of shard {shard}.")
    strangers = {event.task for event in archive.events if event.task is not None} - own
    if strangers:
        raise ArchiveError(f"it has events of task {min(strangers)}, which is not of shard {shard}.")
    check_amounts(archive.events)
    check_branches(archive)
    check_results(archive.events, plan)
    return shard


def own_tasks(shards: Shards, plan: Plan, shard: ShardNumber) -> set[int]:
    names = set(shards.shard[shard.number - 1].tasks)
    return {task.id for task in plan.tasks if task.name in names}


def check_amounts(log: Iterable[Event]) -> None:
    """Refuse costs below zero or unreadable ones, which would let a later step spend more than it may."""
    for event in log:
        payload = event.payload
        amounts: list[float] = []
        if event.kind in MONEY_KINDS and event.read_problem:
            raise ArchiveError(f"the amounts of event {event.seq} cannot be read.")
        if isinstance(payload, events.RequestEnded):
            amounts = [value for value in vars(payload.usage).values() if isinstance(value, int | float)]
            amounts += [payload.seconds, payload.number]
        elif isinstance(payload, events.MoneyReserved):
            amounts = [payload.dollars, payload.tokens, payload.number]
        if not all(0 <= amount <= LARGEST_AMOUNT for amount in amounts):
            raise ArchiveError(f"the amounts of event {event.seq} are not possible.")


def check_branches(archive: RunArchive) -> None:
    """Refuse names of branches that are not those of the run's tasks: people are shown commands with them."""
    for event in archive.events:
        if isinstance(event.payload, events.BranchKept):
            names = [event.payload.branch]
        elif isinstance(event.payload, events.AttemptEnded):
            names = [event.payload.branch] if event.payload.branch else []
        else:
            continue
        if names and task_of_branch(names[0], archive.run) != event.task:
            raise ArchiveError(f"event {event.seq} names the branch {names[0]!r}, which is not of task {event.task}.")


def task_of_branch(name: str, run: str) -> int | None:
    match, task = BRANCH.fullmatch(f"refs/heads/{name}"), TASK_BRANCH.fullmatch(name.rpartition("/")[2])
    ours = match and task and name == f"{match['space']}/{run}/{task[0]}"
    return int(task[1]) if ours and task else None


def check_results(log: Iterable[Event], plan: Plan) -> None:
    """Refuse tasks that are said to be done without a commit, unless they only answer."""
    for event in log:
        end = event.payload
        if not isinstance(end, events.AttemptEnded) or end.verdict is not Verdict.APPLIED or end.commit:
            continue
        if event.task is None or plan.by_id[event.task].paths or not end.answered:
            raise ArchiveError(f"task {event.task} is said to be done, but it has no commit.")


async def fetch_shards(
    project: Project, made: events.PlanMade, stamp: str, plan: Plan, shards: Shards, archives: ArchivedShards
) -> FetchedShards:
    """Fetch the commits of the newest archive of each shard, or of an older one if those of the newest are bad."""
    permit, used, unused, notes = permit_of_plan(project, made), [], [], list(archives.refused)
    for number, tries in archives.by_shard.items():
        own = own_tasks(shards, plan, ShardNumber(number, len(shards.shard)))
        newest: ShardArchive | None = None
        for archive in tries:
            if newest:
                notes.append(f"{archive.path} is older than {newest.path}, which has the same shard: it was not used.")
            elif why := await bring_commits(project, archive, stamp, plan, own, permit):
                notes.append(f"{archive.path}: {why} It was not used.")
            else:
                newest = archive
        used += [newest] if newest else []
        unused += [archive for archive in tries if archive is not newest]
    return FetchedShards(tuple(used), tuple(unused), tuple(notes))


async def begin_from_archives(
    project: Project, prepared: Sequence[Payload], stamp: str, plan: Plan, shards: Shards, fetched: FetchedShards
) -> tuple[str, ...]:
    """Write the log of a new run: the prepared events, then those of the archives. Return a sentence about each archive
    that is not used or missing."""
    logs, namespace = project.repository.root / LOGS, namespace_of(prepared)
    for archive in fetched.used:
        own = own_tasks(shards, plan, archive.shard)
        await create_branches(project.git, archive.content, own, namespace, stamp)
        copy_files(archive.content, logs, stamp)
    notes = (*fetched.notes, *describe_missing(shards, plan, fetched.numbers))
    log = compose_log(stamp, [*prepared, *map(events.Note, notes)], fetched.used, namespace)
    left_out = exclude_undone(log, plan, shards, fetched.numbers)
    numbered = (dataclasses.replace(event, seq=seq) for seq, event in enumerate((*log, *left_out), start=1))
    jsonl.write_run_log(logs, stamp, numbered)
    return notes


def namespace_of(prepared: Sequence[Payload]) -> str:
    return next(payload.namespace for payload in prepared if isinstance(payload, events.RunStarted))


def permit_of_plan(project: Project, made: events.PlanMade) -> Permit:
    """Return what the plan's tasks may change: the same as the agents of the shards."""
    words = (project.settings.change,) if made.words else ()
    return Permit(frozenset(made.named), words, project.entries)


async def bring_commits(
    project: Project, archive: ShardArchive, stamp: str, plan: Plan, own: set[int], permit: Permit
) -> str:
    """Fetch the commits of an archive. Return why they cannot be used; empty if they can."""
    content = archive.content
    ends = [event.payload for event in content.events if isinstance(event.payload, events.AttemptEnded)]
    accepted = [end for end in ends if end.verdict is Verdict.APPLIED]
    commits = {commit for end in accepted for commit in (end.commit, end.parent)}
    commits = {*commits, *content.branches.values()} - {"", content.base}
    if not commits:
        return ""
    if content.bundle is None or not await fetch_bundle(project.git, content.bundle, stamp):
        return "git cannot read its commits."
    others = {path: owner for path, owner in plan.owners.items() if owner not in own}
    return await explain_bad_commits(project.git, content.base, commits, others, permit)


async def create_branches(git: Git, archive: RunArchive, own: set[int], namespace: str, stamp: str) -> None:
    """Create the branches of the tasks under the new run's name."""
    lines = [
        f"create refs/heads/{namespace}/{stamp}/{name.rpartition('/')[2]} {commit}\n"
        for name, commit in archive.branches.items()
        if task_of_branch(name, archive.run) in own
    ]
    if lines:
        await git.raw("update-ref", "--stdin", input="".join(lines).encode())


def copy_files(archive: RunArchive, logs: Path, stamp: str) -> None:
    """Copy outputs and patches under the new run's name."""
    for path in archive.files:
        target = logs / path.name.replace(archive.run, stamp)
        if not path.name.startswith(OF_RUN) and path.suffix != ".jsonl" and not target.exists():
            shutil.copyfile(path, target)


def compose_log(
    stamp: str, prepared: Sequence[Payload], archives: Sequence[ShardArchive], namespace: str
) -> list[Event]:
    """Return the prepared events, then those of the archives in the order of their times."""
    first = min((archive.content.events[0].time for archive in archives), default=0) or time.time_ns() // 1_000_000
    log = [new_event(stamp, first, payload) for payload in prepared]
    offset, streams = 0, []
    for archive in archives:
        streams.append(list(renamed_events(archive.content, stamp, namespace, offset)))
        offset = max([offset, *(getattr(event.payload, "number", 0) for event in streams[-1])])
    return [*log, *heapq.merge(*streams, key=lambda event: event.time)]


def new_event(stamp: str, moment: int, payload: Payload, task: int | None = None) -> Event:
    return make_event(stamp, 0, moment, payload.kind, task, None, to_json_value(payload))


def renamed_events(archive: RunArchive, stamp: str, namespace: str, offset: int) -> Iterator[Event]:
    """Return the events that are taken, under the new run's name, with times that do not go back, and with numbers of
    requests that no other archive and no other session of this one has."""
    started = archive.events[0].payload
    assert isinstance(started, events.RunStarted)
    latest, highest = 0, offset
    for event in archive.events:
        latest = max(latest, event.time)
        offset = highest if isinstance(event.payload, events.RunResumed) else offset
        if not isinstance(event.payload, TAKEN if event.task is not None else OF_WHOLE_RUN):
            continue
        # By way of a mark that no JSON has, because one stamp may begin with the other.
        text = json.dumps(event_record(event)).replace(archive.run, MARK)
        text = text.replace(f"{started.namespace}/{MARK}/", f"{namespace}/{MARK}/").replace(MARK, stamp)
        renamed = parse_event(json.loads(text))
        data = dict(renamed.data)
        if isinstance(data.get("number"), int):
            data["number"] += offset
            highest = max(highest, data["number"])
        yield make_event(stamp, 0, latest, renamed.kind, renamed.task, renamed.attempt, data)


def describe_missing(shards: Shards, plan: Plan, known: set[int]) -> Iterator[str]:
    """Name the shards with tasks of the plan that have no archive."""
    wanted = {task.name for task in plan.tasks}
    shards_left = [(n, shard) for n, shard in enumerate(shards.shard, start=1) if n not in known]
    missing = [(n, shard) for n, shard in shards_left if wanted & set(shard.tasks)]
    if missing:
        names = ", ".join(f"{number}/{len(shards.shard)}" for number, _ in missing)
        tasks = sum(len(shard.tasks) for _, shard in missing)
        yield f"Without an archive: shard {names}. Not done of it: {tasks} task{'s' * (tasks > 1)}."


def exclude_undone(log: Sequence[Event], plan: Plan, shards: Shards, known: set[int]) -> Iterator[Event]:
    """Say of each task that has no outcome why, and end its attempt."""
    shard_of = {name: number for number, shard in enumerate(shards.shard, start=1) for name in shard.tasks}
    ended = {event.task for event in log if isinstance(event.payload, events.AttemptEnded)}
    states = {event.task: event.payload.state for event in log if isinstance(event.payload, events.TaskMoved)}
    last = log[-1]
    for task in plan.tasks:
        if states.get(task.id) in (TaskState.ACTIVE, TaskState.READY):
            yield new_event(last.run, last.time, events.TaskMoved(TaskState.FAILED), task.id)
        if task.id not in ended:
            number = shard_of.get(task.name, 0)
            why = "ended before it was done" if number in known else "has no archive"
            reason = f"shard {number}/{len(shards.shard)} {why}"
            yield new_event(last.run, last.time, events.TaskExcluded(reason), task.id)
