"""Where the kernel refuses namespaces: Landlock and no capabilities (Linux 5.13). Weaker than a sandbox, and said so.

Landlock can only allow. So everything is allowed but /proc, the secret files, and writing below the checkout; what
comes later beside a secret is not. Other processes' environment and memory are out of reach, since who is confined may
not look into one who is not. Their arguments, ports, sockets and /dev/shm stay reachable.
"""

import ctypes
import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sandbox import (
    DEATH_SIGNAL,
    LANDLOCK_CREATE,
    LANDLOCK_RESTRICT,
    LIBC,
    SCOPES,
    check_result,
    drop_capabilities,
    take_streams,
)

ADD_RULE, BENEATH, VERSION = 445, 1, 1
READ = 0b1101  # execute, read a file, read a folder
FILES = 0b110_0000_0000_0111  # of all rights those that a file can have: execute, write, read, truncate, ioctl
# The rights that each version of Landlock knows.
KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
OF_PROC = ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "mounts", "sys")


def start(spec, command, output):
    """Start the command, its output going to a descriptor. Returns the leader of its group."""
    leader = os.fork()
    if leader == 0:
        code = 125
        try:
            LIBC.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            take_streams(output)
            drop_capabilities()
            confine_process(spec)
            code = 127
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{error.filename or command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(code)
    return leader


def confine_process(spec):
    version = check_result(LIBC.syscall(LANDLOCK_CREATE, None, 0, VERSION), "Landlock")
    every = KNOWN.get(version, KNOWN[5])
    rules = (ctypes.c_uint64 * 3)(every, 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = check_result(LIBC.syscall(LANDLOCK_CREATE, rules, size, 0), "Landlock")
    hidden = {os.path.realpath(path) for path in spec["hidden"]} | {"/proc"}
    frozen = {os.path.realpath(spec["checkout"])}
    allow_below("/", ruleset, every, hidden, frozen)
    for path in spec["writable"]:
        allow_path(path, ruleset, every)
    for name in OF_PROC:
        allow_path(f"/proc/{name}", ruleset, READ & every)
    check_result(LIBC.syscall(LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def allow_below(folder, ruleset, rights, hidden, frozen):
    """Everything in the folder but what is hidden; what is frozen only to be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if os.path.islink(path) or path in hidden:
            continue
        below = READ & rights if path in frozen else rights
        if any(one.startswith(path + os.sep) for one in (*hidden, *(frozen - {path}))):
            allow_below(path, ruleset, below, hidden, frozen)
        else:
            allow_path(path, ruleset, below)


def allow_path(path, ruleset, rights):
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    allowed = rights if os.path.isdir(path) else rights & FILES
    rule = ctypes.create_string_buffer(12)
    ctypes.memmove(rule, allowed.to_bytes(8, "little") + fd.to_bytes(4, "little"), 12)
    LIBC.syscall(ADD_RULE, ruleset, BENEATH, rule, 0)
    os.close(fd)


if __name__ == "__main__":  # to try whether it holds here
    leader = start(json.loads(sys.argv[1]), sys.argv[2:], 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]))
