"""A Ray cluster of our own on the loopback address: `worker head`, and nodes by `worker join`, each with its folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer
from tests.support.runs import KEYS, PROGRAM, Place, Ran, Running, read_proc

RAY = Path(__file__).resolve().parents[2] / ".tools" / "ray"
needs_ray = pytest.mark.skipif(not RAY.is_dir(), reason="`make ray` installs Ray")
WORKER, RAYLET, GCS = "ray::NodeWorker", "raylet/raylet", "gcs/gcs_server"


@dataclass
class Nodes:
    """The cluster, with the processes of `worker head` and `worker join` by name."""

    folder: Path
    port: int
    more: Mapping[str, str] = field(default_factory=dict)  # variables of all who use the cluster
    commands: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """For `worker`. The keys are a user's, whose shell has them."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(RAY),
            **self.more,
        } | KEYS

    @property
    def for_runs(self) -> dict[str, Any]:
        return {"PYTHONPATH": str(RAY), "RAY_AUTH_TOKEN_PATH": str(self.token), "AIDER_BIN": "", **self.more}

    @property
    def token(self) -> Path:
        return self.folder / "home/.ray/auth_token"

    def start(self, name: str, *words: str, before: Sequence[str] = ()) -> None:
        """Start a `worker`, by the command `before` if there is one, and wait until it works."""
        with (self.folder / f"{name}.out").open("wb") as out:
            command = [sys.executable, str(PROGRAM), "worker", *words, "--name", name, "--dir", str(self.folder / name)]
            command = [*before, *command]
            self.commands[name] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        wait_until(lambda: self.has_begun(name), f"{name} has begun")

    def join(self, name: str, slots: int, *words: str, before: Sequence[str] = ()) -> None:
        self.start(name, "join", self.address, "--slots", str(slots), *words, before=before)

    def join_with_disk(self, name: str, slots: int, megabytes: int) -> None:
        """Join with a folder on a disk of this size, which only this node sees."""
        (self.folder / name).mkdir()
        mount = f'mount -t tmpfs -o size={megabytes}m tmpfs {self.folder / name} && exec "$@"'
        self.join(name, slots, before=("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"))

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text("utf-8")

    def has_begun(self, name: str) -> bool:
        assert self.commands[name].poll() is None, self.said(name)
        return "works for the runs" in self.said(name) or "is ready" in self.said(name)

    def ask(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Another `worker` command, to its end."""
        command = [sys.executable, str(PROGRAM), "worker", *words]
        environment = self.environment | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=within())

    def processes(self, name: str, kind: str = "") -> dict[int, str]:
        """All processes of a node, or those of a kind, with their command lines."""
        found, mark = {}, f"TMPDIR={self.folder / name}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            if mark in read_proc(folder / "environ"):
                found[int(folder.name)] = read_proc(folder / "cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
        return {pid: words for pid, words in found.items() if kind in words}

    def signal(self, name: str, kind: str, signum: int) -> list[int]:
        pids = list(self.processes(name, kind))
        assert pids, f"{name} has no process {kind}"
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        return pids

    def work_left(self, name: str) -> dict[int, str]:
        """What a run has left on a node: its worker, fork server and agents. Ray's own processes stay."""
        return {pid: words for pid, words in self.processes(name).items() if WORKER in words or "aider_seat" in words}

    def end(self, name: str) -> None:
        command = self.commands.pop(name)
        command.send_signal(signal.SIGTERM)
        command.wait(within())
        for pid in self.processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self, place: Place, *words: str, server: ModelServer, **more: str) -> Ran:
        return self.begin(place, *words, server=server, **more).end()

    def begin(self, place: Place, *words: str, server: ModelServer, **more: str) -> Running:
        return place.start(*words, "--cluster", self.address, server=server, **self.for_runs | more)


@contextmanager
def open_nodes(slots: Mapping[str, int], more: Mapping[str, str] | None = None) -> Iterator[Nodes]:
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short, because of Ray's sockets
    (folder / "home").mkdir()
    nodes = Nodes(folder, free_port(), more or {})
    try:
        nodes.start("head", "head", "--port", str(nodes.port))
        for name, count in slots.items():
            nodes.join(name, count)
        yield nodes
    finally:
        for name in reversed(list(nodes.commands)):
            nodes.end(name)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port that is free, as is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
