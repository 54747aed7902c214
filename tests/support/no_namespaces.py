"""Run a command for which the kernel refuses new namespaces, as a container's seccomp profile does (x86-64).

usage: no_namespaces.py COMMAND...
"""

import ctypes
import os
import struct
import sys

LOAD, EQUAL, AND, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x54, 0x45, 0x06
ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026  # EPERM, ENOSYS
CLONE, UNSHARE, CLONE3 = 56, 272, 435
NEW = 0x7E020000  # users, mounts, processes, IPC, network, names, groups
NUMBER, FIRST_ARGUMENT = 0, 16


def statement(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def refuse_namespaces() -> None:
    program = b"".join(
        (
            statement(LOAD, NUMBER),
            statement(EQUAL, CLONE3, 5, 0),
            statement(EQUAL, CLONE, 1, 0),
            statement(EQUAL, UNSHARE, 0, 2),
            statement(LOAD, FIRST_ARGUMENT),
            statement(JUMP_IF_SET, NEW, 2, 0),
            statement(RETURN, ALLOW),
            statement(RETURN, UNKNOWN),
            statement(RETURN, REFUSE),
        )
    )
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(header), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    refuse_namespaces()
    os.execvp(sys.argv[1], sys.argv[1:])
