"""`serve`: the dashboard and its API, on this machine."""

import os
import socket
import webbrowser
from argparse import Namespace
from pathlib import Path
from typing import Any

from orchestra.cli.command_io import print_plain
from orchestra.cli.load import config_folder
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.process import replace_file

PORT = 8085
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LARGEST_MESSAGE, PING_SECONDS = 1 << 16, 10.0  # of a WebSocket
GRACE = 3  # seconds for open streams when the server ends


def add_serve_arguments(parser: CommandParser) -> None:
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="a loopback address (127.0.0.1)")
    parser.add_argument("--port", metavar="PORT", type=int, default=PORT, help=f"the port (default: {PORT}; 0: any)")
    parser.add_argument("--repo", metavar="PATH", nargs="+", default=[], help="the repositories (default: this one)")
    parser.add_argument("--store", metavar="URL", default="", help="the database of events (default: in .aider_logs)")
    parser.add_argument("--token-file", metavar="FILE", default="", help="where the token is kept")
    parser.add_argument("--new-token", action="store_true", help="make a new token; old addresses then fail")
    parser.add_argument("--allow-commands", action="store_true", help="new runs may name commands, files and addresses")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def cmd_serve(arguments: Namespace) -> int:
    """Serve a page and an API for the runs of repositories. Only this machine can reach it, and only with the token in
    the printed address. A run does not need it: what you do on the page is answered by the run's own process."""
    if arguments.host not in LOOPBACK:
        raise UsageError(
            f"--host {arguments.host} is no loopback address.",
            hint=f"From elsewhere use a tunnel: ssh -L {arguments.port}:127.0.0.1:{arguments.port} HOST.",
        )
    import uvicorn

    from orchestra.web.access import LOOPBACK_NAMES, Access, load_token
    from orchestra.web.app import build_app
    from orchestra.web.guard import Guard
    from orchestra.web.repositories import Repositories

    path = Path(arguments.token_file) if arguments.token_file else config_folder() / "serve-token"
    token = load_token(path, new=arguments.new_token)
    listener = open_listener(arguments.host, arguments.port)
    port = listener.getsockname()[1]
    limited = os.environ.get("RATE_LIMIT_ENABLED", "").lower() != "false"
    access = Access(token, [f"{name}:{port}" for name in LOOPBACK_NAMES], limited)
    routed = build_app(Repositories(arguments.repo, arguments.store), allow_commands=arguments.allow_commands)
    app = Guard(routed, access, routed.state.metrics.observe_request)
    shown = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    address = f"http://{shown}:{port}/#t={token}"
    print_plain(f"{address}\nCtrl-C ends the server; runs go on.")
    if arguments.open:
        open_page(path.with_name("serve-open.html"), address)
    options: dict[str, Any] = {"log_level": "warning", "proxy_headers": False, "server_header": False}
    options |= {"ws": "websockets-sansio", "ws_max_size": LARGEST_MESSAGE, "ws_per_message_deflate": False}
    options |= {"ws_ping_interval": PING_SECONDS, "ws_ping_timeout": PING_SECONDS}
    config = uvicorn.Config(app, timeout_graceful_shutdown=GRACE, **options)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def open_page(path: Path, address: str) -> None:
    """Open the address by a private file that leads to it: other users can read the command line of a browser."""
    replace_file(path, f'<meta http-equiv="refresh" content="0;url={address}">\n'.encode(), private=True)
    if not webbrowser.open(path.absolute().as_uri()):
        print_plain("No browser could be opened: open the address yourself.")


def open_listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # before the address is printed, so that it can be opened at once
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"port {port} cannot be used: {reason}.", hint="Give another --port, or 0.") from None
    return listener
