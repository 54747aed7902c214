"""What a provider's list of models tells before anything is paid: a refused key, a wrong address, an unknown model."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from orchestra.conduct.planning.prd import NO_PRD_HINT
from orchestra.conduct.session.provider_check import check_providers
from orchestra.errors import OrchestraError, ProviderError, SettingsError
from orchestra.providers import catalogue
from orchestra.settings import Settings
from tests.support.edits import no_edits
from tests.support.misfortunes import untrusted
from tests.support.modelserver import ModelServer, Reply
from tests.support.runs import make_place

KEY = "sk-planted-0123456789-ad"
SCOPES = "You have insufficient permissions for this operation. Missing scopes: api.model.read."
GEMINI_WORDS = '{"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}'
REFUSED = "{name} (…ad) was refused by {host}: {status}. Set a valid key"


def settings(base: str, key: str = KEY, provider: str = "openai") -> Settings:
    found = catalogue.PROVIDERS[provider]
    variables = {found.base_vars[0]: (base, "environment")}
    variables |= {found.key_vars[0]: (key, "environment")} if key and found.key_vars else {}
    return Settings(variables=variables)


def check(given: Settings, *names: str, must_answer: bool = True) -> list[str]:
    models = [catalogue.resolve_model(name) for name in names or ("openai/gpt-6.1-sol",)]
    return asyncio.run(check_providers(given, models, must_answer=must_answer))


def refusal(given: Settings, *names: str) -> OrchestraError:
    with pytest.raises(OrchestraError) as caught:
        check(given, *names)
    return caught.value


def listing(*names: str) -> Reply:
    return Reply(raw_body=json.dumps({"data": [{"id": name} for name in names]}).encode())


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("openai/gpt-6.1-sol", Reply("Incorrect API key provided: sk-pl***-ad.", status=401)),
        ("openai/gpt-6.1-sol", Reply(raw_body=b"", status=401)),
        ("openai/gpt-6.1-sol", Reply("Incorrect API key provided: sk-pl***-ad.", status=400)),
        ("openai/gpt-6.1-sol", Reply("Invalid API key.", status=403)),
        ("anthropic/claude-opus-5-5", Reply("invalid x-api-key", status=401)),
        ("gemini/gemini-flash-latest", Reply(raw_body=GEMINI_WORDS.encode(), status=400)),
    ],
)
def test_refused_key_is_named_with_its_variable_and_last_two_characters(model: str, answer: Reply) -> None:
    provider = catalogue.resolve_model(model).provider
    with ModelServer(no_edits(), listing=answer) as server:
        failed = refusal(settings(server.url, provider=provider.name), model)
    host = server.url.removeprefix("http://")
    assert str(failed).startswith(REFUSED.format(name=provider.key_vars[0], host=host, status=answer.status))
    hints = {"openai": ", or choose another --model.", "gemini": f". {NO_PRD_HINT}"}
    assert str(failed).endswith(hints.get(provider.name, "key."))
    assert isinstance(failed, ProviderError) and server.count() == 0
    (question,) = server.questions
    assert KEY in "".join(question.headers.values()) and question.path.partition("?")[0].endswith("/models")


def test_key_of_a_flag_is_named_by_it() -> None:
    google = catalogue.PROVIDERS["gemini"]
    with ModelServer(no_edits(), listing=Reply(raw_body=GEMINI_WORDS.encode(), status=400)) as server:
        variables = {google.base_vars[0]: (server.url, "environment"), google.key_vars[0]: (KEY, "flag")}
        failed = refusal(Settings(api_key=KEY, variables=variables), "gemini/gemini-flash-latest")
    assert str(failed).startswith("--api-key (…ad) was refused by 127.0.0.1:")


def test_nothing_is_shown_of_a_short_key_and_a_missing_one_is_asked_for() -> None:
    with ModelServer(no_edits(), listing=Reply("No.", status=401)) as server:
        assert str(refusal(settings(server.url, "1234567"))).startswith("OPENAI_API_KEY was refused by 127.0.0.1:")
        assert str(refusal(settings(server.url, ""))).endswith(" wants a key: 401. Set OPENAI_API_KEY.")


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (None, ""),  # 404: it has no list
        (Reply(SCOPES, status=401, code="missing_scope"), ""),
        (Reply(SCOPES, status=403), ""),
        (Reply("Country not supported", status=403), ""),
        (Reply("Slow down", status=429), ""),
        (Reply("Moved", status=302), ""),
        (Reply(raw_body=b"<html>Welcome</html>"), ""),
        (Reply(drop="before"), ""),
        (Reply("Overloaded", status=503), " answered 503 when it was asked for its models. The run goes on."),
    ],
)
def test_any_other_answer_is_no_reason_to_stop(answer: Reply | None, note: str) -> None:
    with ModelServer(no_edits(), listing=answer) as server:
        notes = check(settings(server.openai_base), "openai/of-my-own")
    assert notes == ([server.url.removeprefix("http://") + note] if note else [])


def test_model_that_neither_catalogue_nor_server_knows_gets_near_names() -> None:
    with ModelServer(no_edits(), listing=listing("gpt-5", "qwen3:latest")) as server:
        own, host = settings(server.openai_base), server.url.removeprefix("http://")
        nor = f"is not in the catalogue, nor among the 2 models that {host} lists"
        assert check(own, "openai/gpt5") == [f"openai/gpt5 {nor}; near: openai/gpt-5."]
        assert check(own, "openai/slow") == [f"openai/slow {nor}."]
        assert check(own, "openai/gpt-6.1-sol") == check(own, "openai/gpt-5") == []
        assert check(settings(server.url, "", "ollama"), "ollama/qwen3") == []


def test_each_provider_is_asked_once() -> None:
    with ModelServer(no_edits(), listing=listing("gpt-5")) as server:
        check(settings(server.openai_base), "openai/gpt-5", "openai/gpt-6-luna")
    assert len(server.questions) == 1


def test_closed_port_ends_a_new_run_and_is_a_note_for_one_that_is_resumed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    closed = settings(f"http://{host}/v1")
    sentence = f"{host} cannot be reached: Connection refused."
    assert str(refusal(closed)) == f"{sentence} Check OPENAI_API_BASE, and that the server runs."
    assert check(closed, must_answer=False) == [f"{sentence} The run goes on."]


@pytest.mark.parametrize("base", ["localhost:1/v1", "http://[::1/v1", "http://xn--a/v1", "http://h:port/v1"])
def test_wrong_addresses(base: str) -> None:
    failed = refusal(settings(base))
    assert isinstance(failed, SettingsError)
    assert str(failed) == f"OPENAI_API_BASE: {base!r} is not a server's address."


def test_key_that_cannot_be_sent() -> None:
    assert "OPENAI_API_KEY (…”x) cannot be sent" in str(refusal(settings("http://127.0.0.1:1/v1", "“sk-123456789”x")))


def test_proxy_of_the_environment_is_used_and_its_refusal_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(no_edits(), listing=listing("gpt-5")) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("https_proxy", server.url)
        assert check(settings("http://models.example/v1"), "openai/gpt-5") == []
        (note,) = check(settings("https://models.example/v1"))
        assert [one.path for one in server.questions] == ["http://models.example/v1/models", "models.example:443"]
    assert note == "models.example cannot be reached through the proxy: 404 Not Found. The run goes on."


def test_certificate_that_is_not_trusted_is_a_note(tmp_path: Path) -> None:
    (note,) = check(settings(untrusted(make_place(tmp_path, {}))["OPENAI_API_BASE"]))
    assert " could not be asked for its models: " in note and "certificate" in note.lower()
