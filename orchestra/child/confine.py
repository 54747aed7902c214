"""Confine a command with Landlock (Linux 5.13) and without capabilities, if the kernel refuses namespaces.

Weaker than a sandbox, and reported so.

Landlock can only allow. So everything is allowed except /proc, the secret files, and writing below the checkout; files
that appear later beside a secret are not allowed. Environment and memory of other processes are out of reach, because a
confined process may not read an unconfined one. Their arguments, ports, sockets and /dev/shm stay reachable.
"""

import ctypes
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sandbox

ADD_RULE, BENEATH, VERSION = 445, 1, 1
READ = 0b1101  # execute, read a file, read a folder
FILES = 0b110_0000_0000_0111  # of all rights those that a file can have: execute, write, read, truncate, ioctl
# The rights that each version of Landlock knows.
KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
OF_PROC = ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "mounts", "sys")


def start(spec, command, output):
    """Start the command with its output going to a descriptor. Return the leader of its group."""
    leader = os.fork()
    if leader == 0:
        code = 125
        try:
            sandbox.LIBC.prctl(sandbox.DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            sandbox.take_streams(output)
            sandbox.drop_capabilities()
            confine_process(spec)
            code = 127
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{error.filename or command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(code)
    return leader


def confine_process(spec):
    version = sandbox.check_result(sandbox.LIBC.syscall(sandbox.LANDLOCK_CREATE, None, 0, VERSION), "Landlock")
    every = KNOWN.get(version, KNOWN[5])
    rules = (ctypes.c_uint64 * 3)(every, 0, sandbox.SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = sandbox.check_result(sandbox.LIBC.syscall(sandbox.LANDLOCK_CREATE, rules, size, 0), "Landlock")
    hidden = {os.path.realpath(path) for path in spec["hidden"]} | {"/proc"}
    frozen = {os.path.realpath(spec["checkout"])}
    # An agent writes in its own folder only.
    allow_below("/", ruleset, READ & every if spec["port"] else every, hidden, frozen)
    if spec["port"]:
        allow_below("/dev", ruleset, every, hidden, frozen)
    for path in spec["writable"]:
        allow_path(path, ruleset, every)
    for name in OF_PROC:
        allow_path(f"/proc/{name}", ruleset, READ & every)
    sandbox.check_result(sandbox.LIBC.syscall(sandbox.LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)
    if spec["port"]:
        sandbox.restrict_network(spec["port"])


def allow_below(folder, ruleset, rights, hidden, frozen):
    """Allow everything in the folder except hidden entries; frozen ones are read-only."""
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
    sandbox.LIBC.syscall(ADD_RULE, ruleset, BENEATH, rule, 0)
    os.close(fd)
