"""The scripted model server and the edits it says, held against real clients: httpx, litellm and Aider itself."""

import asyncio
import importlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import edits
from tests.support.edits import CannotSay, edit_from_to, knows, names, search_replace, whole_file
from tests.support.load import LONGEST, NEVER, wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request, Usage, read_request

DIALECTS = ("openai", "anthropic", "gemini")
SAY_HELLO = {
    "model": "m-1",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", SAY_HELLO),
    "anthropic": (
        "/v1/messages",
        {"model": "m-1", "system": "Be brief.", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    ),
    "gemini": (
        "/v1beta/models/m-1:generateContent",
        {"system_instruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"parts": [{"text": "Hi"}]}]},
    ),
}
QUIET = """
    --yes-always --no-check-update --no-show-release-notes --no-show-model-warnings --no-analytics --no-gitignore
    --no-detect-urls --no-suggest-shell-commands --no-pretty --no-stream --no-fancy-input --no-auto-lint
    --no-auto-commits --map-tokens 0 --timeout 3600
"""


def hello(request: Request) -> Reply:
    return Reply("Hello there", usage=Usage(input=100, output=20, cached=40, thoughts=5))


def ask(server: ModelServer, dialect: str, timeout: float = LONGEST) -> httpx.Response:
    path, body = CALLS[dialect]
    return httpx.post(server.url + path, json=body, timeout=timeout, headers={"X-Api-Key": "k"})


# The wire


def test_bodies_carry_text_usage_and_finish_as_each_provider_says_them() -> None:
    with ModelServer(hello) as server:
        said = {dialect: ask(server, dialect).json() for dialect in DIALECTS}
    choice = said["openai"]["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello there", "stop")
    assert said["openai"]["usage"]["prompt_tokens"] == 100
    assert said["openai"]["usage"]["completion_tokens"] == 20
    assert said["openai"]["usage"]["prompt_tokens_details"]["cached_tokens"] == 40
    assert said["anthropic"]["content"] == [{"type": "text", "text": "Hello there"}]
    assert said["anthropic"]["stop_reason"] == "end_turn"
    counts = [said["anthropic"]["usage"][f"{kind}_tokens"] for kind in ("input", "cache_read_input", "output")]
    assert counts == [60, 40, 20]
    candidate, meta = said["gemini"]["candidates"][0], said["gemini"]["usageMetadata"]
    assert (candidate["content"]["parts"], candidate["finishReason"]) == ([{"text": "Hello there"}], "STOP")
    assert (meta["promptTokenCount"], meta["candidatesTokenCount"], meta["thoughtsTokenCount"]) == (100, 15, 5)
    assert meta["totalTokenCount"] == 120


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_arrived_is_recorded_the_same_for_all_dialects(dialect: str) -> None:
    with ModelServer(hello) as server:
        start = time.time()
        ask(server, dialect)
        ask(server, dialect)
        request = server.requests[0]
        assert (request.dialect, request.model, request.system, request.brief) == (dialect, "m-1", "Be brief.", "Hi")
        assert (request.path, request.body, request.headers["x-api-key"]) == (*CALLS[dialect], "k")
        assert (request.status, request.usage, request.streamed) == (200, Usage(100, 20, 40, 5), False)
        assert (request.asks, request.files) == ("", {})
        assert start <= request.time <= time.time()
        assert (server.count(), server.count("m-1"), server.count("m-2")) == (2, 2, 0)
        assert (server.tokens(), server.tokens("m-2")) == (Usage(200, 40, 80, 10), Usage())
        server.reset()
        assert (server.count(), server.tokens()) == (0, Usage())


def test_usage_is_estimated_from_the_texts_when_the_script_gives_none() -> None:
    with ModelServer(lambda request: Reply("x" * 400)) as server:
        usage = ask(server, "openai").json()["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (len("Be brief.\nHi") // 4 + 1, 101)
        assert server.tokens() == Usage(4, 101)


@pytest.mark.parametrize(
    ("dialect", "status", "where", "word"),
    [
        ("openai", 401, ("code",), "invalid_api_key"),
        ("openai", 429, ("code",), "rate_limit_exceeded"),
        ("openai", 500, ("type",), "server_error"),
        ("anthropic", 401, ("type",), "authentication_error"),
        ("anthropic", 429, ("type",), "rate_limit_error"),
        ("anthropic", 529, ("type",), "overloaded_error"),
        ("gemini", 400, ("status",), "INVALID_ARGUMENT"),
        ("gemini", 429, ("status",), "RESOURCE_EXHAUSTED"),
        ("gemini", 503, ("status",), "UNAVAILABLE"),
    ],
)
def test_errors_have_the_shape_of_their_provider(dialect: str, status: int, where: tuple[str], word: str) -> None:
    def refuse(request: Request) -> Reply:
        return Reply("No, thank you", status=status, headers={"retry-after": "7"})

    with ModelServer(refuse) as server:
        answer = ask(server, dialect)
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
        error = answer.json()["error"]
        assert (error["message"], error[where[0]]) == ("No, thank you", word)
        assert (server.requests[0].status, server.tokens()) == (status, Usage())


def test_raw_bytes_go_out_as_they_are_and_stray_paths_are_seen() -> None:
    with ModelServer(lambda request: Reply(raw_body=b"<html>", headers={"content-type": "text/html"})) as server:
        answer = ask(server, "openai")
        assert (answer.content, answer.headers["content-type"]) == (b"<html>", "text/html")
        assert httpx.get(server.url + "/v1/v1/messages").status_code == 404
        assert [(request.dialect, request.status) for request in server.requests] == [("openai", 200), ("", 404)]
        assert server.tokens() == Usage()


def test_a_connection_can_be_dropped_before_and_in_the_middle() -> None:
    replies = [Reply("x" * 1000, drop="before"), Reply("x" * 1000, drop="mid"), Reply("fine")]
    with ModelServer(lambda request: replies.pop(0)) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            ask(server, "openai")
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
            ask(server, "openai")
        assert ask(server, "openai").is_success
        assert [request.status for request in server.requests] == [0, 200, 200]
        assert [request.usage.output for request in server.requests] == [0, 0, 2]


def test_latency_stall_and_drip_take_their_time() -> None:
    slow = [Reply("x" * 1000, latency=0), Reply("x" * 1000), Reply("x" * 1000, stall=0.3), Reply("x" * 1000, drip=0.02)]
    with ModelServer(lambda request: slow.pop(0), latency=0.5) as server:
        took = [ask(server, "openai").elapsed.total_seconds() for _ in range(4)]
        assert took[1] >= 0.5
        assert took[2] >= 0.5 + 0.3
        assert took[3] >= 0.5 + 16 * 0.02
    with ModelServer(lambda request: Reply("x" * 1000, stall=NEVER)) as server, pytest.raises(httpx.ReadTimeout):
        ask(server, "openai", timeout=0.2)


def test_three_hundred_requests_are_carried_at_once() -> None:
    raw = json.dumps(SAY_HELLO)
    head = f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {len(raw)}\r\nconnection: close\r\n\r\n"

    async def one(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head + raw).encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def crowd(port: int) -> list[bytes]:
        return await asyncio.gather(*(one(port) for _ in range(300)))

    with ModelServer(lambda request: replace(hello(request), until=lambda: server.count() == 300)) as server:
        answers = asyncio.run(crowd(int(server.url.rpartition(":")[2])))
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
        assert (server.count(), server.peak) == (300, 300)
        assert server.tokens() == Usage(30_000, 6_000, 12_000, 1_500)


def test_a_client_that_left_was_answered_nothing() -> None:
    gone = threading.Event()
    with ModelServer(lambda request: replace(hello(request), until=gone.is_set)) as server:
        with pytest.raises(httpx.ReadTimeout):
            ask(server, "openai", timeout=0.1)
        gone.set()
        wait_until(lambda: server.requests and not server.active, "nobody is being answered")
        assert [(request.status, request.usage) for request in server.requests] == [(0, Usage())]


def test_what_a_script_raises_reaches_the_test() -> None:
    def stumble(request: Request) -> Reply:
        raise AssertionError("not what I expected")

    with pytest.raises(ExceptionGroup) as caught, ModelServer(stumble) as server:
        assert ask(server, "gemini").status_code == 400
    assert [str(each) for each in caught.value.exceptions] == ["not what I expected"]


def test_a_chunked_request_on_a_connection_that_is_kept() -> None:
    path, body = CALLS["openai"]
    raw = json.dumps(body).encode()
    with ModelServer(hello) as server, httpx.Client() as client:
        for _ in range(2):
            content = iter([raw[:10], raw[10:]])
            assert client.post(server.url + path, content=content).json()["choices"][0]["finish_reason"] == "stop"
        assert [request.brief for request in server.requests] == ["Hi", "Hi"]


def test_the_server_is_gone_afterwards() -> None:
    with ModelServer(hello) as server:
        host, port = server.url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert "modelserver" not in {thread.name for thread in threading.enumerate()}


# Aider's prompts and formats, read and written in this process by Aider's own code


@pytest.fixture(scope="module")
def aider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Aider's modules, imported with a private HOME and kept from looking for prices on the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        patch.setenv("OPENAI_API_KEY", "scripted")
        models = importlib.import_module("aider.models")
        patch.setattr(models.model_info_manager, "content", {"none": {}})
        patch.setattr(models.model_info_manager, "_cache_loaded", True)
        yield importlib.import_module("aider.coders")


MakeCoder = Callable[..., Any]


@pytest.fixture
def coder_for(aider: Any, tmp_path: Path) -> MakeCoder:
    def make(files: dict[str, str], edit_format: str = "diff", read_only: tuple[str, ...] = ()) -> Any:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, newline="")
        io = importlib.import_module("aider.io").InputOutput(pretty=False, yes=True, fancy_input=False)
        paths = [str(tmp_path / path) for path in files if path not in read_only]
        return aider.Coder.create(
            main_model=importlib.import_module("aider.models").Model("openai/gpt-4o"),
            edit_format=edit_format,
            io=io,
            fnames=paths,
            read_only_fnames=[str(tmp_path / path) for path in read_only],
            use_git=False,
            map_tokens=0,
            stream=False,
            suggest_shell_commands=False,
        )

    return make


def prompt_of(coder: Any, brief: str = "Do it.") -> Request:
    coder.cur_messages = [{"role": "user", "content": brief}]
    messages = coder.format_messages().all_messages()
    return read_request("/v1/chat/completions", {}, {"model": "m", "messages": messages})


def apply(coder: Any, text: str) -> None:
    coder.partial_response_content = text
    coder.reflected_message = None
    coder.apply_updates()
    assert coder.reflected_message is None


AWKWARD = {
    "empty": "",
    "blank": "\n\n",
    "no final newline": "one\ntwo",
    "markdown": "# T\n\n```python\nprint()\n```\n\nend",
    "indented fence": "- a\n\n    ```\n    b\n    ```\n\n- last\n",
    "one line after an empty one": "\nx\n",
    "indented fence at the end": "- a\n\n    ```\n    b\n    ```",
    "all ticks": "```\n````\nx\n",
    "tags": "```\n````\n<source>\n</code>\n<pre>\n",
    "markers": "<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\nz\n",
    "rst": "One\n=====\n\nText.\n\nTwo\n=====\n\nText.\n",
    "twins": "def f():\n    return 1\n\n\ndef g():\n    return 1\n",
    "dots": "class A:\n    ...\n\n\nclass B:\n    ...\n",
    "form feed": "import a\n\x0c\ndef f():\n    return 1\n",
    "names itself": "# file.txt\nfile.txt\nsee file.txt\nend\n",
    "unicode": "naïve\u2028line\n\ttab \n  trailing  \n\nüñí\n",
    "a prompt": "I have *added these files to the chat* so\n\nother.py\n````\nx\n````\n",
}


@pytest.mark.thorough
@pytest.mark.parametrize("edit_format", ["diff", "diff-fenced", "whole"])
@pytest.mark.parametrize("kind", AWKWARD)
def test_files_are_read_from_the_prompt_as_they_are(coder_for: MakeCoder, kind: str, edit_format: str) -> None:
    files = {"d/a b[1].txt": AWKWARD[kind], "-last.md": AWKWARD[kind], "ref.md": "reference"}
    files |= {"open.txt": "no newline", "spare.txt": "\n"}
    coder = coder_for(files, edit_format, read_only=("ref.md",))
    request = prompt_of(coder, "Change d/a b[1].txt.\n\nPlease.")
    assert request.read_only == {"ref.md": "reference"}
    assert request.files == {path: text for path, text in files.items() if path != "ref.md"}
    assert (request.fence, request.asks) == (coder.fence, "whole" if edit_format == "whole" else "diff")
    assert request.brief == "Change d/a b[1].txt.\n\nPlease."


def variants(text: str) -> list[str]:
    lines = text.splitlines(keepends=True)
    return [
        text + ("" if text.endswith("\n") or not text else "\n") + "more\n",
        "```\nfirst\n```\n" + text,
        "".join(lines[:-1]),
        "".join(lines[: len(lines) // 2]) + "\nfile.txt\n\n" + "".join(lines[len(lines) // 2 :]),
        "Title\n=====\n\n" + text.replace("=====", "=========").replace("Text", "Word"),
        "\n".join(reversed(text.split("\n"))),
        text.replace("return 1", "return 2").replace("...", "pass") + "\n\n",
        "\n",
        "quite\n======\n>>>>>>> REPLACE\n=======\nnew",
    ]


def ended(text: str) -> str:
    """As Aider leaves it: with a final newline."""
    return text + "\n" if text and not text.endswith("\n") else text


@pytest.mark.parametrize("kind", AWKWARD)
def test_aider_makes_exactly_the_given_edits(coder_for: MakeCoder, tmp_path: Path, kind: str) -> None:
    """Through Coder.apply_updates: its dry run on the untouched file, then one block after another."""
    before, told = AWKWARD[kind], 0
    for after in variants(before):
        coder = coder_for({"file.txt": before, "twin.py": before})
        try:
            reply = knows({"file.txt": after})(prompt_of(coder))
        except CannotSay:
            continue
        apply(coder, reply.text)
        if ended(before) != ended(after):
            assert (tmp_path / "file.txt").read_text() == ended(after)
        assert (tmp_path / "twin.py").read_text() == before
        told += 1
    assert told == len(variants(before)) - {"form feed": 2, "unicode": 5}.get(kind, 0)


@pytest.mark.thorough
def test_random_edits_of_awkward_lines(coder_for: MakeCoder, tmp_path: Path) -> None:
    rnd, told = random.Random(7), 0
    words = ["a", "    b", "", "", "}", "=====", "  =======  ", "```", "...", ">>>>>>> REPLACE", "# f.md", "<source>"]

    def lines(most: int) -> list[str]:
        return rnd.choices(words, k=rnd.randint(0, most))

    for _ in range(300):
        old = lines(25)
        new = list(old)
        for _ in range(rnd.randint(1, 3)):
            at = rnd.randint(0, len(new))
            new[at : at + rnd.randint(0, 3)] = lines(3)
        before, after = ("".join(line + "\n" for line in each) for each in (old, new))
        coder = coder_for({"f.md": before}, rnd.choice(["diff", "diff", "whole"]))
        try:
            reply = knows({"f.md": after})(prompt_of(coder))
        except CannotSay:
            continue
        apply(coder, reply.text)
        assert (tmp_path / "f.md").read_text() == after
        told += 1
    assert told >= 270


def test_blocks_hold_little_more_than_the_change(aider: Any, tmp_path: Path) -> None:
    """The parser and do_replace by themselves, over a file of look-alike functions."""
    block = importlib.import_module("aider.coders.editblock_coder")
    before = "".join(f"def f{n}():\n    x = 1\n    return x\n\n\n" for n in range(100))
    after = before.replace("def f70():\n    x = 1", "def f70():\n    x = 2").replace("f99", "g99")
    said = edit_from_to("pkg/m.py", before, after)
    found = list(block.find_original_update_blocks(said, valid_fnames=["pkg/m.py"]))
    assert [(path, len(old.splitlines())) for path, old, _ in found] == [("pkg/m.py", 1), ("pkg/m.py", 2)]
    target = tmp_path / "m.py"
    target.touch()
    text = before
    for _, old, new in found:
        assert old in before
        text = block.do_replace(str(target), text, old, new, ("```", "```"))
    assert text == after


def test_crlf_and_a_missing_final_newline_are_no_change() -> None:
    assert edit_from_to("f", "a\r\nb\r\n", "a\nb") == ""
    assert "\r" not in edit_from_to("f", "a\r\nb\r\n", "a\r\nc\r\n")
    assert search_replace("f", "a", "b").splitlines()[3:6] == ["a", "=======", "b"]


@pytest.mark.parametrize(("before", "after"), [("a\n", ""), ("a\n", "a\x0cb\n"), ("", "\u2028\n")])
def test_what_no_block_can_say_is_refused(before: str, after: str) -> None:
    with pytest.raises(CannotSay, match=r"^f\.txt: "):
        edit_from_to("f.txt", before, after)
    assert whole_file("f.txt", after) == f"f.txt\n```\n{after}```\n"
    with pytest.raises(CannotSay, match="fence"):
        whole_file("f.txt", "```\n")


def test_paths_are_recognised_whole() -> None:
    brief = "Make `src/new.py` and write docs/guide.md.\nLeave data.py and ./x/y.py"
    assert [path for path in ("src/new.py", "docs/guide.md", "data.py") if names(brief, path)] == [
        "src/new.py",
        "docs/guide.md",
        "data.py",
    ]
    assert not [path for path in ("new.py", "a.py", "src/new", "docs/guide", "y.py") if names(brief, path)]


def test_scripts_answer_for_the_files_of_the_chat_only(coder_for: MakeCoder, tmp_path: Path) -> None:
    wanted = {"a.py": "A\n", "b.py": "B\n", "new/c.py": "C\n", "new/d.py": "D\n"}
    coder = coder_for({"a.py": "a\n", "other.py": "o\n"})
    request = prompt_of(coder, "Also write new/c.py and new/d.py, beside b.py")
    apply(coder, knows(wanted, new={"new/c.py"})(request).text)
    apply(coder, edits.appends("tail")(prompt_of(coder)).text)
    assert edits.appends("tail")(prompt_of(coder)).text == "Nothing needs to change."
    left = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.py")}
    assert left == {"a.py": "A\ntail\n", "other.py": "o\ntail\n", "new/c.py": "C\ntail\n"}
    assert "b.py" in knows(wanted)(request).text


def test_scripts_that_misbehave(coder_for: MakeCoder, tmp_path: Path) -> None:
    coder = coder_for({"a.py": "a\n"})
    (tmp_path / "theirs.py").write_text("t\n")
    apply(coder, edits.edits_foreign("theirs.py", "t\n", "T\n", own=knows({"a.py": "A\n"}))(prompt_of(coder)).text)
    assert ((tmp_path / "a.py").read_text(), (tmp_path / "theirs.py").read_text()) == ("A\n", "T\n")
    coder.partial_response_content = edits.malformed()(prompt_of(coder)).text
    coder.apply_updates()
    assert "Expected `=======`" in coder.reflected_message
    assert edits.no_edits("Why?")(prompt_of(coder)) == Reply("Why?")


# Real clients over the wire


@pytest.mark.thorough(but="openai")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_litellm_reads_the_streams(aider: Any, dialect: str) -> None:
    """litellm is the client inside Aider; it asks OpenAI for the usage only when told to."""
    text = "Ein Satz, und noch einer: ünïcödé.\n" * 9
    with ModelServer(lambda request: Reply(text, usage=Usage(70, 30, 10, 5))) as server:
        chunks = list(
            importlib.import_module("litellm").completion(
                model=f"{dialect}/m-1",
                api_base=server.openai_base if dialect == "openai" else server.url,
                api_key="k",
                messages=[{"role": "user", "content": "Hi"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        told = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)][-1]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
        assert {chunk.choices[0].finish_reason for chunk in chunks if chunk.choices} == {None, "stop"}
        assert (told.prompt_tokens, told.completion_tokens) == (70, 30)
        assert (server.requests[0].streamed, server.tokens()) == (True, Usage(70, 30, 10, 5))


def test_gemini_streams_an_array_to_a_client_that_asks_for_no_events() -> None:
    path, body = CALLS["gemini"]
    path = path.replace("generateContent", "streamGenerateContent")
    with ModelServer(hello) as server:
        plain, events = (httpx.post(server.url + path + query, json=body) for query in ("", "?alt=sse"))
        assert (plain.headers["content-type"], events.headers["content-type"]) == (
            "application/json",
            "text/event-stream",
        )
        told = [json.loads(line.removeprefix("data: ")) for line in events.text.splitlines() if line]
        assert plain.json() == told
        assert "".join(each["candidates"][0]["content"]["parts"][0]["text"] for each in told) == "Hello there"
        assert server.tokens() == Usage(200, 40, 80, 10)


def test_a_stream_breaks_off_in_the_middle() -> None:
    got = b""
    with (
        ModelServer(lambda request: Reply("x" * 1000, drop="mid")) as server,
        httpx.stream("POST", server.url + CALLS["openai"][0], json=SAY_HELLO | {"stream": True}) as answer,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        for piece in answer.iter_bytes():
            got += piece
    assert got.startswith(b"data: ")
    assert b"[DONE]" not in got


MODELS = {
    "openai": "openai/gpt-4o",
    "anthropic": "anthropic/claude-sonnet-4-20250514",
    "gemini": "gemini/gemini-2.5-pro",
}
BEFORE = {
    "src/app.py": "import os\n\n\ndef main():\n    return 1\n\n\ndef twin():\n    return 1\n",
    "docs/guide.md": "Guide\n=====\n\n```sh\nrun\n```\n\nno newline at the end",
    "kept.txt": "stays\n",
}
AFTER = {
    "src/app.py": "import os\nimport sys\n\n\ndef main():\n    return 1\n\n\ndef twin():\n    return sys.argv\n",
    "docs/guide.md": "The guide\n=========\n\n```sh\nrun\n```\n\na newline at the end\n",
    "src/new.py": "'''new.py'''\n\nX = 1\n",
}
BRIEF = "Read the arguments in twin, tidy the guide, and create src/new.py."


def start_aider(server: ModelServer, dialect: str, root: Path) -> subprocess.Popen[bytes]:
    repo, home = root / "repo", root / "home"
    home.mkdir(parents=True)
    for path, text in BEFORE.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], cwd=repo, check=True)
    bases = {"openai": server.openai_base, "anthropic": server.anthropic_base, "gemini": server.gemini_base}
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "BROWSER": "true"}
    env |= {f"{dialect.upper()}_API_BASE": bases[dialect], f"{dialect.upper()}_API_KEY": "scripted"}
    command = [sys.executable, "-m", "aider", *QUIET.split(), "--model", MODELS[dialect], "--message", BRIEF]
    command += ["--analytics-log", str(root / "analytics.jsonl"), "--chat-history-file", str(root / "chat.md")]
    command += ["--input-history-file", str(root / "input"), *BEFORE]
    with (root / "out.txt").open("wb") as out:
        return subprocess.Popen(command, cwd=repo, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Request]]]:
    """One real Aider per dialect, side by side against one server."""
    root = tmp_path_factory.mktemp("runs")
    script = edits.gemini_prd("# PRD", otherwise=knows(AFTER))
    with ModelServer(script) as server, ThreadPoolExecutor(len(DIALECTS)) as pool:
        ended = pool.map(lambda d: start_aider(server, d, root / d).wait(timeout=within()), DIALECTS)
        assert list(ended) == [0, 0, 0]
        assert ask(server, "gemini").json()["candidates"][0]["content"]["parts"] == [{"text": "# PRD"}]
        return {d: (root / d, [r for r in server.requests if r.dialect == d and r.asks]) for d in DIALECTS}


@pytest.mark.thorough
@pytest.mark.parametrize("dialect", DIALECTS)
def test_real_aider_applies_the_reply(runs: dict[str, tuple[Path, list[Request]]], dialect: str) -> None:
    root, requests = runs[dialect]
    files = root / "repo"
    assert {path: (files / path).read_text() for path in AFTER} == AFTER, (root / "out.txt").read_text()
    assert (files / "kept.txt").read_text() == BEFORE["kept.txt"]
    assert [(request.files, request.brief, request.streamed) for request in requests] == [(BEFORE, BRIEF, False)]


@pytest.mark.thorough
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_real_aider_counts_the_tokens_it_was_sent(
    runs: dict[str, tuple[Path, list[Request]]], dialect: str
) -> None:
    root, requests = runs[dialect]
    events = [json.loads(line) for line in (root / "analytics.jsonl").read_text().splitlines()]
    sent = [each["properties"] for each in events if each["event"] == "message_send"]
    usage = requests[0].usage
    assert [(each["prompt_tokens"], each["completion_tokens"]) for each in sent] == [(usage.input, usage.output)]
