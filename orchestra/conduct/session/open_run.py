"""Open a run: journal, gateway, agent processes, worktrees, store. What is opened here is closed here."""

import asyncio
import contextlib
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from orchestra import events
from orchestra.agents.seat import check_version
from orchestra.conduct.core.context import AgentReadiness, Context, Run, RunState, Services, TerminalPrompts
from orchestra.conduct.core.gateway_events import JournalListener
from orchestra.conduct.core.locations import BRANCHES, DATABASE, LOGS, store_key
from orchestra.conduct.core.models import build_upstreams, make_limits
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.finish import notify_waiting_tasks
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.conduct.session.open_cluster import open_cluster
from orchestra.conduct.session.outgoing_keys import hide_keys, make_key_guard
from orchestra.conduct.session.preflight import Preflight, find_replay_differences
from orchestra.conduct.session.warmup import Warmup
from orchestra.errors import RequestRefused, StoreError, UsageError
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.recording import Recorder
from orchestra.gateway.server import LoopbackServer
from orchestra.gateway.wire import open_client
from orchestra.hosts.base import Host
from orchestra.hosts.cluster import ClusterHost
from orchestra.hosts.isolation import Isolation
from orchestra.hosts.local import CommandEnvironment, LocalHost
from orchestra.journal import jsonl
from orchestra.journal.bus import Subscription
from orchestra.journal.jsonl import Journal, prepare_log_folder
from orchestra.journal.open_store import open_own_store, open_store
from orchestra.journal.ownership import RunOwnership
from orchestra.journal.store import Command, Store
from orchestra.journal.writer import StoreWriter
from orchestra.plan.targets import Targets
from orchestra.providers import catalogue
from orchestra.report.ci import detect_ci_system
from orchestra.report.fold import fold_event
from orchestra.report.state import Report
from orchestra.settings import LAUNCH, Settings
from orchestra.workspace.branches import BranchWriter
from orchestra.workspace.merge import free_namespace
from orchestra.workspace.trees import Tree, Trees

NO_PROMPTS = TerminalPrompts()


@contextlib.asynccontextmanager
async def open_run(
    preflight: Preflight,
    warmup: Warmup,
    *,
    screens: Sequence[Subscription],
    prompts: TerminalPrompts = NO_PROMPTS,
    previous: PreviousSessions | None = None,
    host: Host | None = None,
) -> AsyncIterator[Run]:
    """Open a run. One that only plans needs no Aider and no key for the agents' model. Default `host`: this machine."""
    settings, repository, tape = preflight.settings, preflight.repository, preflight.recording
    model, works = preflight.model, warmup.ready_task is not None
    secrets = Secrets.from_settings(settings)
    hide_keys(secrets)
    routes = build_upstreams(settings, model if works else None, replayed=tape is not None)
    if warmup.loads_aider and works and host is None:
        await check_version(warmup.python)
    namespace = previous.started.namespace if previous else await free_namespace(repository.git, BRANCHES)
    limits = make_limits(settings, model, previous.report if previous else None)
    memory = previous.reusable_replies() if previous else None
    # Close what writes events first, then what they are written to.
    async with contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as first:
        # A recording that cannot be written is reported before any request.
        seen = previous.events[-1].seq if previous else 0
        recorder = Recorder(Path(settings.record), seen) if settings.record else None
        if recorder:
            last.callback(recorder.close)
        server = LoopbackServer()
        first.push_async_callback(server.stop)
        await server.start()
        client = open_client()
        first.push_async_callback(client.aclose)
        trees = Trees(repository, warmup.folder)
        last.push_async_callback(trees.close)
        isolation = Isolation(settings, repository, preflight.entries.keys(), warmup.folder, secrets.values)
        cluster = None
        if settings.cluster and works and host is None:
            cluster = await open_cluster(settings, repository, isolation.foreign_reason)
            last.push_async_callback(cluster.cluster.close)
            settings = cluster.settings_for(settings)
        store, key = await open_run_store(last, settings, repository.root)
        hold = RunOwnership(store, key)
        last.callback(hold.close)
        if previous:
            await take_over_run(hold, trees, previous)
        # No waiting from here to the story: a run that has a log must not be stopped before it has a summary.
        before = (previous.stamp, previous.events) if previous else ()
        journal = Journal(repository.root / LOGS, secrets.scrub, *before)
        writer = StoreWriter(store, key)
        last.callback(close_store_writer, writer, journal)
        last.callback(journal.close)
        gateway = Gateway(
            routes,
            JournalListener(journal),
            server=server,
            client=client,
            guard=make_key_guard(secrets, repository),
            memory=memory,
            replay=tape,
            limits=limits,
        )
        first.push_async_callback(gateway.stop)
        state = RunState(Report(unreadable=previous.log.torn_lines if previous else 0))
        if host is None:
            local = make_local_host(preflight, warmup, trees, journal, secrets, isolation)
            tell = partial(emit_note, journal, state)
            host = cluster.make_host(local, gateway.port, journal.folder, tell) if cluster else local
        last.push_async_callback(host.close)
        # A resumed run gets the whole time again.
        deadline = time.monotonic() + settings.deadline if settings.deadline else math.inf
        context = Context(
            *(settings, repository, preflight.entries, secrets, warmup.folder),
            *(journal.folder, journal.stamp, namespace, deadline),
        )
        warm = AgentReadiness(host.ready if isinstance(host, ClusterHost) else warmup.ready_task)
        branches = BranchWriter(repository.git)
        run = Run(context, state, Services(journal, gateway, host, trees, hold, warm, recorder, prompts, branches))
        subscribe_listeners(run, writer, screens)
        if previous:
            session_facts = (str(warmup.folder), os.getpid(), settings.recorded_values())
            run.emit(events.RunResumed(*session_facts, os.environ.get(LAUNCH, "")))
        else:
            emit_run_started(run)
        for text in find_run_warnings(run, preflight) if previous is None else preflight.notes:
            run.emit(events.Note(text))
        notify_waiting_tasks(run)
        accept_commands(run)
        yield run


def make_local_host(
    preflight: Preflight, warmup: Warmup, trees: Trees, journal: Journal, secrets: Secrets, isolation: Isolation
) -> LocalHost:
    repository = preflight.repository
    filters = (secrets.clean_environment, secrets.scrub, secrets.values)
    environment = CommandEnvironment(repository, isolation, journal.folder, *filters)
    return LocalHost(environment, trees, warmup.agent_processes, preflight.entries)


def emit_note(journal: Journal, state: RunState, text: str) -> None:
    """Emit a note while the run goes on: nothing follows its end."""
    if state.report.exit_code is None:
        journal.emit(events.Note(text))


def subscribe_listeners(run: Run, writer: StoreWriter, screens: Sequence[Subscription]) -> None:
    """Subscribe all listeners, in the order in which they receive events. The log is the first."""
    bus, begun = run.services.journal.bus, run.services.journal.seq
    bus.subscribe("The state", partial(fold_event, run.state.report), is_vital=True)
    bus.subscribe("The store", writer.add_event, since=begun)
    for screen in screens:
        bus.subscribe(screen.name, screen.handler, since=screen.since)
    if run.services.recorder:
        bus.subscribe("The recording", run.services.recorder.record_event)


async def open_run_store(stack: contextlib.AsyncExitStack, settings: Settings, root: Path) -> tuple[Store, str]:
    """Open the store and the repository's name in it. In a thread, because database drivers block."""
    if settings.store:
        store, healed = await asyncio.to_thread(open_store, settings.store), ""
    else:
        store, healed = await asyncio.to_thread(open_own_store, prepare_log_folder(root / LOGS) / DATABASE)
    if healed:
        print(f"note: {healed}", file=sys.stderr)
    stack.callback(store.close)
    return store, store_key(settings, root)


def close_store_writer(writer: StoreWriter, journal: Journal) -> None:
    # If the log could not be written, the disk is full: do not wait for the store.
    writer.patience = 1.0 if journal.failed else writer.patience
    if not writer.close():
        print(f"warning: {writer.problem} `resume` of this run brings them into the store.", file=sys.stderr)


async def take_over_run(hold: RunOwnership, trees: Trees, previous: PreviousSessions) -> None:
    """Become the run's owner, bring the store up to date from the files, and remove what the last owner left behind."""
    hold.run = previous.stamp
    await asyncio.to_thread(hold.acquire)
    if jsonl.read_run_log(trees.repository.root / LOGS, previous.stamp).events[-1].seq != previous.events[-1].seq:
        raise UsageError(
            f"run {previous.stamp} was just resumed elsewhere.",
            hint=f"Look at it: aider-orchestrator status {previous.stamp}",
        )
    await asyncio.to_thread(hold.store.append_events, hold.repository, previous.events)
    for folder in previous.folders:
        for tree in folder.glob("*/tree"):
            await trees.remove(Tree(tree, trees.repository.git.at(tree), ""))
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def emit_run_started(run: Run) -> None:
    repository = run.context.repository
    started = events.RunStarted(
        change=run.context.settings.change,
        options=run.context.settings.recorded_values(),
        folder=str(run.context.folder),
        pid=os.getpid(),
        namespace=run.context.namespace,
        unborn=repository.unborn,
        repository=str(repository.root),
        branch=repository.branch,
        base=repository.base,
        model=run.context.model.name,
        provider=run.context.model.provider.name,
        launch=os.environ.get(LAUNCH, ""),
    )
    run.emit(started)


def find_run_warnings(run: Run, preflight: Preflight) -> list[str]:
    """Collect what the user should know before anything is paid."""
    repository, found = run.context.repository, []
    if repository.dirty:
        shown = ", ".join(repository.dirty[:5]) + (" …" if len(repository.dirty) > 5 else "")
        found.append(f"Uncommitted changes ({shown}) stay as they are; agents work on HEAD and do not see them.")
    found += filter(None, [preflight.dirty_note(preflight.known_files), *preflight.notes])
    if not (repository.branch or run.context.settings.shard):
        found.append("HEAD is detached: the result will stay on a side branch.")
    if repository.shallow:
        found.append("This clone is shallow, so its history is missing (in GitHub Actions: fetch-depth: 0).")
    settings = run.context.settings
    keeps = settings.pr or settings.push or settings.patch or settings.shard
    if detect_ci_system(os.environ).kind and run.services.readiness.ready_task and not keeps:
        found.append("A CI job's checkout does not last: --pr, --push or --patch FILE keeps the result.")
    notice = catalogue.retirement_notice(run.context.model, date.today())
    if notice is not None:
        found.append(f"{notice.sentence}.")
    if run.context.model.price_in is None:
        found.append(f"No price is known for {run.context.model.name}: its cost is unknown; set --price IN,OUT.")
    if run.services.gateway.replay is not None:
        found += find_replay_differences(run.services.gateway.replay, run.context.settings, repository)
    return found


def accept_commands(run: Run) -> None:
    """Accept commands from now on. Call it in the story's own task, which `cancel` stops."""
    loop, story = asyncio.get_running_loop(), asyncio.current_task()
    assert story is not None

    def stop_run(command: Command) -> str:
        story.cancel(signal.SIGTERM)
        return "The run is being stopped."

    def lose_ownership() -> None:
        run.services.journal.muted = True
        story.cancel(signal.SIGTERM)

    answers: set[asyncio.Task[None]] = set()

    def start_answer(command: Command) -> None:
        answer = loop.create_task(answer_command(run, command))
        answers.add(answer)
        answer.add_done_callback(answers.discard)

    run.services.commands["cancel"] = stop_run
    run.services.hold.run = run.context.stamp
    run.services.hold.start_renewing(
        lambda command: loop.call_soon_threadsafe(start_answer, command),
        lambda: loop.call_soon_threadsafe(lose_ownership),
    )


async def answer_command(run: Run, command: Command) -> None:
    """Carry out a command if that is possible now, and emit the answer where its sender looks for it."""
    name = command.kind if command.task is None else f"{command.kind} task"
    carry_out, refused = run.services.commands.get(name), False
    try:
        if carry_out is None:
            raise RequestRefused(refusal_of(run, name))
        result = carry_out(command)
        answer = result if isinstance(result, str) else await result
    except RequestRefused as why:
        answer, refused = str(why), True
    token = str(command.data.get("token", ""))
    source = str(command.data.get("source", ""))
    payload = events.CommandAnswered(name=command.kind, token=token, answer=answer, refused=refused, source=source)
    run.emit(payload, command.task)


def refusal_of(run: Run, name: str) -> str:
    """Return why a command cannot be carried out now, and what to do."""
    report, stamp = run.state.report, run.context.stamp
    if not report.tasks:
        return f"The run cannot {name} now, because it has no tasks yet: try again when they have begun."
    again = f"aider-orchestrator {'resolve' if name == 'resolve task' else 'resume'} {stamp}"
    return f"The run cannot {name} now, because it is ending: wait until it has ended, then use `{again}`."


async def reserve_files(run: Run, targets: Targets | None = None) -> None:
    """Reserve the target files as soon as they are known: no two runs change one file at once."""
    paths = [file.path for file in targets.files] if targets else list(run.state.plan.owners)
    try:
        await asyncio.to_thread(run.services.hold.lease_files, paths)
    except StoreError as error:
        run.emit(events.Note(f"The files could not be reserved: {error}"))
