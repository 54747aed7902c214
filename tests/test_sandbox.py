"""What keeps the repository's commands from the user's things: a burglar in it, as root and as an ordinary user."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.hosts.isolation import safe_git_config
from tests.support.house import SECRET, House, house

__all__ = ["house"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


def test_burglar_finds_nothing(house: House) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0burglar-{house.root.name}")
        server.listen()
        assert house.burgle(f"burglar-{house.root.name}") == {}


def test_burglar_finds_all_without_a_sandbox(house: House) -> None:
    """Ways that could lead nowhere would prove nothing."""
    house.sandbox = replace(house.sandbox, mode="none")
    found = house.burgle()
    expected = {"environ_of_any_process", "environ_of_the_parent", "root_and_cwd_of_the_parent", "checkout", "home"}
    assert expected | {"write_the_checkout", "memory_of_the_parent", "signal_the_parent"} <= found.keys()


@pytest.mark.parametrize("path", ["home/.netrc", "home/projects/shop/.env", "home/.aws/credentials", "home/.pypirc"])
def test_secret_that_is_replaced_or_comes_later_stays_hidden(house: House, path: str) -> None:
    """An editor saves by renaming a new file over the old one."""
    secret = house.root / path
    child = house.start(
        "sh", "-c", f"echo ready; while [ ! -e {house.tree}/go ]; do :; done; cat {secret}; ls {secret}"
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    secret.parent.mkdir(exist_ok=True)
    new = secret.with_name("new")
    new.write_text(SECRET)
    new.chmod(0o644)
    new.replace(secret)
    (house.tree / "go").touch()
    assert SECRET not in child.stdout.read()
    assert child.wait() != 0


def test_tree_is_seen_in_place_of_the_checkout(house: House) -> None:
    (house.tree / "a.py").write_text("a = 2\n")
    code, printed = house.shell(f"cat {house.checkout}/a.py {house.checkout}/.venv/bin/tool; ls -A {house.checkout}")
    assert (code, printed.split()) == (0, ["a", "=", "2", "tool", ".git", ".venv", "a.py"])


def test_git_works_and_what_it_does_stays_inside(house: House) -> None:
    (house.tree / "b.py").write_text("b = 1\n")
    log = ["git", "-c", "safe.directory=*", "log", "--all", "--oneline"]
    before = subprocess.run(log, cwd=house.checkout, capture_output=True, check=True)
    house.sandbox = replace(house.sandbox, git_config='[user]\n\tname = "Ada"\n\temail = "ada@example.com"\n')
    commands = ("git describe --tags", "git status --short", "git add b.py", "git commit -qm More", "git log --oneline")
    script = " && ".join((*commands, "git gc -q"))
    code, printed = house.shell(script)
    assert code == 0, printed
    assert printed.startswith("v1.0\n?? b.py\n") and len(printed.splitlines()) == 4
    assert SECRET not in house.shell("git config --list; git remote -v")[1]
    after = subprocess.run(log, cwd=house.checkout, capture_output=True, check=True)
    assert after.stdout == before.stdout


def test_home_can_be_written_and_nothing_of_it_stays(house: House) -> None:
    code, printed = house.shell(
        "echo x > ~/new && echo y >> ~/.cache/plain && mkdir ~/.config/tool && cat ~/.cache/plain"
    )
    assert (code, printed) == (0, "plain\ny\n")
    assert not (house.home / "new").exists() and (house.home / ".cache/plain").read_text() == "plain\n"
    assert sorted(path.name for path in (house.home / ".config").iterdir()) == ["gh"]


def test_other_attempts_are_out_of_sight(house: House) -> None:
    assert house.shell(f"ls -A {house.root}/run; ls {house.root}/run/slot")[1].split()[:1] == ["slot"]


def test_exit_codes_and_signals_come_through(house: House) -> None:
    assert house.shell("exit 7")[0] == 7
    assert house.shell("kill -SEGV $$")[0] == 128 + 11
    assert house.run("no-such-command")[0] == 127
    assert house.shell("cat")[0] == 0  # there is nothing to read


def test_nothing_of_a_command_outlives_it(house: House) -> None:
    mark, seconds = house.tree / "mark", f"9{os.getpid()}"
    house.shell(f"setsid sh -c 'exec sleep {seconds}' & setsid -f sleep {seconds}; sleep 0.2")
    assert not lives(f"sleep {seconds}")
    child = house.start("sh", "-c", f"setsid -f sleep {seconds}; trap '' TERM; touch {mark}; sleep {seconds}")
    while not mark.exists():
        pass
    child.kill()
    child.wait()
    # The death of the guard reaches process 1, and that takes all with it.
    assert any(not lives(f"sleep {seconds}") for _ in range(1000))


def lives(command: str) -> bool:
    return subprocess.run(["pgrep", "-x", "-f", command], capture_output=True, check=False).returncode == 0


def test_sandbox_has_its_own_network(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        own = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 2)"
        assert house.run(house.python, "-c", script)[0] == 0
        house.sandbox = replace(house.sandbox, net=False)
        assert house.run(house.python, "-c", script)[0] == 1
        assert house.run(house.python, "-c", own)[0] == 0


def test_worktree_that_is_not_there_is_one_sentence(house: House) -> None:
    (house.tree / ".git").unlink()
    code, printed = house.shell("true")
    assert code == 125 and printed.startswith("the sandbox cannot be made: ")


def test_landlock_hides_secrets_and_processes(house: House) -> None:
    house.sandbox = replace(house.sandbox, mode="landlock")
    found = house.burgle()
    assert found.keys() <= {
        "signal_the_parent",
        "buses_and_daemons",
        "devices",
        "change_the_kernel",
        "write_the_system",
    }
    assert house.shell("exit 3")[0] == 3


NETWORK = """
import socket
tries = {
    "tcp": lambda: socket.create_connection(("127.0.0.1", OTHER), 2),
    "fast open": lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", OTHER)),
    "fast open message": lambda: socket.socket().sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", OTHER)),
    "mptcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    "vsock": lambda: socket.socket(40, socket.SOCK_STREAM),
    "pair": socket.socketpair,
    "gateway": lambda: socket.create_connection(("127.0.0.1", PORT), 2),
}
for name, attempt in tries.items():
    try:
        attempt()
        print(name)
    except OSError:
        pass
"""


@pytest.mark.parametrize("mode", ["namespaces", "landlock"])
def test_agent_reaches_nothing_but_the_port_of_the_gateway(house: House, mode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"PORT": gateway.getsockname()[1], "OTHER": other.getsockname()[1]}
        house.sandbox = replace(house.sandbox, mode=mode)
        order = house.sandbox.for_agent(ports["PORT"], house.tree, "")
        script = f"PORT, OTHER = {ports['PORT']}, {ports['OTHER']}\n{NETWORK}"
        assert house.run(house.python, "-c", script, order=order) == (0, "pair\ngateway\n")


def test_shared_memory_of_an_agent_is_its_own(house: House) -> None:
    name = f"/dev/shm/house-{os.getpid()}"
    order = house.sandbox.for_agent(1, house.tree, "")
    assert house.run("sh", "-c", f"echo x > {name} && cat {name}", order=order) == (0, "x\n")
    assert not Path(name).exists()


def test_configuration_of_git_without_addresses_and_tokens() -> None:
    listing = (
        b'core.filemode\ntrue\0core.hookspath\n/evil\0user.name\nA "B"\0http.x.extraheader\nsecret\0remote.o.url\nu\0'
    )
    assert safe_git_config(listing) == '[core]\n\tfilemode = "true"\n[user]\n\tname = "A \\"B\\""\n'
