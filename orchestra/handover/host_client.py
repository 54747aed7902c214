"""Send small requests to other servers: few tries, short timeouts, and no redirect that a token would follow."""

import asyncio
from collections.abc import Mapping

import httpx

PATIENCE = 20.0  # seconds for one request
TRIES = 3
LONGEST_WAIT = 20.0  # seconds that a server may ask for
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")  # no proxy leads to these


async def send_request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None = None, patience: float = PATIENCE
) -> httpx.Response | str:
    """Send a request.

    Return the answer, or why there is none. Temporary failures are retried: no answer, 429, 5xx, a requested wait.
    """
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
    """Return the wait before the next try; None if another try is useless."""
    if isinstance(answer, str) or answer.status_code >= 500:
        return float(1 << tried)
    asked = answer.headers.get("retry-after", "")
    if answer.status_code in (403, 429) and asked.isdecimal():
        return float(asked) if float(asked) <= LONGEST_WAIT else None
    return float(1 << tried) if answer.status_code == 429 else None
