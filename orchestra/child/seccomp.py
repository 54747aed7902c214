"""Refuse a process, and all that it starts, the sockets that Landlock does not restrict (Linux). Standard library only.

Allowed are local sockets, netlink, and TCP; not UDP, raw packets, other protocols over IP, data in the first packet
of TCP (fast open), and io_uring, which makes sockets past any filter.
"""

import ctypes
import os

PRCTL_SECCOMP, FILTER_MODE = 22, 2
LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
ALLOWED, REFUSED = 0x7FFF0000, 0x00050001  # refused with EPERM
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, (16, 24, 32, 40)  # offsets
# By machine: its number, and the system calls socket, sendto, sendmmsg, sendmsg.
MACHINES = {"x86_64": (0xC000003E, 41, 44, 307, 46), "aarch64": (0xC00000B7, 198, 206, 269, 211)}
IO_URING, OTHER_CALLS = 425, 0x40000000  # the latter: of the x32 architecture
LOCAL, IP4, IP6, NETLINK = 1, 2, 10, 16
TYPE_BITS, STREAM, TCP, FAST_OPEN = 0xF, 1, 6, 0x20000000


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def restrict_sockets(libc):
    """Install the filter. A kernel without filters changes nothing."""
    if os.uname().machine not in MACHINES:
        return
    steps = assemble_steps(list_steps(*MACHINES[os.uname().machine]))
    libc.prctl(PRCTL_SECCOMP, FILTER_MODE, ctypes.byref(Program(len(steps) // 8, steps)), 0, 0)


def list_steps(machine, socket, sendto, sendmmsg, sendmsg):
    """Return the steps: a label, the operation, its number, and where to go if it holds, or not; empty: to the next."""
    return [
        ("", LOAD, ARCHITECTURE, "", ""),
        ("", EQUAL, machine, "", "refuse"),
        ("", LOAD, NUMBER, "", ""),
        ("", AT_LEAST, OTHER_CALLS, "refuse", ""),
        ("", EQUAL, IO_URING, "refuse", ""),
        ("", EQUAL, socket, "socket", ""),
        ("", EQUAL, sendto, "flags", ""),
        ("", EQUAL, sendmmsg, "flags", ""),
        ("", EQUAL, sendmsg, "", "allow"),
        ("", LOAD, ARGUMENTS[2], "", ""),
        ("", ANY_BIT, FAST_OPEN, "refuse", "allow"),
        ("flags", LOAD, ARGUMENTS[3], "", ""),
        ("", ANY_BIT, FAST_OPEN, "refuse", "allow"),
        ("socket", LOAD, ARGUMENTS[0], "", ""),
        ("", EQUAL, LOCAL, "allow", ""),
        ("", EQUAL, NETLINK, "allow", ""),
        ("", EQUAL, IP4, "type", ""),
        ("", EQUAL, IP6, "type", "refuse"),
        ("type", LOAD, ARGUMENTS[1], "", ""),
        ("", AND, TYPE_BITS, "", ""),
        ("", EQUAL, STREAM, "", "refuse"),
        ("", LOAD, ARGUMENTS[2], "", ""),
        ("", EQUAL, 0, "allow", ""),
        ("", EQUAL, TCP, "allow", "refuse"),
        ("refuse", RETURN, REFUSED, "", ""),
        ("allow", RETURN, ALLOWED, "", ""),
    ]


def assemble_steps(steps):
    """Return the steps as the kernel reads them: a jump is a number of steps to leave out."""
    places = {label: number for number, (label, *_) in enumerate(steps) if label}
    packed = b""
    for number, (_, operation, value, yes, no) in enumerate(steps):
        jumps = bytes(places[label] - number - 1 if label else 0 for label in (yes, no))
        packed += operation.to_bytes(2, "little") + jumps + value.to_bytes(4, "little")
    return packed
