"""When the gateway goes on asking and when no more, and what providers tell of waiting. Expected values in tables."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from orchestra.dialects import rate_headers
from orchestra.gateway.retry_policy import FailureEvidence, is_worth_retrying, retry_pause

# A provider that works, and the first failure of a request to it; half an hour is how long it may be down.
NOW = 1_795_197_922.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment in a header is compared with this one."""
    monkeypatch.setattr(time, "time", lambda: NOW)


WORKS = FailureEvidence("server", True, True, False, False, tries=1, losses=0, model_seconds=0.5, request_seconds=0.5)
NEVER = replace(WORKS, provider_answered=False, model_served=False)
LIMITED = replace(WORKS, failure="rate_limit")
GONE = replace(WORKS, failure="unreachable")
RULES = [
    *(
        (replace(WORKS, failure=failure), False)
        for failure in ("auth", "quota", "bad_request", "context", "garbage", "gateway", "budget")
    ),
    (WORKS, True),
    # It has never answered: eight seconds, however it fails.
    (replace(NEVER, model_seconds=8.0), True),
    (replace(NEVER, model_seconds=8.1), False),
    (replace(NEVER, failure="unreachable", model_seconds=7.5), True),
    (replace(NEVER, failure="unreachable", model_seconds=15.5), False),
    # It is down: as long as an attempt may take.
    (replace(GONE, model_seconds=1799.0, tries=70), True),
    (replace(GONE, model_seconds=1801.0, tries=70), False),
    (replace(WORKS, others_fail=True, model_seconds=1799.0, tries=70), True),
    (replace(WORKS, others_fail=True, model_seconds=1801.0), False),
    # It serves others, so it is this request.
    (replace(WORKS, others_served=True, tries=4, model_seconds=300.0), True),
    (replace(WORKS, others_served=True, tries=5), False),
    (replace(WORKS, others_served=True, others_fail=True, tries=5), False),
    # Nobody knows.
    (replace(WORKS, request_seconds=59.0, tries=7), True),
    (replace(WORKS, request_seconds=61.0, tries=7), False),
    # In the middle of a reply: once more.
    (replace(WORKS, losses=1), True),
    (replace(WORKS, losses=2), False),
    (replace(WORKS, losses=2, others_fail=True), False),
    # Too many requests: as long as somebody is served, for ten minutes without; a stranger gets one minute.
    (replace(LIMITED, model_seconds=599.0, tries=99), True),
    (replace(LIMITED, model_seconds=601.0), False),
    (replace(LIMITED, model_served=False, model_seconds=61.0), False),
    (replace(LIMITED, model_served=False, model_seconds=70.0, retry_after=35.0), True),
    (replace(LIMITED, retry_after=3600.0), False),
    (replace(WORKS, retry_after=3600.0), False),
    (replace(WORKS, retry_after=20.0), True),
    # It did not answer in a quarter of an hour: once more.
    (replace(WORKS, failure="timeout"), True),
    (replace(WORKS, failure="timeout", tries=2), False),
]


@pytest.mark.parametrize(("seen", "on"), RULES)
def test_the_rule(seen: FailureEvidence, on: bool) -> None:
    assert is_worth_retrying(seen, 1800.0) is on


def test_a_short_attempt_has_a_short_patience() -> None:
    assert not is_worth_retrying(replace(WORKS, request_seconds=11.0), 10.0) and not is_worth_retrying(
        replace(GONE, model_seconds=11.0), 10.0
    )


def test_pauses_become_longer_but_not_for_ever() -> None:
    assert [retry_pause(tries) for tries in (1, 2, 3, 4, 7, 50)] == [0.5, 1.0, 2.0, 4.0, 30.0, 30.0]


# --- what is told ---------------------------------------------------------------------------------------------------

OPENAI = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
HEADERS = [
    ({}, 0.0),
    (OPENAI | {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "9s"}, 0.0),
    (OPENAI | {"x-ratelimit-reset-requests": "120ms"}, 0.12),
    (OPENAI | {"x-ratelimit-reset-requests": "1s"}, 1.0),
    # A minute until all sixty are there again is a second until the next one.
    (OPENAI | {"x-ratelimit-reset-requests": "1m0s"}, 2.0),
    (OPENAI | {"x-ratelimit-reset-requests": "6m0s"}, 6.0),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
    ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30.5s"}, 90.5),
    ({"x-ratelimit-remaining-requests": "0"}, 0.0),
    ({"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "soon"}, 0.0),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, 0.0),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "4"}, 4.0),
    ({"anthropic-ratelimit-requests-remaining": "0"}, 0.0),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS)
def test_headers_that_say_that_nothing_is_left(headers: dict[str, str], seconds: float) -> None:
    assert rate_headers.used_up_seconds(headers) == pytest.approx(seconds)


NOTHING_LEFT = {"x-ratelimit-remaining-tokens": "0"}
# What no clock says, beside what only looks like it.
STRANGE_RESETS = [
    *(("6ms", 0.006), ("0.5ms", 0.0005), ("1h2m3s", 3723.0), ("-5", 0.0), ("-1e9", 0.0), ("nan", 0.0), ("inf", 0.0)),
    *(("1e400", 0.0), ("NaNs", 0.0), ("", 0.0), ("9" * 100_000 + "x", 0.0), ("1" * 63 + "x", 0.0), ("s" * 64, 0.0)),
    *(("0001-01-01T00:00:00", 0.0), ("0001-01-01T00:00:00+23:59", 0.0), ("٣s", 3.0), ("1_0s", 0.0)),
]


@pytest.mark.parametrize(("reset", "seconds"), STRANGE_RESETS)
def test_resets_that_are_absurd(reset: str, seconds: float) -> None:
    assert rate_headers.used_up_seconds(NOTHING_LEFT | {"x-ratelimit-reset-tokens": reset}) == pytest.approx(seconds)


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_reset_is_a_moment_in_seconds_or_in_thousandths(unit: int) -> None:
    told = NOTHING_LEFT | {"x-ratelimit-reset-tokens": str(int((time.time() + 30) * unit))}
    assert rate_headers.used_up_seconds(told) == 30


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_refusal_may_name_a_moment_too(unit: int) -> None:
    seconds = rate_headers.read_retry_after({"retry-after": str(int((time.time() + 30) * unit))}, b"")
    assert seconds == 30


@pytest.mark.parametrize("told", ["nan", "0001-01-01", "Mon, 01 Jan 0001 00:00:00 -0000", "x" * 100_000])
def test_a_wait_that_cannot_be_read_is_none(told: str) -> None:
    assert rate_headers.read_retry_after({"retry-after": told}, b'{"error": {"details": 5}}') in (None, 0.0)


@pytest.mark.parametrize("kind", ["requests", "tokens", "input-tokens", "output-tokens"])
def test_anthropic_tells_a_moment(kind: str) -> None:
    moment = datetime.fromtimestamp(time.time() + 20, UTC).isoformat().replace("+00:00", "Z")
    told = {f"anthropic-ratelimit-{kind}-remaining": "0", f"anthropic-ratelimit-{kind}-reset": moment}
    assert rate_headers.used_up_seconds(told) == 20


def test_some_count_from_1970() -> None:
    told = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": str(int(time.time()) + 30)}
    assert rate_headers.used_up_seconds(told) == 30


def test_milliseconds_and_the_past() -> None:
    assert rate_headers.read_retry_after({"retry-after-ms": "250", "retry-after": "1"}, b"") == 0.25
    assert rate_headers.read_retry_after({"retry-after": formatdate(time.time() - 60, usegmt=True)}, b"") == 0.0
