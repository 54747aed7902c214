"""An HTTP server on the loopback address, in our event loop."""

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
    """A server that can start early: until it has a `handler`, every request gets status 500."""

    def __init__(self) -> None:
        self.port = 0
        self.handler: AsgiApp | None = None
        self.server: uvicorn.Server | None = None
        self.serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                """Do nothing: the run handles signals itself."""
                yield

        # asyncio turns off Nagle's 40 ms delay only if the socket says that it is TCP.
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
            # A client that reuses a connection just when it is closed as idle would take it for lost.
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
        """Stop at once and cancel unanswered requests. A second call does no harm."""
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
