"""One warm Aider for all tests, of all workers: importing it is most of what a short run costs.

The orchestrator is told, by AIDER_BIN, of an interpreter that is a small program of ours. Asked for a fork server, it
has one forked from a process that has imported everything already; asked for anything else, it becomes the real
interpreter. What is forked is the program's own server, from the same imports, with the same pipes. Tests of
processes, and all tests of the soak, start a server of their own: they are marked `cold`.

The process that starts the workers starts the warm one, and gives them its address; it imports when first asked.
"""

import array
import atexit
import functools
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CHILD = Path(__file__).parents[2] / "orchestra" / "child"
MODULE = Path(__file__)
ADDRESS = "WARM_AIDER"  # the variable that tells workers of it
shared = sys.platform == "linux" and os.environ.get("SOAK") != "1"
PYTHON = """#!{python} -IS
import array, json, os, socket, sys
if sys.argv[2:3] != ["--serve"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    fds = array.array("i", [0, 1, 2, int(sys.argv[3])])
    about = json.dumps([os.getcwd(), dict(os.environ)]).encode()
    asked.sendmsg([len(about).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    asked.sendall(about)
    for fd in (0, 1, fds[3]):
        os.close(fd)
    asked.recv(1)
os._exit(0)
"""


@functools.cache
def aider() -> str:
    """Return what AIDER_BIN is to be for a run that may share the warm process."""
    return os.environ.get(ADDRESS) or start_warm_process()


def start_warm_process() -> str:
    """Start the process. It ends with this one, at the latest when the other end of its stdin closes."""
    from orchestra.agents.seat import QUIET

    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        command = [sys.executable, str(MODULE), str(listener.fileno())]
        environment = dict(os.environ) | QUIET
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, pass_fds=[listener.fileno()])
    atexit.register(process.terminate)
    programs = {
        "python": PYTHON.format(python=sys.executable, address=str(folder / "socket")),
        "aider": f"#!{folder}/python\n",
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o700)
    return str(folder / "aider")


def start_for_workers() -> None:
    os.environ[ADDRESS] = aider()


def keep_warm(listening: int) -> None:
    sys.path.insert(0, str(CHILD))
    with socket.socket(fileno=listening) as listener:
        ready = functools.partial(select.select, [listener.fileno(), 0], [], [])
        if ready()[0] != [listener.fileno()]:
            return
        seat = importlib.import_module("aider_seat")
        seat.warm_up()
        vars(seat)["warm_up"] = lambda: None
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while ready()[0] == [listener.fileno()]:
            with listener.accept()[0] as asking:
                if os.fork() == 0:
                    listener.close()
                    seat.run_and_exit(serve_for, asking, seat.serve_jobs)


def serve_for(asking: socket.socket, serve: Callable[[int], None]) -> None:
    """In the forked process: everything that tells one server from another, then what the program itself does."""
    fds = array.array("i")
    size, control, _, _ = asking.recvmsg(4, socket.CMSG_SPACE(4 * fds.itemsize))
    if not control:
        return
    fds.frombytes(control[0][2])
    about = b""
    while len(about) < int.from_bytes(size, "big"):
        more = asking.recv(1 << 16)
        if not more:  # who asked was ended before it had said all
            return
        about += more
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, fd in enumerate(fds[:3]):
        os.dup2(fd, target)
    folder, environment = json.loads(about)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None
    serve(fds[3])


if __name__ == "__main__":
    keep_warm(int(sys.argv[1]))
