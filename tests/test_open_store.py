"""A damaged store of the repository's own blocks nothing: it is set aside, and made anew from the logs."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestra.errors import StoreError
from orchestra.events import Note
from orchestra.journal import jsonl, schema
from orchestra.journal import open_store as store_module
from orchestra.journal.jsonl import Journal
from orchestra.journal.open_store import OWN_REPOSITORY, find_damage, open_own_store, open_store
from tests.support.edits import appends
from tests.support.load import within
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, assert_clean, make_place
from tests.support.written import ENDED, started

ROOT = Path(__file__).resolve().parents[1]


def old(path: Path) -> None:
    """Nobody is making it just now."""
    os.utime(path, (time.time() - 60, time.time() - 60))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_in_a_page(path: Path) -> None:
    os.truncate(path, 5000)


def noise(path: Path) -> None:
    path.write_bytes(random.Random(7).randbytes(20_000))


def noise_inside(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(7).randbytes(path.stat().st_size - 8192))


def empty(path: Path) -> None:
    path.write_bytes(b"")
    old(path)


def text(path: Path) -> None:
    path.write_text("Buy milk.\n" * 1000)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside.txt").write_text("mine\n")


def foreign(*statements: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        with sqlite3.connect(path) as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "cut in a page": cut_in_a_page,
    "noise": noise,
    "noise inside": noise_inside,
    "empty": empty,
    "text": text,
    "folder": folder,
    "another program's": foreign("CREATE TABLE users (name TEXT)", "INSERT INTO users VALUES ('Ada')"),
    "another program's events": foreign("CREATE TABLE events (what TEXT)"),
    "another program's version": foreign("CREATE TABLE schema_version (installed_rank INTEGER)"),
    "another program's newer version": foreign(
        "CREATE TABLE schema_version (version INTEGER)", "INSERT INTO schema_version VALUES (40)"
    ),
    "another program's same version": foreign(
        "CREATE TABLE schema_version (version INTEGER)",
        f"INSERT INTO schema_version VALUES ({len(schema.SCHEMA_STEPS)})",
    ),
}


def logged(folder: Path, runs: int = 3, events: int = 60) -> Path:
    """Logs of some runs and the store that tells the same; the path of its file."""
    path = folder / "orchestra.db"
    store = open_store(path)
    for _ in range(runs):
        journal = Journal(folder, lambda text: text)
        journal.emit(started("x"))
        for n in range(events):
            journal.emit(Note(f"{n} " + "x" * 500))
        journal.emit(ENDED)
        journal.close()
        store.append_events(OWN_REPOSITORY, jsonl.read_run_log(folder, journal.stamp).events)
    store.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_store_is_set_aside_and_made_anew(how: str, tmp_path: Path) -> None:
    path = logged(tmp_path)
    DAMAGES[how](path)
    before = path.read_bytes() if path.is_file() else b""
    assert find_damage(path)
    store, said = open_own_store(path)
    (aside,) = [
        each for each in tmp_path.glob("orchestra.db.damaged-*") if not each.name.endswith(store_module.SIDECARS)
    ]
    assert aside.name in said and "3 runs" in said and said.endswith(".") and "\n" not in said
    assert (aside / "inside.txt").read_text() == "mine\n" if aside.is_dir() else aside.read_bytes() == before
    for stamp in jsonl.list_run_stamps(tmp_path):
        assert store.read_events(OWN_REPOSITORY, stamp) == list(jsonl.read_run_log(tmp_path, stamp).events)
    assert [run.name for run in store.list_runs(OWN_REPOSITORY)] == jsonl.list_run_stamps(
        tmp_path
    ) and store.find_problems() == []
    store.close()
    again, nothing = open_own_store(path)
    again.close()
    assert (nothing, find_damage(path)) == ("", "")


def test_a_sound_store_is_left_alone(tmp_path: Path) -> None:
    for _ in range(2):
        path = logged(tmp_path)
        store, said = open_own_store(path)
        assert said == "" and len(store.list_runs(OWN_REPOSITORY)) == len(jsonl.list_run_stamps(tmp_path))
        store.close()
    fresh, said = open_own_store(tmp_path / "other.db")
    fresh.close()
    assert said == "" and not list(tmp_path.glob("*.damaged-*"))


def test_an_older_and_a_newer_store_are_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "orchestra.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        schema.upgrade_schema(connection, target=1)
    engine.dispose()
    assert find_damage(path) == ""
    open_own_store(path)[0].close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE schema_version SET version = 99")
    database.close()
    assert find_damage(path) == ""
    with pytest.raises(StoreError, match="use a newer one"):
        open_own_store(path)


def test_the_known_tables_are_those_of_the_schema() -> None:
    tables = {
        each.name: {column.name for column in each.columns} for each in (schema.schema_version, *schema.RUN_TABLES)
    }
    assert tables == store_module.STORE_TABLES and len(schema.SCHEMA_STEPS) == max(store_module.TABLE_STEPS.values())


def test_a_large_store_is_checked_by_its_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = logged(tmp_path)
    monkeypatch.setattr(store_module, "WHOLE_CHECK_LIMIT", 1000)
    assert find_damage(path) == ""
    noise_inside(path)
    assert find_damage(path) == "" and find_damage(path, whole=True)
    store, said = open_own_store(path, whole=True)
    assert "3 runs" in said and len(store.list_runs(OWN_REPOSITORY)) == 3
    store.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    cut(path)
    assert find_damage(path) == "it is cut short"


@pytest.mark.thorough
def test_two_at_once_make_one_new_store(tmp_path: Path) -> None:
    path = logged(tmp_path)
    noise(path)
    program = (
        "import sys; from pathlib import Path; from orchestra.journal.open_store import open_own_store\n"
        "store, said = open_own_store(Path(sys.argv[1])); print(len(store.list_runs('.')), bool(said)); store.close()"
    )
    many = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = [child.communicate()[0].strip() for child in many]
    assert sorted(told) == ["3 False"] * 3 + ["3 True"]
    assert len(list(tmp_path.glob("orchestra.db.damaged-*"))) == 1


def test_a_run_that_goes_on_keeps_its_store(tmp_path: Path) -> None:
    """Who owns it is written only there: with a new store, a second orchestrator could take the run over."""
    path = logged(tmp_path)
    waiting = subprocess.Popen([sys.executable, "-c", "input()", "aider_orchestrator.py"], stdin=subprocess.PIPE)
    journal = Journal(tmp_path, lambda text: text)
    journal.emit(started("x", waiting.pid))
    journal.close()
    noise(path)
    try:
        with pytest.raises(StoreError, match=f"pid {waiting.pid}"):
            open_own_store(path)
    finally:
        waiting.communicate(b"\n")
    store, said = open_own_store(path)
    store.close()
    assert "4 runs" in said


@pytest.mark.thorough
@pytest.mark.parametrize("how", ("noise", "folder", "cut"))
def test_every_command_goes_on_over_a_damaged_store(how: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    job = ("--change", "x", "--no-prd", "--files", "a.py")
    with ModelServer(appends("# hi")) as server:
        first = place.run(*job, server=server)
        path = first.logs / "orchestra.db"
        commands = (("status",), ("runs", "--json"), ("show", "latest", "1"), ("logs",), ("diff",), ("report",))
        for words in commands:
            DAMAGES[how](path)
            said = place.run(*words)
            assert said.code == 0 and "a new one has the 1 run of the logs" in said.err, said.err
        DAMAGES[how](path)
        assert looked_at(place, "store", "check")[0] == 1
        assert "makes a new one from the logs" in looked_at(place, "doctor")[1]
        assert place.run("store", "migrate").code == 0
        assert place.run("store", "check").code == 0
        DAMAGES[how](path)
        place.write({"b.py": "b = 1\n"})
        place.commit()
        ran = place.run("--change", "y", "--no-prd", "--files", "b.py", server=server)
        assert ran.code == 0 and "note: The store" in ran.err, ran.err
        assert len(place.run("runs").out.splitlines()) >= 2
    assert_clean(ran)


def looked_at(place: Place, *words: str) -> tuple[int, str]:
    """A command that leaves a damaged store as it is."""
    running = place.start(*words)
    return running.child.wait(within()), running.said(0)


def test_a_store_that_was_named_is_never_touched(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    other = tmp_path / "other.db"
    noise(other)
    before = other.read_bytes()
    said = place.run("runs", "--store", f"sqlite:///{other}")
    assert said.code == 2 and "file is not a database" in said.err
    assert other.read_bytes() == before
