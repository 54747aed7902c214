"""Runs a command and takes in whatever it leaves behind: nothing outlives it, and all that it used is counted here.

python -m bench.keeper SECONDS COMMAND...    (Linux)
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

from bench.measure import descendants, processes

ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER: what detaches itself below this process becomes its child
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG
TOO_LONG = 124


def main(seconds: float, command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TOO_LONG))
    prctl = ctypes.CDLL(None).prctl
    prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    prctl(END_WITH_PARENT, signal.SIGTERM, 0, 0, 0)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it found this module
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return TOO_LONG
    finally:
        left = end_all()
        print(f"Ended by the keeper: {len(left)} processes.", *left, sep="\n", flush=True)


def end_all() -> list[str]:
    """Their commands. What is ended may just have started another, so this goes on until there is none."""
    ended: dict[int, str] = {}
    while alive := [process for process in descendants(processes(), {os.getpid()}) if process.pid != os.getpid()]:
        for process in alive:
            ended.setdefault(process.pid, process.command)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)
    return [command for command in ended.values() if command]


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
