"""The user's keys are found in no file, no object of git's and no agent's environment or command line."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.conduct.secrets import Secrets
from orchestra.settings import load
from tests.support.edits import appends, gemini_prd
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import KEYS, Place, Ran, assert_clean, make_place, read_proc, wait_until

FILES = {f"f{n}.py": f"x = {n}\n" for n in range(3)} | {".gitignore": ".env\n"}
IN_FILE = {"OPENROUTER_API_KEY": "sk-or-in-the-file-0123456789", "COMPANY_TOKEN": "tok-of-the-company-42"}
PLANTED = re.compile("|".join(re.escape(value) for value in (*KEYS.values(), *IN_FILE.values())).encode())
GOOD = appends("# hi")
PRD = "# A line\n\n## Goal\n\nAdd a line to f0.py, f1.py and f2.py.\n"


def planted(place: Place) -> list[str]:
    """Where a key is found, in files and in git's own objects; the user's own .env may have it."""
    roots = (place.repo, place.home, place.tmp)
    files = [path for root in roots for path in root.rglob("*") if path.is_file() and path != place.repo / ".env"]
    found = [str(path) for path in files if PLANTED.search(read_proc(path))]
    objects = place.git("cat-file", "--batch", "--batch-all-objects", "--unordered")
    return found + (["git's objects"] if PLANTED.search(os.fsencode(objects)) else [])


def seen_by_agents(place: Place, orchestrator: int) -> Iterator[bytes]:
    for pid in place.processes():
        if pid != orchestrator:
            yield from (read_proc(Path(f"/proc/{pid}") / name) for name in ("environ", "cmdline"))


def run_watched(place: Place, server: ModelServer, *words: str, **env: Any) -> Ran:
    """Look while the agents are at work, and again at the end."""
    running = place.start("--change", "Add a line", "--agents", "3", *words, server=server, **env)
    wait_until(lambda: sum(bool(request.asks) for request in server.requests) == 3)
    traces = list(seen_by_agents(place, running.child.pid))
    assert len(traces) >= 6
    assert [trace for trace in traces if PLANTED.search(trace)] == []
    assert planted(place) == []
    ran = running.end()
    assert planted(place) == []
    assert not PLANTED.search((ran.out + ran.err).encode())
    return ran


@pytest.mark.parametrize("words", ((), ("--no-fork-server", "--json", "--verbose")))
def test_keys_are_nowhere(words: tuple[str, ...], tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({".env": "".join(f"{name}={value}\n" for name, value in IN_FILE.items())})
    peek = "env; cat /proc/self/environ; cat /proc/$PPID/environ"  # a command of the repository's, which may be curious
    with ModelServer(gemini_prd(PRD, GOOD), latency=1.0) as server:
        ran = run_watched(place, server, "--setup-cmd", peek, "--test-cmd", peek, *words)
        google = {r.headers.get("x-goog-api-key") for r in server.requests if r.dialect == "gemini"}
        openai = {r.headers.get("authorization") for r in server.requests if r.dialect == "openai"}
    assert (google, openai) == ({KEYS["GOOGLE_API_KEY"]}, {f"Bearer {KEYS['OPENAI_API_KEY']}"})
    assert ran.code == 0, ran.err
    assert_clean(ran, prd=True)


def test_keys_from_the_repositorys_env_file(tmp_path: Path) -> None:
    """A key and a base URL from one untracked .env belong together. A provider may quote the key in its refusal."""
    place = make_place(tmp_path, FILES)
    name, key = next(iter(IN_FILE.items()))

    def refuse(request: Request) -> Reply:
        key = request.headers["authorization"].removeprefix("Bearer ")
        return Reply(f"Incorrect API key provided: {key}. You said {key!r}.", status=401, latency=2.0)

    with ModelServer(refuse) as server:
        place.write({".env": f"OPENROUTER_API_BASE={server.openai_base}\n{name}={key}\n"})
        model = ("--no-prd", "--files", "*.py", "--model", "openrouter/some/model")
        ran = run_watched(place, server, *model, OPENAI_API_KEY="", ANTHROPIC_API_KEY="", GOOGLE_API_KEY="")
    assert ran.code == 4
    assert set(ran.verdicts) == {"auth"}
    assert "[redacted]" in ran.out
    assert_clean(ran)


def test_a_key_given_as_a_flag_reaches_no_agent(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(gemini_prd(PRD, GOOD), latency=1.0) as server:
        ran = run_watched(place, server, "--api-key", KEYS["GOOGLE_API_KEY"], GOOGLE_API_KEY="")
    assert ran.code == 0, ran.err
    assert_clean(ran, prd=True)


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
    secrets = Secrets.of(load({}, [("environment", variables)]))
    assert set(secrets.values) == {"sk-1234567", 'abc"\\é-12345678'}
    for text in ('abc"\\é-12345678', 'abc\\"\\\\é-12345678', 'abc\\"\\\\\\u00e9-12345678', "sk-1234567"):
        assert secrets.scrub(f"<{text}>") == "<[redacted]>"
    assert secrets.scrub("postgres at /home/ada/key-file-1") == "postgres at /home/ada/key-file-1"
    assert secrets.free({"A": "Bearer sk-1234567", "B": "b", "C_KEY": "x"}) == {"B": "b"}
