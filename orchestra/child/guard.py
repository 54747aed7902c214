"""Run one command in a session of its own, and end its whole group when stdin closes: on purpose, or because the parent died.

usage: guard.py GRACE COMMAND...    The exit code is the command's; 128+N for signal N; 127 when it cannot be started.
"""

import os
import select
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import group


def main(grace: float, command: list[str]) -> int:
    wake = group.wakeup_fd()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while not group.ended(child.pid):
        ready, _, _ = select.select([0, wake], [], [])
        group.drain(wake)
        if 0 in ready and not os.read(0, 1):
            return shell_code(group.end(child.pid, grace, wake))
    return shell_code(group.reap(child.pid))


def shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # os._exit: Popen's own bookkeeping would find its child gone and complain at interpreter exit.
    code = main(float(sys.argv[1]), sys.argv[2:])
    sys.stderr.flush()
    os._exit(code)
