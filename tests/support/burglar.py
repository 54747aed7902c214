"""What a hostile test would try: run inside a gate, it prints as JSON which ways led to a secret or to harm.

usage: burglar.py CHECKOUT HOME PID BACKWARDS ABSTRACT
PID: a process outside that has the secret in its environment. BACKWARDS: the secret.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable

CHECKOUT, HOME, PID, BACKWARDS, ABSTRACT = sys.argv[1:]
SECRET = BACKWARDS[::-1]  # so that it is not in our own arguments
LIBC = ctypes.CDLL(None, use_errno=True)
WAYS: dict[str, Callable[[], object]] = {}


def way(function: Callable[[], object]) -> Callable[[], object]:
    WAYS[function.__name__] = function
    return function


def text_of(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(1 << 22).decode("utf-8", "replace")


def has_secret(path: str) -> bool:
    return SECRET in text_of(path)


def tree_has_secret(folder: str) -> list[str]:
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                if os.path.isfile(os.path.join(where, name)) and has_secret(os.path.join(where, name)):
                    found.append(os.path.join(where, name))
            except OSError:
                continue
    return found


@way
def environ_of_any_process() -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            try:
                found += [f"{pid}/{name}"] if has_secret(f"/proc/{pid}/{name}") and int(pid) != os.getpid() else []
            except OSError:
                continue
    return found


@way
def environ_of_the_parent() -> bool:
    return has_secret(f"/proc/{PID}/environ")


@way
def root_and_cwd_of_the_parent() -> object:
    return os.path.exists(f"/proc/{PID}/root/etc") or os.path.exists(f"/proc/{PID}/cwd/.")


@way
def descriptors_of_the_parent() -> object:
    return os.listdir(f"/proc/{PID}/fd")


@way
def memory_of_the_parent() -> object:
    os.close(os.open(f"/proc/{PID}/mem", os.O_RDONLY))
    return True


@way
def ptrace_the_parent() -> bool:
    return bool(LIBC.ptrace(0x4206, int(PID), None, None) == 0)  # PTRACE_SEIZE


@way
def read_the_memory_by_call() -> bool:
    local = ctypes.create_string_buffer(8)
    vectors = (ctypes.c_size_t * 2)(ctypes.addressof(local), 8), (ctypes.c_size_t * 2)(0x400000, 8)
    return bool(LIBC.process_vm_readv(int(PID), vectors[0], 1, vectors[1], 1, 0) > 0)


@way
def signal_the_parent() -> bool:
    os.kill(int(PID), 0)
    return True


@way
def checkout() -> object:
    return [path for path in tree_has_secret(CHECKOUT) if ".venv" not in path]


@way
def checkout_through_process_one() -> bool:
    return has_secret(f"/proc/1/root{CHECKOUT}/.env")


@way
def home() -> object:
    return tree_has_secret(HOME)


@way
def write_the_checkout() -> bool:
    for name in ("a.py", "new", ".git/hooks/post-commit", ".git/config", ".git/objects/new", ".venv/new"):
        try:
            with open(f"{CHECKOUT}/{name}", "a") as file:
                file.write("x")
            if name not in ("new", ".git/config", ".git/hooks/post-commit"):
                return True
        except OSError:
            continue
    return False


@way
def change_the_kernel() -> object:
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/sys/kernel/mm/ksm/run"):
        try:
            os.close(os.open(path, os.O_WRONLY))
            return path
        except OSError:
            continue
    return False


@way
def write_the_system() -> object:
    for path in ("/etc/burglar", "/usr/burglar", "/root/burglar", "/var/burglar"):
        try:
            with open(path, "w"):
                pass
            return not path.startswith(HOME) and path
        except OSError:
            continue
    return False


@way
def unmount_the_covers() -> bool:
    return bool(LIBC.umount2(HOME.encode(), 2) == 0 or LIBC.umount2(CHECKOUT.encode(), 2) == 0)


@way
def unmount_from_a_namespace_of_its_own() -> bool:
    script = f"umount -l {HOME} || umount -l {CHECKOUT}"
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, check=False)
    return done.returncode == 0


@way
def capabilities() -> object:
    lines = dict(line.split(":", 1) for line in text_of("/proc/self/status").splitlines() if ":" in line)
    return any(int(lines[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"))


@way
def inherited_descriptors() -> object:
    return [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 3]


@way
def abstract_socket() -> bool:
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect("\0" + ABSTRACT)
    return True


@way
def buses_and_daemons() -> object:
    paths = ("dbus/system_bus_socket", "systemd/private", "docker.sock", "containerd/containerd.sock", "snapd.socket")
    return [path for path in (*paths, "user") if os.path.exists(f"/run/{path}")]


@way
def devices() -> object:
    plain = {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "shm",
        "pts",
        "ptmx",
        "fd",
        "stdin",
        "stdout",
        "stderr",
    }
    return sorted(set(os.listdir("/dev")) - plain)


@way
def core_files() -> object:
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE) != (0, 0)


def outcome(attempt: Callable[[], object]) -> object:
    try:
        return attempt()
    except OSError:
        return False


if __name__ == "__main__":
    print(json.dumps({name: found for name, attempt in WAYS.items() if (found := outcome(attempt))}))
