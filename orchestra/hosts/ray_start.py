"""Start Ray on this machine for a cluster of ours: with a token, on a private address, without keys."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from orchestra.agents.seat import check_version, find_aider_python
from orchestra.errors import UsageError
from orchestra.hosts.node import USED_FILE, read_versions
from orchestra.hosts.node_messages import NodeVersions
from orchestra.hosts.ray_cluster import (
    RAY_SETTINGS,
    SLOT,
    VERSION_LABEL,
    find_token_file,
    is_loopback,
    label_value,
    read_label,
    read_nodes,
)
from orchestra.process import CHILD, base_environment, read_tail, run_command
from orchestra.workspace.git import check_git_version

STARTED = "Ray runtime started"
LONGEST_SOCKET = 103  # bytes of a path, on the strictest of the systems
LOOK_SECONDS = 0.2
MOST_STARTS = 3  # on a busy machine Ray gives its own processes too little time
# Seconds without the head's server after which Ray ends a node, with all that is at work there.
RAY_NODE_SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "15"}
# What Ray and our worker need of what `base_environment` leaves out.
NEEDED = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TLS_SERVER_KEY", "AIDER_BIN")


@dataclass(frozen=True)
class RayNode:
    """What to start. `head_port` is the port of a new cluster, `cluster` the address of one to join. `once`: it ends
    after the first run that it has worked for."""

    name: str
    slots: int
    address: str
    head_port: int = 0
    cluster: str = ""
    once: bool = False

    def command(self, versions: NodeVersions) -> list[str]:
        labels = ",".join(f"{VERSION_LABEL}{f.name}={label_value(getattr(versions, f.name))}" for f in fields(versions))
        program = "orchestra.hosts.ray_loopback" if is_loopback(self.address) else "ray.scripts.scripts"
        words = [sys.executable, "-m", program, "start", "--block", "--disable-usage-stats"]
        words += ["--num-cpus", "0", "--resources", json.dumps({SLOT: self.slots} if self.slots else {})]
        words += ["--labels", labels, "--node-name", self.name or socket.gethostname()]
        words += ["--node-ip-address", self.address] if self.address else []
        if self.cluster:
            return [*words, "--address", self.cluster]
        words += ["--head", "--port", str(self.head_port), "--include-dashboard", "false", "--no-monitor"]
        # Ray starts the server of its client in any case: it gets the next port, on the same address.
        return [*words, "--include-log-monitor", "false", "--ray-client-server-port", str(self.head_port + 1)]


def make_token(environ: Mapping[str, str]) -> Path:
    """Return the file of the cluster's token; make it if it is missing."""
    path = find_token_file(environ)
    if not environ.get("RAY_AUTH_TOKEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
    return path


def node_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Ray and of all that it starts: without keys, with what finds this program."""
    paths = os.pathsep.join(filter(None, (str(CHILD.parent.parent), environ.get("PYTHONPATH", ""))))
    kept = {name: environ[name] for name in NEEDED if name in environ}
    return base_environment(environ) | kept | RAY_SETTINGS | RAY_NODE_SETTINGS | {"PYTHONPATH": paths}


def check_folder(folder: str) -> None:
    """Refuse a folder whose path is too long for Ray's sockets, which it makes below it."""
    name = f"{folder}/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.10"
    if len(os.fsencode(name)) > LONGEST_SOCKET:
        raise UsageError(f"{folder} is too long a path for Ray's sockets.", hint="Give a shorter --dir FOLDER.")


async def run_node(node: RayNode, announce: Callable[[], None]) -> int:
    """Check this machine, start Ray, and keep it until this process is stopped."""
    check_folder(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    environment = node_environment(os.environ)  # before this process gets what it needs to ask the cluster
    check_git_version()
    python = find_aider_python(os.environ)
    await check_version(python)
    versions = await read_versions(python)
    if node.cluster:
        await asyncio.to_thread(check_versions_of_head, node.cluster, versions)
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-worker-") as folder:
        used = Path(folder) / "used" if node.once else None
        environment |= {USED_FILE: str(used)} if used else {}
        for number in range(MOST_STARTS):
            log = Path(folder) / f"ray{number}.log"
            if await keep_ray(node.command(versions), environment, log, announce, used):
                break
        if has_been_used(used):
            return 0
        lines = [line for line in read_tail(log).splitlines() if line.strip()] or ["no reason given"]
        raise UsageError(f"Ray has ended: {lines[-1].strip()[:300]}")


async def keep_ray(
    command: Sequence[str], environment: Mapping[str, str], log: Path, announce: Callable[[], None], used: Path | None
) -> bool:
    """Keep Ray until it ends, this process is stopped, or the process named in `used` has ended. Return whether it had
    started at all."""
    log.touch()
    running = asyncio.create_task(run_command(command, cwd=log.parent, env=environment, output=log))
    try:
        while not running.done() and STARTED not in read_tail(log):
            await asyncio.wait({running}, timeout=LOOK_SECONDS)
        if running.done():
            return False
        announce()
        while not (running.done() or has_been_used(used)):
            await asyncio.wait({running}, timeout=LOOK_SECONDS if used else None)
        return True
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def has_been_used(used: Path | None) -> bool:
    """Whether the process that has worked for a run, and that the file names, has ended."""
    if used is None or not used.exists() or not (text := used.read_text("utf-8")):
        return False
    try:
        os.kill(int(text), 0)
    except ProcessLookupError:
        return True
    return False


def check_versions_of_head(cluster: str, versions: NodeVersions) -> None:
    """Refuse to join a cluster whose head has other software. One that was not started by us is not asked."""
    heads = [node.versions for node in read_nodes(cluster) if node.is_head and node.is_alive and node.versions]
    for head in heads:
        own = NodeVersions(*(read_label(label_value(getattr(versions, f.name))) for f in fields(versions)))
        if why := own.explain_difference(head):
            raise UsageError(f"This machine cannot join {cluster}. {why}")
