"""The outermost layer: every request is checked before it is routed, and every answer has the safety headers."""

import time
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestra.web.access import HEADERS, Access
from orchestra.web.envelope import ApiError, error_response, make_request_id

# Gets the pattern of the path, the method, the status, and the seconds until the answer began.
Observer = Callable[[str, str, int, float], None]


class Guard:
    """Pure ASGI, because a middleware that reads answers would hold back streams."""

    def __init__(self, app: ASGIApp, access: Access, observe: Observer = lambda *_: None) -> None:
        self.app, self.access, self.observe = app, access, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = make_request_id(headers.get("x-request-id", ""))
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        client = scope["client"][0] if scope.get("client") else ""
        began = time.monotonic()
        extra = HEADERS | {"X-Request-Id": request_id}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in extra.items():
                    found.setdefault(name, value)
                if scope["path"].startswith("/api"):
                    found.setdefault("Cache-Control", "no-store")
                route = getattr(scope.get("route"), "path", "none")
                self.observe(route, scope["method"], message["status"], time.monotonic() - began)
            await send(message)

        try:
            extra |= self.access.check(scope["method"], scope["path"], headers, client)
        except ApiError as error:
            response = error_response(error, request_id, headers.get("accept", ""))
            return await response(scope, receive, send_with_headers)
        await self.app(scope, receive, send_with_headers)
