"""This machine as a host: a worktree and an agent per attempt, and one worktree at a time for gates."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from orchestra.agents import AGENTS
from orchestra.agents.base import DOOR, FOLDER, TOKEN, TREE, AgentOutcome, AttemptOrder, WorktreeSetup
from orchestra.agents.commands import MOST_PRINTED, read_printed, run_agent_command
from orchestra.agents.seat import OUTPUT, AgentJob, AgentProcesses, agent_environment, git_config_variables
from orchestra.errors import GitFailed, OrchestraError, SetUpFailed
from orchestra.gates.environment import GateEnvironment, RecentPackages, Surroundings, digest_environment
from orchestra.gates.provision import find_build_products, provision_gate
from orchestra.gates.run import GateContext, GateOutcome, run_gate
from orchestra.hosts.base import AttemptResult, GateOrder, GatewayAccess, HostFacts, Supervisor, ignore_outcome
from orchestra.hosts.isolation import MODES, Isolation, without_session
from orchestra.judge.permit import Permit
from orchestra.model import Gate
from orchestra.process import Sandbox, read_tail, run_command
from orchestra.workspace import collect
from orchestra.workspace.git import CONFIG
from orchestra.workspace.repository import Entry, Repository
from orchestra.workspace.trees import Tree, Trees, provision_tree, temporary_tree

CUT_SHORT = ("stopped", "crashed")  # ends of an agent that did not finish


@dataclass(frozen=True)
class CommandEnvironment:
    """The environment of the repository's commands. `logs`: for their output. `keys`: hidden from every command."""

    repository: Repository
    isolation: Isolation
    logs: Path
    environment: Callable[[Mapping[str, str]], dict[str, str]]
    scrub: Callable[[str], str]
    keys: tuple[str, ...] = ()

    def for_commands(self) -> dict[str, str]:
        """Return the environment for a command, without keys and without what belongs to the user's terminal."""
        return without_session(self.environment(os.environ))


@dataclass(frozen=True)
class AgentView:
    """Where an agent finds its folder, and the sandbox of one that is a program of its own."""

    folder: Path
    sandbox: Sandbox | None = None

    @property
    def tree(self) -> Path:
        return self.folder / "tree"


@dataclass(eq=False)
class LocalHost:
    """`entries`: the files of the repository's base."""

    command_environment: CommandEnvironment
    trees: Trees
    agent_processes: AgentProcesses
    entries: Mapping[str, Entry]
    job_count: int = 0
    packages: RecentPackages = field(default_factory=RecentPackages)
    offloads_gates: bool = False

    async def open(self) -> HostFacts:
        isolation = self.command_environment.isolation
        trusted = await isolation.is_trusted()
        return HostFacts("local", "" if trusted else isolation.foreign_reason, isolation.note)

    async def receive_commit(self, commit: str, pack: bytes) -> None:
        """Do nothing: the head's objects are in the same database."""

    async def close(self) -> None:
        await self.trees.close()

    # --- attempts

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        tree = await self.trees.add(order.name, order.base)
        done_with = self.trees.discard
        try:
            await set_up_worktree(self.command_environment, tree, order.set_up, f"setup_{order.name}_{order.run}.txt")
            tree = await self.trees.snapshot(tree, order.files, provisioned=bool(order.set_up))
            view = await self.find_view(order, tree)
            door = await supervisor.admit(str(view.tree))
            outcome = await self.run_agent(order, tree, view, door, supervisor)
            if not (tree.path / ".git").exists():
                raise OrchestraError("its worktree was deleted while it was running.")
            alone = AGENTS[order.agent].edits_only and not (order.set_up or order.arguments)
            if outcome.end not in CUT_SHORT and alone:
                done_with = self.trees.release
            return await self.collect_result(order, tree, outcome)
        finally:
            done_with(tree)

    async def find_view(self, order: AttemptOrder, tree: Tree) -> "AgentView":
        folder = tree.path.parent
        if not AGENTS[order.agent].is_command:
            return AgentView(folder)
        sandbox = await self.command_environment.isolation.sandbox()
        return AgentView(Path(sandbox.find_agent_folder() or folder), sandbox)

    async def run_agent(
        self, order: AttemptOrder, tree: Tree, view: "AgentView", door: GatewayAccess, supervisor: Supervisor
    ) -> AgentOutcome:
        """Let the agent work until it ends or is stopped."""
        running = asyncio.create_task(self.start_agent(order, tree, view, door))
        stopping = asyncio.create_task(supervisor.wait_for_stop())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else AgentOutcome("stopped")
        finally:
            stopping.cancel()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, OrchestraError):
                await running

    async def start_agent(
        self, order: AttemptOrder, tree: Tree, view: "AgentView", door: GatewayAccess
    ) -> AgentOutcome:
        job = self.build_job(order, tree, view, door)
        if view.sandbox is None:
            return await self.agent_processes.run(job)
        seen_as = "" if view.folder == tree.path.parent else str(view.folder)
        fence = view.sandbox.for_agent(urlsplit(door.url).port or 0, tree.path, seen_as)
        return await run_agent_command(AGENTS[order.agent], job, str(view.tree), fence)

    def build_job(self, order: AttemptOrder, tree: Tree, view: "AgentView", door: GatewayAccess) -> AgentJob:
        folder = tree.path.parent
        for name in ("home", "tmp"):
            (folder / name).mkdir(exist_ok=True)
        absent = frozenset(path for path in order.new if not (tree.path / path).is_file())
        places = {TREE: str(view.tree), FOLDER: str(view.folder), DOOR: door.url, TOKEN: door.token}
        fenced = view.sandbox is not None and view.sandbox.mode == MODES[0]
        call = AGENTS[order.agent].build_call(order, absent, fenced=fenced).fill_in(places)
        for name, text in call.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        # An agent's git must not run what ours does not: hooks, monitors.
        environment = agent_environment(view.folder / "home") | git_config_variables(CONFIG) | dict(call.environment)
        if view.sandbox is not None:
            environment["TMPDIR"] = str(view.folder / "tmp")
        self.job_count += 1
        number = f"{self.job_count}-{folder.name}"
        return AgentJob(number, tree.path, folder, call.arguments, call.message, environment, call.fallback)

    async def collect_result(self, order: AttemptOrder, tree: Tree, outcome: AgentOutcome) -> AttemptResult:
        """Return the agent's changes as commits: its own, and one with everything that must not be committed."""
        rules = order.rules
        permit = Permit(frozenset(rules.named), rules.words, self.entries)
        takes_all = not AGENTS[order.agent].edits_only
        changes = await collect.collect_changes(tree, order.files, rules.owners, permit, takes_all=takes_all)
        commit = await collect.commit_changes(tree, changes, order.message, order.parent) if changes.own else ""
        everything = ""
        if changes.untaken:
            # An agent's .gitattributes may keep git from storing what is refused. That costs only its patch.
            with contextlib.suppress(GitFailed, OSError):
                everything = await collect.commit_everything(tree, changes)
        printed = await asyncio.to_thread(read_printed, tree.path.parent / OUTPUT, MOST_PRINTED)
        return AttemptResult(outcome, changes, commit, everything or commit, printed=printed)

    # --- gates

    async def run_gates(
        self,
        check: GateOrder,
        started: Callable[[Gate], None],
        ended: Callable[[GateOutcome], Awaitable[None]] = ignore_outcome,
    ) -> Sequence[GateOutcome]:
        """Run gates in one worktree, or in a new one if a gate has spoiled it."""
        pending, outcomes = list(check.gates), list[GateOutcome]()
        while pending:
            async with self.open_gate_worktree(check) as (context, is_used):
                await asyncio.to_thread(check.choice.write, context.tree)
                while pending:
                    started(pending[0])
                    outcome = replace(await self.run_gate_in(pending.pop(0), context, check), in_used_tree=is_used)
                    await ended(outcome)
                    outcomes.append(outcome)
                    is_used = is_used or outcome.leaves
                    if outcome.spoiled:
                        break
        return outcomes

    async def offload_gates(self, check: GateOrder, started: Callable[[Gate], None]) -> Sequence[GateOutcome]:
        return []

    async def needs_checkout(self, commit: str) -> bool:
        """Whether gates get something from the checkout that git does not track: another machine lacks it."""
        files, ignored = await self.list_files(commit)
        folders = (PurePosixPath(path).parent for path in files if PurePosixPath(path).name == "package.json")
        root = self.command_environment.repository.root
        return bool(find_build_products(files, ignored)) or any((root / f / "node_modules").is_dir() for f in folders)

    @contextlib.asynccontextmanager
    async def open_gate_worktree(self, check: GateOrder) -> AsyncIterator[tuple[GateContext, bool]]:
        """Yield a worktree, and whether the set-up changed tracked files in it."""
        environment = self.command_environment
        async with temporary_tree(self.trees, f"gate-{check.label}", check.commit) as tree:
            await set_up_worktree(environment, tree, check.set_up, f"setup_gate-{check.label}_{check.run}.txt")
            is_used = bool(check.set_up.command and await tree.git.paths("diff", "--name-only", "-z", check.commit))
            files, ignored = await self.list_files(check.commit)
            root = environment.repository.root
            await asyncio.to_thread(provision_gate, tree.path, root, files, ignored, self.holds_key)
            context = GateContext(tree.path, root, files, check.planned, await environment.isolation.sandbox())
            yield context, is_used

    async def list_files(self, commit: str) -> tuple[list[str], list[str]]:
        """Return the files of a commit, and those in the checkout that git ignores. A node has no checkout."""
        git = self.command_environment.repository.git
        files = await git.paths("ls-tree", "-r", "-z", "--name-only", commit)
        if await git.maybe("rev-parse", "--is-bare-repository") == "true":
            return files, []
        return files, await git.paths("ls-files", "--others", "--ignored", "--exclude-standard", "-z")

    async def describe_environment(self, check: GateOrder) -> GateEnvironment:
        files, ignored = await self.list_files(check.commit)
        sandbox = await self.command_environment.isolation.sandbox()
        brought = (*check.set_up.links, *check.set_up.copies, *find_build_products(files, ignored))
        root = self.command_environment.repository.root
        surroundings = Surroundings(
            variables=self.command_environment.for_commands(),
            commands=[*(gate.command for gate in check.gates), check.set_up.command],
            checkout=root,
            trees=self.trees.folder,
            roots=[*sandbox.shared, *(str(root / path) for path in sorted(brought))],
            facts=[sandbox.mode, sandbox.net, sandbox.git_config, check.set_up],
        )
        return await asyncio.to_thread(digest_environment, surroundings, self.packages)

    async def run_gate_in(self, gate: Gate, context: GateContext, check: GateOrder) -> GateOutcome:
        # Only existing files: the base lacks what a task has added.
        there = [path for path in check.paths if (context.tree / path).is_file()]
        return await run_gate(
            gate,
            context,
            env=self.command_environment.for_commands(),
            output=self.command_environment.logs / check.output_name(gate),
            timeout=check.timeout,
            scrub=self.command_environment.scrub,
            paths=there or ["none"],
            choice=check.choice,
        )

    def holds_key(self, content: bytes) -> bool:
        return any(key.encode() in content for key in self.command_environment.keys)


async def set_up_worktree(
    command_environment: CommandEnvironment, tree: Tree, wanted: WorktreeSetup, output_name: str
) -> None:
    """Set up a worktree. A stranger's command runs only in a sandbox."""
    await provision_tree(tree, command_environment.repository, wanted.copies, wanted.links)
    if wanted.command and await command_environment.isolation.is_trusted():
        output = command_environment.logs / output_name
        ended = await run_command(
            ["/bin/sh", "-c", wanted.command],
            cwd=tree.path,
            env=command_environment.for_commands(),
            output=output,
            timeout=wanted.timeout,
            scrub=command_environment.scrub,
            sandbox=(await command_environment.isolation.sandbox()).guard_argument(tree.path),
        )
        if ended.code:
            how = "did not end in time" if ended.timed_out else f"failed with exit code {ended.code}"
            last = read_tail(output).strip().splitlines()[-1:] or [""]
            raise SetUpFailed(f"the set-up command {how}: {last[0]} (see {output})", str(output))
        if not (tree.path / ".git").exists():
            raise SetUpFailed(
                f"the set-up command deleted or replaced .git of its worktree (see {output})", str(output)
            )
