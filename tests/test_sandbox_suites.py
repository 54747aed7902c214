"""What real suites need gives the same result with and without the sandbox, as root and as an ordinary user."""

import shutil
import sys
from dataclasses import replace

import pytest

from tests.support.databases import mariadb_port, postgres_port
from tests.support.house import SYSTEM_PYTHON, House, house

__all__ = ["house"]
pytestmark = [pytest.mark.thorough, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

COMMIT = """
set -e
repo=$(mktemp -d); cd "$repo"
git init -q .; git config user.name A; git config user.email a@b
echo x > x; git add x; git commit -qm x; git log --oneline | wc -l; git gc -q; git fsck
"""
LOOPBACK = """
import http.server, threading, urllib.request
http.server.SimpleHTTPRequestHandler.log_message = lambda *words: None
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").status)
"""
PROCESSES = """
import multiprocessing, os, pty, signal, socket, sys, tempfile
def square(n): return n * n
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool: print(pool.map(square, range(4)))
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(folder + "/s"); server.listen()
        with socket.socket(socket.AF_UNIX) as client: client.connect(folder + "/s"); print("connected")
    print(pty.spawn(["true"]), os.path.exists("/proc/meminfo"), os.sysconf("SC_NPROCESSORS_ONLN") > 0)
    child = os.fork() or signal.pause()
    os.kill(child, signal.SIGTERM); print(os.waitpid(child, 0)[1], oct(os.umask(0o22)), os.nice(0))
"""
DAEMONS = "sh -c 'setsid sleep 300 & setsid -f sleep 300; echo started'"
HOME = """
import os, pathlib, sqlite3
cache = pathlib.Path.home() / ".cache/tool"
cache.mkdir(parents=True)
connection = sqlite3.connect(cache / "db"); connection.execute("create table t (x)"); connection.commit()
os.symlink("db", cache / "link"); os.link(cache / "db", cache / "hard"); os.chmod(cache, 0o700)
print(sorted(path.name for path in cache.iterdir()), (pathlib.Path.home() / ".cache/plain").read_text())
os.rename(cache, pathlib.Path.home() / ".cache/other"); print((pathlib.Path.home() / ".cache/other/db").stat().st_size)
"""
NODE = """
const test = require("node:test"), assert = require("node:assert"), fs = require("node:fs");
test("a dependency", () => assert.equal(require("far"), "far"));
test("a child", () => assert.equal(String(require("child_process").execSync("echo hi")), "hi\\n"));
"""
SCRIPTS = {
    "commits": COMMIT,
    "versions": "git describe --tags --always --dirty | sed 's/-.*//'; git status --short; git rev-parse HEAD",
    "daemons": DAEMONS,
    "devices": "echo x > /dev/null; head -c 4 /dev/zero | od -c; test -r /dev/urandom; ls -d /dev/shm /dev/pts /dev/fd",
    "tools": "id -u; umask; ulimit -n; uname; nproc; df /tmp > /dev/null; mount > /dev/null; ps > /dev/null; hostname",
    "temporary": 'f=$(mktemp) && echo x >"$f" && cat "$f"; f=$(mktemp -p /tmp) && echo y >"$f" && cat "$f" && rm "$f"',
    "script": "script -qec 'test -t 0 && echo a terminal' /dev/null",
}
PROGRAMS = {"loopback": LOOPBACK, "processes": PROCESSES, "home": HOME}


def same_with_and_without(house: House, *words: str) -> str:
    code, printed = house.run(*words)
    house.sandbox = replace(house.sandbox, mode="none")
    assert house.run(*words) == (code, printed)
    assert code == 0, printed
    return printed


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(house: House, name: str) -> None:
    same_with_and_without(house, "sh", "-c", SCRIPTS[name])


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(house: House, name: str) -> None:
    (house.tree / "program.py").write_text(PROGRAMS[name])
    code, printed = house.run(house.python, "program.py")
    assert code == 0, printed
    house.sandbox = replace(house.sandbox, mode="none")
    assert house.run(house.python, "program.py") == (code, printed)


def test_databases(house: House) -> None:
    """By TCP, and by the sockets in /run; who may log in there is the server's to say."""
    if not all(map(shutil.which, ("psql", "mariadb"))):
        pytest.skip("there are no clients of databases here")
    postgres, mariadb = postgres_port(), mariadb_port()
    same_with_and_without(house, "psql", "-h", "127.0.0.1", "-p", str(postgres), "-U", "postgres", "-tc", "select 42")
    house.sandbox = replace(house.sandbox, mode="namespaces")
    words = ("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(mariadb), "-u", "root", "-e", "select 42")
    same_with_and_without(house, *words)
    house.sandbox = replace(house.sandbox, mode="namespaces")
    script = (
        "import socket, glob\nfor path in glob.glob('/run/postgresql/.s.*[0-9]') + glob.glob('/run/mysqld/*.sock'):\n"
    )
    script += "    socket.socket(socket.AF_UNIX).connect(path); print(path)"
    same_with_and_without(house, house.python, "-c", script)


def test_node_with_linked_packages(house: House) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node here")
    far = house.checkout / "node_modules/far"
    far.mkdir(parents=True)
    (far / "index.js").write_text("module.exports = 'far';\n")
    house.own(far.parent)
    (house.tree / "node_modules").mkdir()
    (house.tree / "node_modules/far").symlink_to(far)
    (house.tree / "far.test.js").write_text(NODE)
    house.sandbox = replace(house.sandbox, shared=(str(far.parent),))
    for mode in ("namespaces", "none"):
        house.sandbox = replace(house.sandbox, mode=mode)
        code, printed = house.run("node", "--test")
        assert code == 0 and "# pass 2" in printed, printed


@pytest.mark.parametrize("house", [0], indirect=True)  # an ordinary user cannot reach this Python's packages
def test_pytest_with_workers(house: House) -> None:
    (house.tree / "test_a.py").write_text("def test_a(tmp_path):\n    (tmp_path / 'x').write_text('x')\n" * 4)
    code, printed = house.run(sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_a.py")
    assert code == 0 and "1 passed" in printed, printed


def test_browser(house: House) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    (house.tree / "page.html").write_text(
        "<p id=a></p><script>document.getElementById('a').textContent = 6 * 7</script>"
    )
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic")
    code, printed = house.run(
        chromium, *flags, f"--user-data-dir={house.tree}/profile", "--dump-dom", f"file://{house.tree}/page.html"
    )
    assert code == 0 and ">42</p>" in printed, printed[-3000:]


def test_ordinary_user_reaches_the_python_of_the_system(house: House) -> None:
    assert house.run(house.python, "-c", "print(1)") == (0, "1\n")
    assert house.python == (SYSTEM_PYTHON if house.user else sys.executable)
