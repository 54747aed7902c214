"""The fault matrix: each fault gets its verdict, cause and exit code, harms nobody else's work, leaves nothing.

What is expected stands in tests/support/faults.py. Alone, and in a run of three whose other two agents must succeed.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.support.edits import appends, edits_foreign, knows, search_replace
from tests.support.faults import (
    ASIDE,
    ASSUMED,
    BEFALLEN,
    COUNTED,
    EDITED,
    EVIL,
    FAULTS,
    FILES,
    FREE,
    MACHINE,
    OTHERS,
    UNTOLD,
    VICTIM,
    Fault,
)
from tests.support.leaks import leaks
from tests.support.load import wait_until
from tests.support.misfortunes import half_good
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place
from tests.support.sample import SOAK

CHANGE = ("--change", "Add a line", "--no-prd")
GOOD = appends("# hi")
# What is run by default; the soak runs all.
ALONE = (
    "401 wrong key", "reset in the middle of the body", "half-good reply", "silence in the middle of the body",
    "disk full for an agent", "the clock jumps ahead", "read-only repository", ".aider_logs leads elsewhere",
    "git missing",
)  # fmt: skip
BESIDE = ("agent killed (SEGV)",)
MANY = 6


def cases(names: Iterable[str]) -> list[ParameterSet]:
    """What befalls this machine befalls processes."""
    return [pytest.param(name, marks=pytest.mark.cold if name in MACHINE else ()) for name in names]


def arranged(folder: Path, files: dict[str, str]) -> Place:
    outside = folder / "outside"
    outside.mkdir(parents=True)
    (outside / "precious.py").write_text("precious = 1\n")
    place = make_place(folder, files)
    (place.repo / "link.py").symlink_to(outside / "precious.py")
    place.commit("A link")
    return place


def meet(fault: Fault, place: Place, *files: str) -> Ran:
    """A run in which the victim's agent meets the fault."""
    words = ("--model", fault.model, "--files", *files, "--agents", str(len(files)), *fault.flags)
    respond = lambda request: fault.respond(request) if VICTIM in request.files else GOOD(request)  # noqa: E731
    BEFALLEN.clear()
    with ModelServer(respond) as server:
        env = fault.place(place)
        running = place.start(*CHANGE, *words, server=server, shell=fault.shell, cwd=None, **env)
        if fault.befalls is not None:
            wait_until(lambda: ended(place) == len(files) - 1 and server.count() == len(files))
            fault.befalls(running, server)
            BEFALLEN.set()
        ran = running.end()
    assert_paid(ran, fault, server, 0 if fault.common else len(files) - 1)
    return ran


def ended(place: Place) -> int:
    logs = (place.repo / ".aider_logs").glob("agent*.jsonl")
    return sum('"attempt_ended"' in path.read_text("utf-8") for path in logs)


def began(ran: Ran) -> bool:
    return ran.logs.is_dir() and not ran.logs.is_symlink() and any(ran.logs.glob("run_*.jsonl"))


# --- what is expected -----------------------------------------------------------------------------------------------


def assert_paid(ran: Ran, fault: Fault, server: ModelServer, others: int) -> None:
    """Every request that the server saw is counted, with what it told; what it did not tell is said to be assumed."""
    seen = server.count()
    assert fault.requests is None or seen == fault.requests + others, ran.out
    if not began(ran) or fault.money == UNTOLD:
        return
    used, told = ran.summary["usage"], server.tokens()
    assert used["requests"] == seen
    spent, unknown = used["total_tokens"], used["assumed_tokens"]
    # Of a body that we did not wait for, the server has spent what it will not have told.
    assert spent <= told.input + told.output <= spent + unknown
    assert bool(unknown) == (fault.money == ASSUMED) == (" is assumed: " in ran.out)
    assert bool(used["assumed_cost"]) == (fault.money == ASSUMED)
    assert fault.money != FREE or others or used["cost"] == 0
    assert fault.money != COUNTED or used["cost"] > 0


def assert_judged(ran: Ran, fault: Fault, path: str = VICTIM) -> None:
    """The verdict, a cause that says what and where, and where the work is kept, if there is any."""
    agent = next(agent for agent in ran.agents.values() if path in agent["files"])
    good = fault.verdict == "applied"
    assert (agent["verdict"], agent["success"]) == (fault.verdict, good), agent
    for word in (*fault.words, path):
        assert word.lower() in agent["cause"].lower()
    assert bool(agent["patch"]) == bool(fault.patch)
    if not good:
        assert agent["state"] == "failed"
        assert agent["cause"][:60] in ran.out
        assert any(step.startswith(agent["remedy"].partition("`")[0]) for step in ran.summary["next"])
    if fault.patch:
        assert fault.patch in (ran.place.repo / agent["patch"]).read_text()
        assert agent["patch"] in ran.out


def assert_left(ran: Ran) -> None:
    """No process, no worktree, no lock, no key, no bug report, nothing outside; branches only for work that is kept."""
    branches = ran.place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    named = [name for name in branches if name == "main" or name in ran.out]
    assert branches == named, "a branch that nobody is told of"
    assert_clean(ran, branches=tuple(branches))
    assert leaks(ran.place, ran.out, ran.err) == []
    assert "Traceback" not in ran.out + ran.err and "bug" not in ran.err
    assert [path.name for path in (ran.place.home.parent / "outside").iterdir()] == ["precious.py"]
    assert (ran.place.home.parent / "outside/precious.py").read_text() == "precious = 1\n"
    assert not Path(EVIL).exists() and not (ran.place.repo / ".git/hooks/post-merge").exists()


def assert_tree(ran: Ran, fault: Fault, good: set[str]) -> None:
    """On the user's branch stands what the good agents did, and of the victim what it should have done or nothing."""
    if fault.tree == ASIDE:
        side = ran.summary["result"]["side_branch"]
        assert f"git merge {side}" in ran.out
        changed = ran.place.git("diff", "--name-only", ran.head_before, side).split()
        assert set(changed) == good | {VICTIM}
        assert "# hi" in ran.place.git("show", f"{side}:{VICTIM}")
        assert set(ran.changed()) <= {"mine.txt"}
        return
    # What the user has committed meanwhile lies below it.
    assert set(ran.changed()) - {"mine.txt"} == good | ({VICTIM} if fault.tree == EDITED else set())
    if not good and fault.tree != EDITED:
        assert ran.place.head() == ran.head_before


def assert_refused(ran: Ran, fault: Fault) -> None:
    """The run did not come to a verdict: a sentence in its place."""
    for word in fault.words:
        assert word in ran.out + ran.err
    if ran.code == 2 or not began(ran):
        assert len(ran.err.splitlines()) == 1 and ran.out == ""
    assert ran.place.head() == ran.head_before


def assert_met(ran: Ran, fault: Fault, code: int | None, good: set[str]) -> None:
    assert ran.code == code, ran.out + ran.err
    if not fault.verdict:
        assert_refused(ran, fault)
    else:
        assert ran.summary["exit_code"] == code
        assert_judged(ran, fault)
        assert_tree(ran, fault, good)
    assert_left(ran)


# --- the matrix -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough(but=("401 wrong key", ".aider_logs leads elsewhere"))
@pytest.mark.parametrize("name", cases([n for n, f in FAULTS.items() if f.alone is not None] if SOAK else ALONE))
def test_a_fault_alone(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    ran = meet(fault, arranged(tmp_path, {VICTIM: FILES[VICTIM]}), VICTIM)
    assert_met(ran, fault, fault.alone, set())


@pytest.mark.thorough
@pytest.mark.parametrize("name", cases([n for n, f in FAULTS.items() if f.beside is not None] if SOAK else BESIDE))
def test_a_fault_beside_two_agents_that_succeed(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    ran = meet(fault, arranged(tmp_path, FILES), *FILES)
    lost = fault.common and fault.tree != EDITED
    assert_met(ran, fault, fault.beside, set() if lost else set(OTHERS))
    if fault.verdict and not lost:
        assert ran.verdicts.count("applied") == 2 + (fault.verdict == "applied")
        assert all(ran.agents[a]["cause"] for a in ran.agents)


def told(ran: Ran) -> str:
    """For whoever must find out why a test fails."""
    lines = (f"{agent['verdict']} {agent['usage']['requests']} {agent['cause']}" for agent in ran.agents.values())
    return "\n".join(lines)


def together() -> list[tuple[str, ...]]:
    """Those that one run can meet, six at a time, by model."""
    by_model: dict[str, list[str]] = {}
    for name, fault in FAULTS.items():
        if fault.together:
            by_model.setdefault(fault.model, []).append(name)
    return [tuple(names[at : at + MANY]) for names in by_model.values() for at in range(0, len(names), MANY)]


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name) + ".py"


@pytest.mark.thorough
@pytest.mark.parametrize("names", together() if SOAK else together()[3:4], ids=lambda names: names[0])
def test_many_faults_at_once_and_two_agents_that_succeed(names: tuple[str, ...], tmp_path: Path) -> None:
    met = {slug(name): FAULTS[name] for name in names}
    place = arranged(tmp_path, dict.fromkeys(met, FILES[VICTIM]) | {path: FILES[path] for path in OTHERS})
    model = next(iter(met.values())).model

    def respond(request: Request) -> Reply:
        fault = met.get(next(iter(request.files)))
        return fault.respond(request) if fault else GOOD(request)

    with ModelServer(respond) as server:
        words = ("--files", *met, *OTHERS, "--agents", str(len(met) + 2), "--model", model)
        ran = place.run(*CHANGE, *words, server=server)
        asked = 2 + sum(fault.requests or 0 for fault in met.values())
        assert server.count() == asked == ran.summary["usage"]["requests"], told(ran)
    good = {path for path, fault in met.items() if fault.tree == EDITED}
    assert ran.code == (0 if len(good) == len(met) else 1), ran.out + ran.err
    for path, fault in met.items():
        assert_judged(ran, fault, path)
    assert set(ran.changed()) == good | set(OTHERS)
    assert ran.summary["successful_agents"] == 2 + len(good)
    assert_left(ran)


# --- and then it goes well ------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_short_trouble_is_waited_out(tmp_path: Path) -> None:
    """Two that must not be told to the agent, and one wait that all agents share."""
    place = make_place(tmp_path, FILES)
    replies = iter((Reply("Slow down.", status=429, headers={"retry-after": "1"}), Reply("Oops.", status=500)))
    with ModelServer(lambda request: next(replies, None) or GOOD(request)) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
        assert server.count() == 5 == ran.summary["usage"]["requests"]
    assert ran.code == 0, ran.err
    assert set(ran.changed()) == set(FILES)
    assert_clean(ran)


@pytest.mark.soak
def test_a_long_wait_does_not_make_aider_ask_again(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    replies = iter([Reply("Slow down.", status=429, headers={"retry-after": "35"})] * 2)
    with ModelServer(lambda request: next(replies, None) or GOOD(request)) as server:
        ran = place.run(*CHANGE, "--files", VICTIM, "--agent-timeout", "20", server=server)
        assert server.count() == 3 == ran.summary["usage"]["requests"]
    assert ran.code == 0, ran.err
    assert_clean(ran)


@pytest.mark.thorough
def test_own_and_another_agents_file_edited(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    stray = edits_foreign(OTHERS[0], FILES[OTHERS[0]], "broken = True\n", own=GOOD)
    with ModelServer(lambda request: (stray if VICTIM in request.files else GOOD)(request)) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
    assert ran.code == 0, ran.err
    assert ran.changed() == dict.fromkeys(FILES, (1, 0))
    agent = next(agent for agent in ran.agents.values() if VICTIM in agent["files"])
    assert (agent["verdict"], agent["foreign"]) == ("applied", [OTHERS[0]])
    assert "broken = True" in (place.repo / agent["patch"]).read_text()
    assert agent["patch"] in ran.out
    assert_clean(ran)


@pytest.mark.thorough
def test_a_half_good_reply_that_is_mended(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    replies = iter((half_good,))
    fixed = knows({VICTIM: "name = 'new'\nsize = 2\n"}, new=())
    with ModelServer(lambda request: next(replies, fixed)(request)) as server:
        ran = place.run(*CHANGE, "--files", VICTIM, server=server)
        assert server.count() == 2
    assert ran.code == 0, ran.err
    assert (place.repo / VICTIM).read_text() == "name = 'new'\nsize = 2\n"
    assert ran.agents["agent1"]["iterations"] == 2
    assert_clean(ran)


@pytest.mark.thorough
def test_nothing_but_the_line_ends_changed(tmp_path: Path) -> None:
    """Aider writes LF and a final newline into whatever it opens; that alone is no change, beside a real one too."""
    windows = "name = 1\r\nsize = 1"
    place = make_place(tmp_path, FILES | {VICTIM: windows})
    same = search_replace(VICTIM, "size = 1\n", "size = 1\n")
    both = search_replace(OTHERS[0], "size = 1\n", "size = 2\n") + "\n" + same
    with ModelServer(lambda request: Reply(both if OTHERS[0] in request.files else same)) as server:
        alone = place.run(*CHANGE, "--files", VICTIM, server=server)
        beside = place.run(*CHANGE, "--files", VICTIM, OTHERS[0], "--agents", "1", server=server)
    assert (alone.code, beside.code) == (1, 1)
    assert beside.verdicts == ["no_change"]
    assert VICTIM in beside.agents["agent1"]["cause"]
    assert (place.repo / VICTIM).read_bytes() == windows.encode()
    assert beside.changed() == {OTHERS[0]: (1, 1)}
    assert_clean(beside)


@pytest.mark.thorough
def test_a_reply_that_names_many_files(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {f"many/file{n}.py": "x = 1\n" for n in range(30)})
    names = "\n".join(f"See also many/file{n}.py and {path}." for n in range(30) for path in FILES)
    with ModelServer(lambda request: Reply(names + "\n\n" + GOOD(request).text)) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
        assert server.count() == 3
    assert ran.code == 0, ran.err
    assert ran.changed() == dict.fromkeys(FILES, (1, 0))
    assert_clean(ran)


COMMANDS = ("!touch MARK", "/add left.py\nSee http://127.0.0.1:9/x and https://example.com", "/run touch MARK", "-")


@pytest.mark.thorough
@pytest.mark.parametrize("change", COMMANDS if SOAK else COMMANDS[:2])
def test_a_change_that_looks_like_a_command(change: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    change = change.replace("MARK", str(tmp_path / "mark")).replace("-", "--dash")
    with ModelServer(GOOD) as server:
        ran = place.run(f"--change={change}", "--no-prd", "--files", VICTIM, server=server)
        assert server.count() == 1
        assert change in server.requests[0].brief
        assert list(server.requests[0].files) == [VICTIM]
    assert ran.code == 0, ran.err
    assert not (tmp_path / "mark").exists()
    assert_clean(ran)
