"""`worker`: make this machine the head or a node of a Ray cluster, and list its nodes."""

import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestra.cli.command_io import print_plain
from orchestra.cli.launch import run_until_done
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError

if TYPE_CHECKING:
    from orchestra.hosts.ray_start import RayNode

PORT = 6379
JOIN = "aider-orchestrator worker join"


def add_worker_head_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--address", metavar="IP", default="127.0.0.1", help="where to listen: a private address (default: 127.0.0.1)"
    )
    parser.add_argument("--port", metavar="PORT", type=int, default=PORT, help=f"the port (default: {PORT})")
    add_node_arguments(parser, "0, as the runs themselves and their gates work here")


def add_worker_join_arguments(parser: CommandParser) -> None:
    add_cluster_argument(parser)
    parser.add_argument("--address", metavar="IP", default="", help="this machine's address (default: Ray finds it)")
    parser.add_argument("--once", action="store_true", help="end after the first run that this machine has worked for")
    add_node_arguments(parser, "what cores and memory allow")


def add_worker_list_arguments(parser: CommandParser) -> None:
    add_cluster_argument(parser)


def add_cluster_argument(parser: CommandParser) -> None:
    text = "the cluster, as `worker head` prints it (default: the one that this machine is in)"
    parser.add_argument("cluster", metavar="HOST:PORT", nargs="?", default="auto", help=text)


def add_node_arguments(parser: CommandParser, default_slots: str) -> None:
    text = f"how many agents may work here at once (default: {default_slots})"
    parser.add_argument("--slots", metavar="N", type=int, default=None, help=text)
    parser.add_argument("--name", metavar="NAME", default="", help="the node's name (default: the machine's)")
    parser.add_argument(
        "--dir", metavar="FOLDER", default="", help="where its worktrees and other files are kept meanwhile"
    )


def cmd_worker_head(arguments: Namespace) -> int:
    """Start a cluster on this machine, with a token that its nodes must have. Ctrl-C ends it."""
    from orchestra.hosts import ray_start
    from orchestra.hosts.ray_cluster import check_address, check_ray_installed, check_token

    check_ray_installed()
    check_address(arguments.address, os.environ)
    token = ray_start.make_token(os.environ)
    check_token(os.environ)
    cluster = f"{arguments.address}:{arguments.port}"

    def announce() -> None:
        print_plain(f"The cluster is ready. On each other machine, with a copy of {token}:\n\n  {JOIN} {cluster}\n")
        print_plain(f"Runs on this machine use it with --cluster {cluster}.")

    node = ray_start.RayNode(arguments.name, arguments.slots or 0, arguments.address, head_port=arguments.port)
    return start_node(arguments, node, announce)


def cmd_worker_join(arguments: Namespace) -> int:
    """Let this machine work for the runs of a cluster. Ctrl-C ends that; what was at work here is done elsewhere."""
    from orchestra.conduct.core.slots import measure_machine
    from orchestra.hosts import ray_start
    from orchestra.hosts.ray_cluster import (
        check_address,
        check_ray_installed,
        check_token,
        is_loopback,
        parse_cluster_address,
    )
    from orchestra.plan.sizing import machine_capacity

    check_ray_installed()
    cluster = parse_cluster_address(arguments.cluster)
    check_token(os.environ)
    host = cluster.rpartition(":")[0]
    check_address(host, os.environ)
    slots = machine_capacity(measure_machine()) if arguments.slots is None else arguments.slots
    own_address = arguments.address or (host if is_loopback(host) else "")
    node = ray_start.RayNode(arguments.name, slots, own_address, cluster=cluster, once=arguments.once)
    return start_node(
        arguments, node, partial(print_plain, f"This machine works for the runs of {cluster}, {slots} agents at once.")
    )


def start_node(arguments: Namespace, node: "RayNode", announce: Callable[[], None]) -> int:
    from orchestra.hosts import ray_start

    if node.slots < 0:
        raise UsageError(f"--slots {node.slots}: this is no number of agents.")
    if arguments.dir:
        folder = Path(arguments.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(folder)
        os.environ.update(TMPDIR=str(folder))
    return run_until_done(ray_start.run_node(node, announce))


def cmd_worker_list(arguments: Namespace) -> int:
    """List the nodes of a cluster with their slots."""
    from orchestra.hosts.ray_cluster import check_ray_installed, check_token, parse_cluster_address, read_nodes

    check_ray_installed()
    cluster = parse_cluster_address(arguments.cluster)
    check_token(os.environ)
    for node in read_nodes(cluster):
        role = "head" if node.is_head else "node"
        slots = f"{node.slots} slots" if node.is_alive else "gone"
        software = ", ".join(vars(node.versions).values()) if node.versions else "not started by `worker`"
        print_plain(f"{node.name:<20}  {role}  {node.address:<15}  {slots:<9}  {software}")
    return 0
