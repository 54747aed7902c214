"""Run a command in namespaces of its own (Linux).

It sees no other process and no secret file, and cannot write elsewhere. Standard library only, and as little of it as
possible: guard.py starts this for every gate.

What the command finds, as root and as an ordinary user:
- instead of the checkout the gated tree, beside what is installed (.venv, node_modules);
- a writable git directory of its own, which borrows the user's objects;
- the home folder as an overlay: writes are discarded, and the secret files are absent, even if they are written anew
  meanwhile;
- /run without sockets of sessions and daemons that act for the user, except databases;
- for an agent, its folder a second time, under a path that is the same in every run;
- no capability, no new privileges, no access to the kernel's settings.
"""

import ctypes
import os
import resource
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from own_git import make_own_git

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, BIND, REC, PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
CLONE = {"x86_64": 56, "aarch64": 220}
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
AT_CWD, NO_FOLLOW, AT_RECURSIVE, TREE_CLONE, FROM_EMPTY = -100, 0x100, 0x8000, 1, 4
DEATH_SIGNAL, DUMPABLE, CAPBSET_DROP, SECUREBITS, NO_NEW_PRIVS, AMBIENT = 1, 4, 24, 28, 38, 47
LANDLOCK_CREATE, LANDLOCK_RESTRICT, SCOPES = 444, 446, 3  # abstract sockets, signals
LANDLOCK_ADD_RULE, PORT_RULE, CONNECT_TCP = 445, 2, 2
KEYCTL, JOIN_SESSION = {"x86_64": 250, "aarch64": 219}, 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
# Services in /run that only answer: databases, names, locks.
SERVED = ("postgresql", "mysqld", "mysql", "mariadb", "redis", "memcached", "rabbitmq", "resolvconf", "lock", "nscd")
SERVED += ("systemd/resolve", "NetworkManager/resolv.conf", "shm")
KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "fs")
CANNOT = 125  # the exit code if the sandbox could not be made
LIBC = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the interpreter's lock, which a clone must


class StepFailed(OSError):
    """The kernel refused a step of the sandbox."""


def start(spec, command, output):
    """Start the command in its sandbox, with its output going to a descriptor. Return the process to wait for."""
    spec = dict(spec, box=box_of(spec))
    os.mkdir(spec["box"], 0o700)
    spec |= make_own_git(spec)
    ready, go = os.pipe()
    flags = NEW_USER | NEW_MOUNTS | NEW_PID | NEW_IPC | (0 if spec["net"] else NEW_NET) | signal.SIGCHLD
    pid = LIBC.syscall(CLONE[os.uname().machine], flags, None, None, None, None)
    if pid < 0:
        raise StepFailed(ctypes.get_errno(), "namespaces are refused")
    if pid == 0:
        os.close(go)
        run_inside(spec, command, output, ready)
    os.close(ready)
    try:
        write_maps(pid)
        os.write(go, b"!")
    finally:
        os.close(go)
    return pid


def box_of(spec):
    """Return the folder for what a sandbox needs: beside the scratch folder, out of the command's reach."""
    return os.path.join(os.path.dirname(spec["scratch"]), f"box{os.getpid()}")


def write_maps(pid):
    """Write the id maps from outside: only so can root map everyone and keep the owners of files."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        maps = {"uid_map": "0 0 4294967295", "gid_map": "0 0 4294967295"}
    else:
        maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, text in maps.items():
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def run_inside(spec, command, output, ready):
    """Run the command and exit with its code, or 128 plus its signal. Never returns."""
    code = CANNOT
    try:
        LIBC.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if os.read(ready, 1):  # otherwise the parent is dead
            take_streams(output)
            files = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))  # a handle for each entry of the tree
            build_view(spec)
            resource.setrlimit(resource.RLIMIT_NOFILE, files)
            drop_privileges(spec["port"])
            code = run_as_init(command)
    except OSError as error:
        os.write(2, f"the sandbox cannot be made: {error.filename}: {error.strerror}\n".encode())
    finally:
        os._exit(code)


def run_as_init(command):
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda signum, frame: os.kill(-1, signum))
    while True:
        pid, status = os.wait()  # orphans become our children and end with us
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def take_streams(output):
    """Set up the streams: no input, one output, no other descriptor."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def drop_privileges(port=0):
    """Drop all privileges for good. With a port, TCP connections lead to that port only."""
    drop_capabilities()
    LIBC.prctl(DUMPABLE, 0, 0, 0, 0)
    restrict_scopes(0, SCOPES)  # older kernels have no scopes: abstract sockets stay reachable
    if port:
        restrict_network(port)


def restrict_network(port):
    """Allow TCP connections to this port only, and no other protocol."""
    restrict_scopes(port, 0)  # older kernels have no rules about ports: all of TCP stays reachable
    # Landlock knows TCP's connect only, so seccomp refuses what sends by other ways: UDP (DNS), MPTCP, fast open.
    import seccomp

    seccomp.restrict_sockets(LIBC)


def restrict_scopes(port, scopes):
    rules = (ctypes.c_uint64 * 3)(0, CONNECT_TCP if port else 0, scopes)
    ruleset = LIBC.syscall(LANDLOCK_CREATE, rules, 24 if scopes else 16, 0)
    if ruleset < 0:
        return
    if port:
        rule = (ctypes.c_uint64 * 2)(CONNECT_TCP, port)
        LIBC.syscall(LANDLOCK_ADD_RULE, ruleset, PORT_RULE, rule, 0)
    LIBC.syscall(LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def drop_capabilities():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    LIBC.syscall(KEYCTL[os.uname().machine], JOIN_SESSION, None)
    libc_prctl(NO_NEW_PRIVS, 1)
    for capability in range(64):
        LIBC.prctl(CAPBSET_DROP, capability, 0, 0, 0)
    LIBC.prctl(AMBIENT, 4, 0, 0, 0)
    header, held, empty = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    # In a namespace of their own, everyone holds capabilities.
    if os.getuid() == 0 or (LIBC.capget(header, held) == 0 and held[0] != 0):
        libc_prctl(SECUREBITS, 0x2F)
    check_result(LIBC.capset(header, empty), "capset")


def libc_prctl(option, value):
    check_result(LIBC.prctl(option, value, 0, 0, 0), f"prctl {option}")


def build_view(spec):
    """Build the view: open everything that is shown again before anything is covered; mount deeper paths later."""
    if not spec["net"]:
        raise_loopback()
    mount(None, "/", None, REC | PRIVATE)
    cwd, checkout, home = os.getcwd(), spec["checkout"], spec["home"]
    shown = {path: open_entry(path) for path in (*spec["writable"], *spec["shared"]) if os.path.lexists(path)}
    entries = {
        name: open_entry(os.path.join(spec["tree"], name)) for name in os.listdir(spec["tree"]) if name != ".git"
    }
    objects, own = open_tree(os.path.realpath(os.path.join(spec["common"], "objects"))), open_tree(spec["gitdir"])
    again = open_tree(spec["scratch"]) if spec["seen_as"] else None
    set_attributes("/", READ_ONLY)  # for an ordinary user too: their files may be outside of the home folder
    # An agent has a temporary folder of its own.
    for path in (spec["box"],) if spec["port"] else ("/tmp", "/var/tmp", "/dev/shm"):
        rebind_path(path)
    at_home, elsewhere = locate_secrets(home, spec["secrets"])
    cover_home(home, spec["box"], at_home)
    for folder, names in sorted({**elsewhere, **spec["without"]}.items()):
        show_without(folder, names)
    for folder in filter(os.path.isdir, spec["covered"]):
        show_only(folder, {})
    show_only(checkout, entries)
    show_git(spec["common"], spec["worktree"], objects, own)
    for path in sorted(shown, key=len):
        if os.path.islink(path):  # the tree's own link to what is installed: nothing can be mounted on a link
            show_without(os.path.dirname(path), [os.path.basename(path)])
        mount_tree(shown[path], path, writable=path in spec["writable"])
    cover_run()
    make_dev(own_memory=bool(spec["port"]))
    make_proc()
    if again is not None:
        mount_tree(again, spec["seen_as"], writable=True)
        cwd = os.path.join(spec["seen_as"], os.path.relpath(cwd, spec["scratch"]))
    os.chdir(cwd)  # the old one is a handle on what lies beneath


def locate_secrets(home, secrets):
    """Locate the secrets: names in the home folder, and other folders with names. A home may consist of links."""
    at_home, elsewhere = [], {}
    for name in secrets:
        path = os.path.join(home, name)
        real = os.path.realpath(path)
        if os.path.realpath(os.path.dirname(path)) == os.path.dirname(path):
            at_home.append(name)
        if real == path:
            continue
        if real.startswith(home.rstrip("/") + "/"):
            at_home.append(os.path.relpath(real, home))
        elif os.path.exists(real):
            elsewhere.setdefault(os.path.dirname(real), []).append(os.path.basename(real))
    return list(dict.fromkeys(at_home)), elsewhere


def cover_home(home, box, secrets):
    """Show the home as an overlay. A secret is hidden by name, even if it is replaced or appears later."""
    if not home or not os.path.isdir(home):
        return
    if home == "/":  # as in containers whose user has no entry: nothing can be mounted in its place
        for path in (os.path.join(home, name) for name in secrets):
            if os.path.isdir(path):
                mount("tmpfs", path, "tmpfs", NO_SUID | NO_DEV, "mode=755")
            elif os.path.exists(path):
                mount(os.devnull, path, None, BIND)
        return
    upper, work = make_overlay_layers(os.path.join(box, "home"))
    os.chmod(upper, os.stat(home).st_mode & 0o7777)
    for name in secrets:
        add_whiteout(home, upper, name)
    folders = {"lowerdir": home, "upperdir": upper, "workdir": work}
    options = ",".join(f"{name}={quote_overlay_option(folder)}" for name, folder in folders.items())
    for extra in (",userxattr", ""):
        try:
            mount("overlay", home, "overlay", NO_SUID | NO_DEV, options + extra)
            return
        except StepFailed:
            continue  # before Linux 5.11 only real root could
    show_without(home, secrets)


def make_overlay_layers(folder):
    """Make the folders for an overlay's writes: in memory, if that supports the attributes for renamed folders."""
    os.mkdir(folder)
    mount("tmpfs", folder, "tmpfs", NO_SUID | NO_DEV)
    try:
        os.setxattr(folder, "user.overlay.try", b"y")
    except OSError:  # before Linux 6.6
        check_result(LIBC.umount2(os.fsencode(folder), 0), folder)
    layers = os.path.join(folder, "upper"), os.path.join(folder, "work")
    for layer in layers:
        os.mkdir(layer)
    return layers


def show_without(folder, secrets):
    """Show what is there now without these entries, if there can be no overlay."""
    above = {name.partition("/")[0] for name in secrets if "/" in name}
    entries = {name: open_entry(os.path.join(folder, name)) for name in os.listdir(folder) if name not in secrets}
    show_only(folder, entries)
    for name in above:
        if os.path.isdir(os.path.join(folder, name)):
            inner = [path.partition("/")[2] for path in secrets if path.startswith(f"{name}/")]
            show_without(os.path.join(folder, name), inner)


def add_whiteout(home, upper, name):
    """Add a whiteout: to an overlay, a deleted file."""
    os.makedirs(os.path.dirname(os.path.join(upper, name)), exist_ok=True)
    folder = os.path.dirname(name)
    while folder:
        source = os.path.join(home, folder)
        if os.path.isdir(source):
            os.chmod(os.path.join(upper, folder), os.stat(source).st_mode & 0o7777)
        folder = os.path.dirname(folder)
    os.mknod(os.path.join(upper, name), 0o020000, 0)


def quote_overlay_option(path):
    """Escape an overlay's option, in which : and , divide."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def show_only(folder, entries):
    """Replace a folder by a view of these entries; later ones are not in it."""
    mount("tmpfs", folder, "tmpfs", NO_SUID | NO_DEV, "mode=755")
    for name, tree in entries.items():
        mount_tree(tree, os.path.join(folder, name), writable=False)


def show_git(common, worktree, objects, own):
    """Show the user's git objects read-only, and the gate's own git directory."""
    if not os.path.isdir(common):
        os.makedirs(common)
    else:
        mount("tmpfs", common, "tmpfs", NO_SUID | NO_DEV, "mode=755")
    mount_tree(objects, os.path.join(common, "objects"), writable=False)
    mount_tree(own, os.path.join(common, "worktrees", worktree), writable=True)


def cover_run():
    """Show only public services in /run."""
    run = os.path.realpath("/run")
    served = {name: open_tree(os.path.join(run, name)) for name in SERVED if os.path.exists(os.path.join(run, name))}
    mount("tmpfs", run, "tmpfs", NO_SUID | NO_DEV | NO_EXEC, "mode=755")
    for name, tree in served.items():
        mount_tree(tree, os.path.join(run, name), writable=os.getuid() != 0)


def make_dev(own_memory):
    """Show harmless devices, and the machine's shared memory or an own one."""
    names = DEVICES if own_memory else (*DEVICES, "shm")
    trees = {name: open_tree(f"/dev/{name}") for name in names if os.path.exists(f"/dev/{name}")}
    mount("tmpfs", "/dev", "tmpfs", NO_SUID | NO_EXEC, "mode=755")
    for name, tree in trees.items():
        mount_tree(tree, f"/dev/{name}", writable=True)
    if own_memory:
        os.mkdir("/dev/shm")
        mount("tmpfs", "/dev/shm", "tmpfs", NO_SUID | NO_DEV, "mode=1777")
    os.mkdir("/dev/pts")
    mount("devpts", "/dev/pts", "devpts", NO_SUID | NO_EXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", "/dev/ptmx")
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")


def make_proc():
    mount("proc", "/proc", "proc", NO_SUID | NO_DEV | NO_EXEC)
    for name in KERNEL:
        if os.path.exists(f"/proc/{name}"):
            rebind_path(f"/proc/{name}", READ_ONLY)
    rebind_path("/sys", READ_ONLY)  # a user may own control groups, by which processes can be stopped


def raise_loopback():
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def mount(source, target, kind, flags, options=None):
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    check_result(LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3]), target)


def open_entry(path):
    """Open an entry to show again: a handle, or a link's target, as following it now would show what it leads to."""
    return os.readlink(path) if os.path.islink(path) else open_tree(path)


def open_tree(path):
    """Open a handle on what is mounted at a path, to mount it elsewhere."""
    tree = LIBC.syscall(OPEN_TREE, AT_CWD, os.fsencode(path), TREE_CLONE | AT_RECURSIVE | NO_FOLLOW)
    return check_result(tree, path)


def mount_tree(tree, target, writable):
    """Mount what a handle holds, and close it; recreate a link. A missing mount point is made."""
    if isinstance(tree, str):
        if not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(tree, target)
        return
    if not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(f"/proc/self/fd/{tree}"):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    check_result(LIBC.syscall(MOVE_MOUNT, tree, b"", AT_CWD, os.fsencode(target), FROM_EMPTY), target)
    os.close(tree)
    set_attributes(target, 0 if writable else READ_ONLY, clear=READ_ONLY if writable else 0)


def rebind_path(path, flags=0):
    if os.path.exists(path):
        mount(path, path, None, BIND | REC)
        set_attributes(path, flags, clear=READ_ONLY if not flags else 0)


def set_attributes(path, flags, clear=0):
    new = (ctypes.c_uint64 * 4)(flags, clear, 0, 0)
    check_result(LIBC.syscall(MOUNT_SETATTR, AT_CWD, os.fsencode(path), AT_RECURSIVE, new, ctypes.sizeof(new)), path)


def check_result(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise StepFailed(number, os.strerror(number), what)
    return result
