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
    """Copies a command's output to our stdout: its beginning live, its last part at the end, nothing between."""

    def __init__(self, source: int) -> None:
        self.source = source
        self.room = KEPT
        self.left_out = 0
        self.last = bytearray()
        os.set_blocking(source, False)

    def copy_available(self) -> bool:
        """Copy what is available, at most a pipe full. Return False if there is nothing, or no more to come."""
        try:
            piece = os.read(self.source, 1 << 20)
        except BlockingIOError:
            return False
        live = piece[: self.room]
        self.room -= len(live)
        self.last += piece[len(live) :]
        if len(self.last) > 2 * KEPT:
            self.trim()
        write_stdout(live)
        return bool(piece)

    def trim(self) -> None:
        surplus = max(0, len(self.last) - KEPT)
        self.left_out += surplus
        del self.last[:surplus]

    def finish(self) -> None:
        self.copy_available()
        self.trim()
        if self.left_out:
            write_stdout(f"\n... {self.left_out:,} bytes are left out here ...\n".encode())
        write_stdout(bytes(self.last))


def write_stdout(words: bytes) -> None:
    """Write to stdout. A full disk must not stop the guard."""
    with suppress(OSError):
        while words:
            words = words[os.write(1, words) :]


def main(grace: float, sandbox: str, command: list[str]) -> int:
    wake = group.wakeup_fd()
    group.adopt_orphans()
    read, write = os.pipe()
    spec = json.loads(sandbox) if sandbox != "-" else None
    record = read_git_record(spec["tree"]) if spec else None
    try:
        leader = start_command(spec, command, write)
    except OSError as error:
        if spec is None:
            write_stdout(f"{command[0]}: {error.strerror}\n".encode())
            return 127
        write_stdout(f"the sandbox cannot be made: {error.filename or 'namespaces'}: {error.strerror}\n".encode())
        return 125
    os.close(write)
    output = Output(read)
    code = wait_for_command(leader, output, grace, wake)
    group.end_orphans(set())
    if spec is not None:
        remove_box(spec)
        remove_forged_git(spec["tree"], record)
    output.finish()
    return code if code >= 0 else 128 - code


def start_command(spec, command: list[str], output: int) -> int:
    """Start the command. Return the process to wait for: the leader of a group, or the first process of a sandbox."""
    if spec is None:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        KEPT_ALIVE.append(child)  # a collected object would reap its process
        return child.pid
    if spec["mode"] == "landlock":
        import confine

        return confine.start(spec, command, output)
    import sandbox  # ctypes takes longer to load than all of the above

    return sandbox.start(spec, command, output)


def remove_box(spec) -> None:
    """Remove what a sandbox needed beside the worktree."""
    if spec["mode"] == "landlock":
        return
    import shutil

    import sandbox

    box = sandbox.box_of(spec)
    for folder, folders, _ in os.walk(box):  # an overlay closes its own
        for name in folders:
            with suppress(OSError):
                if not os.path.islink(path := os.path.join(folder, name)):
                    os.chmod(path, 0o700)
    shutil.rmtree(box, ignore_errors=True)


def read_git_record(tree: str) -> "bytes | None":
    """Read the .git file that makes the tree a worktree. None if there is no such file."""
    try:
        descriptor = os.open(os.path.join(tree, ".git"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return file.read(1 << 16)
    except OSError:
        return None


def remove_forged_git(tree: str, record: "bytes | None") -> None:
    """Delete a .git that the command made, or a link in the tree's place: git would trust its configuration."""
    with suppress(OSError):
        if os.path.islink(tree):
            os.unlink(tree)
        git = os.path.join(tree, ".git")
        if record is not None and read_git_record(tree) == record:
            return
        if os.path.isdir(git) and not os.path.islink(git):
            import shutil

            shutil.rmtree(git, ignore_errors=True)
        else:
            os.unlink(git)


def wait_for_command(leader: int, output: Output, grace: float, wake: int) -> int:
    """Wait for the command's end, or cause it. Return its code, negative for a signal."""
    watched = [0, wake, output.source]
    while not group.has_leader_ended(leader):
        ready, _, _ = select.select(watched, [], [])
        group.drain_wakeup(wake)
        if output.source in ready and not output.copy_available():
            watched.remove(output.source)
        if 0 in ready and not os.read(0, 1):
            return group.terminate_group(leader, grace, wake)
    return group.reap_group(leader)


if __name__ == "__main__":
    # os._exit: Popen's own bookkeeping would find its child gone and complain at interpreter exit.
    os._exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
