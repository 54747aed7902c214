"""What can be made to happen to an agent or a run, for the table of faults: odd replies, and blows from outside."""

import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.edits import Respond, appends, search_replace
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Running, cwd_of, descendants, read_proc

GOOD = appends("# hi")
Befalls = Callable[[Running, ModelServer], None]

# --- answers of a provider ------------------------------------------------------------------------------------------


def error(status: int, text: str, code: str = "", **headers: str) -> Respond:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Reply(text, status=status, code=code, headers=named)


def body(raw: bytes, kind: str = "application/json", status: int = 200) -> Respond:
    return lambda request: Reply(raw_body=raw, status=status, headers={"content-type": kind})


def but(**how: object) -> Respond:
    """The right reply, sent in another way."""
    return lambda request: Reply(GOOD(request).text, **how)  # type: ignore[arg-type]


def says(text: str, good: bool = False, **how: object) -> Respond:
    return lambda request: Reply(text + ("\n\n" + GOOD(request).text if good else ""), **how)  # type: ignore[arg-type]


def without_usage(request: Request) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": GOOD(request).text}, "finish_reason": "stop"}
    return Reply(raw_body=json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode())


# --- replies of a model ---------------------------------------------------------------------------------------------


def first(request: Request) -> str:
    return next(iter(request.files))


def unmatched(request: Request) -> Reply:
    return Reply(search_replace(first(request), "this stands\nnowhere at all\n", "new\n", request.fence))


def half_good(request: Request) -> Reply:
    good = search_replace(first(request), "size = 1\n", "size = 2\n", request.fence)
    return Reply(good + "\n" + unmatched(request).text)


def deletes(request: Request) -> Reply:
    return Reply(search_replace(first(request), "size = 1\n", "", request.fence))


def empties(request: Request) -> Reply:
    return Reply(search_replace(first(request), request.files[first(request)], "", request.fence))


def reaches(path: str) -> Respond:
    return lambda request: Reply(search_replace(path, "", "evil = 1\n", request.fence))


# --- blows to an agent that waits for its reply ---------------------------------------------------------------------


def fork_server(running: Running) -> int:
    return next(pid for pid in descendants(running.child.pid) if b"--serve" in read_proc(Path(f"/proc/{pid}/cmdline")))


def seat(running: Running) -> int:
    """The one Aider that is at work."""
    server = fork_server(running)
    return next(pid for pid in descendants(server) if b"/task" in cwd_of(Path(f"/proc/{pid}")))


def sends(signum: int) -> Befalls:
    return lambda running, server: os.kill(seat(running), signum)


def ends_the_fork_server(running: Running, server: ModelServer) -> None:
    os.kill(fork_server(running), signal.SIGKILL)


def fills_the_agents_disk(running: Running, server: ModelServer) -> None:
    # Below the size of its file, and above that of all that it prints.
    resource.prlimit(seat(running), resource.RLIMIT_FSIZE, (1000, 1000))


def fills_the_disk(running: Running, server: ModelServer) -> None:
    """No log grows any more; the few lines that it prints still fit."""
    (log,) = (running.place.repo / ".aider_logs").glob("run_*.jsonl")
    resource.prlimit(running.child.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))


def deletes_the_worktree(running: Running, server: ModelServer) -> None:
    for tree in running.place.tmp.glob("aider-orchestrator-*/task*/tree"):
        shutil.rmtree(tree)


def goes_away(running: Running, server: ModelServer) -> None:
    server.__exit__(None)


def moves_the_branch(running: Running, server: ModelServer) -> None:
    running.place.write({"mine.txt": "mine\n"})
    running.place.commit("Mine")


# --- odd places -----------------------------------------------------------------------------------------------------


def aider_behind(place: Place, script: str) -> dict[str, str]:
    """An aider whose Python is this script."""
    python, aider = place.home / "python-of-its-own", place.home / "aider"
    python.write_text(f"#!/bin/sh\n{script}\n")
    aider.write_text(f"#!{python}\n")
    python.chmod(0o755)
    aider.chmod(0o755)
    return {"AIDER_BIN": str(aider)}


def python_that(does: str) -> Callable[[Place], dict[str, str]]:
    """Only where an agent is started: the questions for its version are asked as they are."""
    script = f'case "$*" in *--serve*|*--once*) {does};; esac; exec {sys.executable} "$@"'
    return lambda place: aider_behind(place, script)


def another_aider(place: Place) -> dict[str, str]:
    return aider_behind(place, "echo aider-chat 0.86.1")


def no_aider(place: Place) -> dict[str, str]:
    return {"AIDER_BIN": str(place.home / "nowhere")}


def no_git(place: Place) -> dict[str, str]:
    return {"PATH": str(place.home)}


def no_home(place: Place) -> dict[str, str]:
    return {"HOME": ""}


def gone_home(place: Place) -> dict[str, str]:
    return {"HOME": str(place.home / "gone")}


def logs_are_a_file(place: Place) -> dict[str, str]:
    place.write({".aider_logs": "mine\n"})
    return {}


def logs_lead_outside(place: Place) -> dict[str, str]:
    (place.repo / ".aider_logs").symlink_to(place.home)
    return {}


def unresolved(place: Place) -> dict[str, str]:
    return {"OPENAI_API_BASE": "http://no-such-host.invalid/v1"}


def refused(place: Place) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return {"OPENAI_API_BASE": f"http://127.0.0.1:{taken.getsockname()[1]}/v1"}


def untrusted(place: Place) -> dict[str, str]:
    """A server with a certificate that it has written itself."""
    key, certificate = place.home / "key.pem", place.home / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            caller, _ = listener.accept()
            with suppress(OSError):
                context.wrap_socket(caller, server_side=True).close()

    threading.Thread(target=serve, daemon=True).start()
    return {"OPENAI_API_BASE": f"https://127.0.0.1:{listener.getsockname()[1]}/v1"}


READ_ONLY = 'exec unshare -m sh -c \'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"\' sh "$@"'
CLOCK = Path(__file__).parent / "clock_jumps.py"


def jumps(seconds: int) -> str:
    return f'python=$1; shift 2; exec "$python" "{CLOCK}" {seconds} "$@"'
