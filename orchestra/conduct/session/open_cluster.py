"""Open a cluster for a run: connect to it, and say what a node needs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra.agents import AGENTS
from orchestra.agents.seat import find_aider_python
from orchestra.conduct.session.warmup import may_use_aider
from orchestra.errors import ClusterUnavailable, UsageError
from orchestra.hosts.cluster import ClusterHost
from orchestra.hosts.isolation import safe_git_config
from orchestra.hosts.local import LocalHost
from orchestra.hosts.node import read_versions
from orchestra.hosts.node_door import GatewayClient
from orchestra.hosts.node_messages import NodeOrder, ProvidedFile
from orchestra.hosts.ray_cluster import RayCluster, check_ray_installed, connect_cluster, parse_cluster_address
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository
from orchestra.workspace.trees import files_under

MOST_PROVIDED = 64 << 20  # bytes of --worktree-copy


@dataclass(frozen=True)
class OpenedCluster:
    """A cluster, and the order for its nodes."""

    cluster: RayCluster
    slots: int
    order: NodeOrder

    def settings_for(self, settings: Settings) -> Settings:
        """Return the settings with as many agents as the cluster has slots, unless the user says how many."""
        return settings if settings.agents or settings.max_agents else settings.with_values(max_agents=self.slots)

    def make_host(self, local: LocalHost, port: int, logs: Path, tell: Callable[[str], None]) -> ClusterHost:
        host = ClusterHost(local, self.cluster, self.order, GatewayClient(port), logs, tell)
        host.start()
        return host


def check_cluster(settings: Settings, root: Path) -> None:
    """Refuse, before anything is paid, what a cluster cannot do."""
    if not settings.cluster:
        return
    check_ray_installed()
    parse_cluster_address(settings.cluster)
    if settings.worktree_link:
        hint = "Use --setup-cmd or --worktree-copy."
        raise UsageError("--worktree-link leads to a folder that the nodes of a cluster do not have.", hint=hint)
    size = sum(file.stat().st_size for name in settings.worktree_copy for file in files_under(root / name))
    if size > MOST_PROVIDED:
        hint = "Make these files with --setup-cmd instead."
        raise UsageError(f"--worktree-copy has {size >> 20} MB, and a node gets {MOST_PROVIDED >> 20} MB.", hint=hint)


async def open_cluster(settings: Settings, repository: Repository, untrusted: str) -> OpenedCluster:
    order = await make_node_order(settings, repository, untrusted)
    cluster = await connect_cluster(settings.cluster)
    slots = sum(node.slots for node in await cluster.list_nodes())
    if not slots:
        await cluster.close()
        hint = "Start one: `aider-orchestrator worker join`; `worker list` shows them."
        raise ClusterUnavailable(f"The cluster at {settings.cluster} has no free node.", hint=hint)
    return OpenedCluster(cluster, slots, order)


async def make_node_order(settings: Settings, repository: Repository, untrusted: str) -> NodeOrder:
    git, loads_aider = repository.git, may_use_aider(settings)
    python = find_aider_python(os.environ) if loads_aider else ""
    kinds = {settings.agent_kind, *(role.kind for role in settings.roles.values())} & AGENTS.keys()
    return NodeOrder(
        base=repository.base,
        object_format=await git.maybe("rev-parse", "--show-object-format") or "sha1",
        git_config=safe_git_config(await git.raw("config", "--list", "-z")),
        extra=git.extra,
        versions=await read_versions(python, loads_aider=loads_aider),
        sandbox=settings.sandbox,
        sandbox_net=settings.sandbox_net,
        untrusted=untrusted,
        fork_server=settings.fork_server,
        loads_aider=loads_aider,
        programs=tuple(sorted(filter(None, (AGENTS[kind].program for kind in kinds)))),
        files=tuple(provided_files(repository.root, settings.worktree_copy)),
    )


def provided_files(root: Path, names: Sequence[str]) -> list[ProvidedFile]:
    files = (file for name in names for file in files_under(root / name))
    return [ProvidedFile(str(file.relative_to(root)), file.stat().st_mode & 0o777, file.read_bytes()) for file in files]
