"""The user's keys are found in no file, no object of git's and no agent's environment or command line."""

import asyncio
import base64
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from orchestra.conduct.core.secrets import Secrets
from orchestra.settings import load_settings
from tests.support import seating
from tests.support.edits import Respond, appends, gemini_prd, knows, search_replace
from tests.support.leaks import SHAPED, agents_leaks, leaks
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import KEYS, PROGRAM, Place, Ran, assert_clean, make_place, read_proc
from tests.support.sample import SOAK

pytestmark = pytest.mark.cold

KILLER = Path(__file__).resolve().parents[1] / "support" / "killed_at.py"
FILES = {f"f{n}.py": f"x = {n}\n" for n in range(3)} | {".gitignore": ".env\n"}
IN_FILE = {"OPENROUTER_API_KEY": "sk-or-in-the-file-0123456789", "COMPANY_TOKEN": "tok-of-the-company-42"}
ALL = (*KEYS.values(), *IN_FILE.values(), SHAPED)
GOOD = appends("# hi")
PRD = "# A line\n\n## Goal\n\nAdd a line to f0.py, f1.py and f2.py.\n"


class Held:
    """Agents get their replies once somebody has looked at them."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.looked = threading.Event()

    def __call__(self, request: Request) -> Reply:
        return replace(self.respond(request), until=self.looked.is_set if request.asks else None)


def run_watched(place: Place, server: ModelServer, held: Held, *words: str, **env: Any) -> Ran:
    """Look while the agents are at work, and again at the end."""
    running = place.start("--change", "Add a line", "--agents", "3", *words, server=server, **env)
    wait_until(lambda: sum(bool(request.asks) for request in server.requests) == 3)
    assert len(place.processes()) >= 4
    assert agents_leaks(place, running.child.pid, ALL) == []
    assert leaks(place, keys=ALL) == []
    held.looked.set()
    ran = running.end()
    assert leaks(place, ran.out, ran.err, keys=ALL) == []
    return ran


BOTH = ((), ("--no-fork-server", "--json", "--verbose"))


@pytest.mark.thorough
@pytest.mark.parametrize("words", BOTH if SOAK else BOTH[1:])
def test_keys_are_nowhere(words: tuple[str, ...], tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({".env": "".join(f"{name}={value}\n" for name, value in IN_FILE.items())})
    # A command of the repository's may be curious, and talkative.
    peek = f"env; cat /proc/self/environ; cat /proc/$PPID/environ; cat {place.repo}/.env; printf 'x %s' {SHAPED}"
    words = (*words, "--record", str(place.tmp / "run.tape"), "--sandbox", "off")
    held = Held(gemini_prd(PRD, GOOD))
    with ModelServer(held) as server:
        (tmp_path / "peek.sh").write_text(peek)
        command = f"sh {tmp_path}/peek.sh"
        ran = run_watched(place, server, held, "--setup-cmd", command, "--test-cmd", command, *words)
        google = {r.headers.get("x-goog-api-key") for r in server.requests if r.dialect == "gemini"}
        openai = {r.headers.get("authorization") for r in server.requests if r.dialect == "openai"}
    assert (google, openai) == ({KEYS["GOOGLE_API_KEY"]}, {f"Bearer {KEYS['OPENAI_API_KEY']}"})
    assert ran.code == 0, ran.err
    output = next(ran.logs.glob("tests_*.txt")).read_text()
    assert "OPENROUTER_API_KEY=[redacted: OPENROUTER_API_KEY]" in output and output.endswith("x [redacted: OpenAI key]")
    assert_clean(ran, prd=True)


@pytest.mark.thorough
def test_keys_from_the_repositorys_env_file(tmp_path: Path) -> None:
    """A key and a base URL from one untracked .env belong together. A provider may quote the key in its refusal."""
    place = make_place(tmp_path, FILES)
    name, key = next(iter(IN_FILE.items()))

    def refuse(request: Request) -> Reply:
        key = request.headers["authorization"].removeprefix("Bearer ")
        coded = base64.b64encode(f"user:{key}".encode()).decode()
        return Reply(f"Wrong: {key}. You said {key!r}, {quote(key)}, {coded}, {'.' * 150} {key}", status=401)

    held = Held(refuse)
    with ModelServer(held) as server:
        place.write({".env": f"OPENROUTER_API_BASE={server.openai_base}\n{name}={key}\n"})
        model = ("--no-prd", "--files", "*.py", "--model", "openrouter/some/model")
        ran = run_watched(place, server, held, *model, OPENAI_API_KEY="", ANTHROPIC_API_KEY="", GOOGLE_API_KEY="")
    assert ran.code == 4
    assert set(ran.verdicts) == {"auth"}
    assert "[redacted: OPENROUTER_API_KEY]" in ran.out
    assert_clean(ran)


@pytest.mark.thorough
def test_a_key_given_as_a_flag_reaches_no_agent(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    held = Held(gemini_prd(PRD, GOOD))
    with ModelServer(held) as server:
        ran = run_watched(place, server, held, "--api-key", KEYS["GOOGLE_API_KEY"], GOOGLE_API_KEY="")
    assert ran.code == 0, ran.err
    assert_clean(ran, prd=True)


@pytest.mark.thorough
def test_a_copied_file_that_holds_a_key_is_refused(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({".env": "OTHER=1\n", "conf/.env.local": f"KEY='{KEYS['OPENAI_API_KEY']}'\n"})
    with ModelServer(GOOD) as server:
        words = ("--change", "Add", "--no-prd", "--files", "*.py", "--worktree-copy")
        for path in ("conf/.env.local", "conf"):
            ran = place.run(*words, path, server=server)
            assert ran.code == 2
            assert path in ran.err
        assert server.count() == 0


@pytest.mark.thorough
def test_nothing_is_left_by_a_crash_and_a_token_dies_with_its_attempt(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({".env": "".join(f"{name}={value}\n" for name, value in IN_FILE.items())})
    words = (
        "--no-prd",
        "--files",
        "f0.py",
        "--no-fork-server",
        "--change",
        "Add",
        "--record",
        str(place.tmp / "a.tape"),
    )
    gate = f"cat {place.repo}/.env; echo at work; sleep 3600"
    held = Held(GOOD)
    with ModelServer(held) as server:
        running = place.start(*words, "--test-cmd", gate, server=server)
        door = wait_until(lambda: next(doors(place, running.child.pid), None), "an agent")
        held.looked.set()
        output = wait_until(lambda: next((place.repo / ".aider_logs").glob("tests_*.txt"), None))
        wait_until(lambda: b"at work" in output.read_bytes())
        assert server.count() == 1
        for token in (door[1], "guessed"):
            url = door[0].replace(door[1], token)
            answer = httpx.post(f"{url}/chat/completions", json={"model": "m", "messages": []}, trust_env=False)
            assert answer.status_code == 403
        assert server.count() == 1, "a dead token opens nothing"
        running.child.kill()
        running.child.wait()
        assert leaks(place, running.said(0), running.said(1), keys=ALL) == []
        wait_until(lambda: place.processes() == {}, what="no orphan")


def doors(place: Place, orchestrator: int) -> Iterator[tuple[str, str]]:
    """An agent's base URL and token, as a curious program may read them."""
    for pid in place.processes():
        found = dict(
            part.partition("=")[::2] for part in os.fsdecode(read_proc(Path(f"/proc/{pid}/environ"))).split("\0")
        )
        if pid != orchestrator and "/t/" in found.get("OPENAI_API_BASE", ""):
            yield found["OPENAI_API_BASE"], found["OPENAI_API_KEY"]


def test_the_gateway_listens_on_this_machine_only() -> None:
    async def listening() -> list[str]:
        async with seating.door({}) as (gateway, _):
            lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
            return [line.split()[1] for line in lines if line.split()[1].endswith(f":{gateway.port:04X}")]

    assert {address.split(":")[0] for address in asyncio.run(listening())} == {"0100007F"}


@pytest.mark.thorough
def test_a_bug_report_and_a_last_word_hold_no_key(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({".env": "".join(f"{name}={value}\n" for name, value in IN_FILE.items())})
    for value in ALL:
        ran = place.run("--change", "x", "--no-prd", "--files", f"a/{value}.py", "--api-key", KEYS["GOOGLE_API_KEY"])
        assert ran.code == 2 and "[redacted: " in ran.err
        assert leaks(place, ran.out, ran.err, keys=ALL) == []
    wrong = f"lambda arguments: 1 / int('{SHAPED}')"
    bug = f"import aider_orchestrator as program; from orchestra.cli.commands import runs; runs.cmd_runs = {wrong}; "
    script = f"import sys; sys.path.insert(0, sys.argv[1]); {bug}sys.exit(program.main(['runs']))"
    running = place.start(shell=f"exec {sys.executable} -c {shlex.quote(script)} {PROGRAM.parent}")
    ran = running.end()
    assert ran.code == 3 and "bug" in ran.err
    report = next(place.tmp.glob("aider-orchestrator-bug-*")).read_text()
    assert "[redacted: OpenAI key]" in report and leaks(place, ran.out, ran.err, keys=ALL) == []


@pytest.mark.thorough
def test_a_reply_that_held_a_key_is_asked_for_anew_and_the_work_is_whole(tmp_path: Path) -> None:
    """The user's own fixture may look like a key: the agent gets it is, and so does a resumed one."""
    place = make_place(tmp_path, {"f0.py": "x = 0\n"})
    wanted = f'x = "{SHAPED}"\n'
    words = ("--change", "Add", "--no-prd", "--files", "f0.py")
    killer = f'python=$1; shift 2; exec "$python" "{KILLER}" assistant_response 1 "$@"'
    with ModelServer(knows({"f0.py": wanted}, set())) as server:
        assert place.start(*words, server=server, shell=killer).child.wait(within()) == -9
        assert server.count() == 1
        ran = place.run("resume", server=server)
        assert ran.code == 0, ran.err
        assert server.count() == 2, "what is kept of the reply is not what came"
    assert (place.repo / "f0.py").read_text() == wanted
    logged = b"".join(path.read_bytes() for path in ran.logs.glob("*.jsonl"))
    assert SHAPED.encode() not in logged and b"[redacted: OpenAI key]" in logged


@pytest.mark.thorough
def test_a_run_whose_change_held_a_key_is_not_resumed_with_a_mangled_one(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"f0.py": "x = 0\n"})
    words = ("--change", f"Replace {SHAPED} by a variable", "--no-prd", "--files", "f0.py")
    shell = f'python=$1; shift 2; exec "$python" "{KILLER}" attempt_started 1 "$@"'
    with ModelServer(GOOD) as server:
        assert place.start(*words, server=server, shell=shell).child.wait(within()) == -9
        for more, told in (
            ((), "a secret was redacted from its plan"),
            (words[:2], "a secret was redacted from its plan"),
        ):
            ran = place.run("resume", *more, server=server)
            assert ran.code == 2 and told in ran.err, ran.err
        assert server.count() == 0
    assert leaks(place, ran.out, ran.err, keys=ALL) == []


# --- what is taken for a secret -------------------------------------------------------------------------------------


def test_what_is_hidden() -> None:
    variables = {
        "OPENAI_API_KEY": "sk-1234567",
        "MY_TOKEN": 'abc"\\é-12345678',
        "POSTGRES_PASSWORD": "postgres",
        "KEY_FILE": "/home/ada/key-file-1",
        "TOKEN_NAME": "twelve or more 1",
        "EDITOR": "not-a-secret-12345",
    }
    secrets = Secrets.from_settings(load_settings({}, [("environment", variables)]))
    assert set(secrets.values) == {"sk-1234567", 'abc"\\é-12345678'}
    for text in ('abc"\\é-12345678', 'abc\\"\\\\é-12345678', 'abc\\"\\\\\\u00e9-12345678'):
        assert secrets.scrub(f"<{text}>") == "<[redacted: MY_TOKEN]>"
    assert secrets.scrub("<sk-1234567>") == "<[redacted: OPENAI_API_KEY]>"
    assert secrets.scrub("postgres at /home/ada/key-file-1") == "postgres at /home/ada/key-file-1"
    assert secrets.clean_environment({"A": "Bearer sk-1234567", "B": "b", "C_KEY": "x"}) == {"B": "b"}


@pytest.mark.thorough
def test_environment_of_the_program_shows_no_key_once_it_works(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    seen: list[bytes] = []

    def respond(request: Request) -> Reply:
        seen.append(Path(f"/proc/{running.child.pid}/environ").read_bytes())
        return Reply(search_replace("a.py", "a = 1", "a = 2"))

    with ModelServer(respond) as server:
        running = place.start("--change", "x", "--no-prd", "--files", "a.py", server=server)
        assert running.end().code == 0
    assert seen and b"OPENAI_API_KEY=xxxx" in seen[0]
    assert not any(key.encode() in seen[0] for key in KEYS.values())
