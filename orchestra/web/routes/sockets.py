"""The WebSocket, under each path that other orchestrators' clients know."""

import asyncio
import contextlib

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from orchestra.web.access import PROTOCOL
from orchestra.web.envelope import ApiError
from orchestra.web.server import RunServer
from orchestra.web.sockets import Subscriber


def socket_routes(server: RunServer) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/ws")
    async def connect(socket: WebSocket) -> None:
        offered = [word.strip() for word in socket.headers.get("sec-websocket-protocol", "").split(",")]
        await socket.accept(PROTOCOL if PROTOCOL in offered else None)
        subscriber = Subscriber(server, socket.send_text, compatible=socket.query_params.get("compat") == "1")
        sending = asyncio.create_task(subscriber.send_messages())
        receiving = asyncio.create_task(receive_messages(socket, subscriber))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            subscriber.close()
            for task in (sending, receiving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    await task

    return routes


async def receive_messages(socket: WebSocket, subscriber: Subscriber) -> None:
    """Obey the caller's messages until it leaves. They are counted as reads are."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            socket.state.access.count("GET")
        except ApiError:
            await asyncio.sleep(1)  # the next one waits
        await subscriber.handle(message.get("text") or "")
