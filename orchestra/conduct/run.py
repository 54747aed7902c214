"""A run and everything it holds open: journal, gateway, seats, worktrees. What is opened here is closed here."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestra import catalogue
from orchestra.conduct.limits import deadline, limits_of, prices
from orchestra.conduct.replay import differences
from orchestra.conduct.secrets import Secrets
from orchestra.conduct.workshop import Workshop
from orchestra.errors import MissingKey, SettingsError, UsageError
from orchestra.gateway.budget import Amount
from orchestra.gateway.door import Gateway
from orchestra.gateway.ledger import Exchange, Pass, Upstream
from orchestra.gateway.tape import Recorder, digest
from orchestra.journal import jsonl
from orchestra.journal.hold import Hold
from orchestra.journal.jsonl import Journal, Listener, prepare
from orchestra.journal.store import Command, Store, open_store
from orchestra.journal.writer import Writer
from orchestra.model import MOVES, Decision, Plan, Task, TaskState
from orchestra.plan.draft import Draft
from orchestra.plan.roles import Role, find
from orchestra.report.ci import recognise
from orchestra.report.fold import Report, TaskReport, fold, step
from orchestra.seat import Seats, check_version
from orchestra.settings import Settings
from orchestra.workspace.merge import free_namespace
from orchestra.workspace.repository import Entry, Repository
from orchestra.workspace.trees import Tree, Trees

if TYPE_CHECKING:
    from orchestra.conduct.before import Before
    from orchestra.conduct.resume import Past

BRANCHES = "aider-orchestrator"
LOGS = ".aider_logs"
DATABASE = "orchestra.db"
AGENT = "agent"  # the role of which replies are iterations


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
    hold: Hold
    namespace: str
    deadline: float  # on the clock of time.monotonic
    report: Report = field(default_factory=Report)
    plan: Plan = field(default_factory=lambda: Plan((), 0))
    warming: asyncio.Future[None] | None = None
    ready_at: float = 0.0  # since when Aider can work, on the same clock
    recorder: Recorder | None = None
    # Who can be asked about a task that waits; nobody, where there is no terminal.
    ask: Callable[[TaskReport], Awaitable[Decision | None]] | None = None
    confirm: Callable[[Draft], Awaitable[bool]] | None = None  # and about a plan
    # What other terminals may ask now, and who carries it out and answers.
    commands: dict[str, Callable[[Command], str]] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.journal.folder

    @property
    def stamp(self) -> str:
        return self.journal.stamp

    def emit(self, kind: str, task: int | None = None, attempt: int | None = None, **data: Any) -> None:
        self.journal.emit(kind, task, attempt, **data)

    async def aider(self) -> None:
        """Wait until it can work. What passes until then is nobody's time."""
        await self.seats.ready()
        if not self.ready_at:
            self.ready_at = time.monotonic()
            self.emit("aider_ready")

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        """The one way in which a task changes state; what the table does not allow is a bug."""
        now = TaskState(self.report.tasks[task].state)
        if state not in MOVES[now]:
            raise AssertionError(f"task {task} cannot go from {now} to {state}")
        self.emit("task_moved", task, attempt, state=state)

    @property
    def waits_for_human(self) -> bool:
        """Whether a task that failed for good waits for a person."""
        return self.settings.ask == "always" or (self.settings.ask == "terminal" and self.ask is not None)

    def role(self, task: Task) -> Role:
        return find(task.role, self.settings.roles)

    def model_of(self, task: Task) -> catalogue.Model:
        return role_model(self.settings, task.role) or self.model

    def branch(self, name: str) -> str:
        return f"{self.namespace}/{self.stamp}/{name}"


@contextlib.asynccontextmanager
async def opened(
    before: "Before", shop: Workshop, *, listeners: tuple[Listener, ...] = (), past: "Past | None" = None
) -> AsyncIterator[Run]:
    """A run that does no work, but only plans it, needs no Aider, and no key for the agents' model."""
    settings, repository, tape = before.settings, before.repository, before.tape
    model, works = chosen_model(settings), shop.warming is not None
    secrets = Secrets.of(settings)
    routes = upstreams(settings, model if works else None, replayed=tape is not None)
    if works:
        await check_version(shop.python)
    namespace = past.namespace if past else await free_namespace(repository.git, BRANCHES)
    gateway = Gateway(
        routes,
        lambda ticket, exchange: None,
        memory=past.replies() if past else None,
        replay=tape,
        limits=limits_of(settings, model, past),
    )
    # What writes events is closed first, then what they are written to.
    async with contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as first:
        recorder = recording(last, settings, past)
        await gateway.start()
        first.push_async_callback(gateway.stop)
        trees = Trees(repository, shop.folder)
        last.push_async_callback(trees.close)
        store, key = await opened_store(last, settings, repository.root)
        hold = Hold(store, key)
        last.callback(hold.close)
        if past:
            await take_over(hold, trees, past)
        # From here to the story nothing is waited for: a run that has a log cannot be stopped before it has a summary.
        journal = Journal(repository.root / LOGS, secrets.scrub, *((past.stamp, past.events[-1].seq) if past else ()))
        writer = Writer(store, key)
        last.callback(close_writer, writer, journal)
        last.callback(journal.close)
        write_down(gateway, journal)
        run = Run(
            settings=settings,
            repository=repository,
            entries=before.entries,
            model=model,
            secrets=secrets,
            folder=shop.folder,
            journal=journal,
            gateway=gateway,
            seats=shop.seats,
            trees=trees,
            hold=hold,
            namespace=namespace,
            deadline=deadline(settings),
            # A copy of its own: what happens now does not change the past.
            report=fold(past.events if past else ()),
        )
        run.warming = shop.warming
        journal.listeners += [lambda event: step(run.report, event), writer.put, *listeners]
        run.recorder = recorder
        journal.listeners += [recorder.hear] if recorder else []
        if past:
            run.emit("run_resumed", folder=str(shop.folder), pid=os.getpid(), options=settings.options())
        else:
            announce(run)
        yield run


def write_down(gateway: Gateway, journal: Journal) -> None:
    """All that passes the gateway, from here on."""
    gateway.heard = hear(journal)
    gateway.told = tell_waits(journal)
    gateway.limits.aside = tell_aside(journal)


def store_key(settings: Settings, root: Path) -> str:
    """How the store names the repository: its own database holds one only, a shared one those of many machines."""
    return f"{socket.gethostname()}:{root}" if settings.store else "."


def recording(stack: contextlib.AsyncExitStack, settings: Settings, past: "Past | None") -> Recorder | None:
    """Who listens for --record. A tape that cannot be written is known before anything is asked."""
    if not settings.record:
        return None
    recorder = Recorder(Path(settings.record), past.events if past else ())
    stack.callback(recorder.close)
    return recorder


async def opened_store(stack: contextlib.AsyncExitStack, settings: Settings, root: Path) -> tuple[Store, str]:
    """The store, and what it calls this repository. In a thread, because a database's driver takes its time."""
    store = await asyncio.to_thread(open_store, settings.store or prepare(root / LOGS) / DATABASE)
    stack.callback(store.close)
    return store, store_key(settings, root)


def close_writer(writer: Writer, journal: Journal) -> None:
    # Where the log could not be written, it is the disk: nobody frees it while we wait.
    writer.patience = 1.0 if journal.failed else writer.patience
    if not writer.close():
        print(f"warning: {writer.problem} `resume` of this run brings them into the store.", file=sys.stderr)


async def take_over(hold: Hold, trees: Trees, past: "Past") -> None:
    """Become the run's owner, give the store what only the files have, and take away what the last owner could not."""
    hold.run = past.stamp
    await asyncio.to_thread(hold.claim)
    if jsonl.read(trees.repository.root / LOGS, past.stamp)[-1].seq != past.events[-1].seq:
        raise UsageError(f"run {past.stamp} has just gone on elsewhere.", hint="Look at it with `status`.")
    await asyncio.to_thread(hold.store.append, hold.repository, past.events)
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
    if not repository.branch:
        found.append("HEAD is detached: no branch can be moved, so that the result will stay on a branch of its own.")
    if repository.shallow:
        found.append("This clone is shallow: what its history tells is missing (in GitHub Actions: fetch-depth: 0).")
    if recognise(os.environ).kind and not handed_over(run.settings):
        found.append("A CI job's checkout does not last: --pr, --push or --patch FILE hands the result over.")
    notice = catalogue.retirement(run.model, date.today())
    if notice is not None:
        found.append(f"{notice.sentence}.")
    if run.model.price_in is None:
        found.append(f"No price is known for {run.model.name}: its cost cannot be said (--price IN,OUT gives one).")
    if run.gateway.replay is not None:
        found += differences(run.gateway.replay, run.settings, repository)
    return found


def handed_over(settings: Settings) -> bool:
    return bool(settings.pr or settings.push or settings.patch)


def chosen_model(settings: Settings) -> catalogue.Model:
    """The agents' model. A retired one is refused, unless the user's own server may still serve it."""
    name = settings.model or catalogue.DEFAULT_MODEL
    if settings.claude:
        name = settings.claude_model or catalogue.DEFAULT_CLAUDE_MODEL
    model = usable_model(settings, name)
    return prices(settings, model).get(model.name, model)


def critic_model(settings: Settings) -> catalogue.Model | None:
    """The model that reviews, where one does: it need not be of the agents' provider."""
    gemini = (settings.gemini_model or catalogue.DEFAULT_GEMINI_MODEL).removeprefix("gemini/")
    return usable_model(settings, settings.critic_model or f"gemini/{gemini}") if settings.critic else None


def role_model(settings: Settings, role: str) -> catalogue.Model | None:
    """The model of its own that a role has, at the price that counts for it."""
    name = find(role, settings.roles).model
    model = usable_model(settings, name) if name else None
    return model and prices(settings, model).get(model.name, model)


def usable_model(settings: Settings, name: str) -> catalogue.Model:
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


def upstreams(
    settings: Settings, model: catalogue.Model | None, roles: Iterable[catalogue.Model] = (), *, replayed: bool
) -> dict[str, Upstream]:
    """Where the agents' providers, the critic's, and Gemini for the PRD are really reached."""
    routes = {}
    needed = {one.provider.name: one for one in (critic_model(settings), *roles, model) if one}
    providers = {"gemini": catalogue.PROVIDERS["gemini"]} | {name: one.provider for name, one in needed.items()}
    for provider in providers.values():
        key, _ = settings.key(provider.key_vars)
        if provider.name == "gemini":
            key = settings.api_key or key
        base = own_base(settings, provider)
        if provider.name in needed and provider.key_vars and not (key or base or replayed):
            names, who = " or ".join(provider.key_vars), needed[provider.name].name
            raise MissingKey(
                f"{who} needs {names} in the environment or .env, or a base URL in {provider.base_vars[0]}."
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
            number=exchange.number,
            drifted=exchange.drifted,
            type=exchange.kind,
            body=exchange.raw,
            # Of the reply as it came: when a secret is taken out of it, it is known that it is not whole.
            digest=digest(exchange.raw),
        )
        if ticket.role == AGENT and not exchange.failure and not exchange.recalled:
            journal.emit(
                "assistant_response", ticket.task, ticket.attempt, content=exchange.reply, finish=exchange.finish
            )

    return heard


def tell_aside(journal: Journal) -> Any:
    """So that a run that dies knows what was on its way, and may be billed."""

    def aside(ticket: Pass, number: int, most: Amount) -> None:
        how = {"role": ticket.role, "number": number, "dollars": most.dollars, "tokens": most.tokens}
        journal.emit("set_aside", ticket.task, ticket.attempt, **how)

    return aside


def tell_waits(journal: Journal) -> Any:
    """So that whoever looks sees why an agent does nothing."""

    def told(ticket: Pass, whom: str, why: str) -> None:
        journal.emit("waiting", ticket.task, ticket.attempt, role=ticket.role, on=whom, why=why)

    return told


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
