"""A run on the nodes of a Ray cluster: the same result as on one machine, also when nodes are lost."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.events import AttemptStarted, GateStarted, Note, event_record
from orchestra.journal import jsonl
from tests.support.clis import BIN, needs_clis
from tests.support.docs import HOW_TO, sections
from tests.support.edits import appends, knows
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.processes import all_gone
from tests.support.ray_nodes import GCS, RAY, RAYLET, WORKER, Nodes, free_port, needs_ray, open_nodes
from tests.support.runs import KEYS, PROGRAM, Ran, assert_clean, make_place, read_proc
from tests.support.sharding import archives_of, clone_job, make_sharded, run_shard, tree_of

pytestmark = [needs_ray, pytest.mark.thorough]
FILES = {f"m{number}.py": f"x = {number}\n" for number in range(4)}
WORDS = ("--change", "Add a line", "--no-prd", "--agents", "4", "--files", *FILES, "--model", "openai/gpt-6.1-sol")


@pytest.fixture
def short_folder() -> Iterator[str]:
    """A folder whose path leaves room for Ray's sockets, which the folder of a test may not."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with open_nodes({"one": 2, "two": 2}) as opened:
        yield opened


def is_about(request: Request, name: str) -> bool:
    """Whether it shows the file. Other agents' files are only named."""
    return f"x = {name[1:].removesuffix('.py')}\n" in request.text


class Model:
    """It adds a line, and answers requests about some files only when it is told to."""

    def __init__(self, *held: str) -> None:
        self.held = held
        self.released = threading.Event()

    def __call__(self, request: Request) -> Reply:
        until = self.released.is_set if any(is_about(request, name) for name in self.held) else None
        return dataclasses.replace(appends("# done")(request), until=until)


def count_events(ran: Ran) -> Counter[tuple[str, int | None]]:
    """Count what happened by kind and task, but for notes: they are about hosts and times."""
    events = jsonl.read_run_log(ran.logs, ran.summary["timestamp"]).events
    return Counter((event.kind, event.task) for event in events if event.kind != Note.kind)


def count_attempts(ran: Ran) -> list[int]:
    return sorted(count for (kind, _), count in count_events(ran).items() if kind == AttemptStarted.kind)


def find_keys(nodes: Nodes, *names: str) -> list[str]:
    """Where a key of the user is: in the environment of a process of a node, or in a file of Ray's or ours."""
    keys = [value.encode() for value in KEYS.values()]
    found = []
    for name in names:
        # The command itself is started from the user's shell; what it starts has no key.
        pids = nodes.processes(name).keys() - {nodes.commands[name].pid}
        assert pids
        found += [
            f"process {pid}" for pid in pids if any(key in read_proc(Path(f"/proc/{pid}/environ")) for key in keys)
        ]
    files = [path for path in nodes.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return found + [str(path) for path in files if any(key in read_proc(path) for key in keys)]


def test_the_result_is_that_of_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    """And while it works, no key is on a node, in Ray's tables' logs, or in what they have written."""
    trees, kinds, keys = [], [], ["not looked"]
    for number, words in enumerate(((), ("--cluster", nodes.address))):
        place, model = make_place(tmp_path / str(number), FILES), Model(*FILES)
        with ModelServer(model) as server:
            running = place.start(*WORDS, *words, server=server, **nodes.for_runs)
            wait_until(lambda server=server: server.count() == 4, "all agents have asked")  # type: ignore[misc]
            if words:
                keys = find_keys(nodes, "head", "one", "two")
            model.released.set()
            ran = running.end()
            assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 4, 4), ran.err
        assert_clean(ran)
        trees.append(place.git("rev-parse", "HEAD^{tree}"))
        kinds.append(count_events(ran))
    assert keys == []
    assert trees[0] == trees[1] and kinds[0] == kinds[1]
    assert wait_until(lambda: not nodes.work_left("one") and not nodes.work_left("two"), "the nodes are idle")


@pytest.mark.parametrize("kind", [WORKER, RAYLET])
def test_killed_node_costs_nothing(nodes: Nodes, tmp_path: Path, kind: str) -> None:
    """Its two tasks are done elsewhere with the replies that were paid: each was asked for once."""
    place, model = make_place(tmp_path, FILES), Model(*FILES)
    with ModelServer(model) as server:
        running = nodes.begin(place, *WORDS, server=server)
        wait_until(lambda: server.count() == 4, "all agents have asked")
        agents = list(nodes.work_left("one"))
        nodes.signal("one", kind, signal.SIGKILL)
        assert all_gone(agents)
        model.released.set()
        ran = running.end()
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 4, 4), ran.err
    assert count_attempts(ran) == [1, 1, 2, 2]
    assert ran.summary["usage"]["requests"] == 4
    assert_clean(ran)
    if kind == RAYLET:
        nodes.end("one")
        nodes.join("one", 2)


def test_killed_run_leaves_no_work_on_nodes_and_resumes_on_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    place, model = make_place(tmp_path, FILES), Model("m2.py", "m3.py")
    with ModelServer(model) as server:
        running = nodes.begin(place, *WORDS, server=server)
        wait_until(lambda: running.said(1).count(": applied") == 2 and server.count() == 4, "two tasks are done")
        running.child.kill()
        running.child.wait()
        wait_until(lambda: not nodes.work_left("one") and not nodes.work_left("two"), "the nodes are idle")
        model.released.set()
        ran = place.run("resume", "--cluster=", server=server, **nodes.for_runs)
        assert (ran.code, ran.verdicts) == (0, ["applied"] * 4), ran.err
        # What was in flight is asked again; what was paid is not.
        assert [sum(is_about(request, name) for request in server.requests) for name in FILES] == [1, 1, 2, 2]


def test_gates_of_tasks_run_on_nodes_and_only_the_head_fails_them(nodes: Nodes, tmp_path: Path) -> None:
    """One passes on a node. One fails there, because that machine lacks something, and passes at the head."""
    place = make_place(tmp_path, FILES)
    words = (*WORDS[:3], "--agents", "1", "--files", "m0.py", "--gate", "where=true", "--model", "openai/gpt-6.1-sol")
    with ModelServer(appends("# done")) as server:
        there = ("--gate", 'here=test -n "$ONLY_AT_THE_HEAD"')
        ran = nodes.run(place, *words, *there, server=server, ONLY_AT_THE_HEAD="1")
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"], 1), ran.err
    stamp = ran.summary["timestamp"]
    assert (ran.logs / f"where_task1-1_{stamp}.txt").read_text().startswith("(It ran on node ")
    assert not (ran.logs / f"here_task1-1_{stamp}.txt").read_text()
    events = jsonl.read_run_log(ran.logs, stamp).events
    payloads = [event.payload for event in events]
    begun = Counter((one.name, one.tree) for one in payloads if isinstance(one, GateStarted))
    assert begun["where", "task1-1"] == begun["here", "task1-1"] == 1
    (note,) = (
        event.payload.text for event in events if isinstance(event.payload, Note) and "here" in event.payload.text
    )
    with contextlib.closing(sqlite3.connect(ran.logs / "orchestra.db")) as store:
        assert ("where",) not in store.execute("SELECT gate FROM gate_runs").fetchall()  # its environment is unknown
    assert note.startswith("here failed on node ") and note.endswith("and passes here: it runs only here from now on.")


def test_node_that_joins_once_leaves_after_its_first_run(nodes: Nodes, tmp_path: Path) -> None:
    """Until then its worktrees are in the folder that it was given."""
    nodes.join("guest", 2, "--once")
    files = {f"m{number}.py": f"x = {number}\n" for number in range(6)}
    words = (*WORDS[:3], "--agents", "6", "--files", *files, "--model", "openai/gpt-6.1-sol")
    place, model = make_place(tmp_path, files), Model(*files)
    with ModelServer(model) as server:
        running = nodes.begin(place, *words, server=server)
        wait_until(lambda: server.count() == 6, "all agents have asked")
        assert len(list((nodes.folder / "guest").glob("aider-orchestrator-node-*/work/*/tree"))) == 2
        model.released.set()
        ran = running.end()
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 6, 6), ran.err
    assert nodes.commands.pop("guest").wait(within()) == 0
    assert all_gone(list(nodes.processes("guest")))
    assert not list((nodes.folder / "guest").glob("aider-orchestrator-*"))


def test_stranger_can_neither_look_nor_join_nor_run(nodes: Nodes, tmp_path: Path, short_folder: str) -> None:
    place, token = make_place(tmp_path, FILES), tmp_path / "token"
    token.write_text("f" * 64)
    token.chmod(0o600)
    wrong = {"RAY_AUTH_TOKEN_PATH": str(token)}
    for words in (("list", nodes.address), ("join", nodes.address, "--slots", "1", "--dir", short_folder)):
        asked = nodes.ask(*words, **wrong)
        assert asked.returncode == 2 and "does not answer: " in asked.stderr and "InvalidAuthToken" in asked.stderr
    with ModelServer(appends("# done")) as server:
        ran = nodes.run(place, *WORDS, server=server, **wrong)
        assert ran.code == 2 and "cannot be used" in ran.err and server.count() == 0
    token.chmod(0o644)
    assert "Other users can read the cluster's token" in nodes.ask("list", nodes.address, **wrong).stderr


@pytest.mark.soak
def test_server_that_is_no_ray_ends_the_run_before_anything_is_paid(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends("# done")) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        ran = place.run(*WORDS, "--cluster", address, server=server, PYTHONPATH=str(RAY), RAY_AUTH_TOKEN="f" * 64)
        assert (ran.code, server.count(), ran.logs.exists()) == (2, 0, False)
    why = f"The cluster at {address} cannot be used: Ray did not connect within 120 s."
    assert ran.err.splitlines()[-1] == f"aider-orchestrator: {why}"  # before it are warnings of Ray


@needs_clis
def test_node_with_another_aider_is_refused_at_joining(nodes: Nodes, short_folder: str) -> None:
    aider = BIN.parent / "forgepair/bin/aider"
    asked = nodes.ask("join", nodes.address, "--dir", short_folder, AIDER_BIN=str(aider))
    assert asked.returncode == 2
    assert asked.stderr.splitlines()[-1] == (
        f"aider-orchestrator: This machine cannot join {nodes.address}. It has forgepair 1.0.3, and the head has "
        "aider-chat 0.86.2: install that there."
    )


def test_doctor_says_what_protects_the_way(nodes: Nodes, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    ran = place.run("doctor", ORCHESTRA_CLUSTER=nodes.address, **nodes.for_runs)
    assert f"{nodes.address} answers; it is on this machine alone; only you can read its token" in ran.out


def test_list_names_the_nodes(nodes: Nodes) -> None:
    lines = nodes.ask("list", nodes.address).stdout.splitlines()
    alive = sorted(line.split()[:2] + line.split()[3:5] for line in lines if "gone" not in line)
    assert alive == [["head", "head", "0", "slots"], ["one", "node", "2", "slots"], ["two", "node", "2", "slots"]]


@pytest.mark.soak
def test_frozen_node_is_given_up_and_its_late_work_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    place, model = make_place(tmp_path, FILES), Model(*FILES)
    with ModelServer(model) as server:
        running = nodes.begin(place, *WORDS, server=server)
        wait_until(lambda: server.count() == 4, "all agents have asked")
        frozen = nodes.signal("one", "", signal.SIGSTOP)
        model.released.set()
        ran = running.end()
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 4, 4), ran.err
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: not nodes.work_left("one"), "the node is idle")
        assert server.count() == 4
    assert count_attempts(ran) == [1, 1, 2, 2] and ran.summary["usage"]["requests"] == 4
    assert len(place.git("log", "--format=%H", "--all").split()) == 5
    assert_clean(ran)
    nodes.end("one")
    nodes.join("one", 2)


@pytest.mark.soak
def test_budget_holds_while_nodes_are_killed(nodes: Nodes, tmp_path: Path) -> None:
    # So many that a request's reservation, ten times of what it costs, fits into the budget.
    files = {f"m{number}.py": f"x = {number}\n" for number in range(30)}
    words = (*WORDS[:3], "--agents", "30", "--files", *files, "--model", "openai/gpt-6.1-sol")
    place = make_place(tmp_path, files)
    with ModelServer(appends("# done")) as server:
        whole = nodes.run(place, *words, server=server).summary["usage"]["cost"]
    place, model = make_place(tmp_path / "again", files), Model(*files)
    with ModelServer(model) as server:
        running = nodes.begin(place, *words, "--budget", f"{whole * 0.6:.4f}", server=server)
        wait_until(lambda: server.count() >= 1, "an agent has asked")
        for name in ("one", "two"):
            nodes.signal(name, WORKER, signal.SIGKILL)
        model.released.set()
        ran = running.end()
    usage = ran.summary["usage"]
    assert ran.code == 6 and 0 < usage["cost"] <= whole * 0.6 and usage["overshoot"] == 0


@pytest.mark.soak
def test_sixty_four_tasks_on_three_nodes_make_the_tree_of_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    files = {f"m{number}.py": f"x = {number}\n" for number in range(64)}
    words = (*WORDS[:3], "--agents", "64", "--files", *files, "--model", "openai/gpt-6.1-sol")
    nodes.join("three", 4)
    trees = []
    for number, more in enumerate(((), ("--cluster", nodes.address))):
        place = make_place(tmp_path / str(number), files)
        with ModelServer(appends("# done"), latency=0.5) as server:
            ran = place.run(*words, *more, server=server, **nodes.for_runs)
            assert (ran.code, set(ran.verdicts), server.count()) == (0, {"applied"}, 64), ran.err
        trees.append(place.git("rev-parse", "HEAD^{tree}"))
    nodes.end("three")
    assert trees[0] == trees[1]


@pytest.mark.soak
def test_node_that_dies_among_sixty_four_tasks_costs_no_request(nodes: Nodes, tmp_path: Path) -> None:
    """Of four attempts at work on it, each is made once more, with the reply that was paid."""
    files = {f"m{number}.py": f"x = {number}\n" for number in range(64)}
    words = (
        *WORDS[:3],
        "--agents",
        "64",
        "--files",
        *files,
        "--model",
        "openai/gpt-6.1-sol",
        "--cluster",
        nodes.address,
    )
    place, model = make_place(tmp_path, files), Model(*files)
    nodes.join("three", 4)
    with ModelServer(model) as server:
        running = nodes.begin(place, *words, server=server)
        wait_until(lambda: server.count() == 8, "all places have asked")
        nodes.signal("three", RAYLET, signal.SIGKILL)
        model.released.set()
        ran = running.end()
        assert (ran.code, set(ran.verdicts), server.count()) == (0, {"applied"}, 64), ran.err
    nodes.end("three")
    assert count_attempts(ran) == [1] * 60 + [2] * 4
    assert_clean(ran)


# What differs between two runs of one plan: times, hosts, the order of what happens at once, and names made by chance.
VARYING_KEYS = {"pid", "options", "number"}
VARYING_TEXT = re.compile(r"[0-9a-f]{16,}|\d{8}_\d{6}|/tmp/[^\s\"]+")


def without_varying(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_varying(each) for key, each in value.items() if key not in VARYING_KEYS}
    if isinstance(value, list | tuple):
        return [without_varying(each) for each in value]
    if isinstance(value, str):
        return VARYING_TEXT.sub("#", value)
    return "a float" if isinstance(value, float) else value


def list_events(ran: Ran) -> list[str]:
    """The events of a run in an order that does not depend on what ended first."""
    events = jsonl.read_run_log(ran.logs, ran.summary["timestamp"]).events
    records = (
        [event.kind, event.task, event.attempt, without_varying(event_record(event)["data"])]
        for event in events
        if event.kind != Note.kind
    )
    return sorted(json.dumps(record, sort_keys=True) for record in records)


@pytest.mark.soak
def test_one_machine_three_nodes_and_four_shards_make_the_same(nodes: Nodes, tmp_path: Path) -> None:
    files = {f"part{letter}.py": f"value = {number}\n" for number, letter in enumerate("abcdefgh")}
    wanted = {path: f"{text}more = True\n" for path, text in files.items()}
    place = make_sharded(tmp_path, files, {"partb": ["parta"], "partd": ["partc"]})
    nodes.join("three", 2)
    with ModelServer(knows(wanted, set())) as server:
        assert place.run("plan", "shard", "many", "--into", "4").code == 0
        alone = clone_job(place, "alone").run("execute", "many", server=server, **nodes.for_runs)
        spread = nodes.run(clone_job(place, "spread"), "execute", "many", server=server)
        shards = [run_shard(place, f"{number}/4", server) for number in range(1, 5)]
        combined = clone_job(place, "combined").run("combine", "many", *archives_of(place), OPENAI_API_KEY="")
    nodes.end("three")
    assert [ran.code for ran in (alone, spread, *shards, combined)] == [0] * 7
    assert tree_of(alone.place) == tree_of(spread.place) == tree_of(combined.place)
    assert list_events(spread) == list_events(alone)
    # A combining run loads no Aider, and goes on with what the shards began.
    kinds = [set(count_events(ran).items()) for ran in (alone, combined)]
    assert kinds[0] ^ kinds[1] == {(("aider_ready", None), 1), (("run_resumed", None), 1)}


@pytest.mark.soak
def test_large_repository_comes_to_nodes_and_a_full_disk_leaves_one_out(nodes: Nodes, tmp_path: Path) -> None:
    """60 MB, for whose worktrees one node has no room. Its tasks are done elsewhere."""
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"]).returncode:
        pytest.skip("no namespaces for a small disk")
    files = {f"m{number}.py": f"x = {number}\n" for number in range(8)}
    place, model = make_place(tmp_path, files), Model(*files)
    for number in range(3):
        place.write({f"large{number}.bin": os.urandom(20 << 20)})
    place.commit()
    nodes.join_with_disk("small", 4, 100)
    words = (*WORDS[:3], "--agents", "8", "--files", *files, "--model", "openai/gpt-6.1-sol")
    with ModelServer(model) as server:
        running = nodes.begin(place, *words, server=server)
        wait_until(lambda: "Node small is left out: " in running.said(1), "the node is left out", seconds=300)
        model.released.set()
        ran = running.end()
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 8, 8), ran.err
    nodes.end("small")


@pytest.mark.soak
def test_node_that_is_lost_twice_is_left_out_and_named(nodes: Nodes, tmp_path: Path) -> None:
    place, model = make_place(tmp_path, FILES), Model(*FILES)
    with ModelServer(model) as server:
        running = nodes.begin(place, *WORDS, server=server)
        wait_until(lambda: server.count() == 4, "all agents have asked")
        nodes.signal("one", WORKER, signal.SIGKILL)
        wait_until(lambda: running.said(1).count("Node one is ready") == 2, "the node is back")
        nodes.signal("one", WORKER, signal.SIGKILL)
        wait_until(lambda: "Node one is left out" in running.said(1), "the node is left out")
        model.released.set()
        ran = running.end()
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 4, 4), ran.err
    assert count_attempts(ran) == [1, 1, 2, 2]


def make_certificates(folder: Path) -> dict[str, str]:
    """Make what Ray's TLS needs, and return the variables that name it."""
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    key = "req -newkey rsa:2048 -nodes"
    for words in (
        f"{key} -x509 -keyout ca.key -out ca.crt -subj /CN=ca",
        f"{key} -keyout node.key -out node.csr -subj /CN=node",
        "x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out node.crt -extfile names",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    named = {"SERVER_CERT": "node.crt", "SERVER_KEY": "node.key", "CA_CERT": "ca.crt"}
    return {"RAY_USE_TLS": "1"} | {f"RAY_TLS_{name}": str(folder / file) for name, file in named.items()}


@pytest.mark.soak
def test_cluster_works_with_the_tls_of_ray(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with open_nodes({"one": 2}, make_certificates(tmp_path)) as own, ModelServer(appends("# done")) as server:
        ran = own.run(place, *WORDS, server=server)
        assert (ran.code, ran.verdicts, server.count()) == (0, ["applied"] * 4, 4), ran.err
        assert find_keys(own, "head", "one") == []


STAND_INS = {
    "aider-orchestrator": f'exec {sys.executable} {PROGRAM} "$@"',
    "hostname": "echo 127.0.0.1",
    # srun -N 3 -n 3 -x HOST COMMAND
    "srun": 'shift 6; for n in 1 2 3; do mkdir $JOB/$n; "$@" --name node$n --dir $JOB/$n & done; wait',
}


@pytest.mark.soak
def test_slurm_script_of_the_docs(tmp_path: Path, short_folder: str) -> None:
    """Its nodes are on this machine. The token comes from the environment, as in Kubernetes."""
    blocks = sections(HOW_TO)["… let several machines work for one run"]
    (script,) = (block for block in blocks if block.startswith("#!/bin/bash"))
    script = script.replace("my-plan", "many").replace('head --address "$head"', 'head --address "$head" --port 6379')
    files = {f"part{letter}.py": f"value = {number}\n" for number, letter in enumerate("abcdefgh")}
    place = make_sharded(tmp_path, files)
    for name, command in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{command}\n")
        path.chmod(0o755)
    with ModelServer(appends("# done")) as server, (tmp_path / "out").open("w+") as out:
        environment = place.environment(server) | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        environment |= {"PYTHONPATH": str(RAY), "RAY_AUTH_TOKEN": "f" * 64, "AIDER_BIN": ""}
        environment |= {"JOB": short_folder, "TMPDIR": short_folder}
        words = ["bash", "-c", script.replace("6379", str(free_port()))]
        job = subprocess.Popen(words, cwd=place.repo, env=environment, stdout=out, stderr=out, start_new_session=True)
        try:
            assert job.wait(within(300)) == 0, (tmp_path / "out").read_text()
            assert server.count() == 8
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGTERM)  # as Slurm ends what a job has left
            job.wait(within())
            wait_until(lambda: not group_exists(job.pid), "the nodes have ended")


def group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


KILLS_ITS_NODE = """
pid=$$
while [ "$pid" -gt 1 ]; do
    if grep -q ^ray:: "/proc/$pid/cmdline"; then kill -9 "$pid"; fi
    pid=$(awk '/^PPid/ { print $2 }' "/proc/$pid/status")
done
"""


@pytest.mark.soak
def test_task_that_kills_three_nodes_is_taken_for_the_cause(nodes: Nodes, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    words = (*WORDS[:3], "--agents", "1", "--files", "m0.py", "--model", "openai/gpt-6.1-sol")
    with ModelServer(appends("# done")) as server:
        ran = nodes.run(place, *words, "--sandbox", "off", "--setup-cmd", KILLS_ITS_NODE, server=server)
        assert (ran.code, ran.verdicts, server.count()) == (1, ["crashed"], 0), ran.err
    assert count_attempts(ran) == [3] and "3 hosts were lost during attempts at this task" in ran.err
    assert_clean(ran)


@pytest.mark.soak
def test_lost_head_of_the_cluster_ends_the_run_resumable(tmp_path: Path) -> None:
    with open_nodes({"one": 2}) as own:
        place, model = make_place(tmp_path, FILES), Model("m2.py", "m3.py")
        with ModelServer(model) as server:
            running = own.begin(place, *WORDS, server=server)
            wait_until(lambda: server.count() >= 3, "agents have asked")
            own.signal("head", GCS, signal.SIGKILL)
            ran = running.end()
            assert ran.code == 6 and "The cluster has had no node for this run for 45 s." in ran.out, ran.err
            model.released.set()
            again = place.run("resume", "--cluster=", server=server, **own.for_runs)
            assert (again.code, again.verdicts) == (0, ["applied"] * 4), again.err
