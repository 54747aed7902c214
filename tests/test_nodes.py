"""Nodes of a cluster, in this process: what is lost with one, what is left out, and what comes through its door."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.agents.base import WorktreeSetup
from orchestra.errors import ClusterGone, HostLost, SetUpFailed
from orchestra.gates.run import GateOutcome
from orchestra.gateway.billing import ClientPass
from orchestra.hosts import cluster as cluster_module
from orchestra.hosts.base import GateOrder, GatewayAccess
from orchestra.hosts.cluster import ClusterHost
from orchestra.hosts.node import NodeWorker
from orchestra.hosts.node_door import GatewayClient, NodeDoor
from orchestra.hosts.node_messages import ModelRequest
from orchestra.model import Gate
from tests.support.hosting import InProcessCluster, LocalSite, node
from tests.support.load import NEVER, holds_soon, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.seating import STREAMS, client, door
from tests.test_host_contract import attempted, git

pytestmark = pytest.mark.thorough
Scene = Callable[[LocalSite, ClusterHost, InProcessCluster], Awaitable[None]]


def on_a_node(folder: Path, scene: Scene) -> None:
    async def played() -> None:
        async with asyncio.timeout(within()), node(folder) as site:
            assert isinstance(site.host, ClusterHost) and site.cluster is not None
            await scene(site, site.host, site.cluster)

    asyncio.run(played())


async def lose(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
    """Begin an attempt, and cut the node off while its agent waits for the model."""
    site.stalls()
    site.at_work.clear()
    working = asyncio.create_task(attempted(site))
    await site.at_work.wait()
    cluster.links[-1].cut.set()
    with pytest.raises(HostLost, match="The node one was lost: the wire was cut"):
        await working
    await asyncio.to_thread(holds_soon, lambda: not host.nodes)


def test_lost_attempt_leaves_no_commit_and_the_node_may_come_back(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        before = git(site, "rev-list", "--all", "--objects")
        await lose(site, host, cluster)
        site.script.latency = None
        result = await attempted(site, attempt=2)
        assert result.changes.own == ("a.py",) and len(cluster.links) == 2
        assert git(site, "rev-list", "--all", "--objects") == before
        assert git(site, "cat-file", "-t", result.commit).strip() == "commit" and not result.pack
        assert [text.split(":")[0] for text in site.told] == [
            *("Node one is ready, with 4 slots.", "Node one was lost", "Node one is ready, with 4 slots.")
        ]

    on_a_node(tmp_path, scene)


def test_node_that_is_lost_twice_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        await lose(site, host, cluster)
        await lose(site, host, cluster)
        assert site.told[-1] == "Node one is left out: the wire was cut."
        monkeypatch.setattr(cluster_module, "PATIENCE", 0.0)
        with pytest.raises(ClusterGone, match="1 are left out"):
            await attempted(site, attempt=3)
        assert len(cluster.links) == 2

    on_a_node(tmp_path, scene)


def test_node_with_other_software_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.0)

    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        host.order = replace(host.order, versions=replace(host.order.versions, aider="aider-chat 0.86.1"))
        assert await asyncio.to_thread(holds_soon, lambda: host.left_out)
        with pytest.raises(ClusterGone):
            await attempted(site)
        remedy = "It has aider-chat 0.86.2, and the head has aider-chat 0.86.1: install that there."
        assert site.told == [f"Node one is left out: {remedy.removesuffix('.')}."]

    on_a_node(tmp_path, scene)


def test_full_disk_of_a_node_is_no_fault_of_the_task(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        await attempted(site)
        (worker,) = (link.worker for link in cluster.links)

        async def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        assert worker.site is not None and worker.site.host is not None
        monkeypatched = worker.site.host.trees
        monkeypatched.add = fail  # type: ignore[assignment,method-assign]
        with pytest.raises(HostLost, match=r"cannot work: .*No space left"):
            await attempted(site, attempt=2)
        assert host.left_out == {"one"}

    on_a_node(tmp_path, scene)


def test_failed_set_up_brings_its_output_home(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        set_up = WorktreeSetup(command="echo about $HOME; exit 3", timeout=within())
        with pytest.raises(SetUpFailed, match="on node one, the set-up command failed with exit code 3") as failed:
            await attempted(site, set_up=set_up)
        output = Path(failed.value.output)
        assert output.parent == site.root / ".aider_logs" and output.read_text().startswith("about ")

    on_a_node(tmp_path, scene)


def test_worker_ends_itself_when_the_head_is_silent(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        await attempted(site)
        ended = asyncio.Event()
        worker = NodeWorker(ended.set)
        assert await worker.prepare(host.order) == ""
        folder = worker.opened_site.folder
        await worker.watch_lease(0.0)
        assert ended.is_set() and not folder.exists()
        await worker.close()

    on_a_node(tmp_path, scene)


def gate_order(commit: str, *commands: str) -> GateOrder:
    gates = tuple(Gate(f"gate{number}", "command", command) for number, command in enumerate(commands))
    return GateOrder("20260101_000000", commit, "task1-1", gates, timeout=within())


def test_gates_run_on_a_node_and_bring_their_output_home(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        result = await attempted(site)
        begun = list[str]()
        check = gate_order(result.commit, "cat a.py; pwd", "exit 3")
        passed, failed = await host.offload_gates(check, lambda gate: begun.append(gate.name))
        assert begun == ["gate0", "gate1"] and (passed.passed, failed.passed) == (True, False)
        assert (passed.host, failed.host) == ("one", "one") and passed.output.parent == site.root / ".aider_logs"
        (worker,) = (link.worker for link in cluster.links)
        first, *content, folder = passed.output.read_text().splitlines()
        assert first == "(It ran on node one.)" and content == ["x = 1", "# done"]
        assert folder.startswith(str(worker.opened_site.folder))
        assert not [path for path in site.left() if "gate" in path]

    on_a_node(tmp_path, scene)


async def begin_endless_gate(site: LocalSite, host: ClusterHost, mark: Path) -> "asyncio.Task[Sequence[GateOutcome]]":
    """Let a node run a gate that never ends, and return when it has begun."""
    await attempted(site)
    check = gate_order(site.base, f"touch {mark}; sleep {NEVER:.0f}")
    running = asyncio.create_task(host.offload_gates(check, lambda gate: None))
    assert await asyncio.to_thread(holds_soon, mark.exists)
    return running


def test_gates_of_a_lost_node_are_left_to_the_head(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        running = await begin_endless_gate(site, host, tmp_path / "begun")
        cluster.names.clear()
        cluster.links[-1].cut.set()
        assert await running == [] and not host.offloads_gates

    on_a_node(tmp_path, scene)


def test_cancelled_gates_end_on_their_node(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        running = await begin_endless_gate(site, host, tmp_path / "begun")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (worker,) = (link.worker for link in cluster.links)
        assert not worker.gate_runs and not site.left() and host.offloads_gates

    on_a_node(tmp_path, scene)


def test_gates_that_need_the_checkout_stay_at_the_head(tmp_path: Path) -> None:
    async def scene(site: LocalSite, host: ClusterHost, cluster: InProcessCluster) -> None:
        await attempted(site)
        planted = {"package.json": "{}\n", "node_modules/x.js": "", ".gitignore": "node_modules\n"}
        for name, text in planted.items():
            (site.root / name).parent.mkdir(exist_ok=True)
            (site.root / name).write_text(text)
        git(site, "add", "package.json")
        git(site, "commit", "-qm", "More")
        head = git(site, "rev-parse", "HEAD").strip()
        assert await host.offload_gates(gate_order(head, "true"), lambda gate: None) == []
        assert len(await host.offload_gates(gate_order(site.base, "true"), lambda gate: None)) == 1

    on_a_node(tmp_path, scene)


@pytest.mark.parametrize("dialect", STREAMS)
def test_stream_comes_through_the_door_as_it_is(dialect: str) -> None:
    """The same bytes as from the gateway itself, asked with the same token."""

    def respond(request: Request) -> Reply:
        return Reply("word " * 50)

    async def scene() -> None:
        posted: asyncio.Queue[ModelRequest] = asyncio.Queue()
        node_door = NodeDoor(posted.put_nowait)
        await node_door.server.start()
        with ModelServer(respond) as server:
            async with door(server) as (gateway, exchanges), client() as asking:
                head = GatewayClient(gateway.port)

                async def pump() -> None:
                    while True:
                        request = await posted.get()

                        async def answer(part: object, number: int = request.number) -> None:
                            node_door.answer(number, part)  # type: ignore[arg-type]

                        await head.forward(request, answer)

                pumping = asyncio.create_task(pump())
                path, body = STREAMS[dialect]
                texts = []
                for url_of in (lambda url: url, lambda url: node_door.translate(GatewayAccess(url, "")).url):
                    ticket = gateway.add_client(ClientPass("agent", root="/x", repeats=True))
                    url = url_of(gateway.client_url(ticket, dialect))
                    reply = await asking.post(f"{url}/{path}", json=body)
                    texts.append((reply.status_code, reply.headers["content-type"], len(reply.content)))
                refused = await asking.post(
                    f"http://127.0.0.1:{node_door.server.port}/t/wrong/{dialect}/{path}", json=body
                )
                pumping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pumping
                await head.close()
        await node_door.server.stop()
        assert texts[0] == texts[1] and texts[0][0] == 200 and len(exchanges) == 2
        assert refused.status_code == 403

    asyncio.run(scene())
