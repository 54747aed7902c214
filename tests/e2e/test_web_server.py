"""The server beside real runs: it is killed, the run is killed, and whoever looks sees what the run itself tells."""

import json
import random
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.sync.client import connect

from tests.e2e.test_live_changes import FILES, PLAN, WANTED
from tests.e2e.test_screens import Held
from tests.support.api import Api, Follower
from tests.support.dashboard import served
from tests.support.edits import knows
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer
from tests.support.runs import PROGRAM, Place, make_place
from tests.support.sample import SOAK

pytestmark = pytest.mark.thorough
KILLS = 20 if SOAK else 4
PLANS = {".aider_logs/plans/three.toml": PLAN, ".aider_logs/.gitignore": "*\n"}


def wait_for_run(api: Api) -> str:
    """Return the name of the only run, as soon as it has a plan."""

    def find() -> str:
        runs = api.read("/runs")
        return str(runs[0]["run"]) if runs and api.read(f"/runs/{runs[0]['run']}")["rows"] else ""

    return wait_until(find, what="the run has a plan")


def same_rows(api: Api, follower: Follower) -> bool:
    """Whether the caller's state is what the API tells now."""
    now = api.read(f"/runs/{follower.run}")
    return bool(list(follower.rows.values()) == now["rows"] and follower.row == now["run"])


def test_killed_server_costs_no_row_and_the_run_nothing(tmp_path: Path) -> None:
    """Between two kills something happens to the run, so that each new server has news."""
    place, model, rng = make_place(tmp_path, FILES), Held(knows(WANTED, set())), random.Random(7)
    place.write(PLANS)
    with ModelServer(model) as provider:
        running = place.start("execute", "three", server=provider)
        with served(place) as (_, address):
            api = Api(address)
            follower = Follower(wait_for_run(api))
        for kill in range(KILLS):
            with served(place, api.port) as (server, _), api.socket() as socket:
                follower.subscribe(socket)
                follower.follow(socket, until=lambda each: each.row)
                command = "unpause" if kill % 2 else "pause"
                answer = api.send("POST", f"/runs/{follower.run}/{command}", {})
                assert answer.status_code == 200, answer.text
                time.sleep(rng.random() * 0.4)
                server.kill()
                follower.read_until_closed(socket)
        model.release = True
        with served(place, api.port), api.socket() as socket:
            if KILLS % 2:
                api.send("POST", f"/runs/{follower.run}/unpause", {})
            follower.subscribe(socket)
            ran = running.end()
            follower.follow(socket, until=lambda each: each.row.get("exit_code") is not None)
            follower.follow(socket, until=lambda each: each.row["state"] == "ended")
            wait_until(lambda: same_rows(api, follower), what="the caller has the rows of the API")
            compare_figures(api, place, follower, ran.summary)
    assert ran.code == 0 and provider.count() == 3


def compare_figures(api: Api, place: Place, follower: Follower, summary: dict[str, Any]) -> None:
    """The stream, the API, `status --json` and the summary tell the same, field by field."""
    told = api.read(f"/runs/{follower.run}")
    status = json.loads(place.run("status", "latest", "--json").out)
    assert told["status"] == status
    for name in ("verdict", "verified", "usage", "agents", "total_iterations", "successful_agents", "failed_agents"):
        assert status[name] == summary[name], name
    assert follower.row["verdict"] == summary["verdict"] and follower.row["exit_code"] == summary["exit_code"]
    assert follower.row["usage"].items() <= summary["usage"].items()
    for row in follower.rows.values():
        agent = summary["agents"][row["agent"]]
        for name in ("state", "verdict", "attempts", "cause", "usage", "files", "commit", "seconds"):
            assert row[name] == agent[name], name


def test_killed_run_is_seen_and_resumed_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write(PLANS)
    model = Held(knows(WANTED, set()), holds="part2.py")
    with ModelServer(model) as provider, served(place, 0, provider) as (_, address):
        api, running = Api(address), place.start("execute", "three", server=provider)
        follower = Follower(wait_for_run(api))
        with api.socket() as socket:
            follower.subscribe(socket)
            wait_until(lambda: provider.count() == 2, what="the second task is asked about")
            running.child.kill()
            running.child.wait()
            killed = time.monotonic()
            follower.follow(socket, until=lambda each: each.row.get("state") == "interrupted")
            print(f"seen after {time.monotonic() - killed:.1f} s")
            paid = [request for request in provider.requests if "part1.py" in request.files]
            model.release = True
            started = api.send("POST", f"/runs/{follower.run}/resume", {})
            assert started.status_code == 202, started.text
            follower.follow(socket, until=lambda each: each.row.get("exit_code") == 0, seconds=120)
            wait_until(lambda: same_rows(api, follower), what="the caller has the rows of the API")
        launch = started.headers["location"].removeprefix("/api/v1")
        wait_until(lambda: api.read(launch)["state"] == "ended", what="the program has ended")
        assert api.read(launch)["exit_code"] == 0 and api.read(launch)["run"] == follower.run
    assert len(paid) == 1 and len([each for each in provider.requests if "part1.py" in each.files]) == 1
    assert {path: (place.repo / path).read_text() for path in list(WANTED)[:3]} == dict(list(WANTED.items())[:3])


def test_gate_is_read_while_it_runs(tmp_path: Path) -> None:
    place, gate = make_place(tmp_path, {"part1.py": FILES["part1.py"]}), tmp_path / "go"
    script = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo done"
    words = ("--change", "Add more", "--no-prd", "--files", "part1.py", "--gate", f"slow={script}", "--sandbox", "off")
    with ModelServer(knows(WANTED, set())) as provider, served(place) as (_, address):
        api, running = Api(address), place.start(*words, server=provider)
        run = wait_for_run(api)

        def find() -> Any:
            gates = [row for row in api.read(f"/runs/{run}/gates") if row["name"] == "slow"]
            return next((row for row in gates if row["state"] == "running"), None)

        row = wait_until(find, what="the gate runs")
        path = f"/runs/{run}/gates/{row['number']}/output"
        wait_until(lambda: api.send("GET", path).text == "begun\n", what="what it has printed is read")
        with_end = []
        gate.touch()
        followed = api.send("GET", f"{path}?follow=true")
        with_end = [json.loads(line[6:]) for line in followed.text.splitlines() if line.startswith("data: ")]
        assert "".join(each.get("text", "") for each in with_end) == "begun\ndone\n"
        assert running.end().code == 0 and with_end[-1]["state"] in ("passed", "ended")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for this machine, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    signed = made.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def test_server_answers_by_https_and_gives_a_viewer_no_command(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    certificate, key = make_certificate(tmp_path)
    words = ("--tls-cert", str(certificate), "--tls-key", str(key), "--viewer-token", "--metrics-token")
    command = [sys.executable, str(PROGRAM), "serve", "--port", "0", "--token-file", str(place.home / "token"), *words]
    child = subprocess.Popen(command, cwd=place.repo, env=place.environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        lines = [child.stdout.readline().strip() for _ in range(4)]
        base, _, owner = lines[0].partition("/#t=")
        viewer, metrics = lines[1].partition("#t=")[2], lines[2].rpartition(" ")[2]
        trusts = ssl.create_default_context(cafile=str(certificate))
        assert base.startswith("https://127.0.0.1:") and lines[3].startswith("Ctrl-C")

        def ask(method: str, path: str, token: str, **more: Any) -> int:
            headers = {"Authorization": f"Bearer {token}"} | more.pop("headers", {})
            url = f"{base}{path}"
            options: dict[str, Any] = {"verify": trusts, "timeout": within(30)} | more
            return httpx.request(method, url, headers=headers, **options).status_code

        assert [ask("GET", "/api/v1/runs", token) for token in (owner, viewer, metrics)] == [200, 200, 403]
        assert [ask("GET", "/metrics", token) for token in (owner, viewer, metrics)] == [200, 200, 200]
        assert [ask("POST", "/api/v1/runs", token, json={}) for token in (owner, viewer, metrics)] == [400, 403, 403]
        assert ask("GET", "/api/v1/runs", owner, headers={"Origin": base}) == 200
        assert ask("GET", "/api/v1/runs", owner, headers={"Origin": base.replace("https", "http")}) == 403
        address, headers = f"{base.replace('https', 'wss')}/ws", {"Authorization": f"Bearer {viewer}"}
        with connect(address, additional_headers=headers, ssl=trusts, open_timeout=within(30)) as socket:
            socket.send('{"type": "subscribe"}')
            assert json.loads(socket.recv(timeout=within(30)))["type"] == "runs"
    finally:
        child.kill()
        child.wait()
