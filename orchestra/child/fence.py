"""Run a command for which one folder, the user's own checkout, can only be read. Where the kernel does not let us, the
command is run as it is.

usage: fence.py FOLDER WRITABLE... -- COMMAND...    WRITABLE: what in the folder may be written to all the same.

By a mount namespace of the command's own (Linux): all else on the machine stays as it is.
"""

import ctypes
import os
import sys
from contextlib import suppress

NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000
READ_ONLY, REMOUNT, BIND, ALL_BELOW, PRIVATE = 1, 32, 4096, 16384, 1 << 18
# What a mount has of these, an unprivileged one must keep.
KEPT = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8} if sys.platform == "linux" else {}
LIBC = ctypes.CDLL(None, use_errno=True)


def main(folder, writable, command):
    # First in a child: who got half of it could not go back.
    if sys.platform == "linux" and os.path.isdir(folder) and works(folder, writable):
        with suppress(OSError):
            fence(folder, writable)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127


def works(folder, writable):
    child = os.fork()
    if child == 0:
        try:
            fence(folder, writable)
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def fence(folder, writable):
    folder = os.path.realpath(folder)
    enter()
    check(LIBC.mount(None, b"/", None, ctypes.c_ulong(ALL_BELOW | PRIVATE), None))
    bind(folder)
    for path in map(os.path.realpath, writable):
        if os.path.isdir(path) and path.startswith(folder + os.sep):
            bind(path)
    flags = os.statvfs(folder).f_flag
    kept = sum(flag for has, flag in KEPT.items() if flags & has)
    check(LIBC.mount(None, os.fsencode(folder), None, ctypes.c_ulong(REMOUNT | BIND | READ_ONLY | kept), None))


def enter():
    """A namespace for mounts; one for users around it where we have no right to the first alone."""
    if LIBC.unshare(NEW_MOUNTS) == 0:
        return
    user, group = os.getuid(), os.getgid()
    check(LIBC.unshare(NEW_MOUNTS | NEW_USER))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def bind(path):
    check(LIBC.mount(os.fsencode(path), os.fsencode(path), None, ctypes.c_ulong(BIND | ALL_BELOW), None))


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    at = sys.argv.index("--")
    sys.exit(main(sys.argv[1], sys.argv[2:at], sys.argv[at + 1 :]))
