"""The outermost layer: every request is checked before it is routed, and every answer has the safety headers."""

import time
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestra.web.access import HEADERS, Access, ticket_of_protocols
from orchestra.web.envelope import ApiError, error_response, make_request_id

# Gets the pattern of the path, the method, the status, and the seconds until the answer began.
Observer = Callable[[str, str, int, float], None]


class Guard:
    """Pure ASGI, because a middleware that reads answers would hold back streams."""

    def __init__(self, app: ASGIApp, access: Access, observe: Observer = lambda *_: None) -> None:
        self.app, self.access, self.observe = app, access, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await self.open_socket(scope, receive, send)
        headers = Headers(scope=scope)
        request_id = make_request_id(headers.get("x-request-id", ""))
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state.update(request_id=request_id, access=self.access)
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
            query = scope["query_string"].decode("latin-1")
            state["role"], limits = self.access.admit(scope["method"], scope["path"], headers, client, query)
            extra |= limits
        except ApiError as error:
            response = error_response(error, request_id, headers.get("accept", ""))
            return await response(scope, receive, send_with_headers)
        await self.app(scope, receive, send_with_headers)

    async def open_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a WebSocket as any request, with the ticket among its protocols in place of the token."""
        headers = Headers(scope=scope)
        request_id = make_request_id(headers.get("x-request-id", ""))
        scope.setdefault("state", {}).update(request_id=request_id, access=self.access)
        client = scope["client"][0] if scope.get("client") else ""
        try:
            ticket = ticket_of_protocols(headers.get("sec-websocket-protocol", ""))
            self.access.check("GET", scope["path"], headers, client, ticket)
        except ApiError as error:
            await refuse_socket(error_response(error, request_id), scope, send)
            return
        await self.app(scope, receive, send)


async def refuse_socket(response: Response, scope: Scope, send: Send) -> None:
    """Answer the handshake with an error; where the server cannot do that, close."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": f"{kind}.body", "body": response.body})
