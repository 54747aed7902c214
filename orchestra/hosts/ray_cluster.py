"""A Ray cluster: who is in it, and an actor on each node. Ray is an extra, and only this module imports it."""

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import ipaddress
import logging
import os
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from orchestra.errors import ClusterUnavailable, HostLost, UsageError
from orchestra.hosts.node import NodeWorker
from orchestra.hosts.node_messages import NodeVersions
from orchestra.hosts.remote_node import NodeLink, NodeOffer, note_exception

Result = TypeVar("Result")
SLOT = "aider_slot"  # the resource of a node: how many agents may work there
ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
INSTALL = "Install it on each machine: pip install 'aider-orchestrator[ray]'."
VERSION_LABEL = "aider-orchestrator-"  # of a node, with the name of a version
TRY_SECONDS, CONNECT_SECONDS, END_SECONDS = 10.0, 60.0, 5.0
MOST_CONNECT_SECONDS = 120.0  # Ray itself would try for ever
ALIVE = 0  # the state of a node in Ray's tables
# Ray ends a process that has not reached the head's server for so long. Ours must end by itself, with a report.
NEVER = str(365 * 24 * 3600)
# Always with a token. On a busy machine Ray's own processes need longer than Ray gives them.
RAY_SETTINGS = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": "120000"}


def check_ray_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ClusterUnavailable("A cluster needs Ray, which is not installed.", hint=INSTALL)


def is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def find_addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the addresses of a host; none if its name is unknown here."""
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(host.strip("[]"))]
    with contextlib.suppress(OSError, UnicodeError):
        return [ipaddress.ip_address(str(found[4][0])) for found in socket.getaddrinfo(host, None)]
    return []


def check_address(host: str, environ: Mapping[str, str]) -> None:
    """Refuse a public network without TLS: a token does not encrypt."""
    for address in find_addresses(host):
        if address.is_unspecified:
            raise UsageError(f"{host} stands for every interface.", hint="Give one private address of this machine.")
        if not address.is_private and environ.get("RAY_USE_TLS") != "1":
            hint = "Use a private network or a VPN, or Ray's TLS (RAY_USE_TLS=1 with its certificates)."
            raise UsageError(f"{host} is no private address, and nothing encrypts what nodes say.", hint=hint)


def describe_protection(host: str, environ: Mapping[str, str]) -> str:
    """Return in a clause what protects the way to a cluster that was not refused."""
    if is_loopback(host):
        return "it is on this machine alone"
    if environ.get("RAY_USE_TLS") == "1":
        return "Ray's TLS encrypts the way"
    return "it is on a private network, which nothing encrypts"


def client_environment(address: str) -> dict[str, str]:
    """Return the variables that Ray reads in a process that asks a cluster, before it is imported."""
    # Otherwise Ray takes another address of this machine for 127.0.0.1.
    own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if is_loopback(address.rpartition(":")[0]) else {}
    return RAY_SETTINGS | own | {"RAY_gcs_rpc_server_reconnect_timeout_s": NEVER}


def check_answers(address: str) -> None:
    """Refuse an address at which nothing listens: Ray would try for most of a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), TRY_SECONDS).close()
    except OSError as error:
        raise ClusterUnavailable(f"No cluster answers at {address}: {error.strerror or error}.") from None


def find_token_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def check_token(environ: Mapping[str, str]) -> None:
    """Refuse to go on without the cluster's token, or with one that others can read."""
    if environ.get("RAY_AUTH_TOKEN"):
        return
    path = find_token_file(environ)
    try:
        mode, text = path.stat().st_mode, path.read_text("utf-8").strip()
    except (OSError, ValueError):
        mode, text = 0, ""
    if not text:
        hint = "`aider-orchestrator worker head` makes one; copy it to each machine."
        raise UsageError(f"The cluster's token is missing: {path}.", hint=hint)
    if mode & 0o077:
        raise UsageError(f"Other users can read the cluster's token, {path}.", hint=f"`chmod 600 {path}`.")


def parse_cluster_address(text: str) -> str:
    """Return HOST:PORT. Refuse Ray's client, which has no node of its own."""
    if text.startswith("ray://"):
        raise UsageError(
            f"--cluster {text}: the run must stand on a machine of the cluster.",
            hint="`worker join` makes this machine one; then give --cluster HOST:PORT.",
        )
    if text == "auto":
        text = find_own_cluster(os.environ)
    found = ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise UsageError(f"--cluster {text}: this is no address such as 10.0.0.1:6379.")
    return f"127.0.0.1:{found['port']}" if found["host"] == "localhost" else text


def find_own_cluster(environ: Mapping[str, str]) -> str:
    """Return the address of the cluster that this machine belongs to, as Ray notes it."""
    path = Path(environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray/ray_current_cluster"
    with contextlib.suppress(OSError, ValueError):
        return path.read_text("utf-8").strip()
    raise ClusterUnavailable("--cluster auto: this machine is in no cluster.", hint="Give --cluster HOST:PORT.")


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].removesuffix(".") if lines else type(error).__name__


@dataclass(frozen=True)
class NodeRecord:
    """What a cluster knows of a node. `versions` is None if it was not started by `worker`."""

    name: str
    address: str
    slots: int
    is_head: bool
    is_alive: bool
    versions: NodeVersions | None


def read_nodes(address: str) -> list[NodeRecord]:
    """Ask a cluster for its nodes, without becoming one."""
    check_answers(address)
    os.environ.update(client_environment(address))
    from ray._raylet import GcsClient

    try:
        known = GcsClient(address=address).get_all_node_info(timeout=CONNECT_SECONDS).values()
    except Exception as error:
        raise ClusterUnavailable(f"The cluster at {address} does not answer: {first_line(error)}.") from None
    return [
        NodeRecord(
            node.node_name,
            node.node_manager_address,
            int(node.resources_total.get(SLOT, 0)),
            "node:__internal_head__" in node.resources_total,
            node.state == ALIVE,
            versions_from_labels(dict(node.labels)),
        )
        for node in known
    ]


def versions_from_labels(labels: Mapping[str, str]) -> NodeVersions | None:
    names = [f"{VERSION_LABEL}{f.name}" for f in fields(NodeVersions)]
    return NodeVersions(*(read_label(labels[name]) for name in names)) if labels.keys() >= set(names) else None


def label_value(text: str) -> str:
    """Return a text as Ray takes it for a label."""
    return text.replace(" ", "_").replace("+", "_")


def read_label(value: str) -> str:
    return value.replace("_", " ")


class RayLink:
    """An actor."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    async def call(self, method: str, *arguments: Any) -> Any:
        import ray

        try:
            answer = asyncio.wrap_future(getattr(self.actor, method).remote(*arguments).future())
            answer.add_done_callback(note_exception)
            # Ray sets the result of a future that was cancelled, so it must not be.
            return await asyncio.shield(answer)
        except ray.exceptions.RayTaskError as error:
            raise HostLost(f"{method} failed there: {first_line(error.cause)}") from None
        except ray.exceptions.RayActorError:
            raise HostLost("its process has ended, or cannot be reached") from None
        except ray.exceptions.RayError as error:
            raise HostLost(first_line(error)) from None

    async def end(self) -> None:
        import ray

        with contextlib.suppress(ray.exceptions.RayError, ValueError, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await call_in_thread(lambda: ray.kill(self.actor))


class RayCluster:
    """A connection to a cluster."""

    async def list_nodes(self) -> Sequence[NodeOffer]:
        """Return the nodes with slots, as far as no other run has them."""
        import ray
        from ray._private.state import available_resources_per_node

        try:
            known, free = await call_in_thread(lambda: (ray.nodes(), available_resources_per_node()))
        except Exception as error:
            raise HostLost(first_line(error)) from None
        found = []
        for node in known:
            slots = int(node["Resources"].get(SLOT, 0)) if node["Alive"] else 0
            if slots and free.get(node["NodeID"], {}).get(SLOT, 0) >= slots:
                found.append(NodeOffer(node["NodeID"], node["NodeName"] or node["NodeManagerHostname"], slots))
        return found

    async def start_worker(self, offer: NodeOffer) -> NodeLink:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {
            "num_cpus": 0,
            "resources": {SLOT: offer.slots},
            "max_restarts": 0,
            "max_concurrency": 10_000,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(offer.id, soft=False),
        }
        return RayLink(ray.remote(NodeWorker).options(**options).remote())

    async def close(self) -> None:
        import ray

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await call_in_thread(ray.shutdown)


async def connect_cluster(text: str) -> RayCluster:
    """Connect to a cluster of which this machine is a node, before anything is paid."""
    check_ray_installed()
    address = parse_cluster_address(text)
    await call_in_thread(lambda: check_address(address.rpartition(":")[0], os.environ))
    check_token(os.environ)
    await call_in_thread(lambda: check_answers(address))
    os.environ.update(client_environment(address))
    try:
        # In a thread: it takes seconds, and in the main thread Ray would take over SIGTERM.
        async with asyncio.timeout(MOST_CONNECT_SECONDS):
            await call_in_thread(lambda: connect_ray(address))
    except TimeoutError:
        why = f"Ray did not connect within {MOST_CONNECT_SECONDS:.0f} s"
        raise ClusterUnavailable(f"The cluster at {address} cannot be used: {why}.") from None
    except Exception as error:
        raise ClusterUnavailable(f"The cluster at {address} cannot be used: {first_line(error)}.") from None
    return RayCluster()


async def call_in_thread(function: Callable[[], Result]) -> Result:
    """Call what blocks. If the cluster's server is gone, it may never return, and must not keep the run from ending:
    so it gets a thread of its own, for which nothing waits."""
    loop, answer = asyncio.get_running_loop(), concurrent.futures.Future[Result]()

    def work() -> None:
        try:
            result = function()
        except Exception as error:
            set_answer(answer.set_exception, error)
        else:
            set_answer(answer.set_result, result)

    def set_answer(method: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(lambda: None if answer.cancelled() else method(value))

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(answer)


def connect_ray(address: str) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what matters comes as an exception
    ray.init(address=address, log_to_driver=False, configure_logging=False)
