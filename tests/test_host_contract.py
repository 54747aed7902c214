"""What every host must do, whichever it is; and what only one with a real repository and a real agent can show."""

import asyncio
import contextlib
import json
import pickle
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestra.agents.base import FileRules
from orchestra.errors import OrchestraError
from orchestra.hosts.base import AttemptResult, GateOrder
from orchestra.model import Gate
from tests.support.hosting import HOSTS, LocalSite, Site, local
from tests.support.load import holds_soon, within
from tests.support.order_json import order_to_json
from tests.support.processes import all_gone

Play = Callable[[Site], Awaitable[None]]


@pytest.fixture(params=HOSTS)
def on_host(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Play], None]:
    """Plays a scene on a host."""

    async def played(scene: Play) -> None:
        async with asyncio.timeout(within()), HOSTS[request.param](tmp_path) as site:
            await scene(site)

    return lambda scene: asyncio.run(played(scene))


async def attempted(site: Site, **more: object) -> AttemptResult:
    site.head.admits.set()
    return await site.host.run_attempt(site.order(**more), site.head)


async def until_nothing_is_left(site: Site) -> None:
    assert await asyncio.to_thread(holds_soon, lambda: not site.left())


# --- every host -----------------------------------------------------------------------------------------------------


def test_attempt_brings_the_work(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        result = await attempted(site)
        assert (result.outcome.end, result.changes.own, result.outcome.edited) == ("accepted", ("a.py",), ("a.py",))
        assert len(result.commit) == 40 and result.everything == result.commit
        assert len(site.head.roots) == 1 and Path(site.head.roots[0]).is_absolute()
        assert pickle.loads(pickle.dumps(result)) == result  # it is plain data

    on_host(scene)


def test_attempts_run_side_by_side(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        work = (attempted(site, task=n, files=(f"{name}.py",)) for n, name in enumerate("abc", 1))
        made = await asyncio.gather(*work)
        assert [one.changes.own for one in made] == [("a.py",), ("b.py",), ("c.py",)]
        assert len({one.commit for one in made}) == len(set(site.head.roots)) == 3

    on_host(scene)


def test_stopped_attempt_comes_back(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        site.stalls()
        working = asyncio.create_task(attempted(site))
        await site.at_work.wait()
        site.head.stopping.set()
        assert (await working).outcome.end == "stopped"

    on_host(scene)


def test_cancelled_before_admission_leaves_nothing(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        working = asyncio.create_task(site.host.run_attempt(site.order(), site.head))
        await site.head.asked.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        await until_nothing_is_left(site)
        assert not site.head.tokens

    on_host(scene)


def test_check_calls_started_before_each_gate(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        gates = tuple(Gate(name, "command", "true") for name in ("first", "second"))
        said = list[str]()
        check = GateOrder("20260101_000000", site.base, "task1-1", gates, timeout=within())
        outcomes = await site.host.run_gates(check, lambda gate: said.append(gate.name))
        assert said == [outcome.gate.name for outcome in outcomes] == ["first", "second"]
        assert all(outcome.ended.code == 0 for outcome in outcomes)
        assert pickle.loads(pickle.dumps((check, outcomes))) == (check, outcomes)

    on_host(scene)


def test_commit_may_come_twice(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        for _ in range(2):
            await site.host.receive_commit(site.base, b"")
        result = await attempted(site)
        for _ in range(2):
            await site.host.receive_commit(result.commit, result.pack)
        again = await attempted(site, attempt=2, base=result.commit, parent=result.commit, files=("b.py",))
        assert again.outcome.end == "accepted"

    on_host(scene)


def test_open_says_what_the_host_is(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        facts = await site.host.open()
        assert facts.name and not facts.untrusted
        assert await site.host.open() == facts

    on_host(scene)


def test_closed_host_leaves_nothing(on_host: Callable[[Play], None]) -> None:
    async def scene(site: Site) -> None:
        await attempted(site)
        await site.host.close()
        assert not site.left()
        await site.host.close()

    on_host(scene)


# --- with a repository and an agent ---------------------------------------------------------------------------------


def on_this_machine(folder: Path, scene: Callable[[LocalSite], Awaitable[None]]) -> None:
    async def played() -> None:
        async with asyncio.timeout(within()), local(folder) as site:
            await scene(site)

    asyncio.run(played())


def git(site: Site, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=site.root, check=True, capture_output=True, text=True).stdout


def test_commit_stands_on_the_parent_and_holds_own_files(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        result = await attempted(site)
        assert git(site, "rev-parse", f"{result.commit}^").strip() == site.base
        assert git(site, "diff", "--name-only", site.base, result.commit).split() == ["a.py"]
        assert git(site, "show", f"{result.commit}:a.py") == "x = 1\n# done\n"
        assert git(site, "log", "-1", "--format=%B", result.commit).strip() == "Add a line\n\nTask: 1"
        assert "a.py" in result.printed
        assert git(site, "status", "--porcelain") == ""

    on_this_machine(tmp_path, scene)


def test_later_attempt_begins_at_the_base_and_commits_on_the_parent(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        first = await attempted(site)
        second = await attempted(site, attempt=2, base=first.commit, files=("b.py",))
        assert git(site, "rev-parse", f"{second.commit}^").strip() == site.base
        assert git(site, "diff", "--name-only", site.base, second.commit).split() == ["a.py", "b.py"]

    on_this_machine(tmp_path, scene)


def test_changes_come_back_as_whose_they_are(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        def write() -> None:
            tree = Path(site.head.roots[0])
            (tree / "b.py").write_text("y = 4\n")
            (tree / "Makefile").write_text("all:\n\tfalse\n")
            (tree / "picture").write_bytes(b"\xff\xfe")
            (tree / "new.py").write_text("n = 1\n")

        site.script.first = write
        result = await attempted(site, rules=FileRules({"a.py": 1, "b.py": 2}))
        changes = result.changes
        assert (changes.own, changes.foreign, changes.left_out) == (("a.py", "new.py"), ("b.py",), ("picture",))
        assert list(changes.protected) == ["Makefile"]
        assert git(site, "diff", "--name-only", site.base, result.commit).split() == ["a.py", "new.py"]
        everything = git(site, "diff", "--name-only", site.base, result.everything).split()
        assert everything == ["Makefile", "a.py", "b.py", "new.py"]

    on_this_machine(tmp_path, scene)


def test_named_protected_file_is_taken(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        result = await attempted(site, files=("Makefile",), rules=FileRules({"Makefile": 1}, named=("Makefile",)))
        assert result.changes.own == ("Makefile",) and not result.changes.protected

    on_this_machine(tmp_path, scene)


def test_stop_brings_back_what_was_changed(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        site.script.first = lambda: void((Path(site.head.roots[0]) / "a.py").write_text("x = 2\n"))
        site.stalls()
        working = asyncio.create_task(attempted(site))
        await site.at_work.wait()
        site.head.stopping.set()
        result = await working
        assert (result.outcome.end, result.changes.own) == ("stopped", ("a.py",))
        assert git(site, "show", f"{result.commit}:a.py") == "x = 2\n"
        await until_nothing_is_left(site)  # what was stopped leaves no worktree for the next

    on_this_machine(tmp_path, scene)


def processes_at(tree: str) -> list[int]:
    """Those that are in a folder or have it in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = str((folder / "cwd").readlink()).encode() + (folder / "environ").read_bytes()
            found += [int(folder.name)] if str(Path(tree).parent).encode() in told else []
    return found


def void(_: object) -> None:
    """For a function that returns nothing."""


def test_worktree_deleted_at_work_is_one_error(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        def delete() -> None:
            subprocess.run(["rm", "-rf", site.head.roots[0]], check=True)

        site.script.first = delete
        with pytest.raises(OrchestraError, match="its worktree was deleted while it was running"):
            await attempted(site)
        site.script.first = lambda: None
        assert (await attempted(site, attempt=2)).outcome.end == "accepted"

    on_this_machine(tmp_path, scene)


def test_gates_say_what_they_find_and_spoil_nothing(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        commands = ("cat a.py", "rm a.py", "test -f a.py", "exit 3")
        gates = tuple(Gate(f"gate{n}", "command", command) for n, command in enumerate(commands))
        check = GateOrder("20260101_000000", site.base, "task1-1", gates, timeout=within())
        outcomes = await site.host.run_gates(check, void)
        assert [outcome.ended.code for outcome in outcomes] == [0, 0, 0, 3]
        assert [outcome.spoiled for outcome in outcomes] == [False, True, False, False]
        assert outcomes[0].output.read_text() == "x = 1\n" and not outcomes[3].passed
        assert not site.left()

    on_this_machine(tmp_path, scene)


def test_close_leaves_no_worktree_and_no_process(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        site.stalls()
        working = asyncio.create_task(attempted(site))
        await site.at_work.wait()
        working.cancel()
        await asyncio.wait({working})
        tree = site.head.roots[0]
        await site.host.close()
        assert not site.left() and git(site, "worktree", "list").count("\n") == 1
        assert await asyncio.to_thread(all_gone, processes_at(tree))

    on_this_machine(tmp_path, scene)


def test_token_crosses_in_the_door_alone(tmp_path: Path) -> None:
    async def scene(site: LocalSite) -> None:
        result = await attempted(site)
        (token,) = site.head.tokens
        assert token not in order_to_json(site.order())
        assert token not in json.dumps([repr(result), result.printed])

    on_this_machine(tmp_path, scene)
