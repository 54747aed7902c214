"""A run and everything it holds open: journal, gateway, seats, worktrees. What is opened here is closed here."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestra import catalogue
from orchestra.conduct.secrets import Secrets
from orchestra.errors import SettingsError
from orchestra.gateway.door import Gateway
from orchestra.gateway.ledger import Exchange, Pass, Upstream
from orchestra.gateway.tape import Tape
from orchestra.journal.jsonl import Journal, Listener, prepare
from orchestra.journal.store import open_store
from orchestra.journal.writer import Writer
from orchestra.model import MOVES, Plan, TaskState
from orchestra.report.fold import Report, step
from orchestra.seat import Seats, find_python, seats
from orchestra.settings import Settings
from orchestra.workspace.merge import free_namespace
from orchestra.workspace.repository import Entry, Repository
from orchestra.workspace.trees import Tree, Trees

if TYPE_CHECKING:
    from orchestra.conduct.resume import Past

BRANCHES = "aider-orchestrator"
LOGS = ".aider_logs"
DATABASE = "orchestra.db"


@dataclass
class Run:
    """What every step of the story needs."""

    settings: Settings
    repository: Repository
    entries: Mapping[str, Entry]
    model: catalogue.Model
    secrets: Secrets
    folder: Path
    journal: Journal
    gateway: Gateway
    seats: Seats
    trees: Trees
    namespace: str
    report: Report = field(default_factory=Report)
    plan: Plan = field(default_factory=lambda: Plan((), 0))

    @property
    def logs(self) -> Path:
        return self.journal.folder

    @property
    def stamp(self) -> str:
        return self.journal.stamp

    def emit(self, kind: str, task: int | None = None, attempt: int | None = None, **data: Any) -> None:
        self.journal.emit(kind, task, attempt, **data)

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        """The one way in which a task changes state; what the table does not allow is a bug."""
        now = TaskState(self.report.tasks[task].state)
        if state not in MOVES[now]:
            raise AssertionError(f"task {task} cannot go from {now} to {state}")
        self.emit("task_moved", task, attempt, state=state)

    def branch(self, name: str) -> str:
        return f"{self.namespace}/{self.stamp}/{name}"


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    repository: Repository,
    entries: Mapping[str, Entry],
    *,
    listeners: tuple[Listener, ...] = (),
    replay: Path | None = None,
    record: Path | None = None,
    past: "Past | None" = None,
) -> AsyncIterator[Run]:
    model = chosen_model(settings)
    secrets = Secrets.of(settings)
    tape = Tape.load(replay) if replay else None
    routes = upstreams(settings, model, replayed=tape is not None)
    python = find_python(os.environ)
    namespace = past.namespace if past else await free_namespace(repository.git, BRANCHES)
    gateway = Gateway(
        routes,
        lambda ticket, exchange: None,
        memory=past.replies() if past else None,
        replay=tape,
        record=Tape.create(record) if record else None,
    )
    # What writes events is closed first, then what they are written to.
    async with contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as first:
        folder = Path(tempfile.mkdtemp(prefix="aider-orchestrator-"))
        last.callback(shutil.rmtree, folder, ignore_errors=True)
        await gateway.start()
        first.push_async_callback(gateway.stop)
        # Aider's imports take seconds; they are hidden behind the time that Gemini takes to write.
        agents = seats(python, folder / "server", fork=settings.fork_server)
        first.push_async_callback(agents.close)
        warming = asyncio.create_task(agents.ready())
        first.push_async_callback(quietly, warming)
        trees = Trees(repository, folder)
        last.push_async_callback(trees.close)
        writer = await opened_store(last, settings, repository.root, past)
        if past:
            await sweep(trees, past)
        # From here to the story nothing is waited for: a run that has a log cannot be stopped before it has a summary.
        journal = Journal(repository.root / LOGS, secrets.scrub, *((past.stamp, past.events[-1].seq) if past else ()))
        last.callback(journal.close)
        gateway.heard = hear(journal)
        report = past.report if past else Report()
        run = Run(
            settings, repository, entries, model, secrets, folder, journal, gateway, agents, trees, namespace, report
        )
        journal.listeners += [lambda event: step(run.report, event), writer.put, *listeners]
        if past:
            run.emit("run_resumed", folder=str(folder), pid=os.getpid())
        else:
            announce(run)
        yield run


def store_key(settings: Settings, root: Path) -> str:
    """How the store names the repository: its own database holds one only, a shared one those of many machines."""
    return f"{socket.gethostname()}:{root}" if settings.store else "."


async def quietly(warming: asyncio.Task[None]) -> None:
    warming.cancel()
    await asyncio.gather(warming, return_exceptions=True)


async def opened_store(stack: contextlib.AsyncExitStack, settings: Settings, root: Path, past: "Past | None") -> Writer:
    """The store, in a thread because a database's driver takes its time, and who writes the events into it."""
    key, place = store_key(settings, root), settings.store or prepare(root / LOGS) / DATABASE
    store = await asyncio.to_thread(open_store, place)
    stack.callback(store.close)
    if past:
        # The files have what the store may have missed when the last orchestrator died.
        await asyncio.to_thread(store.append, key, past.events)
    writer = Writer(store, key)
    stack.callback(writer.close)
    return writer


async def sweep(trees: Trees, past: "Past") -> None:
    """What the last orchestrator of this run could not take away, since it died."""
    for folder in past.folders:
        for tree in folder.glob("*/tree"):
            await trees.remove(Tree(tree, trees.repository.git.at(tree), ""))
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def announce(run: Run) -> None:
    repository = run.repository
    run.emit(
        "run_started",
        change=run.settings.change,
        options=run.settings.options(),
        folder=str(run.folder),
        pid=os.getpid(),
        namespace=run.namespace,
        unborn=repository.unborn,
        repository=str(repository.root),
        branch=repository.branch,
        base=repository.base,
        model=run.model.name,
        provider=run.model.provider.name,
    )
    for text in warnings(run):
        run.emit("note", text=text)


def warnings(run: Run) -> list[str]:
    """What the user should know before anything is paid."""
    repository, found = run.repository, []
    if repository.dirty:
        shown = ", ".join(repository.dirty[:5]) + (" …" if len(repository.dirty) > 5 else "")
        found.append(f"Uncommitted changes ({shown}) stay as they are; agents work on HEAD and do not see them.")
    notice = catalogue.retirement(run.model, date.today())
    if notice is not None:
        found.append(f"{notice.sentence}.")
    if run.model.price_in is None:
        found.append(f"No price is known for {run.model.name}: its cost cannot be said.")
    return found


def chosen_model(settings: Settings) -> catalogue.Model:
    """The agents' model. A retired one is refused, unless the user's own server may still serve it."""
    name = settings.model or catalogue.DEFAULT_MODEL
    if settings.claude:
        name = settings.claude_model or catalogue.DEFAULT_CLAUDE_MODEL
    try:
        model = catalogue.resolve(name)
    except catalogue.UnknownProvider as error:
        raise SettingsError(f"{error}.") from None
    notice = catalogue.retirement(model, date.today())
    if notice is not None and notice.severity == "retired" and not own_base(settings, model.provider):
        raise SettingsError(f"{notice.sentence}.")
    return model


def own_base(settings: Settings, provider: catalogue.Provider) -> str:
    return settings.base_url(provider.base_vars, settings.key(provider.key_vars)[1])


def upstreams(settings: Settings, model: catalogue.Model, *, replayed: bool) -> dict[str, Upstream]:
    """Where the agents' provider, and Gemini for the PRD, are really reached."""
    routes = {}
    for provider in {model.provider.name: model.provider, "gemini": catalogue.PROVIDERS["gemini"]}.values():
        key, _ = settings.key(provider.key_vars)
        if provider.name == "gemini":
            key = settings.api_key or key
        base = own_base(settings, provider)
        if provider is model.provider and provider.key_vars and not (key or base or replayed):
            names = " or ".join(provider.key_vars)
            raise SettingsError(
                f"{model.name} needs {names} in the environment or .env, or a base URL in {provider.base_vars[0]}."
            )
        routes[provider.name] = Upstream(provider.name, provider.dialect, catalogue.base_url(provider, base), key)
    return routes


def hear(journal: Journal) -> Any:
    """Write down each exchange before its reply is handed on: what was paid for is never unknown."""

    def heard(ticket: Pass, exchange: Exchange) -> None:
        used = vars(exchange.usage)
        journal.emit(
            "request",
            ticket.task,
            ticket.attempt,
            role=ticket.role,
            provider=exchange.provider,
            model=exchange.model,
            status=exchange.status,
            failure=exchange.failure,
            message=exchange.message,
            usage=used,
            seconds=round(exchange.seconds, 3),
            identity=exchange.identity,
            replayed=exchange.replayed,
            recalled=exchange.recalled,
            type=exchange.kind,
            body=exchange.raw,
        )
        if ticket.task is not None and not exchange.failure and not exchange.recalled:
            journal.emit(
                "assistant_response", ticket.task, ticket.attempt, content=exchange.reply, finish=exchange.finish
            )

    return heard


def count_machine() -> tuple[int, int]:
    """Cores and free memory, as far as this platform tells."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return cores, int(line.split()[1]) * 1024
    except OSError:
        pass
    return cores, 8 << 30
