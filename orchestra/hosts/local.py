"""This machine as a host: a worktree and an agent for each attempt, one worktree after the other for gates."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from orchestra.agents import AGENTS
from orchestra.agents.base import DOOR, FOLDER, TOKEN, TREE, AgentOutcome, AttemptOrder
from orchestra.agents.seat import AgentJob, AgentProcesses, agent_environment
from orchestra.errors import GitFailed, OrchestraError
from orchestra.gates.provision import provision_gate
from orchestra.gates.run import GateContext, GateOutcome, run_gate
from orchestra.hosts.base import AttemptResult, GateOrder, GatewayAccess, HostFacts, Supervisor
from orchestra.hosts.worktree_setup import CommandEnvironment, set_up_worktree
from orchestra.judge.permit import Permit
from orchestra.model import Gate
from orchestra.workspace import collect
from orchestra.workspace.git import CONFIG
from orchestra.workspace.repository import Entry
from orchestra.workspace.trees import Tree, Trees, temporary_tree

CUT_SHORT = ("stopped", "crashed")  # ends of an agent that did not end by itself
MOST_PRINTED = 8 << 20  # bytes


class LocalHost:
    """`entries` are the files of the repository's base, `seats` are the agents' processes."""

    def __init__(
        self,
        command_environment: CommandEnvironment,
        trees: Trees,
        agent_processes: AgentProcesses,
        entries: Mapping[str, Entry],
    ) -> None:
        self.command_environment = command_environment
        self.trees = trees
        self.agent_processes = agent_processes
        self.entries = entries
        self.job_count = 0

    async def open(self) -> HostFacts:
        isolation = self.command_environment.isolation
        trusted = await isolation.is_trusted()
        return HostFacts("local", "" if trusted else isolation.foreign_reason, isolation.note)

    async def receive_commit(self, commit: str, pack: bytes) -> None:
        """The head's objects are in the same database."""

    async def close(self) -> None:
        await self.trees.close()

    # --- attempts

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        tree = await self.trees.add(order.name, order.base)
        done_with = self.trees.discard
        try:
            await set_up_worktree(self.command_environment, tree, order.set_up, f"setup_{order.name}_{order.run}.txt")
            tree = await self.trees.snapshot(tree, order.files, provisioned=bool(order.set_up))
            door = await supervisor.admit(str(tree.path))
            outcome = await self.run_agent(order, tree, door, supervisor)
            if not (tree.path / ".git").exists():
                raise OrchestraError("its worktree was deleted while it was at work.")
            alone = AGENTS[order.agent].edits_only and not (order.set_up or order.arguments)
            if outcome.end not in CUT_SHORT and alone:
                done_with = self.trees.release
            return await self.collect_result(order, tree, outcome)
        finally:
            done_with(tree)

    async def run_agent(
        self, order: AttemptOrder, tree: Tree, door: GatewayAccess, supervisor: Supervisor
    ) -> AgentOutcome:
        """Let the agent work until it ends or is stopped."""
        running = asyncio.create_task(self.agent_processes.run(self.build_job(order, tree, door)))
        stopping = asyncio.create_task(supervisor.wait_for_stop())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else AgentOutcome("stopped")
        finally:
            stopping.cancel()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, OrchestraError):
                await running

    def build_job(self, order: AttemptOrder, tree: Tree, door: GatewayAccess) -> AgentJob:
        folder = tree.path.parent
        home = folder / "home"
        home.mkdir(exist_ok=True)
        absent = frozenset(path for path in order.new if not (tree.path / path).is_file())
        places = {TREE: str(tree.path), FOLDER: str(folder), DOOR: door.url, TOKEN: door.token}
        call = AGENTS[order.agent].build_call(order, absent).fill_in(places)
        for name, text in call.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        environment = agent_environment(home) | safe_git_variables() | dict(call.environment)
        self.job_count += 1
        number = f"{self.job_count}-{folder.name}"
        return AgentJob(number, tree.path, folder, call.arguments, call.message, environment, call.fallback)

    async def collect_result(self, order: AttemptOrder, tree: Tree, outcome: AgentOutcome) -> AttemptResult:
        """What the agent changed, as commits: its own, and with it all that is not to be committed."""
        rules = order.rules
        permit = Permit(frozenset(rules.named), rules.words, self.entries)
        changes = await collect.collect_changes(tree, order.files, rules.owners, permit)
        commit = await collect.commit_changes(tree, changes, order.message, order.parent) if changes.own else ""
        everything = ""
        if changes.untaken:
            # An agent's .gitattributes may stop git from storing what is not taken. That costs only the patch of it.
            with contextlib.suppress(GitFailed, OSError):
                everything = await collect.commit_everything(tree, changes)
        printed = await asyncio.to_thread(read_printed, tree.path.parent / "aider.out")
        return AttemptResult(outcome, changes, commit, everything or commit, printed=printed)

    # --- gates

    async def run_gates(self, check: GateOrder, started: Callable[[Gate], None]) -> Sequence[GateOutcome]:
        """In one worktree, or in a new one if a gate has spoiled it for the next."""
        pending, outcomes = list(check.gates), list[GateOutcome]()
        while pending:
            async with self.open_gate_worktree(check) as place:
                await asyncio.to_thread(check.choice.write, place.tree)
                while pending:
                    started(pending[0])
                    outcomes.append(await self.run_gate_in(pending.pop(0), place, check))
                    if outcomes[-1].spoiled:
                        break
        return outcomes

    @contextlib.asynccontextmanager
    async def open_gate_worktree(self, check: GateOrder) -> AsyncIterator[GateContext]:
        place, git = self.command_environment, self.command_environment.repository.git
        async with temporary_tree(self.trees, f"gate-{check.label}", check.commit) as tree:
            await set_up_worktree(place, tree, check.set_up, f"setup_gate-{check.label}_{check.run}.txt")
            files = await git.paths("ls-tree", "-r", "-z", "--name-only", check.commit)
            ignored = await git.paths("ls-files", "--others", "--ignored", "--exclude-standard", "-z")
            root = place.repository.root
            await asyncio.to_thread(provision_gate, tree.path, root, files, ignored, self.holds_key)
            yield GateContext(tree.path, root, files, check.planned, await place.isolation.sandbox())

    async def run_gate_in(self, gate: Gate, place: GateContext, check: GateOrder) -> GateOutcome:
        # Asked only about what is there: in the base, what a task has added is not.
        there = [path for path in check.paths if (place.tree / path).is_file()]
        return await run_gate(
            gate,
            place,
            env=self.command_environment.for_commands(),
            output=self.command_environment.logs / gate_output_name(gate, check.label, check.run),
            timeout=check.timeout,
            scrub=self.command_environment.scrub,
            paths=there or ["none"],
            choice=check.choice,
        )

    def holds_key(self, content: bytes) -> bool:
        return any(key.encode() in content for key in self.command_environment.keys)


def gate_output_name(gate: Gate, label: str, stamp: str) -> str:
    """tests_<stamp>.txt for the result, tests_base_<stamp>.txt for the base."""
    plain = re.sub(r"[^\w.-]+", "-", gate.name)
    return f"{plain}_{stamp}.txt" if label == "combined" else f"{plain}_{label}_{stamp}.txt"


def safe_git_variables() -> dict[str, str]:
    """Agents ask git too, and must not set off what our own git leaves alone: hooks, monitors."""
    numbered = list(enumerate(CONFIG.items()))
    names = {f"GIT_CONFIG_KEY_{n}": name for n, (name, _) in numbered}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in numbered}
    return {"GIT_CONFIG_COUNT": str(len(numbered))} | names | values


def read_printed(path: Path) -> str:
    """What the agent printed."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - MOST_PRINTED))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
