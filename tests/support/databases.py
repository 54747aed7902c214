"""Real databases for the tests: of the servers that run here, else of ones started for the session. Each is fresh."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from orchestra.process import guard_command
from tests.support.load import within

HOST = "127.0.0.1"
POSTGRES_PORT = 5432
MARIADB_PORT = 3306


@dataclass(frozen=True)
class Database:
    """An empty database of one test. `kill` cuts the connections to it and says how many there were."""

    kind: str
    where: str | Path
    port: int = 0
    kill: Callable[[], int] = lambda: 0

    def by(self, port: int) -> str:
        """Its URL by another port, where a relay stands."""
        return str(self.where).replace(f":{self.port}/", f":{port}/")


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    if kind == "postgresql":
        with postgres_schema(name) as found:
            yield found
    elif kind == "mariadb":
        with mariadb_database(name) as found:
            yield found
    else:
        yield Database(kind, folder / f"{name}.db" if kind == "sqlite" else "memory://")


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@contextmanager
def postgres_schema(name: str) -> Iterator[Database]:
    port = postgres_port()

    def kill() -> int:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        return len(admin.execute(query, [name]).fetchall())

    with postgres(port) as admin:
        admin.execute(f"CREATE SCHEMA {name}".encode())
        # What a crash of the server would lose, no test misses.
        options = f"-csearch_path%3D{name}%20-csynchronous_commit%3Doff"
        url = f"postgresql://postgres@{HOST}:{port}/test?application_name={name}&options={options}"
        try:
            yield Database("postgresql", url, port, kill)
        finally:
            kill()
            admin.execute(f"DROP SCHEMA {name} CASCADE".encode())


def postgres(port: int, name: str = "test") -> psycopg.Connection[Any]:
    patience = int(within())
    return psycopg.connect(
        host=HOST, port=port, user="postgres", dbname=name, autocommit=True, connect_timeout=patience
    )


@cache
def postgres_port() -> int:
    with suppress(psycopg.Error):
        postgres(POSTGRES_PORT).close()
        return POSTGRES_PORT
    initdb, server = program("initdb"), program("postgres")
    if not (initdb and server):
        pytest.skip("no PostgreSQL with user postgres and database test answers here, and none is installed to start")
    folder, port = server_folder("postgres"), free_port()
    data, prefix = f"{folder}/data", as_user("postgres")
    arrange([*prefix, initdb, "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])
    settings = ["-c", f"listen_addresses={HOST}", "-c", "fsync=off", "-c", "max_connections=100"]
    start([*prefix, server, "-D", data, "-p", str(port), "-k", str(folder), *settings], folder)
    with answering(lambda: postgres(port, "postgres"), psycopg.Error) as admin:
        admin.execute("CREATE DATABASE test")
    return port


# --- MariaDB --------------------------------------------------------------------------------------------------------


@contextmanager
def mariadb_database(name: str) -> Iterator[Database]:
    port = mariadb_port()

    def kill() -> int:
        with admin.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [name])
            found = [row[0] for row in cursor.fetchall()]
            for connection in found:
                with suppress(pymysql.Error):  # it ended by itself
                    cursor.execute("KILL %s", [connection])
        return len(found)

    with mariadb(port) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield Database("mariadb", f"mariadb://root@{HOST}:{port}/{name}", port, kill)
        finally:
            kill()
            cursor.execute(f"DROP DATABASE {name}")


def mariadb(port: int) -> "pymysql.Connection[Any]":
    return pymysql.connect(host=HOST, port=port, user="root", autocommit=True, connect_timeout=int(within()))


@cache
def mariadb_port() -> int:
    with suppress(pymysql.Error):
        mariadb(MARIADB_PORT).close()
        return MARIADB_PORT
    install = program("mariadb-install-db") or program("mysql_install_db")
    server = program("mariadbd") or program("mysqld")
    if not (install and server):
        pytest.skip("no MariaDB with user root answers here, and none is installed to start")
    folder, port = server_folder("mysql"), free_port()
    user = ["--user=mysql"] if os.geteuid() == 0 else []
    # TMPDIR may be a test's own, which other users cannot enter.
    common = ["--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}", *user]
    arrange([install, *common, "--skip-test-db", "--auth-root-authentication-method=normal"])
    files = [f"--socket={folder}/socket", f"--pid-file={folder}/pid"]
    start([server, *common, *files, f"--port={port}", f"--bind-address={HOST}"], folder)
    answering(lambda: mariadb(port), pymysql.Error).close()
    return port


# --- servers of our own ---------------------------------------------------------------------------------------------


def program(name: str) -> str | None:
    """Debian keeps PostgreSQL's programs off the PATH, and MariaDB's server in sbin."""
    more = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin", *more]))


def as_user(name: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"] if os.geteuid() == 0 else []


def server_folder(user: str) -> Path:
    """Not under pytest's own folder, which other users cannot enter."""
    folder = Path(tempfile.mkdtemp(prefix="orchestra-server-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if os.geteuid() == 0:
        shutil.chown(folder, user, user)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def arrange(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=within(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def start(command: Sequence[str], folder: Path) -> None:
    """Until this session ends, however it ends: the guard sees its pipe close."""
    with (folder / "log").open("wb") as log:
        guard = subprocess.Popen(
            guard_command(command), cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )

    def end() -> None:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()

    atexit.register(end)


def answering(connect: Callable[[], Any], error: type[Exception]) -> Any:
    deadline = time.monotonic() + within()
    while True:
        try:
            return connect()
        except error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


# --- a bad line -----------------------------------------------------------------------------------------------------


class Relay:
    """A port that leads to another one, until the line is cut: then connections break, and no new one comes about."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.whole = True
        self.open: list[socket.socket] = []
        self.door = socket.create_server((HOST, 0))
        self.port = int(self.door.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        with suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()

    def cut(self) -> None:
        self.whole = False
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def mend(self) -> None:
        self.whole = True

    def serve(self) -> None:
        with suppress(OSError):  # the door was closed
            while True:
                here, _ = self.door.accept()
                if not self.whole:
                    here.close()
                    continue
                there = socket.create_connection((HOST, self.target))
                self.open += [here, there]
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=pump, args=(source, sink), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
