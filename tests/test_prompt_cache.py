"""Prompt caching: which requests get cache marks, which wait for another one, and what a provider bills for them."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from orchestra.dialects import DIALECTS
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.budget import Budget
from orchestra.gateway.lane import Limits
from orchestra.gateway.prompt_cache import CachePlace, CacheUse, PromptCache, find_cache_places
from orchestra.gateway.recording import RecordedReply, Recording, request_identity, with_files_last
from orchestra.model import Usage
from orchestra.providers import catalogue
from tests.support.load import NEVER, holds_soon
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.prefix_billing import PrefixBilling
from tests.support.seating import CALLS, MODELS, Listener, client, door, is_final

BOTH = ("anthropic", "openai")
RULES = catalogue.CacheRules(seconds=300.0, from_tokens=1000, saved=4e-6)
SYSTEM, FILES, BRIEF = (
    CachePlace(n, name, tokens)
    for n, (name, tokens) in enumerate({"system": 1_500, "files": 9_000, "brief": 9_500}.items())
)
ALL = (SYSTEM, FILES, BRIEF)
WRITTEN, READ, NOTHING = Usage(1, 1, 9_500, 0, 9_500), Usage(1, 1, 9_500, 9_500), Usage(1, 1, 9_500)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(cache: PromptCache, places: tuple[CachePlace, ...] = ALL, *, shared: bool = False) -> CacheUse:
    return cache.begin_use(places, is_agent=True, is_shared=shared)


# --- which marks


def test_first_prompt_is_not_marked_and_its_repetition_is() -> None:
    cache = PromptCache(RULES, Clock())
    first = ask(cache)
    cache.end_use(first, NOTHING)
    assert first.marked == () and first.is_possible
    again = ask(cache, (SYSTEM, FILES, CachePlace(2, "lesson", 9_800)))
    assert again.marked == (FILES,), "the longest beginning that was sent before"
    cache.end_use(again, WRITTEN)
    assert ask(cache, (SYSTEM, FILES, CachePlace(2, "other", 9_800))).marked == (FILES,), "to be read"
    assert ask(cache, (SYSTEM, CachePlace(1, "other files", 7_000))).marked == (SYSTEM,)


def test_beginning_is_forgotten_after_the_caches_lifetime_which_each_use_renews() -> None:
    clock = Clock()
    cache = PromptCache(RULES, clock)
    for now in (0.0, 200.0, 400.0):
        clock.now = now
        cache.end_use(use := ask(cache), WRITTEN)
    assert use.marked == (BRIEF,)
    clock.now = 701.0
    assert ask(cache).marked == ()


def test_candidates_mark_at_once_and_wait_for_the_first_one() -> None:
    cache = PromptCache(RULES, Clock())
    first = ask(cache, shared=True)
    assert first.marked == (FILES, BRIEF)
    second = ask(cache, shared=True)
    assert second.wait_for is first and not second.marked
    cache.end_use(first, WRITTEN)
    assert first.ended.is_set()
    second = ask(cache, shared=True)
    assert second.wait_for is None and second.marked == (FILES, BRIEF)
    # It is being read, so nobody has to wait for it.
    assert ask(cache, shared=True).wait_for is None


def test_next_candidate_goes_ahead_if_the_first_one_fails() -> None:
    cache = PromptCache(RULES, Clock())
    first = ask(cache, shared=True)
    cache.end_use(first)
    second = ask(cache, shared=True)
    assert second.wait_for is None and second.marked == (FILES, BRIEF)
    assert ask(cache, shared=True).wait_for is second


def test_nobody_waits_for_less_than_a_cent_or_without_candidates() -> None:
    small = (SYSTEM, CachePlace(1, "small", 2_000))
    cache = PromptCache(RULES, Clock())
    assert [ask(cache, small, shared=True).wait_for for _ in range(3)] == [None] * 3
    cache = PromptCache(RULES, Clock())
    marks = [ask(cache).marked for _ in range(4)]
    assert marks == [(), (BRIEF,), (), ()], "what is written by one in flight cannot be read, so it is not marked"


def test_short_prompts_and_other_roles_are_not_marked() -> None:
    cache = PromptCache(RULES, Clock())
    short = (CachePlace(0, "short", 999),)
    assert [ask(cache, short, shared=True).is_possible for _ in range(2)] == [False, False]
    critic = [cache.begin_use(ALL, is_agent=False, is_shared=False) for _ in range(2)]
    assert [(use.marked, use.is_possible) for use in critic] == [((), True)] * 2
    assert PromptCache(None).begin_use(ALL, is_agent=True, is_shared=True).marked == ()


def test_provider_that_caches_nothing_is_asked_for_more_only() -> None:
    """Its minimum is higher than is known, or it ignores marks: nobody waits for it twice."""
    cache = PromptCache(RULES, Clock())
    cache.end_use(ask(cache, shared=True), NOTHING)
    assert [ask(cache, shared=True).wait_for for _ in range(3)] == [None] * 3
    longer = (*ALL, CachePlace(3, "longer", 20_000))
    assert ask(cache, longer, shared=True).marked == (longer[-1],)


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("anthropic/claude-opus-5-5", (300.0, 1024)),
        ("anthropic/claude-haiku-4-5-20251001", (300.0, 4096)),
        ("anthropic/claude-opus-4-7", (300.0, 2048)),
        ("openai/gpt-6.1-sol", (1800.0, 1024)),
        ("openai/gpt-4o", None),  # it caches by itself, without a surcharge
        ("openai/nobody-knows", None),
        ("anthropic/nobody-knows", None),
        ("gemini/gemini-flash-latest", None),
        ("deepseek/deepseek-chat", None),
    ],
)
def test_marks_are_for_models_whose_cache_has_a_price(model: str, rules: tuple[float, int] | None) -> None:
    found = catalogue.cache_rules(catalogue.resolve_model(model))
    assert (found and (found.seconds, found.from_tokens)) == rules
    if found:
        assert found.saved > 0
        assert catalogue.cache_rules(catalogue.with_prices(catalogue.resolve_model(model), 1, 2)) is None


# --- in the request

TEXT = "All work and no play. " * 1_000
BODIES: dict[str, dict[str, Any]] = {
    "anthropic": {
        "max_tokens": 99,
        "system": [{"type": "text", "text": "You are kind."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": TEXT}]},
            {"role": "assistant", "content": "Ok."},
            {"role": "user", "content": "Now \ud800 work."},
        ],
    },
    "openai": {
        "messages": [
            {"role": "system", "content": "You are kind."},
            {"role": "user", "content": TEXT},
            {"role": "assistant", "content": "Ok."},
            {"role": "user", "content": "Now \ud800 work."},
        ]
    },
}


@pytest.mark.parametrize("dialect", BOTH)
def test_marks_stand_on_the_last_part_of_messages_and_change_nothing_else(dialect: str) -> None:
    form, body = DIALECTS[dialect], BODIES[dialect]
    places = find_cache_places(form, body)
    assert [place.number for place in places] == [0, 1, 3], "not on what the model said"
    assert places[1].tokens == pytest.approx(len(TEXT) / 4, rel=0.1)
    marked = form.with_cache_marks(body, [0, 1, 3], "key")
    assert json.dumps(marked).count('"ephemeral"' if dialect == "anthropic" else '"prompt_cache_breakpoint"') == 3
    assert form.read_request_messages(marked) == form.read_request_messages(body)
    assert find_cache_places(form, marked) == (), "marks of the client's own are left alone"
    # The body that was passed in is as it was, and the beginning's digest depends on nothing behind it.
    longer = body | {"messages": [*body["messages"], {"role": "user", "content": "More."}]}
    assert find_cache_places(form, body) == places == find_cache_places(form, longer)[:-1]


@pytest.mark.parametrize("name", [name for name in DIALECTS if name not in BOTH])
def test_other_formats_have_no_marks(name: str) -> None:
    assert find_cache_places(DIALECTS[name], {"contents": [], "input": "x", "messages": [{"content": "x"}]}) == ()


def test_identity_is_the_same_wherever_aider_shows_its_files() -> None:
    files = [{"role": "user", "content": "I have *added these files to the chat* so ..."}, {"role": "assistant"}]
    turn = [{"role": "user", "content": "Do it."}, {"role": "assistant", "content": "x"}]
    talk = [*turn, {"role": "user", "content": "I updated the files."}, {"role": "assistant", "content": "Ok."}]
    end = [{"role": "user", "content": "That failed."}, {"role": "system", "content": "Reminder."}]
    for last in (end[:1], end):
        theirs, ours = [*talk, *files, *last], [*files, *talk, *last]
        assert with_files_last(ours) == theirs == with_files_last(theirs)
        asked = [request_identity("openai", "chat/completions", {"messages": each}, "") for each in (ours, theirs)]
        assert asked[0] == asked[1]
        # Aider leaves a turn whose reply it could not read behind its files.
        unread = [*files, *turn, *last]
        assert with_files_last(unread) == unread
        assert with_files_last([*files, *talk, *turn, *last]) == [*talk, *files, *turn, *last]
    assert with_files_last([]) == [] and with_files_last(talk) == talk


# --- at the gateway


def body_for(dialect: str) -> bytes:
    talk = [("user", TEXT * 5), ("assistant", "Ok."), ("user", "Go")]
    name = catalogue.resolve_model(MODELS[dialect]).upstream_name
    messages = [{"role": role, "content": text} for role, text in talk]
    return json.dumps(BODIES[dialect] | {"model": name, "messages": messages}).encode()


async def send(url: str, dialect: str, raw: bytes) -> httpx.Response:
    async with client() as http:
        return await http.post(f"{url}/{CALLS[dialect][0]}", content=raw)


def agents(count: int) -> list[ClientPass]:
    return [ClientPass("agent", 1, number, shares_prompt=True) for number in range(1, count + 1)]


@pytest.mark.parametrize("dialect", BOTH)
def test_of_three_candidates_one_pays_for_the_prompt_and_two_read_it(dialect: str) -> None:
    billing, raw = PrefixBilling(), body_for(dialect)

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            tickets = [gateway.add_client(each) for each in agents(3)]
            await asyncio.gather(*(send(gateway.client_url(each, dialect), dialect, raw) for each in tickets))
            return heard

    with ModelServer(lambda request: billing.answer(request, Reply("Done."))) as server:
        heard = asyncio.run(talk(server))
        assert server.peak <= 2, "the first goes ahead"
    tokens = heard[0].usage.input
    assert [(one.usage.cache_write, one.usage.cached) for one in heard] == [(tokens, 0), (0, tokens), (0, tokens)]
    paid = sum(one.usage.dollars or 0.0 for one in heard)
    model = catalogue.resolve_model(MODELS[dialect])
    output = sum(catalogue.request_cost(model, 0, 0, 0, one.usage.output) or 0.0 for one in heard)
    assert paid - output == pytest.approx(billing.dollars)
    assert len({one.identity for one in heard}) == 1


def test_recorded_reply_answers_a_request_that_would_be_marked_now() -> None:
    raw, memory = body_for("anthropic"), Recording()
    said = {"type": "message", "content": [{"type": "text", "text": "As before."}], "usage": {}}
    identity = request_identity("anthropic", "messages", json.loads(raw), "")
    memory.add_reply(identity, RecordedReply("agent1", "application/json", json.dumps(said)))

    async def talk(server: ModelServer) -> Exchange:
        async with door(server, memory=memory) as (gateway, heard):
            [ticket] = agents(1)
            await send(gateway.client_url(gateway.add_client(ticket), "anthropic"), "anthropic", raw)
            return heard[0]

    with ModelServer(lambda request: Reply("Done.")) as server:
        assert asyncio.run(talk(server)).reply == "As before." and server.count() == 0


def test_cancelled_first_candidate_lets_the_others_go_on() -> None:
    raw, billing, tickets = body_for("anthropic"), PrefixBilling(), agents(3)

    def answer(request: Request) -> Reply:
        return billing.answer(request, Reply("Done.")) if server.count() > 1 else Reply(latency=NEVER)

    def two_wait() -> bool:
        return server.count() == 1 and sum(bool(ticket.waits_since) for ticket in tickets) == 2

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            urls = [gateway.client_url(gateway.add_client(ticket), "anthropic") for ticket in tickets]
            asked = [asyncio.create_task(send(url, "anthropic", raw)) for url in urls]
            assert await asyncio.to_thread(holds_soon, two_wait)
            [first] = [ask.task for ask in gateway.asks if not ask.ticket.waits_since]
            assert first is not None and first.cancel()
            await asyncio.gather(*asked)
            return heard

    with ModelServer(answer) as server:
        heard = asyncio.run(talk(server))
    assert [one.failure for one in heard] == ["cancelled", "", ""]
    assert [bool(one.usage.cached) for one in heard] == [False, False, True]


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Unknown parameter: 'prompt_cache_options' / cache_control", 400),
        ("messages.0.content: Input should be a valid string", 400),
        ("Extra inputs are not permitted", 422),
    ],
)
def test_server_that_refuses_marks_gets_none_from_then_on(dialect: str, words: str, status: int) -> None:
    def answer(request: Request) -> Reply:
        text = json.dumps(request.body)
        return Reply(words, status=status) if "cache" in text else Reply("Done.")

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            for ticket in map(gateway.add_client, agents(2)):
                answer = await send(gateway.client_url(ticket, dialect), dialect, body_for(dialect))
                assert answer.status_code == 200
            return heard

    with ModelServer(answer) as server:
        heard = asyncio.run(talk(server))
        assert [request.status for request in server.requests] == [status, 200, 200]
    assert [one.usage.requests for one in heard] == [2, 1]


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize("words", ["Output blocked by content filtering policy", "'temperature' is not supported"])
def test_refusal_that_has_another_reason_leaves_the_marks_to_other_requests(dialect: str, words: str) -> None:
    """It is repeated once without marks, and refused again."""
    refusals = [Reply(words, status=400), Reply(words, status=400)]

    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            for ticket in map(gateway.add_client, agents(2)):
                await send(gateway.client_url(ticket, dialect), dialect, body_for(dialect))

    with ModelServer(lambda request: refusals.pop() if refusals else Reply("Done.")) as server:
        asyncio.run(talk(server))
        marked = ["cache" in json.dumps(request.body) for request in server.requests]
        assert [request.status for request in server.requests] == [400, 400, 200]
    assert marked == [True, False, True]


@pytest.mark.parametrize("dialect", BOTH)
def test_reservation_covers_the_surcharge(dialect: str) -> None:
    """What is written to the cache costs 1.25 times the price, which no reservation may be below."""
    billing, listener = PrefixBilling(), Listener()

    async def talk(server: ModelServer) -> Exchange:
        async with door(server, listener, limits=Limits(Budget(100.0))) as (gateway, heard):
            [ticket] = agents(1)
            await send(gateway.client_url(gateway.add_client(ticket), dialect), dialect, body_for(dialect))
            return heard[0]

    with ModelServer(lambda request: billing.answer(request, Reply("Done."))) as server:
        used = asyncio.run(talk(server)).usage
    assert used.cache_write == used.input and used.overshoot == 0
    assert listener.reservations[0][1].dollars >= (used.dollars or 0) > 0


def test_final_error_is_final_with_marks_too() -> None:
    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            [ticket] = agents(1)
            url = gateway.client_url(gateway.add_client(ticket), "anthropic")
            assert is_final(await send(url, "anthropic", body_for("anthropic")), "anthropic")

    with ModelServer(lambda request: Reply("credit", status=402)) as server:
        asyncio.run(talk(server))
        assert server.count() == 1
