"""The real Aider behind the real gateway: whatever optional fields a reply lacks, and whatever usage it tells, the edit
is made and nothing is asked twice."""

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from orchestra.agents.seat import ForkServer, find_aider_python
from orchestra.providers import catalogue
from tests.support.edits import appends
from tests.support.lean import OPTIONAL
from tests.support.modelserver import ModelServer, Reply, Request, Usage, body_pieces
from tests.support.seating import DIALECTS, MODELS, door, plant, sit
from tests.support.warm import aider as warm_aider

pytestmark = pytest.mark.thorough

# litellm has no price for most of these, and has never heard of the last ones.
KNOWN = catalogue.RECOMMENDED
UNKNOWN = ("openai/not-heard-of", "anthropic/claude-not-heard-of", "gemini/gemini-not-heard-of")
BEYOND = ("role", "model", "stop_reason", "usage", "usageMetadata")  # and what brokers forget
EDITED = "x = 1\n# hi\n"
AT_ONCE = 4
Case = tuple[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def warm(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    fork = ForkServer(find_aider_python({"AIDER_BIN": warm_aider()}), tmp_path_factory.mktemp("server"))
    runner.run(fork.ready())
    yield fork
    runner.run(fork.close())


def fields(dialect: str) -> tuple[str, ...]:
    mine = {"openai": {"role", "usage"}, "anthropic": {"model", "role", "stop_reason"}, "gemini": set()}
    return (*OPTIONAL[dialect], *(name for name in BEYOND if name in mine[dialect] | {"usageMetadata"}))


def dialect_of(model: str) -> str:
    return catalogue.resolve_model(model).provider.dialect


def cases_of_a_model(model: str) -> list[Case]:
    """All fields, and none that is optional."""
    return [(model, ()), (model, OPTIONAL[dialect_of(model)])]


async def edits(
    warm: ForkServer, folder: Path, respond: Callable[[str, Request], Reply], cases: list[str]
) -> dict[str, tuple[str, str, int]]:
    """For each case, which its message names: how Aider ended, what the file holds, and how often it asked."""
    turn = asyncio.Semaphore(AT_ONCE)

    def answer(request: Request) -> Reply:
        return respond(next(case for case in cases if f"Case {case}." in request.brief), request)

    async def one(gateway: Any, number: int, case: str) -> tuple[str, str, int]:
        async with turn:
            tree = plant(folder / str(number) / "tree")
            model = case.split()[0]
            outcome, ticket = await sit(warm, gateway, tree, model=model, message=f"Case {case}.")
            return outcome.end, (tree / "a.py").read_text(encoding="utf-8"), len(ticket.exchanges)

    with ModelServer(answer) as server:
        async with door(server) as (gateway, _):
            ended = await asyncio.gather(*(one(gateway, number, case) for number, case in enumerate(cases)))
    return dict(zip(cases, ended, strict=True))


def check_fields(runner: asyncio.Runner, warm: ForkServer, folder: Path, cases: list[Case]) -> None:
    left_out = {f"{model} without {' and '.join(names) or 'nothing'}": names for model, names in cases}

    def respond(case: str, request: Request) -> Reply:
        said = appends("# hi")(request)
        return Reply(said.text, usage=Usage(100, 20, 40, 5), without=left_out[case])

    ended = runner.run(edits(warm, folder, respond, list(left_out)))
    assert ended == dict.fromkeys(left_out, ("accepted", EDITED, 1))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_aider_edits_with_and_without_optional_fields(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str
) -> None:
    models = [model for model in (*KNOWN, *UNKNOWN) if dialect_of(model) == dialect]
    check_fields(runner, warm, tmp_path, [case for model in models for case in cases_of_a_model(model)])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_aider_edits_whichever_field_is_missing(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str
) -> None:
    check_fields(runner, warm, tmp_path, [(MODELS[dialect], (name,)) for name in fields(dialect)])


@pytest.mark.soak
@pytest.mark.parametrize("dialect", DIALECTS)
def test_aider_edits_with_every_model_whichever_field_is_missing(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str
) -> None:
    models = [model for model in (*KNOWN, *UNKNOWN) if dialect_of(model) == dialect]
    check_fields(runner, warm, tmp_path, [(model, (name,)) for model, name in product(models, fields(dialect))])


USAGE = {"openai": "usage", "anthropic": "usage", "gemini": "usageMetadata"}
OUTPUT = {"openai": "completion_tokens", "anthropic": "output_tokens", "gemini": "candidatesTokenCount"}
CACHED = {
    "openai": "prompt_tokens_details",
    "anthropic": "cache_read_input_tokens",
    "gemini": "cachedContentTokenCount",
}
STRANGE: tuple[Any, ...] = ([], "lots", None, math.nan, True, -1, 10**40, 1.5, {"a": [1]})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_aider_edits_with_any_usage(runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str) -> None:
    model, name = MODELS[dialect], USAGE[dialect]
    strange = {f"{model} all {value!r}": {name: value} for value in STRANGE}
    for field in (OUTPUT[dialect], CACHED[dialect]):
        strange |= {f"{model} {field} {value!r}": {name: {field: value}} for value in STRANGE}

    def respond(case: str, request: Request) -> Reply:
        body = json.loads(body_pieces(request, appends("# hi")(request), Usage(100, 20))[0])
        told = strange[case][name]
        whole = "all" in case.split()
        body[name] = told if whole else body[name] | told
        return Reply(raw_body=json.dumps(body).encode())

    ended = runner.run(edits(warm, tmp_path, respond, list(strange)))
    assert ended == dict.fromkeys(strange, ("accepted", EDITED, 1))
