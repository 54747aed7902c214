"""Gemini over real HTTP on loopback: REST and the SDK, every failure as one sentence, and the script as a process."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestra.answers import prd_format
from orchestra.errors import ProviderError, SettingsError
from orchestra.gateway.billing import ClientPass, Upstream
from orchestra.gateway.gateway import Gateway
from orchestra.models.gemini import GeminiError, write_prd
from tests.support.load import NEVER, wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.seating import Listener

ROOT = Path(__file__).parents[1]
KEY = "AIza-a-key/with+signs_in-it"
PRD = """# Shouting ü\u2028

```json
{"work": [{"file": "app/voice.py", "new": true, "do": "Write shout."}]}
```
"""


def has_sdk() -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec("google.generativeai") is not None
    return False


REST, SDK = (
    "rest",
    pytest.param("sdk", marks=pytest.mark.skipif(not has_sdk(), reason="google-generativeai is missing")),
)
both = pytest.mark.parametrize("client", [REST, SDK])


def ask(base: str, *, change: str = "Shout.", client: str = "rest", model: str = "gemini-x", **more: Any) -> str:
    return asyncio.run(write_prd(change, "12 app/main.py", model=model, key=KEY, base=base, client=client, **more))


def answer(reply: Reply, **how: Any) -> tuple[str, list[Request]]:
    with ModelServer(lambda request: reply) as server:
        return ask(server.url, **how), server.requests


def failure(reply: Reply, **how: Any) -> GeminiError:
    """The error that a reply leads to, after one request and no more; it is one line without the key."""
    with ModelServer(lambda request: reply) as server:
        with pytest.raises(GeminiError) as caught:
            ask(server.url, **how)
        assert server.count() == 1
    assert caught.value.exit_code == 4
    assert KEY not in str(caught.value)
    assert re.fullmatch(r"[^\n\x1b]*Gemini[^\n\x1b]*[.]", str(caught.value))
    return caught.value


def candidate(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}} | more]}


def stream(*bodies: Any, end: str = "\n\n") -> Reply:
    raw = "".join(f"data: {json.dumps(body, ensure_ascii=False)}{end}" for body in bodies)
    return Reply(raw_body=raw.encode(), headers={"content-type": "text/event-stream"})


# --- what is asked --------------------------------------------------------------------------------------------------


def test_the_request_over_rest() -> None:
    _, [request] = answer(Reply(PRD), change="Shout {loud}. \udcff")
    assert request.path == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == KEY
    assert KEY not in request.path + json.dumps(request.body)
    assert set(request.body) == {"systemInstruction", "contents"}
    assert "temperature" not in json.dumps(request.body)
    [(role, text)] = request.messages
    assert role == "user"
    assert "Shout {loud}. ?" in text
    assert "12 app/main.py" in text
    assert text.endswith(prd_format.PRD_INSTRUCTIONS)
    assert "product requirements" in request.system


@pytest.mark.skipif(not has_sdk(), reason="google-generativeai is missing")
def test_the_sdk_asks_the_same() -> None:
    text, [request] = answer(Reply(PRD), client="sdk", change="Shout \udcff")
    _, [rest] = answer(Reply(PRD), change="Shout \udcff")
    assert text == PRD
    assert (request.system, request.messages) == (rest.system, rest.messages)
    assert request.headers["x-goog-api-key"] == KEY
    assert KEY not in request.path + json.dumps(request.body)
    assert "temperature" not in json.dumps(request.body)


@both
@pytest.mark.parametrize("model", ["gemini-x", "models/gemini-x", "gemini/gemini-x", "gemini/models/gemini-x"])
@pytest.mark.parametrize("tail", ["", "/", "/v1beta", "/v1beta/"])
def test_model_and_base_may_be_written_in_several_ways(client: str, model: str, tail: str) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        assert ask(server.url + tail, client=client, model=model) == PRD
        assert [request.model for request in server.requests] == ["gemini-x"]
        assert server.requests[0].path.startswith("/v1beta/models/")


@both
def test_a_proxy_of_the_user_s_is_not_the_way_to_this_machine(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert answer(Reply(PRD), client=client)[0] == PRD


@both
def test_through_the_gateway_that_a_run_uses(client: str) -> None:
    async def through(server: ModelServer) -> tuple[str, ClientPass]:
        gateway = Gateway({"gemini": Upstream("gemini", "gemini", server.url, KEY)}, Listener())
        await gateway.start()
        ticket = gateway.add_client(ClientPass("prd"))
        try:
            base = gateway.client_url(ticket, "gemini")
            text = await write_prd("Shout.", "", model="gemini-x", key=ticket.token, base=base, client=client)
        finally:
            await gateway.stop()
        return text, ticket

    with ModelServer(lambda request: Reply(PRD)) as server:
        text, ticket = asyncio.run(through(server))
        assert text == PRD
        assert [request.headers["x-goog-api-key"] for request in server.requests] == [KEY]
        assert (ticket.usage.input, ticket.usage.output) == (server.tokens().input, server.tokens().output)


# --- what is answered -----------------------------------------------------------------------------------------------


def test_a_stream_is_counted_as_it_comes() -> None:
    heard: list[int] = []
    text, _ = answer(Reply(PRD, drip=0.001), on_text=heard.append)
    assert text == PRD
    assert len(heard) > 10
    assert heard == sorted(heard)
    assert heard[-1] == len(PRD)


STOP = {"finishReason": "STOP"}
THOUGHT = {"text": "Hmm, `json`.", "thought": True}


@pytest.mark.parametrize(
    "reply",
    [
        stream(candidate(THOUGHT), candidate(THOUGHT, {"text": PRD[:9]}), candidate({"text": PRD[9:]}, **STOP)),
        stream(candidate({"text": PRD}), {"usageMetadata": {"totalTokenCount": 3}}, candidate(**STOP)),
        stream(candidate({"text": PRD}), end="\r\n\r\n"),
        stream(candidate({"text": PRD}), end="\n"),
        Reply(raw_body=b": hello\n\ndata: " + json.dumps(candidate({"text": PRD})).encode() + b"\n\ndata: [DONE]\n\n"),
        Reply(raw_body=json.dumps(candidate(THOUGHT, {"text": PRD}, **STOP)).encode()),
        Reply(raw_body=json.dumps([candidate({"text": PRD[:9]}), candidate({"text": PRD[9:]})], indent=2).encode()),
        Reply(raw_body=json.dumps(candidate({"text": PRD}), indent=1, ensure_ascii=False).encode()),
        Reply("```markdown\n" + PRD + "```\n"),
        Reply("\n\n" + PRD + "\n\n\n"),
    ],
    ids=["thoughts", "usage", "crlf", "tight", "done", "json", "array", "pretty", "wrapped", "blank"],
)  # fmt: skip
def test_the_document_arrives_whole_in_every_shape(reply: Reply) -> None:
    assert answer(reply)[0] == PRD


# --- what goes wrong ------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("reply", "words", "again"),
    [
        (Reply("API key not valid.", status=400), "does not accept the key (HTTP 400: API key not valid).", False),
        (Reply(f"Bad {KEY}\x1b[31m", status=401), "does not accept the key (HTTP 401: Bad ...[31m). Check", False),
        (Reply("Denied.", status=403), "does not accept the key (HTTP 403: Denied). Check GOOGLE_API_KEY.", False),
        (Reply("Unknown field.\nSee x", status=400), "rejected the request (HTTP 400: Unknown field. See x).", False),
        (Reply("models/gemini-x is not found", status=404), "'gemini-x' is not a model that this server knows", False),
        (Reply("You exceeded it", status=429), "quota or rate limit is used up (HTTP 429: You exceeded it)", True),
        (Reply("The model is overloaded.", status=503), "Gemini failed (HTTP 503: The model is overloaded).", True),
        (Reply(status=502, raw_body=b"<!DOCTYPE html><p>Bad gateway"), "Gemini failed (HTTP 502: a web page).", True),
        (Reply(status=404, raw_body=b"<html>No</html>"), "is not Gemini (HTTP 404: a web page). Check GEMI", False),
        (Reply(status=500, raw_body=b""), "Gemini failed (HTTP 500: no message).", True),
        (Reply(status=400, raw_body=b"x" * 400_000), "(HTTP 400: " + "x" * 300 + ").", False),
        (Reply(PRD, finish="length"), "was cut off at the longest that gemini-x may write (MAX_TOKENS)", False),
        (Reply(PRD, finish="filter"), "broke off its answer (SAFETY)", False),
        (Reply(""), "answer is empty", False),
        (Reply(raw_body=b'{"candidates": []}'), "answer is empty", False),
        (Reply(raw_body=b'{"promptFeedback": {"blockReason": "SAFETY"}}'), "was blocked (SAFETY)", False),
        (Reply(PRD, drop="before"), "was lost", True),
        (Reply(PRD * 100, drop="mid"), "was lost", True),
    ],
)  # fmt: skip
def test_every_failure_is_one_sentence(client: str, reply: Reply, words: str, again: bool) -> None:
    error = failure(reply, client=client)
    assert words in str(error)
    assert error.again is again


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(raw_body=b"<html>Log in</html>"), "is not Gemini (HTTP 200: a web page). Check GEMINI_API_BASE"),
        (Reply(raw_body=b"hello"), "something else than Gemini's JSON"),
        (Reply(raw_body=b"[1, 2]"), "something else than Gemini's JSON"),
        (Reply(raw_body=b"[" * 200_000), "something else than Gemini's JSON"),
        (Reply(raw_body=b"data: {broken\n\n"), "something else than Gemini's JSON"),
        (Reply(raw_body=b""), "answer is empty"),
        (Reply(raw_body=b'{"candidates": [{"content": {"parts": [3, {"text": null}, {}]}}]}'), "answer is empty"),
        (Reply(raw_body=b'{"candidates": {"a": 1}, "promptFeedback": "x"}'), "answer is empty"),
        (stream(candidate(THOUGHT, **STOP)), "answer is empty"),
        (stream(candidate({"text": "Half"}), {"error": {"code": 503, "message": "Gone."}}), "failed (HTTP 503: Gone)"),
        (Reply(raw_body=b'[{"error": {"message": "Odd."}}]'), "rejected the request (Odd)."),
        (Reply(raw_body=b'{"error": "odd"}'), "rejected the request (odd)."),
        (Reply(status=302, headers={"location": "http://[::1]/"}, raw_body=b"gone"), "not Gemini (HTTP 302: gone)"),
    ],
)  # fmt: skip
def test_what_is_not_an_answer_over_rest(reply: Reply, words: str) -> None:
    assert words in str(failure(reply))


@pytest.mark.skipif(not has_sdk(), reason="google-generativeai is missing")
@pytest.mark.parametrize(
    "reply",
    [
        Reply(raw_body=b"<html>Log in</html>"),
        Reply(raw_body=b"[1]"),
        Reply(status=429, raw_body=b'[{"error": {"message": "Slow down."}}]'),
        Reply(status=400, raw_body=b'{"error": "odd"}'),
    ],
)
def test_what_the_sdk_stumbles_over(reply: Reply) -> None:
    assert "google-generativeai cannot read Gemini's answer from http" in str(failure(reply, client="sdk"))


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}
RETRY_BODY = {"error": {"code": 429, "message": "Slow down.", "details": [{"@type": "x"}, RETRY_INFO]}}


@both
@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply("Slow down.", status=429, headers={"retry-after": "3"}), 3.0),
        (Reply(status=429, raw_body=json.dumps(RETRY_BODY).encode()), 17.5),
        (Reply("No.", status=429, headers={"retry-after": "Fri, 06 Nov 2026 10:00:00 GMT"}), 0.0),
    ],
)
def test_how_long_to_wait(client: str, reply: Reply, seconds: float | None) -> None:
    assert failure(reply, client=client).retry_after == seconds


@both
@pytest.mark.parametrize("reply", [Reply(PRD, latency=NEVER), Reply(PRD, drip=NEVER / 16)], ids=["silent", "dripping"])
def test_a_deadline_holds_for_the_whole_answer(client: str, reply: Reply) -> None:
    assert "did not finish its answer within 4 seconds" in str(failure(reply, client=client, timeout=4.0))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@both
def test_a_refused_connection_names_the_base(client: str) -> None:
    base = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(GeminiError, match=f"cannot be reached at {base}: ") as caught:
        ask(base, client=client)
    assert caught.value.again
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": "openai/gpt-6"}, "'openai/gpt-6' is not the name of a Gemini model"),
        ({"model": ""}, "'' is not the name"),
        ({"model": "x:generateContent?key=a"}, "is not the name"),
        ({"key": ""}, "The Google API key is empty"),
        ({"key": "one\ntwo"}, "holds characters that no key has"),
        ({"key": "schlüssel"}, "holds characters that no key has"),
        ({"base": ""}, "GEMINI_API_BASE must be an address"),
        ({"base": "generativelanguage.googleapis.com"}, "GEMINI_API_BASE must be an address"),
        ({"base": "ftp://host"}, "GEMINI_API_BASE must be an address"),
        ({"base": "http://host:port"}, "GEMINI_API_BASE must be an address"),
        ({"base": "http://me:secret@host"}, "GEMINI_API_BASE must be an address"),
        ({"base": "http://host/?key=secret"}, "GEMINI_API_BASE must be an address"),
        ({"client": "grpc"}, "GEMINI_CLIENT must be rest or sdk, not 'grpc'"),
    ],
)
def test_settings_that_cannot_work_are_named(wrong: dict[str, Any], words: str) -> None:
    given = {"model": "gemini-x", "key": KEY, "base": "http://127.0.0.1:9", "client": "rest"} | wrong
    with pytest.raises(SettingsError, match=re.escape(words)) as caught:
        asyncio.run(write_prd("Shout.", "", **given))
    assert "secret" not in str(caught.value)
    assert "two" not in str(caught.value)


def test_without_the_sdk_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.generativeai", None)
    with pytest.raises(SettingsError, match=r"GEMINI_CLIENT=sdk needs the package google-generativeai"):
        ask("http://127.0.0.1:9", client="sdk")


def test_how_long_to_wait_in_a_list() -> None:
    assert failure(Reply(status=429, raw_body=json.dumps([RETRY_BODY]).encode())).retry_after == 17.5


# --- the script -----------------------------------------------------------------------------------------------------

SCRIPT = "gemini_prd_generator.py"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that a developer's own .env beside the script has no part in this."""
    home = tmp_path_factory.mktemp("program")
    shutil.copyfile(ROOT / SCRIPT, home / SCRIPT)
    shutil.copytree(ROOT / "orchestra", home / "orchestra", ignore=shutil.ignore_patterns("__pycache__"))
    return home


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "my repo"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "größe.py").write_text("def messen(a: int) -> int:\n    return 'inner secret'\n")
    (folder / "logo.bin").write_bytes(b"\xff\0" * 50)
    (folder / "link.py").symlink_to("/etc/passwd")
    (folder / "untracked.py").write_text("def untracked(): ...\n")
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "src", "logo.bin", "link.py"], check=True)
    return folder


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    return kept | more


def run(
    program: Path, cwd: Path, *arguments: str, text: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(program / SCRIPT), *arguments]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**env),
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=within(),
    )
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    return done


def prds(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("docs/prd/*"))


def test_the_script_writes_a_prd_and_prints_its_path(program: Path, repository: Path) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        done = run(program, repository, "--prompt", "Add shouting!", GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url)
        assert (done.returncode, done.stderr) == (0, "asking gemini-flash-latest for a PRD ...\n")
        assert re.fullmatch(r"docs/prd/add-shouting_\d{8}_\d{6}\.md\n", done.stdout)
        assert prds(repository) == [done.stdout.strip()]
        assert (repository / done.stdout.strip()).read_bytes() == PRD.encode()
        [request] = server.requests
    assert (request.model, request.headers["x-goog-api-key"]) == ("gemini-flash-latest", KEY)
    assert "Add shouting!" in request.text
    assert "2 of 2, each after its size in bytes; 0 left out\n100 logo.bin\n" in request.text
    assert "src/größe.py\n  def messen(a: int) -> int\n" in request.text
    for unseen in ("inner secret", "untracked", "link.py", "root:"):
        assert unseen not in request.text


@pytest.mark.thorough
def test_from_a_folder_of_the_repository_the_whole_of_it_is_seen(program: Path, repository: Path) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        done = run(program, repository / "src", "--prompt", "x", GEMINI_API_KEY=KEY, GOOGLE_GEMINI_BASE_URL=server.url)
        assert done.returncode == 0, done.stderr
        assert "100 logo.bin\n" in server.requests[0].text
    assert prds(repository / "src") == [done.stdout.strip()]


def test_without_a_repository_it_works_too(program: Path, tmp_path: Path) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        done = run(program, tmp_path, "--prompt", "x", "--api-key", KEY, GEMINI_API_BASE=server.url)
        assert done.returncode == 0, done.stderr
        assert "There is no repository yet" in server.requests[0].text


@pytest.mark.thorough
def test_flags_win_over_the_environment_and_that_over_the_env_files(program: Path, repository: Path) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        lines = f"GOOGLE_API_KEY=from-file\nGEMINI_API_BASE={server.url}\nDEFAULT_GEMINI_MODEL=gemini-file\n"
        (repository / ".env").write_text(lines)
        (program / ".env").write_text("GOOGLE_API_KEY=beside\nGEMINI_CLIENT=rest\n")
        base = {"GEMINI_API_BASE": server.url}
        try:
            assert run(program, repository, "--prompt", "x").returncode == 0
            assert run(program, repository, "--prompt", "x", **base, DEFAULT_GEMINI_MODEL="gemini-env").returncode == 0
            flags = ("--model", "gemini/gemini-flag", "--api-key", KEY)
            assert run(program, repository, "--prompt", "x", *flags, **base).returncode == 0
            (repository / ".env").unlink()
            assert run(program, repository, "--prompt", "x", **base).returncode == 0
        finally:
            (program / ".env").unlink()
        asked = [(request.model, request.headers["x-goog-api-key"]) for request in server.requests]
    assert asked == [
        ("gemini-file", "from-file"),
        ("gemini-env", "from-file"),
        ("gemini-flag", KEY),
        ("gemini-flash-latest", "beside"),
    ]


@pytest.mark.thorough
def test_a_repository_cannot_lead_a_key_of_the_user_s_elsewhere(program: Path, repository: Path) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        (repository / ".env").write_text(f"GEMINI_API_BASE={server.url}\nGEMINI_API_KEY=${{GOOGLE_API_KEY}}\n")
        # Whatever it does instead, this proxy lets nothing out.
        done = run(program, repository, "--prompt", "x", GOOGLE_API_KEY=KEY, HTTPS_PROXY="http://127.0.0.1:9")
        assert (done.returncode, server.count()) == (4, 0)
        assert "cannot be reached at https://generativelanguage.googleapis.com" in done.stderr
        subprocess.run(["git", "-C", str(repository), "add", ".env"], check=True)
        done = run(program, repository, "--prompt", "x")
        assert (done.returncode, server.count()) == (2, 0)


def test_the_prompt_may_come_from_a_file_or_stdin(program: Path, repository: Path) -> None:
    (repository / "change.txt").write_text("From a file: größer.\n", "utf-8")
    with ModelServer(lambda request: Reply(PRD)) as server:
        env = {"GOOGLE_API_KEY": KEY, "GEMINI_API_BASE": server.url}
        assert run(program, repository, "--prompt", "@change.txt", **env).returncode == 0
        assert run(program, repository, "--prompt", "-", text="From stdin: größer.\n", **env).returncode == 0
        assert "From a file: größer." in server.requests[0].text
        assert "From stdin: größer." in server.requests[1].text


@pytest.mark.thorough
def test_a_filename_is_taken_as_it_is_or_goes_to_the_prd_folder(program: Path, repository: Path) -> None:
    (repository / "notes").mkdir()
    (repository / "notes" / "old.md").write_text("old")
    with ModelServer(lambda request: Reply(PRD)) as server:
        env = {"GOOGLE_API_KEY": KEY, "GEMINI_API_BASE": server.url}
        for name, place in (
            ("reset.md", "docs/prd/reset.md"),
            ("notes/old.md", "notes/old.md"),
            ("./here.md", "here.md"),
            ("a/b/c d.md", "a/b/c d.md"),
            (str(repository / "abs.md"), str(repository / "abs.md")),
        ):
            done = run(program, repository, "--prompt", "x", "--filename", name, **env)
            assert (done.returncode, done.stdout) == (0, f"{place}\n")
            assert (repository / place).read_bytes() == PRD.encode()
    assert [path.name for path in (repository / "notes").iterdir()] == ["old.md"]


@pytest.mark.thorough
def test_runs_in_the_same_second_do_not_collide(program: Path, repository: Path) -> None:
    with ModelServer(lambda request: Reply(PRD), latency=0.3) as server:
        env = environment(GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url)
        command = [sys.executable, str(program / SCRIPT), "--prompt", "x"]
        children = [subprocess.Popen(command, cwd=repository, env=env, stdout=-1, stderr=-1) for _ in range(4)]
        printed = [child.communicate(timeout=within())[0].decode().strip() for child in children]
    assert sorted(printed) == prds(repository)
    assert len(set(printed)) == 4
    assert all((repository / path).read_bytes() == PRD.encode() for path in printed)


def test_without_a_key_one_sentence_names_the_ways(program: Path, repository: Path) -> None:
    done = run(program, repository, "--prompt", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gemini_prd_generator: There is no Google API key: "
        "set GOOGLE_API_KEY in the environment or in .env, or give --api-key KEY.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--prompt"),
        (("--prompt", ""), "--prompt: the text is empty."),
        (("--prompt", "@missing.txt"), "missing.txt: No such file or directory."),
        (("--prompt", "@logo.bin"), "--prompt: the text is not UTF-8."),
        (("--prompt", "\udcff"), "--prompt: the text is not UTF-8."),
        (("--prompt", "x", "--filename", "src"), None),
        (("--prompt", "x", "--filename", "./src"), "--filename './src' is not the name of a file."),
        (("--prompt", "x", "--filename", "new/"), "--filename 'new/' is not the name of a file."),
        (("--prompt", "x", "--filename", "logo.bin/x.md"), "The PRD cannot be written: logo.bin is not a folder"),
        (("--prompt", "x", "--filename", "y" * 300 + "/x.md"), "File name too long."),
        (("--prompt", "x", "--model", "openai/gpt-6"), "'openai/gpt-6' is not the name of a Gemini model."),
        (("--prompt", "x", "--modle", "y"), "unrecognized arguments: --modle y"),
    ],
)
def test_wrong_use_costs_nothing(
    program: Path, repository: Path, arguments: tuple[str, ...], words: str | None
) -> None:
    with ModelServer(lambda request: Reply(PRD)) as server:
        done = run(program, repository, *arguments, GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url)
        if words is None:  # a bare name is one in docs/prd/, whatever else is called so
            assert (done.returncode, prds(repository)) == (0, ["docs/prd/src"])
            return
        assert (done.returncode, done.stdout, server.count()) == (2, "", 0)
    assert words in done.stderr
    assert prds(repository) == []


def test_a_wrong_setting_is_exit_2(program: Path, repository: Path) -> None:
    done = run(program, repository, "--prompt", "x", GOOGLE_API_KEY=KEY, GEMINI_API_BASE="nonsense")
    assert (done.returncode, "GEMINI_API_BASE must be" in done.stderr) == (2, True)
    done = run(program, repository, "--prompt", "x", GOOGLE_API_KEY=KEY, GEMINI_CLIENT="grpc")
    assert (done.returncode, "GEMINI_CLIENT must be" in done.stderr) == (2, True)


def test_a_refused_key_is_exit_4_and_leaves_no_file(program: Path, repository: Path) -> None:
    (repository / "keep.md").write_text("old")
    with ModelServer(lambda request: Reply(f"API key {KEY} not valid.", status=400)) as server:
        env = {"GOOGLE_API_KEY": KEY, "GEMINI_API_BASE": server.url}
        done = run(program, repository, "--prompt", "x", "--filename", "./keep.md", **env)
        assert (done.returncode, done.stdout, server.count()) == (4, "", 1)
        assert "Gemini does not accept the key (HTTP 400: API key ... not valid)" in done.stderr
        assert run(program, repository, "--prompt", "x", **env).returncode == 4
    assert (repository / "keep.md").read_text() == "old"
    assert not (repository / "docs").exists()


def test_it_asks_again_where_that_helps(program: Path, repository: Path) -> None:
    replies = [Reply("Busy.", status=503, headers={"retry-after": "0"}), Reply(drop="before"), Reply(PRD)]
    with ModelServer(lambda request: replies.pop(0)) as server:
        done = run(program, repository, "--prompt", "x", GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url)
        assert (done.returncode, server.count()) == (0, 3)
    assert "HTTP 503: Busy). Try again later. Asking again in 0 s." in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(("wait", "requests"), [("0", 3), ("86400", 1)])
def test_it_gives_up_in_the_end(program: Path, repository: Path, wait: str, requests: int) -> None:
    with ModelServer(lambda request: Reply("Quota.", status=429, headers={"retry-after": wait})) as server:
        done = run(program, repository, "--prompt", "x", GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url)
        assert (done.returncode, done.stdout, server.count()) == (4, "", requests)
    assert "HTTP 429: Quota" in done.stderr.splitlines()[-1]


def test_unusable_prd_is_kept_and_reported(program: Path, repository: Path) -> None:
    with ModelServer(lambda request: Reply(PRD.replace("[{", "{"))) as server:
        done = run(program, repository, "--prompt", "x", GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url)
        assert (done.returncode, server.count()) == (4, 1)
    [path] = prds(repository)
    assert (
        f"Gemini's PRD is written to {path}, but it needs mending: The PRD's JSON block is not valid JSON"
        in done.stderr
    )


@pytest.mark.thorough
@both
def test_ctrl_c_ends_it_at_once(program: Path, repository: Path, client: str) -> None:
    with ModelServer(lambda request: Reply(PRD, latency=NEVER)) as server:
        env = environment(GOOGLE_API_KEY=KEY, GEMINI_API_BASE=server.url, GEMINI_CLIENT=client)
        command = [sys.executable, str(program / SCRIPT), "--prompt", "x"]
        with subprocess.Popen(command, cwd=repository, env=env, stdout=-1, stderr=-1, text=True) as child:
            wait_until(server.count, "a question")
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=within())
    assert (child.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "gemini_prd_generator: stopped."
    assert prds(repository) == []


def test_help_names_every_flag_and_variable(program: Path, repository: Path) -> None:
    """How quickly: bench/short.py."""
    done = run(program, repository, "--help")
    assert done.returncode == 0
    for word in (
        "--prompt",
        "--filename",
        "--model",
        "--api-key",
        "GOOGLE_API_KEY",
        "GEMINI_API_BASE",
        "GEMINI_CLIENT",
    ):
        assert word in done.stdout


def test_a_provider_error_is_what_the_orchestrator_takes_it_for() -> None:
    assert isinstance(failure(Reply("Denied.", status=403)), ProviderError)
