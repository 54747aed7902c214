"""Small requests to other people's servers: few tries, short patience, and no redirect that a token would follow."""

import asyncio
from collections.abc import Mapping

import httpx

PATIENCE = 20.0  # for one request
TRIES = 3
LONGEST_WAIT = 20.0  # that a server may ask for
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")  # which no proxy leads to


async def send_request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None = None, patience: float = PATIENCE
) -> httpx.Response | str:
    """The answer, or why there is none. What may pass is tried again: no answer, 429, 5xx, a wait that is asked for."""
    async with httpx.AsyncClient(timeout=patience, mounts=dict.fromkeys(LOOPBACK)) as client:
        answer: httpx.Response | str = ""
        for tried in range(TRIES):
            try:
                answer = await client.request(method, url, headers=headers, content=content)
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                answer = str(error) or type(error).__name__
            pause = retry_delay(answer, tried)
            if pause is None or tried == TRIES - 1:
                break
            await asyncio.sleep(pause)
        return answer


def retry_delay(answer: httpx.Response | str, tried: int) -> float | None:
    """How long to wait before the next try; None where another one is of no use."""
    if isinstance(answer, str) or answer.status_code >= 500:
        return float(1 << tried)
    asked = answer.headers.get("retry-after", "")
    if answer.status_code in (403, 429) and asked.isdecimal():
        return float(asked) if float(asked) <= LONGEST_WAIT else None
    return float(1 << tried) if answer.status_code == 429 else None
