"""The catalogue against what the providers published in November 2026, and against the real Aider and litellm."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestra.providers import catalogue
from orchestra.providers.catalogue import RetirementNotice, UnknownProvider, resolve_model
from tests.support.load import within
from tests.support.modelserver import ModelServer, Reply

ROOT = Path(__file__).resolve().parents[1]
TODAY = date(2026, 11, 20)
MILLION = 1_000_000

# ---------------------------------------------------------------- names

NAMES = [
    # written, canonical, provider, what Aider is told, what the provider is asked for
    ("openai/gpt-6.1-sol", "openai/gpt-6.1-sol", "openai", "openai/gpt-6.1-sol", "gpt-6.1-sol"),
    ("gpt-6.1-sol", "openai/gpt-6.1-sol", "openai", "openai/gpt-6.1-sol", "gpt-6.1-sol"),
    (" gpt-4o ", "openai/gpt-4o", "openai", "openai/gpt-4o", "gpt-4o"),
    ("o1-next", "openai/o1-next", "openai", "openai/o1-next", "o1-next"),
    ("o3", "openai/o3", "openai", "openai/o3", "o3"),
    ("o4-mini", "openai/o4-mini", "openai", "openai/o4-mini", "o4-mini"),
    ("chatgpt-9", "openai/chatgpt-9", "openai", "openai/chatgpt-9", "chatgpt-9"),
    ("claude-opus-5-5", "anthropic/claude-opus-5-5", "anthropic", "anthropic/claude-opus-5-5", "claude-opus-5-5"),
    ("claude-9", "anthropic/claude-9", "anthropic", "anthropic/claude-9", "claude-9"),
    (
        "gemini-flash-latest",
        "gemini/gemini-flash-latest",
        "gemini",
        "gemini/gemini-flash-latest",
        "gemini-flash-latest",
    ),
    ("models/gemini-9", "gemini/gemini-9", "gemini", "gemini/gemini-9", "gemini-9"),
    ("gemini/models/gemini-9", "gemini/gemini-9", "gemini", "gemini/gemini-9", "gemini-9"),
    ("sonnet", "anthropic/claude-sonnet-5-5", "anthropic", "anthropic/claude-sonnet-5-5", "claude-sonnet-5-5"),
    ("opus", "anthropic/claude-opus-5-5", "anthropic", "anthropic/claude-opus-5-5", "claude-opus-5-5"),
    ("haiku", "anthropic/claude-haiku-5-5", "anthropic", "anthropic/claude-haiku-5-5", "claude-haiku-5-5"),
    ("flash", "gemini/gemini-flash-latest", "gemini", "gemini/gemini-flash-latest", "gemini-flash-latest"),
    ("grok-4.7", "xai/grok-4.7", "xai", "xai/grok-4.7", "grok-4.7"),
    ("deepseek-v4-pro", "deepseek/deepseek-v4-pro", "deepseek", "deepseek/deepseek-v4-pro", "deepseek-v4-pro"),
    ("openrouter/a/b", "openrouter/a/b", "openrouter", "openrouter/a/b", "a/b"),
    ("openai/Qwen/Qwen3", "openai/Qwen/Qwen3", "openai", "openai/Qwen/Qwen3", "Qwen/Qwen3"),
    ("groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-20b", "groq", "openai/openai/gpt-oss-20b", "openai/gpt-oss-20b"),
    ("ollama/qwen3:8b", "ollama/qwen3:8b", "ollama", "openai/qwen3:8b", "qwen3:8b"),
    ("ollama_chat/qwen3:8b", "ollama/qwen3:8b", "ollama", "openai/qwen3:8b", "qwen3:8b"),
    ("local/qwen3:8b", "ollama/qwen3:8b", "ollama", "openai/qwen3:8b", "qwen3:8b"),
    ("google/gemini-9", "gemini/gemini-9", "gemini", "gemini/gemini-9", "gemini-9"),
    ("glm-4.6", "zai/glm-4.6", "zai", "openai/glm-4.6", "glm-4.6"),
    ("glm/glm-4.6", "zai/glm-4.6", "zai", "openai/glm-4.6", "glm-4.6"),
    ("zhipu/glm-9", "zai/glm-9", "zai", "openai/glm-9", "glm-9"),
]


@pytest.mark.parametrize(("written", "name", "provider", "aider_name", "upstream"), NAMES)
def test_a_name_finds_its_provider(written: str, name: str, provider: str, aider_name: str, upstream: str) -> None:
    model = resolve_model(written)
    assert (model.name, model.provider.name) == (name, provider)
    assert (model.aider_name, model.upstream_name) == (aider_name, upstream)


@pytest.mark.parametrize(
    "name", ["", "  ", "llama3", "mistral/large", "openai/", "gemini/models/", "/gpt-4o", "vertex_ai/x"]
)
def test_a_name_without_a_known_provider_says_what_to_write(name: str) -> None:
    with pytest.raises(UnknownProvider) as caught:
        resolve_model(name)
    sentence = str(caught.value)
    assert repr(name.strip()) in sentence
    for needed in ("PROVIDER/NAME", "openai/NAME", "OPENAI_API_BASE", *catalogue.PROVIDERS):
        assert needed in sentence


def test_a_model_that_only_its_provider_knows_is_no_error() -> None:
    model = resolve_model("openai/gpt-99")
    assert not model.known
    assert (model.price_in, model.price_out, model.context, model.max_output, model.retires) == (None,) * 5
    assert model.weak == "openai/gpt-99"


def test_the_defaults_are_known_and_current() -> None:
    for name in (catalogue.DEFAULT_MODEL, catalogue.DEFAULT_CLAUDE_MODEL, catalogue.DEFAULT_GEMINI_MODEL):
        assert resolve_model(name).known
        assert catalogue.retirement_notice(resolve_model(name), TODAY) is None


WEAK = [
    ("openai/gpt-6.1-sol", "openai/gpt-6-luna"),
    ("openai/gpt-6-luna", "openai/gpt-6-luna"),
    ("anthropic/claude-opus-5-5", "anthropic/claude-haiku-5-5"),
    ("groq/openai/gpt-oss-120b", "openai/openai/gpt-oss-120b"),
    ("ollama/llama3", "openai/llama3"),
]


@pytest.mark.parametrize(("name", "weak"), WEAK)
def test_the_weak_model_stands_at_the_same_provider(name: str, weak: str) -> None:
    model = resolve_model(name)
    helper = catalogue.weak_model(model)
    assert (model.weak, helper.aider_name, helper.provider) == (weak, weak, model.provider)


# ---------------------------------------------------------------- providers

PROVIDERS = [
    # name, dialect, key variables, base variables, default base, the agent's key and base variables
    ("openai", "openai", "OPENAI_API_KEY", "OPENAI_API_BASE OPENAI_BASE_URL", "https://api.openai.com/v1", "OPENAI"),
    (
        "anthropic",
        "anthropic",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_API_BASE ANTHROPIC_BASE_URL",
        "https://api.anthropic.com",
        "ANTHROPIC",
    ),
    (
        "gemini",
        "gemini",
        "GOOGLE_API_KEY GEMINI_API_KEY",
        "GEMINI_API_BASE GOOGLE_GEMINI_BASE_URL",
        "https://generativelanguage.googleapis.com",
        "GEMINI",
    ),
    (
        "openrouter",
        "openai",
        "OPENROUTER_API_KEY",
        "OPENROUTER_API_BASE",
        "https://openrouter.ai/api/v1",
        "OPENROUTER",
    ),
    ("deepseek", "openai", "DEEPSEEK_API_KEY", "DEEPSEEK_API_BASE", "https://api.deepseek.com", "DEEPSEEK"),
    ("xai", "openai", "XAI_API_KEY", "XAI_API_BASE", "https://api.x.ai/v1", "XAI"),
    ("groq", "openai", "GROQ_API_KEY", "GROQ_API_BASE", "https://api.groq.com/openai/v1", "OPENAI"),
    (
        "zai",
        "openai",
        "ZAI_API_KEY GLM_API_KEY ZHIPUAI_API_KEY",
        "ZAI_API_BASE",
        "https://api.z.ai/api/paas/v4",
        "OPENAI",
    ),
    ("ollama", "openai", "", "OLLAMA_API_BASE OLLAMA_BASE_URL", "http://127.0.0.1:11434/v1", "OPENAI"),
]


@pytest.mark.parametrize(("name", "dialect", "keys", "bases", "default", "agent"), PROVIDERS)
def test_where_a_provider_is_and_what_opens_it(
    name: str, dialect: str, keys: str, bases: str, default: str, agent: str
) -> None:
    provider = catalogue.PROVIDERS[name]
    assert (provider.name, provider.dialect, provider.default_base) == (name, dialect, default)
    assert (provider.key_vars, provider.base_vars) == (tuple(keys.split()), tuple(bases.split()))
    assert (provider.agent_key_var, provider.agent_base_var) == (f"{agent}_API_KEY", f"{agent}_API_BASE")


def test_every_provider_is_described_above() -> None:
    assert [row[0] for row in PROVIDERS] == list(catalogue.PROVIDERS)


BASES = [
    ("openai", "", "https://api.openai.com/v1"),
    ("openai", "http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
    ("openai", "http://127.0.0.1:8080/v1/chat/completions", "http://127.0.0.1:8080/v1"),
    ("anthropic", "https://proxy.example/anthropic", "https://proxy.example/anthropic"),
    ("anthropic", "https://proxy.example/v1", "https://proxy.example"),
    ("anthropic", "https://proxy.example/v1/messages", "https://proxy.example"),
    ("gemini", "https://proxy.example/v1beta/", "https://proxy.example"),
    ("ollama", "", "http://127.0.0.1:11434/v1"),
    ("ollama", "http://gpu:11434", "http://gpu:11434/v1"),
    ("ollama", "http://gpu:11434/v1/", "http://gpu:11434/v1"),
]


@pytest.mark.parametrize(("name", "given", "base"), BASES)
def test_a_base_may_be_given_in_any_usual_shape(name: str, given: str, base: str) -> None:
    assert catalogue.provider_base_url(catalogue.PROVIDERS[name], given) == base


# ---------------------------------------------------------------- prices

PRICES = [
    # dollars per million tokens: in, out
    ("openai/gpt-6.1-sol", 2, 10),
    ("openai/gpt-6.1-terra", 1, 5),
    ("openai/gpt-6-luna", 0.10, 0.50),
    ("anthropic/claude-opus-5-5", 4, 20),
    ("anthropic/claude-sonnet-5-5", 2, 10),
    ("anthropic/claude-haiku-5-5", 0.10, 0.50),
    ("gemini/gemini-3.8-flash", 0.75, 3.75),
    ("gemini/gemini-flash-latest", 0.75, 3.75),
    ("gemini/gemini-pro-latest", 2, 12),
    ("gemini/gemini-4-argon", 2, 10),
]


@pytest.mark.parametrize(("name", "dollars_in", "dollars_out"), PRICES)
def test_the_current_models_are_known_at_their_price(name: str, dollars_in: float, dollars_out: float) -> None:
    model = resolve_model(name)
    assert model.known
    assert model.price_in == pytest.approx(dollars_in / MILLION)
    assert model.price_out == pytest.approx(dollars_out / MILLION)
    assert model.context and model.context >= 900_000
    assert model.max_output and model.max_output >= 64_000


COSTS = [
    # model, input (all of it), of that cached, of that written to the cache, output, dollars
    ("openai/gpt-6.1-sol", 0, 0, 0, 0, 0.0),
    ("openai/gpt-6.1-sol", 1_000, 0, 0, 500, 0.007),  # 1000 x 2 + 500 x 10
    ("openai/gpt-6.1-sol", 1_000, 400, 0, 0, 0.00124),  # 600 x 2 + 400 x .10
    ("anthropic/claude-opus-5-5", 10_000, 6_000, 3_000, 1_000, 0.0402),  # 1000 x 4 + 6000 x .20 + 3000 x 5 + 1000 x 20
    ("gemini/gemini-flash-latest", 1_000, 0, 200, 0, 0.00075),  # no price for writing to the cache: the input's
    ("openai/gpt-4", 100, 60, 0, 0, 0.003),  # no price for reading from the cache: the input's
    ("openai/gpt-6.1-sol", 272_000, 0, 0, 1_000, 0.554),
    ("openai/gpt-6.1-sol", 300_000, 0, 0, 1_000, 1.215),  # a long prompt: 300000 x 4 + 1000 x 15
    ("anthropic/claude-haiku-5-5", 200_000, 100_000, 0, 1_000, 0.0575),  # 100000 x .50 + 100000 x .05 + 1000 x 2.50
    ("openai/gpt-6.1-sol", 100, 200, 0, 0, 0.00002),  # a provider that does not count the cached ones as input
]


@pytest.mark.parametrize(("name", "read", "cached", "written", "output", "dollars"), COSTS)
def test_what_a_request_costs(name: str, read: int, cached: int, written: int, output: int, dollars: float) -> None:
    assert catalogue.request_cost(resolve_model(name), read, cached, written, output) == pytest.approx(dollars)


def test_an_unknown_price_is_not_zero() -> None:
    assert catalogue.request_cost(resolve_model("openai/gpt-99"), 1_000, 0, 0, 1_000) is None
    assert catalogue.request_cost(resolve_model("gemini/gemma-4-31b-it"), 1_000, 0, 0, 1_000) == 0


def test_the_table_lists_the_recommended_models_first_and_each_model_once() -> None:
    names = [model.name for model in catalogue.list_models()]
    assert sorted(names[:10]) == sorted(name for name, _, _ in PRICES)
    assert names[0] == "openai/gpt-6.1-sol"
    assert len(names) == len(set(names)) > 100
    assert names[10:] == sorted(names[10:])
    assert all(model.known for model in catalogue.list_models())


# ---------------------------------------------------------------- retirement

RETIREMENTS = [
    # name, the day of asking, severity, sentence
    (
        "gpt-4o",
        "2026-11-20",
        "warning",
        "openai/gpt-4o retires on 2027-01-14, move to openai/gpt-6.1-sol before that",
    ),
    ("gpt-4o", "2027-01-14", "retired", "openai/gpt-4o retired on 2027-01-14, use openai/gpt-6.1-sol"),
    ("gpt-4", "2026-11-20", "retired", "openai/gpt-4 retired on 2026-10-23, use openai/gpt-6.1-sol"),
    ("gpt-4-turbo", "2026-11-20", "retired", "openai/gpt-4-turbo retired on 2026-10-23, use openai/gpt-6.1-sol"),
    ("gpt-3.5-turbo", "2026-11-20", "retired", "openai/gpt-3.5-turbo retired on 2026-10-23, use openai/gpt-6-luna"),
    (
        "gemini-1.5-pro",
        "2026-11-20",
        "retired",
        "gemini/gemini-1.5-pro retired on 2025-09-29, use gemini/gemini-flash-latest",
    ),
    (
        "models/gemini-2.5-pro",
        "2026-11-20",
        "warning",
        "gemini/gemini-2.5-pro retires on 2026-12-01, move to gemini/gemini-flash-latest before that",
    ),
    (
        "claude-3-opus-20240229",
        "2026-11-20",
        "retired",
        "anthropic/claude-3-opus-20240229 retired on 2026-01-05, use anthropic/claude-opus-5-5",
    ),
    (
        "claude-3.7-sonnet-latest",
        "2026-11-20",
        "retired",
        "anthropic/claude-3.7-sonnet-latest retired on 2026-02-19, use anthropic/claude-sonnet-5-5",
    ),
    (
        "claude-3-sonnet-20240229",
        "2026-11-20",
        "retired",
        "anthropic/claude-3-sonnet-20240229 retired on 2025-07-21, use anthropic/claude-sonnet-5-5",
    ),
    (
        "claude-3-5-sonnet-20240620",
        "2026-11-20",
        "retired",
        "anthropic/claude-3-5-sonnet-20240620 retired on 2025-10-28, use anthropic/claude-sonnet-5-5",
    ),
    (
        "anthropic/claude-3-haiku-20240307",
        "2026-11-20",
        "retired",
        "anthropic/claude-3-haiku-20240307 retired on 2026-04-20, use anthropic/claude-haiku-5-5",
    ),
    (
        "claude-sonnet-4-5",
        "2026-11-20",
        "warning",
        "anthropic/claude-sonnet-4-5 retires on 2026-11-30, move to anthropic/claude-sonnet-5-5 before that",
    ),
    # known from litellm's table alone
    ("openai/o1", "2026-11-20", "retired", "openai/o1 retired on 2026-10-23, use openai/gpt-6.1-sol"),
    (
        "deepseek/deepseek-chat",
        "2026-11-20",
        "retired",
        "deepseek/deepseek-chat retired on 2026-07-24, use deepseek/deepseek-flash",
    ),
]


@pytest.mark.parametrize(("name", "day", "severity", "sentence"), RETIREMENTS)
def test_a_retired_or_retiring_model_gets_one_sentence(name: str, day: str, severity: str, sentence: str) -> None:
    assert catalogue.retirement_notice(resolve_model(name), date.fromisoformat(day)) == (severity, sentence)


@pytest.mark.parametrize(
    "name", ["sonnet", "gpt-6.1-terra", "gemini-pro-latest", "claude-opus-4-6", "ollama/x", "gpt-99"]
)
def test_a_current_model_gets_none(name: str) -> None:
    assert catalogue.retirement_notice(resolve_model(name), TODAY) is None


def test_the_warning_begins_sixty_days_before_and_ends_on_the_day() -> None:
    model = replace(resolve_model("gpt-99"), retires=date(2027, 3, 2))
    severities = {}
    for day in (date(2026, 12, 31), date(2027, 1, 1), date(2027, 3, 1), date(2027, 3, 2)):
        notice: RetirementNotice | None = catalogue.retirement_notice(model, day)
        severities[day.isoformat()] = notice.severity if notice else None
    assert severities == {"2026-12-31": None, "2027-01-01": "warning", "2027-03-01": "warning", "2027-03-02": "retired"}


def test_whatever_retires_is_followed_by_a_known_and_current_model() -> None:
    for model in [*catalogue.list_models(), *map(resolve_model, catalogue.RETIREMENT_DAYS), resolve_model("ollama/x")]:
        heir = resolve_model(catalogue.successor_name(model))
        assert heir.known
        assert catalogue.retirement_notice(heir, TODAY) is None


# ---------------------------------------------------------------- what Aider is told

CAPS = [
    ("openai/gpt-6.1-sol", 0, 16_000),
    ("openai/gpt-6.1-sol", 5_000, 26_000),
    ("openai/gpt-6.1-sol", 100_000, 128_000),
    ("openai/gpt-4", 5_000, 4_096),
    ("gemini/gemini-flash-latest", 30_000, 65_536),
    ("anthropic/claude-99", 1_000, 18_000),
    ("anthropic/claude-99", 100_000, 64_000),
    ("openai/gpt-99", 1_000, None),
    ("gemini/gemini-99", 1_000, None),
    ("ollama/qwen3", 1_000, None),
]


@pytest.mark.parametrize(("name", "owned_tokens", "cap"), CAPS)
def test_the_output_cap_leaves_room_for_the_owned_files_within_the_models_limit(
    name: str, owned_tokens: int, cap: int | None
) -> None:
    assert catalogue.reply_token_cap(resolve_model(name), owned_tokens) == cap


SETTINGS = [
    ("openai/gpt-6.1-sol", {"max_completion_tokens": 18_000}),
    ("anthropic/claude-opus-5-5", {"max_tokens": 18_000}),
    ("anthropic/claude-99", {"max_tokens": 18_000}),
    ("gemini/gemini-flash-latest", {"max_tokens": 18_000}),
    ("deepseek/deepseek-flash", {"max_tokens": 18_000}),
    ("xai/grok-4.7", {"max_tokens": 18_000}),
    ("groq/openai/gpt-oss-120b", {"max_tokens": 18_000}),
    ("openrouter/a/b", None),
    ("openai/gpt-99", None),
    ("ollama/qwen3", None),
]


@pytest.mark.parametrize(("name", "extra_params"), SETTINGS)
def test_the_settings_entry(name: str, extra_params: dict[str, int] | None) -> None:
    model = resolve_model(name)
    expected: dict[str, Any] = {
        "name": model.aider_name,
        "edit_format": "diff",
        "use_repo_map": True,
        "use_temperature": False,
        "weak_model_name": "some/weak",
    }
    if extra_params:
        expected["extra_params"] = extra_params
    assert catalogue.settings_entry(model, "some/weak", 1_000) == expected


METADATA = [
    (
        "openai/gpt-6.1-sol",
        {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": 922_000,
            "max_output_tokens": 128_000,
            "input_cost_per_token": 2e-06,
            "output_cost_per_token": 1e-05,
        },
    ),
    ("anthropic/claude-99", {"litellm_provider": "anthropic", "mode": "chat"}),
    ("ollama/qwen3", {"litellm_provider": "openai", "mode": "chat"}),
]


@pytest.mark.parametrize(("name", "entry"), METADATA)
def test_the_metadata_entry(name: str, entry: dict[str, Any]) -> None:
    assert catalogue.metadata_entry(resolve_model(name)) == entry


# ---------------------------------------------------------------- what really goes over the wire

ASK = """
import json, sys
from aider import models
models.register_models([sys.argv[1]])
models.register_litellm_models([sys.argv[2]])
replies = {}
for name, weak in json.loads(sys.argv[3]):
    model = models.Model(name, weak_model=weak)
    _, reply = model.send_completion([{"role": "user", "content": "hi"}], None, False, 0)
    replies[name] = [reply.choices[0].message.content, model.weak_model.name, model.edit_format]
print(json.dumps(replies))
"""
WIRE = [
    # model, path, the model that is asked for, the parameter of the cap, the header with the key
    ("openai/gpt-6.1-sol", "/chat/completions", "gpt-6.1-sol", "max_completion_tokens", "authorization"),
    ("openai/gpt-5", "/chat/completions", "gpt-5", "max_completion_tokens", "authorization"),
    ("openai/gpt-99", "/chat/completions", "gpt-99", "", "authorization"),
    ("anthropic/claude-opus-5-5", "/v1/messages", "claude-opus-5-5", "max_tokens", "x-api-key"),
    ("anthropic/claude-99", "/v1/messages", "claude-99", "max_tokens", "x-api-key"),
    (
        "gemini/gemini-flash-latest",
        "/models/gemini-flash-latest:generateContent",
        "gemini-flash-latest",
        "max_output_tokens",
        "x-goog-api-key",
    ),
    ("openrouter/a/b", "/chat/completions", "a/b", "", "authorization"),
    ("deepseek/deepseek-flash", "/chat/completions", "deepseek-flash", "max_tokens", "authorization"),
    ("xai/grok-4.7", "/chat/completions", "grok-4.7", "max_tokens", "authorization"),
    ("groq/openai/gpt-oss-120b", "/chat/completions", "openai/gpt-oss-120b", "max_tokens", "authorization"),
    ("ollama/qwen3:8b", "/chat/completions", "qwen3:8b", "", "authorization"),
]


@pytest.mark.thorough
def test_aider_sends_what_the_catalogue_says(tmp_path: Path) -> None:
    models = [resolve_model(row[0]) for row in WIRE]
    settings, metadata = tmp_path / "settings.yml", tmp_path / "metadata.json"
    settings.write_text(json.dumps([catalogue.settings_entry(model, model.weak, 1_000) for model in models]))
    metadata.write_text(json.dumps({model.aider_name: catalogue.metadata_entry(model) for model in models}))
    names = json.dumps([(model.aider_name, model.weak) for model in models])
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with ModelServer(lambda _: Reply("hello")) as server:
        for provider in catalogue.PROVIDERS.values():
            env[provider.agent_base_var] = server.url
            env[provider.agent_key_var] = f"key of {provider.agent_prefix}"
        command = [sys.executable, "-c", ASK, str(settings), str(metadata), names]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=within(), check=False
        )

    assert done.returncode == 0, done.stderr
    replies = json.loads(done.stdout.splitlines()[-1])
    assert replies == {model.aider_name: ["hello", model.weak, "diff"] for model in models}
    for (name, path, asked_for, cap, key_header), request in zip(WIRE, server.requests, strict=True):
        assert (request.path, request.model) == (path, asked_for)
        key = request.headers[key_header].removeprefix("Bearer ")
        assert key == f"key of {resolve_model(name).provider.agent_prefix}"
        told = request.body | request.body.get("generationConfig", {})
        assert {field: told[field] for field in told if field.startswith("max_")} == ({cap: 18_000} if cap else {})
        assert "temperature" not in told


# ---------------------------------------------------------------- the refresh

LITELLM_TABLE: dict[str, dict[str, Any]] = {
    "sample_spec": {"litellm_provider": "one of ...", "mode": "one of ..."},
    "gpt-x": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1e-07,
        "input_cost_per_token_above_272k_tokens": 4e-06,
        "output_cost_per_token_above_272k_tokens": 1.5e-05,
        "max_input_tokens": 922000,
        "max_output_tokens": 128000,
        "deprecation_date": "2027-01-14",
        "supported_endpoints": ["/v1/chat/completions", "/v1/responses"],
        "supported_output_modalities": ["text"],
    },
    "claude-x": {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "input_cost_per_token": 4e-06,
        "output_cost_per_token": 2e-05,
        "cache_creation_input_token_cost": 5e-06,
    },
    "gemini/gemini-x": {
        "litellm_provider": "gemini",
        "mode": "chat",
        "input_cost_per_token": 1,
        "output_cost_per_token": 2,
    },
    "gemini-x": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 3, "output_cost_per_token": 4},
    "gpt-unpriced": {"litellm_provider": "openai", "mode": "chat"},
    "gpt-embed": {
        "litellm_provider": "openai",
        "mode": "embedding",
        "input_cost_per_token": 1,
        "output_cost_per_token": 0,
    },
    "gpt-aloud": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1,
        "output_cost_per_token": 1,
        "supports_audio_output": True,
    },
    "gpt-drawn": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1,
        "output_cost_per_token": 1,
        "supported_output_modalities": ["image"],
    },
    "gpt-elsewhere": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1,
        "output_cost_per_token": 1,
        "supported_endpoints": ["/v1/responses"],
    },
    "azure/gpt-x": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1},
}
MODELS_JSON = """\
{"litellm": "9.8.7", "models": {
  "anthropic/claude-x": {"cache_write": 5e-06, "input": 4e-06, "output": 2e-05},
  "gemini/gemini-x": {"input": 1, "output": 2},
  "openai/gpt-x": {"cache_read": 1e-07, "context": 922000, "input": 2e-06, \
"long": {"above": 272000, "cache_read": 1e-07, "input": 4e-06, "output": 1.5e-05}, \
"max_output": 128000, "output": 1e-05, "retires": "2027-01-14"}
}}
"""


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_models", ROOT / "tools" / "refresh_models.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_refresh_reads_a_wheel(refresh: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "litellm-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("litellm/model_prices_and_context_window_backup.json", json.dumps(LITELLM_TABLE))
    target = tmp_path / "models.json"
    assert refresh.main(["--from", str(wheel), "--to", str(target)]) == 0
    assert target.read_text() == MODELS_JSON
    assert sorted(path.name for path in tmp_path.iterdir()) == [wheel.name, "models.json"]


def test_the_refresh_reads_a_bare_table(refresh: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps(LITELLM_TABLE))
    assert refresh.main(["--from", str(tmp_path / "table.json"), "--to", str(tmp_path / "models.json")]) == 0
    assert (tmp_path / "models.json").read_text() == MODELS_JSON.replace("9.8.7", "table.json")


def test_a_table_in_another_format_leaves_the_old_one_alone(refresh: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps({"gpt-x": LITELLM_TABLE["gpt-x"]}))
    (tmp_path / "models.json").write_text("old")
    with pytest.raises(SystemExit, match="anthropic, gemini"):
        refresh.main(["--from", str(tmp_path / "table.json"), "--to", str(tmp_path / "models.json")])
    assert (tmp_path / "models.json").read_text() == "old"


def test_the_shipped_table_is_what_the_refresh_writes(refresh: ModuleType) -> None:
    text = (ROOT / "orchestra" / "providers" / "models.json").read_text()
    shipped = json.loads(text)
    assert refresh.render(shipped["litellm"], shipped["models"]) == text
    fields = {"input", "output", "cache_read", "cache_write", "context", "max_output", "long", "retires"}
    for name, row in shipped["models"].items():
        assert name.partition("/")[0] in refresh.PROVIDERS
        assert {"input", "output"} <= row.keys() <= fields
