"""Open a run: journal, gateway, agent processes, worktrees, store. What is opened here is closed here."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from orchestra import events
from orchestra.agents.seat import check_version
from orchestra.conduct.core.context import Context, People, Run, Services
from orchestra.conduct.core.deadline import deadline
from orchestra.conduct.core.gateway_events import JournalListener
from orchestra.conduct.core.models import chosen_model, upstreams
from orchestra.conduct.core.money import limits_of
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.core.state import State
from orchestra.conduct.core.warm import Warm
from orchestra.conduct.core.where import BRANCHES, DATABASE, LOGS, store_key
from orchestra.conduct.deliver.notify import call_for_people
from orchestra.conduct.previous.previous import Past
from orchestra.conduct.session.hide_keys import hide_keys
from orchestra.conduct.session.outgoing_keys import key_guard
from orchestra.conduct.session.preflight import Before
from orchestra.conduct.session.remote_control import accept_commands
from orchestra.conduct.session.replay import differences
from orchestra.conduct.session.warmup import Workshop
from orchestra.errors import UsageError
from orchestra.gateway.door import Gateway
from orchestra.gateway.server import LoopbackServer
from orchestra.gateway.tape import Recorder
from orchestra.gateway.wire import open_client
from orchestra.hosts.base import Host
from orchestra.hosts.isolation import Isolation
from orchestra.hosts.local import LocalHost
from orchestra.hosts.set_up import Surroundings
from orchestra.journal import jsonl
from orchestra.journal.bus import Subscription
from orchestra.journal.heal import open_own_store
from orchestra.journal.hold import Hold
from orchestra.journal.jsonl import Journal, prepare
from orchestra.journal.open_store import open_store
from orchestra.journal.store import Store
from orchestra.journal.writer import Writer
from orchestra.providers import catalogue
from orchestra.report.ci import recognise
from orchestra.report.fold import step
from orchestra.report.state import Report
from orchestra.settings import Settings
from orchestra.workspace.merge import free_namespace
from orchestra.workspace.trees import Tree, Trees

ALONE = People()


@contextlib.asynccontextmanager
async def opened(
    before: Before,
    shop: Workshop,
    *,
    screens: Sequence[Subscription],
    people: People = ALONE,
    past: Past | None = None,
    host: Host | None = None,
) -> AsyncIterator[Run]:
    """A run that does no work, but only plans it, needs no Aider, and no key for the agents' model. Without a `host`,
    attempts and gates run on this machine."""
    settings, repository, tape = before.settings, before.repository, before.tape
    model, works = chosen_model(settings), shop.warming is not None
    secrets = Secrets.of(settings)
    hide_keys(secrets)
    routes = upstreams(settings, model if works else None, replayed=tape is not None)
    if works and host is None:
        await check_version(shop.python)
    namespace = past.namespace if past else await free_namespace(repository.git, BRANCHES)
    limits = limits_of(settings, model, past.report if past else None)
    memory = past.replies() if past else None
    # What writes events is closed first, then what they are written to.
    async with contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as first:
        recorder = recording(last, settings, past)
        server = LoopbackServer()
        first.push_async_callback(server.stop)
        await server.start()
        client = open_client()
        first.push_async_callback(client.aclose)
        trees = Trees(repository, shop.folder)
        last.push_async_callback(trees.close)
        store, key = await opened_store(last, settings, repository.root)
        hold = Hold(store, key)
        last.callback(hold.close)
        if past:
            await take_over(hold, trees, past)
        # From here to the story nothing is waited for: a run that has a log cannot be stopped before it has a summary.
        journal = Journal(repository.root / LOGS, secrets.scrub, *((past.stamp, past.events) if past else ()))
        writer = Writer(store, key)
        last.callback(close_writer, writer, journal)
        last.callback(journal.close)
        gateway = Gateway(
            routes,
            JournalListener(journal),
            server=server,
            client=client,
            guard=key_guard(secrets, repository),
            memory=memory,
            replay=tape,
            limits=limits,
        )
        first.push_async_callback(gateway.stop)
        host = host or local_host(before, shop, trees, journal, secrets)
        last.push_async_callback(host.close)
        context = Context(
            settings=settings,
            repository=repository,
            entries=before.entries,
            model=model,
            secrets=secrets,
            folder=shop.folder,
            logs=journal.folder,
            stamp=journal.stamp,
            namespace=namespace,
            deadline=deadline(settings),
        )
        state = State(journal, Report(unreadable=past.log.torn if past else 0))
        warm = Warm(shop.warming)
        run = Run(context, state, Services(journal, gateway, host, trees, hold, warm, recorder, people))
        subscribe(run, writer, screens)
        if past:
            run.emit(events.RunResumed(str(shop.folder), os.getpid(), settings.options()))
        else:
            announce(run)
        call_for_people(run)
        accept_commands(run)
        yield run


def local_host(before: Before, shop: Workshop, trees: Trees, journal: Journal, secrets: Secrets) -> LocalHost:
    repository = before.repository
    isolation = Isolation(before.settings, repository, before.entries.keys(), shop.folder, secrets.values)
    place = Surroundings(repository, isolation, journal.folder, secrets.free, secrets.scrub, secrets.values)
    return LocalHost(place, trees, shop.seats, before.entries)


def subscribe(run: Run, writer: Writer, screens: Sequence[Subscription]) -> None:
    """All that hear of the run's events, in the order in which they do. The log is the first."""
    bus, begun = run.services.journal.bus, run.services.journal.seq
    bus.subscribe("The state", partial(step, run.state.report), vital=True)
    bus.subscribe("The store", writer.put, since=begun)
    for screen in screens:
        bus.subscribe(screen.name, screen.handler, since=screen.since)
    if run.services.recorder:
        bus.subscribe("The recording", run.services.recorder.hear)


def recording(stack: contextlib.AsyncExitStack, settings: Settings, past: Past | None) -> Recorder | None:
    """Who listens for --record. A tape that cannot be written is known before anything is asked."""
    if not settings.record:
        return None
    recorder = Recorder(Path(settings.record), past.events[-1].seq if past else 0)
    stack.callback(recorder.close)
    return recorder


async def opened_store(stack: contextlib.AsyncExitStack, settings: Settings, root: Path) -> tuple[Store, str]:
    """The store, and what it calls this repository. In a thread, because a database's driver takes its time."""
    if settings.store:
        store, healed = await asyncio.to_thread(open_store, settings.store), ""
    else:
        store, healed = await asyncio.to_thread(open_own_store, prepare(root / LOGS) / DATABASE)
    if healed:
        print(f"note: {healed}", file=sys.stderr)
    stack.callback(store.close)
    return store, store_key(settings, root)


def close_writer(writer: Writer, journal: Journal) -> None:
    # Where the log could not be written, it is the disk: nobody frees it while we wait.
    writer.patience = 1.0 if journal.failed else writer.patience
    if not writer.close():
        print(f"warning: {writer.problem} `resume` of this run brings them into the store.", file=sys.stderr)


async def take_over(hold: Hold, trees: Trees, past: Past) -> None:
    """Become the run's owner, give the store what only the files have, and take away what the last owner could not."""
    hold.run = past.stamp
    await asyncio.to_thread(hold.claim)
    if jsonl.read(trees.repository.root / LOGS, past.stamp).events[-1].seq != past.events[-1].seq:
        raise UsageError(f"run {past.stamp} has just gone on elsewhere.", hint="Look at it with `status`.")
    await asyncio.to_thread(hold.store.append, hold.repository, past.events)
    for folder in past.folders:
        for tree in folder.glob("*/tree"):
            await trees.remove(Tree(tree, trees.repository.git.at(tree), ""))
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def announce(run: Run) -> None:
    repository = run.context.repository
    started = events.RunStarted(
        change=run.context.settings.change,
        options=run.context.settings.options(),
        folder=str(run.context.folder),
        pid=os.getpid(),
        namespace=run.context.namespace,
        unborn=repository.unborn,
        repository=str(repository.root),
        branch=repository.branch,
        base=repository.base,
        model=run.context.model.name,
        provider=run.context.model.provider.name,
    )
    run.emit(started)
    for text in warnings(run):
        run.emit(events.Note(text))


def warnings(run: Run) -> list[str]:
    """What the user should know before anything is paid."""
    repository, found = run.context.repository, []
    if repository.dirty:
        shown = ", ".join(repository.dirty[:5]) + (" …" if len(repository.dirty) > 5 else "")
        found.append(f"Uncommitted changes ({shown}) stay as they are; agents work on HEAD and do not see them.")
    if not repository.branch:
        found.append("HEAD is detached: no branch can be moved, so that the result will stay on a branch of its own.")
    if repository.shallow:
        found.append("This clone is shallow: what its history tells is missing (in GitHub Actions: fetch-depth: 0).")
    if recognise(os.environ).kind and not handed_over(run.context.settings):
        found.append("A CI job's checkout does not last: --pr, --push or --patch FILE hands the result over.")
    notice = catalogue.retirement(run.context.model, date.today())
    if notice is not None:
        found.append(f"{notice.sentence}.")
    if run.context.model.price_in is None:
        found.append(
            f"No price is known for {run.context.model.name}: its cost cannot be said (--price IN,OUT gives one)."
        )
    if run.services.gateway.replay is not None:
        found += differences(run.services.gateway.replay, run.context.settings, repository)
    return found


def handed_over(settings: Settings) -> bool:
    return bool(settings.pr or settings.push or settings.patch)
