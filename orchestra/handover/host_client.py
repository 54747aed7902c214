"""Send small requests and notifications: few tries, short timeouts, and no redirect that a token would follow."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping

import httpx

PATIENCE = 20.0  # seconds for one request
TRIES = 3
LONGEST_WAIT = 20.0  # seconds that a server may ask for
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")  # no proxy leads to these
WEBHOOK_BOUND = 12.0  # seconds for all tries
WEBHOOK_PATIENCE = 4.0  # seconds for one try
SIGNATURE = "x-orchestra-signature"


async def send_request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None = None, patience: float = PATIENCE
) -> httpx.Response | str:
    """Send a request, again after temporary failures. Return the answer, or why there is none."""
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


async def post_notification(url: str, content: bytes, secret: str) -> str:
    """Post the message. Return why it was not delivered; empty on success."""
    headers = {"content-type": "application/json", "user-agent": "aider-orchestrator"}
    headers |= {SIGNATURE: sign_content(content, secret)} if secret else {}
    try:
        async with asyncio.timeout(WEBHOOK_BOUND):
            answer = await send_request("POST", url, headers, content, WEBHOOK_PATIENCE)
    except TimeoutError:
        return f"it has not answered within {WEBHOOK_BOUND:.0f} s"
    if isinstance(answer, str):
        return answer
    return "" if answer.is_success else f"it answered {answer.status_code}"


def sign_content(content: bytes, secret: str) -> str:
    return f"sha256={hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()}"
