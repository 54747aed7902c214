"""Run one command in a session of its own; when stdin closes, on purpose or by the parent's death, end its whole group.

usage: guard.py GRACE SANDBOX COMMAND...    SANDBOX: what sandbox.py or confine.py needs, as JSON, or - for none.
The exit code is the command's; 128+N for signal N; 127 when it cannot be started; 125 when its sandbox cannot be made.
"""

import json
import os
import select
import subprocess
import sys
from contextlib import suppress

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import group

KEPT = 4 << 20
KEPT_ALIVE = []


class Output:
    """What the command prints, copied to our stdout: its beginning live, and its last part when it has ended.

    What lies between is left out, so that a command which never stops talking fills no disk.
    """

    def __init__(self, source: int) -> None:
        self.source = source
        self.room = KEPT
        self.left_out = 0
        self.last = bytearray()
        os.set_blocking(source, False)

    def copy(self) -> bool:
        """Take what is there now: at most a pipe full. False when nothing more will come, or nothing is there."""
        try:
            piece = os.read(self.source, 1 << 20)
        except BlockingIOError:
            return False
        live = piece[: self.room]
        self.room -= len(live)
        self.last += piece[len(live) :]
        if len(self.last) > 2 * KEPT:
            self.cut()
        say(live)
        return bool(piece)

    def cut(self) -> None:
        surplus = max(0, len(self.last) - KEPT)
        self.left_out += surplus
        del self.last[:surplus]

    def finish(self) -> None:
        self.copy()
        self.cut()
        if self.left_out:
            say(f"\n... {self.left_out:,} bytes are left out here ...\n".encode())
        say(bytes(self.last))


def say(words: bytes) -> None:
    """To stdout. A full disk must not keep us from watching over the command."""
    with suppress(OSError):
        while words:
            words = words[os.write(1, words) :]


def main(grace: float, sandbox: str, command: list[str]) -> int:
    wake = group.wakeup_fd()
    group.adopt()
    read, write = os.pipe()
    try:
        leader = start(json.loads(sandbox) if sandbox != "-" else None, command, write)
    except OSError as error:
        if sandbox == "-":
            say(f"{command[0]}: {error.strerror}\n".encode())
            return 127
        say(f"the sandbox cannot be made: {error.filename or 'namespaces'}: {error.strerror}\n".encode())
        return 125
    os.close(write)
    output = Output(read)
    code = watch(leader, output, grace, wake)
    group.end_orphans(set())
    clean(sandbox)
    output.finish()
    return code if code >= 0 else 128 - code


def start(spec, command: list[str], output: int) -> int:
    """The process to wait for: the leader of a group, or the first process of a sandbox."""
    if spec is None:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        KEPT_ALIVE.append(child)  # one that is forgotten reaps its process
        return child.pid
    if spec["mode"] == "landlock":
        import confine

        return confine.start(spec, command, output)
    import sandbox  # ctypes takes longer to load than all of the above

    return sandbox.start(spec, command, output)


def clean(sandbox: str) -> None:
    """What a sandbox needed beside the worktree."""
    if sandbox != "-":
        import shutil

        box = os.path.join(json.loads(sandbox)["scratch"], f"box{os.getpid()}")
        for folder, folders, _ in os.walk(box):  # an overlay closes its own
            for name in folders:
                with suppress(OSError):
                    if not os.path.islink(path := os.path.join(folder, name)):
                        os.chmod(path, 0o700)
        shutil.rmtree(box, ignore_errors=True)


def watch(leader: int, output: Output, grace: float, wake: int) -> int:
    """Wait for the command's end, or bring it about. Returns its code, negative for a signal."""
    watched = [0, wake, output.source]
    while not group.ended(leader):
        ready, _, _ = select.select(watched, [], [])
        group.drain(wake)
        if output.source in ready and not output.copy():
            watched.remove(output.source)
        if 0 in ready and not os.read(0, 1):
            return group.end(leader, grace, wake)
    return group.reap(leader)


if __name__ == "__main__":
    # os._exit: Popen's own bookkeeping would find its child gone and complain at interpreter exit.
    os._exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
