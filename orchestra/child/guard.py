"""Run one command in a session of its own; when stdin closes, on purpose or by the parent's death, end its whole group.

usage: guard.py GRACE COMMAND...    The exit code is the command's; 128+N for signal N; 127 when it cannot be started.
"""

import os
import select
import subprocess
import sys
from contextlib import suppress

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import group

KEPT = 4 << 20


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


def main(grace: float, command: list[str]) -> int:
    wake = group.wakeup_fd()
    group.adopt()
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        say(f"{command[0]}: {error.strerror}\n".encode())
        return 127
    output = Output(child.stdout.fileno())
    code = watch(child.pid, output, grace, wake)
    group.end_orphans(set())
    output.finish()
    return code if code >= 0 else 128 - code


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
    os._exit(main(float(sys.argv[1]), sys.argv[2:]))
