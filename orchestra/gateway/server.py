"""An HTTP server on this machine's loopback address, in our own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
IDLE_TIMEOUT = 3600
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class LoopbackServer:
    """It can be started before there is anything to serve: until `serve` every request gets status 500."""

    def __init__(self) -> None:
        self.port = 0
        self.handler: AsgiApp | None = None
        self.server: uvicorn.Server | None = None
        self.serving: asyncio.Task[None] | None = None

    def set_handler(self, handler: AsgiApp) -> None:
        self.handler = handler

    async def start(self) -> None:
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                """Signals are the run's own business."""
                yield

        # asyncio spares its connections Nagle's 40 ms only where the socket says that it is TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind((HOST, 0))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.handle_asgi,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # A client that uses a connection again just when it is closed for being idle would take it for lost.
            timeout_keep_alive=IDLE_TIMEOUT,
            timeout_graceful_shutdown=1,
        )
        self.server = Server(config)
        self.serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        while not self.server.started:
            await asyncio.sleep(0.005)
            if self.serving.done():
                self.serving.result()

    async def stop(self) -> None:
        """At once: requests that are not answered yet are cancelled. To stop it twice does no harm."""
        if self.server is None or self.serving is None:
            return
        working = list(self.server.server_state.tasks)
        for task in working:
            task.cancel()
        self.server.should_exit = True
        await asyncio.gather(self.serving, *working, return_exceptions=True)

    async def handle_asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if self.handler is not None:
            await self.handler(scope, receive, send)
