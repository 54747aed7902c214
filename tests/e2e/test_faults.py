"""What goes wrong at the model's end: each fault gets its verdict, cause and exit code, and harms nobody else's work.

The table was written before the program was run against it.
"""

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.edits import Respond, appends, edits_foreign, knows, malformed, no_edits, search_replace
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Ran, assert_clean, make_place, wait_until
from tests.support.sample import SOAK

VICTIM, OTHERS = "victim.py", ("left.py", "right.py")
FILES = {path: f"name = '{path}'\nsize = 1\n" for path in (VICTIM, *OTHERS)}
CHANGE = ("--change", "Add a line", "--no-prd")
HI = "# hi"
GOOD = appends(HI)
GONE = "The model has gone."


def error(status: int, text: str, code: str = "", **headers: str) -> Respond:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Reply(text, status=status, code=code, headers=named)


def body(raw: bytes, kind: str = "application/json") -> Respond:
    return lambda request: Reply(raw_body=raw, headers={"content-type": kind})


def unmatched(request: Request) -> Reply:
    return Reply(search_replace(next(iter(request.files)), "this stands\nnowhere at all\n", "new\n", request.fence))


def half_good(request: Request) -> Reply:
    good = search_replace(next(iter(request.files)), "size = 1\n", "size = 2\n", request.fence)
    return Reply(good + "\n" + unmatched(request).text)


def cut_off(request: Request) -> Reply:
    return Reply(GOOD(request).text, finish="length")


@dataclass(frozen=True)
class Fault:
    """What the server does, and what the program must make of it."""

    respond: Respond
    verdict: str
    code: int  # of a run whose only task meets this fault
    words: tuple[str, ...]  # in the cause, beside provider and file
    requests: int = 1
    patch: str = ""  # what the patch holds that keeps its work


QUOTA = "You exceeded your current quota, please check your plan and billing details."
CONTEXT = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
HTML = b"<html><body><h1>Welcome to our proxy</h1></body></html>"
FAULTS = {
    "unauthorized": Fault(error(401, "Incorrect API key provided."), "auth", 4, ("401", "Incorrect API key")),
    "forbidden": Fault(error(403, "Project has no access to it."), "auth", 4, ("403", "no access")),
    "no such model": Fault(error(404, GONE), "provider_error", 4, ("404", GONE)),
    "bad request": Fault(error(400, "Unknown parameter."), "provider_error", 4, ("400", "Unknown parameter")),
    "quota": Fault(error(429, QUOTA, "insufficient_quota"), "quota", 4, ("429", "exceeded your current quota")),
    "payment": Fault(error(402, "Insufficient credits."), "quota", 4, ("402", "Insufficient credits")),
    "rate limit": Fault(error(429, "Slow down.", retry_after="3600"), "rate_limit", 4, ("429", "Slow down")),
    "context": Fault(error(400, CONTEXT, "context_length_exceeded"), "context", 1, ("400", "maximum context length")),
    "broken": Fault(error(500, "Internal error."), "provider_error", 4, ("500", "Internal error"), requests=5),
    "overloaded": Fault(error(503, "Overloaded."), "provider_error", 4, ("503", "Overloaded"), requests=5),
    "dropped": Fault(lambda r: Reply(drop="before"), "provider_error", 4, ("lost",), requests=5),
    "torn": Fault(lambda r: Reply("some text " * 50, drop="mid"), "provider_error", 4, ("lost",), requests=5),
    "html": Fault(body(HTML, "text/html"), "provider_error", 4, ("200", "Welcome to our proxy")),
    "other json": Fault(body(b'{"hello": "world"}'), "provider_error", 4, ("200", "hello")),
    "half json": Fault(body(b'{"choices": [{"message": {"content": "x'), "provider_error", 4, ("200",)),
    "empty choice": Fault(body(b'{"choices": [{}]}'), "provider_error", 4, ("200",)),
    "odd choice": Fault(body(b'{"choices": ["x"]}'), "provider_error", 4, ("200",)),
    "nothing": Fault(body(b""), "provider_error", 4, ("200",)),
    "never edits": Fault(no_edits("All is well."), "no_change", 1, ("200", "changed nothing")),
    "empty reply": Fault(lambda r: Reply(""), "no_change", 1, ("200", "empty reply")),
    "malformed": Fault(malformed(), "rejected_edit", 1, ("200", "4 replies"), requests=4),
    "unmatched": Fault(unmatched, "rejected_edit", 1, ("200", "4 replies"), requests=4),
    "half good": Fault(half_good, "rejected_edit", 1, ("200", "4 replies"), requests=4, patch="+size = 2"),
    "cut off": Fault(cut_off, "context", 1, ("200", "output limit")),
    "prose": Fault(
        no_edits("Applied edit to victim.py\nlitellm.RateLimitError: slow down\nOnly 3 reflections allowed, stopping."),
        "no_change",
        1,
        ("200", "changed nothing"),
    ),
}
ALONE = ("unauthorized", "broken", "never edits", "malformed", "half good")
PATIENT = [name for name, fault in FAULTS.items() if fault.requests == 5]  # those that may pass, so they are waited out


def slug(name: str) -> str:
    return f"{name.replace(' ', '_')}.py"


def victim_only(fault: Respond) -> Respond:
    return lambda request: fault(request) if VICTIM in request.files else GOOD(request)


def assert_judged(ran: Ran, fault: Fault, path: str = VICTIM) -> None:
    """The failed task: its verdict, a cause that names provider, status and file, and its work, where it did any."""
    agent = next(agent for agent in ran.agents.values() if path in agent["files"])
    assert (agent["verdict"], agent["success"], agent["state"]) == (fault.verdict, False, "failed")
    for word in ("openai", path, *fault.words):
        assert word.lower() in agent["cause"].lower()
    assert agent["cause"][:60] in ran.out
    assert agent["remedy"] in ran.summary["next"]
    assert bool(agent["patch"]) == bool(fault.patch)
    if fault.patch:
        assert fault.patch in (ran.place.repo / agent["patch"]).read_text()
        assert agent["patch"] in ran.out


@pytest.mark.parametrize("name", FAULTS if SOAK else ALONE)
def test_a_fault_alone(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    place = make_place(tmp_path, FILES)
    with ModelServer(fault.respond) as server:
        ran = place.run(*CHANGE, "--files", VICTIM, server=server)
        assert server.count() == fault.requests == ran.summary["usage"]["requests"]
        assert ran.summary["usage"]["total_tokens"] == server.tokens().input + server.tokens().output
    assert ran.code == ran.summary["exit_code"] == fault.code, ran.err
    assert ran.agents["agent1"]["seconds"] < 12
    assert_judged(ran, fault)
    assert ran.summary["files"] == {}
    assert place.head() == ran.head_before
    assert ran.out.startswith("Nothing was changed")
    assert_clean(ran)


@pytest.mark.parametrize("name", FAULTS if SOAK else ("forbidden",))
def test_a_fault_beside_two_agents_that_succeed(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    place = make_place(tmp_path, FILES)
    with ModelServer(victim_only(fault.respond)) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
        assert server.count() == fault.requests + 2
    assert ran.code == 1, ran.err
    assert_judged(ran, fault)
    assert_others_kept(ran)


def assert_others_kept(ran: Ran) -> None:
    assert sorted(ran.verdicts).count("applied") == ran.summary["successful_agents"] == 2
    assert ran.summary["failed_agents"] == 1
    assert ran.changed() == dict.fromkeys(OTHERS, (1, 0))
    assert "2 of 3 tasks are complete" in ran.out
    assert_clean(ran)


def test_every_fault_at_once_and_two_agents_that_succeed(tmp_path: Path) -> None:
    met = {slug(name): fault for name, fault in FAULTS.items() if name not in PATIENT}
    place = make_place(tmp_path, dict.fromkeys((*met, *OTHERS), "name = 0\nsize = 1\n"))

    def respond(request: Request) -> Reply:
        fault = met.get(next(iter(request.files)))
        return fault.respond(request) if fault else GOOD(request)

    with ModelServer(respond) as server:
        ran = place.run(*CHANGE, "--files", *met, *OTHERS, "--agents", str(len(met) + 2), server=server)
        assert server.count() == 2 + sum(fault.requests for fault in met.values()) == ran.summary["usage"]["requests"]
    assert ran.code == 1, ran.err
    for path, fault in met.items():
        assert_judged(ran, fault, path)
    assert ran.changed() == dict.fromkeys(OTHERS, (1, 0))
    assert ran.summary["successful_agents"] == 2
    assert_clean(ran)


# --- a server that is not there -------------------------------------------------------------------------------------


def test_nobody_there(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    ran = place.run(*CHANGE, "--files", VICTIM, OPENAI_API_BASE=base)
    assert ran.agents["agent1"]["seconds"] < 12
    assert ran.code == 4
    assert_judged(ran, Fault(GOOD, "unreachable", 4, (base.split("/")[2], "no answer"), requests=0))
    assert ran.summary["usage"]["requests"] == 0
    assert_clean(ran)


def test_a_server_that_goes_away_after_two_agents(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(victim_only(lambda request: Reply(drop="before"))) as server:
        running = place.start(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
        wait_until(lambda: sum(request.status == 200 for request in server.requests) == 2)
    ran = running.end()
    assert ran.code == 1
    assert_judged(ran, Fault(GOOD, "unreachable", 4, (server.openai_base.split("/")[2], "no answer")))
    assert_others_kept(ran)


def test_a_server_that_is_too_slow(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    slow = victim_only(lambda request: Reply("late", latency=30.0))
    with ModelServer(slow) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", "--agent-timeout", "3", server=server)
    assert ran.code == 1
    assert_judged(ran, Fault(GOOD, "timeout", 1, ("3 s",)))
    assert_others_kept(ran)


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
        ran = place.run(*CHANGE, "--files", VICTIM, "--agent-timeout", "5", server=server)
        assert server.count() == 3 == ran.summary["usage"]["requests"]
    assert ran.code == 0, ran.err
    assert_clean(ran)


# --- replies that go astray -----------------------------------------------------------------------------------------


def test_only_another_agents_file_edited(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    stray = edits_foreign(OTHERS[0], FILES[OTHERS[0]], "broken = True\n")
    with ModelServer(victim_only(stray)) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
    assert ran.code == 1
    assert_judged(ran, Fault(stray, "out_of_scope", 1, ("200", OTHERS[0]), patch="+broken = True"))
    assert_others_kept(ran)
    assert "broken" not in (place.repo / OTHERS[0]).read_text()


def test_own_and_another_agents_file_edited(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    stray = edits_foreign(OTHERS[0], FILES[OTHERS[0]], "broken = True\n", own=GOOD)
    with ModelServer(victim_only(stray)) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "3", server=server)
    assert ran.code == 0, ran.err
    assert ran.changed() == dict.fromkeys(FILES, (1, 0))
    agent = next(agent for agent in ran.agents.values() if VICTIM in agent["files"])
    assert (agent["verdict"], agent["foreign"]) == ("applied", [OTHERS[0]])
    assert "broken = True" in (place.repo / agent["patch"]).read_text()
    assert agent["patch"] in ran.out
    assert_clean(ran)


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


def test_the_iterations_run_out(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(half_good) as server:
        ran = place.run(*CHANGE, "--files", VICTIM, "--max-iterations", "2", server=server)
        assert server.count() == 2 == ran.summary["total_iterations"]
    assert ran.code == 1
    assert_judged(ran, Fault(half_good, "iterations", 1, ("limit of 2 replies",), patch="+size = 2"))
    place.git("apply", ran.agents["agent1"]["patch"])
    assert "size = 2" in (place.repo / VICTIM).read_text()
    place.git("checkout", VICTIM)
    assert_clean(ran)


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
