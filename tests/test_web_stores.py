"""The same run in each database is told byte for byte the same, and a store that does not answer is told as such."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.web.live import LiveRuns
from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.support.databases import Relay, database
from tests.support.load import within
from tests.test_web import OWNER, ask

PATHS = ("", "/graph", "/gates", "/timeline", "/files", "/cost", "/state?at=40", "/events?limit=1000")


def move_to_store(root: Path, url: str) -> str:
    """Put the run of a repository into a database, and take its files away. Return its name."""
    own, shared = Repositories([str(root)], ""), Repositories([str(root)], url)
    index, run = own.find("latest")
    shared.indexes[0].store.append_events(shared.indexes[0].key, index.read_log(run).events)
    own.close()
    shared.close()
    for path in (root / ".aider_logs").glob("*.jsonl"):
        path.rename(path.with_suffix(".kept"))
    return run.name


def answers(root: Path, url: str, name: str) -> list[bytes]:
    opened = Repositories([str(root)], url)
    found = [ask(opened, "GET", f"/api/v1/runs/{name}{path}", OWNER) for path in PATHS]
    opened.close()
    assert [each.status_code for each in found] == [200] * len(PATHS)
    return [each.content for each in found]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_each_database_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    root = corpus.unpack("person_retries", tmp_path / "repo")
    with database("sqlite", tmp_path) as sqlite, database(kind, tmp_path) as other:
        urls = [f"sqlite:///{sqlite.where}", str(other.where)]
        name = move_to_store(root, urls[0])
        for path in (root / ".aider_logs").glob("*.kept"):
            path.rename(path.with_suffix(".jsonl"))
        move_to_store(root, urls[1])
        assert answers(root, urls[0], name) == answers(root, urls[1], name)


def check_outage(root: Path, url: str, cut: Callable[[], None], mend: Callable[[], None]) -> None:
    """The last rows stay, with the reason; after the outage the news comes."""
    opened = Repositories([str(root)], url)
    index, run = opened.find("latest")
    events = index.store.read_events(run.key, run.name)

    async def watch() -> None:
        runs = LiveRuns()
        live = await runs.open(index, run)
        rows, seq = live.task_rows(), live.seq
        async with runs.watch(live) as viewer, asyncio.timeout(within(60)):
            cut()
            while not live.store_error:
                await viewer.woken.wait()
                viewer.woken.clear()
            assert live.task_rows() == rows and live.current_row()["problem"]
            mend()
            last = events[-1]
            later = type(last)(last.run, seq + 1, last.time, None, None, last.payload, last.data)
            index.store.append_events(run.key, [later])
            while live.seq == seq:
                await viewer.woken.wait()
                viewer.woken.clear()
            assert live.current_row()["problem"] == ""

    asyncio.run(watch())
    ask(opened, "GET", f"/api/v1/runs/{run.name}", OWNER)
    cut()
    listed = ask(opened, "GET", "/api/v1/runs", OWNER).json()
    assert [each["run"] for each in listed["data"]] == [run.name] and listed["page"]["problems"]
    one = ask(opened, "GET", f"/api/v1/runs/{run.name}", OWNER)
    assert one.status_code == 200 and one.json()["data"]["run"]["problem"] and one.json()["data"]["rows"]
    assert ask(opened, "GET", "/health/ready").status_code == 503
    mend()
    assert ask(opened, "GET", "/api/v1/runs", OWNER).json()["page"]["problems"] == []
    assert ask(opened, "GET", "/health/ready").status_code == 200
    opened.close()


@pytest.mark.thorough
def test_lost_connection_is_told_and_mended(tmp_path: Path) -> None:
    root = corpus.unpack("person_retries", tmp_path / "repo")
    with database("postgresql", tmp_path) as server, Relay(server.port) as relay:
        url = server.by(relay.port)
        move_to_store(root, url)
        check_outage(root, url, relay.cut, relay.mend)
