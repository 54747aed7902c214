"""`serve`: the dashboard and its API, on this machine."""

import os
import socket
import webbrowser
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from orchestra.cli.command_io import print_plain
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.process import replace_file
from orchestra.settings.folder import config_folder

PORT = 8085
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
WILDCARDS = ("0.0.0.0", "::")
LARGEST_MESSAGE, PING_SECONDS = 1 << 16, 10.0  # of a WebSocket
SILENCE = 120.0  # seconds without an answer to a ping: a caller that does not read costs little meanwhile
GRACE = 3  # seconds for open streams when the server ends


def add_serve_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where to listen; not on loopback only with TLS or a proxy",
    )
    parser.add_argument("--port", metavar="PORT", type=int, default=PORT, help=f"the port (default: {PORT}; 0: any)")
    parser.add_argument("--repo", metavar="PATH", nargs="+", default=[], help="the repositories (default: this one)")
    parser.add_argument(
        "--root", metavar="FOLDER", nargs="+", default=[], help="folders below which one may add, clone and make others"
    )
    parser.add_argument("--store", metavar="URL", default="", help="the database of events (default: in .aider_logs)")
    parser.add_argument("--token-file", metavar="FILE", default="", help="where the token is kept")
    parser.add_argument("--new-token", action="store_true", help="make a new token; old addresses then fail")
    for flag, metavar, text in (
        ("--tls-cert", "FILE", "the certificate (PEM), with --tls-key: answer by HTTPS"),
        ("--tls-key", "FILE", "its private key (PEM)"),
        ("--public-url", "URL", "the address by which browsers reach the server, if that is another than --host"),
        ("--behind-proxy", "URL", "the same, of a proxy that ends TLS in front of the server"),
    ):
        parser.add_argument(flag, metavar=metavar, default="", help=text)
    parser.add_argument("--viewer-token", action="store_true", help="print a second address, with which one only reads")
    parser.add_argument("--metrics-token", action="store_true", help="print a token for /metrics alone")
    parser.add_argument("--allow-commands", action="store_true", help="new runs may name commands, files and addresses")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def cmd_serve(arguments: Namespace) -> int:
    """Serve a page and an API for the runs of repositories. Only with the token in the printed address one can use it,
    and unless you say otherwise only this machine reaches it. A run does not need it: what you do on the page is
    answered by the run's own process."""
    urls = public_urls(arguments)
    import uvicorn

    from orchestra.web.access import METRICS, OWNER, VIEWER, Access, load_token
    from orchestra.web.app import build_app
    from orchestra.web.guard import Guard
    from orchestra.web.repositories import Repositories, find_repositories

    path = Path(arguments.token_file) if arguments.token_file else config_folder() / "serve-token"
    wanted = {OWNER: True, VIEWER: arguments.viewer_token, METRICS: arguments.metrics_token}
    tokens = {
        role: load_token(path if role == OWNER else path.with_name(f"{path.name}-{role}"), new=arguments.new_token)
        for role in wanted
        if wanted[role]
    }
    listener = open_listener(arguments.host, arguments.port)
    places = server_origins(arguments, listener.getsockname()[1], urls)
    limited = os.environ.get("RATE_LIMIT_ENABLED", "").lower() != "false"
    hosts = [place.partition("://")[2] for place in places]
    access = Access(tokens[OWNER], hosts, limited, tokens.get(VIEWER, ""), tokens.get(METRICS, ""), places)
    roots = find_roots(arguments.root)
    known = [*arguments.repo, *find_repositories(roots)]
    repositories = Repositories(known or [""], arguments.store, roots)
    routed = build_app(repositories, allow_commands=arguments.allow_commands)
    app = Guard(routed, access, routed.state.metrics.observe_request)
    print_addresses(places[0], tokens)
    if arguments.open:
        open_page(path.with_name("serve-open.html"), f"{places[0]}/#t={tokens[OWNER]}")
    options: dict[str, Any] = {"log_level": "warning", "proxy_headers": False, "server_header": False}
    options |= {"ws": "websockets-sansio", "ws_max_size": LARGEST_MESSAGE, "ws_per_message_deflate": False}
    options |= {"ws_ping_interval": PING_SECONDS, "ws_ping_timeout": SILENCE}
    if arguments.tls_cert:
        options |= {"ssl_certfile": arguments.tls_cert, "ssl_keyfile": arguments.tls_key}
    config = uvicorn.Config(app, timeout_graceful_shutdown=GRACE, **options)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def find_roots(folders: Sequence[str]) -> list[Path]:
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(f"--root {folder} is no folder.")
    return [Path(folder).resolve() for folder in folders]


def server_origins(arguments: Namespace, port: int, urls: Sequence[SplitResult]) -> list[str]:
    """Return the origins of our page, the one to print first."""
    scheme = "https" if arguments.tls_cert else "http"
    own = [] if arguments.host in WILDCARDS else [shown_host(arguments.host)]
    origins = [f"{url.scheme}://{url.netloc}" for url in urls]
    origins += [f"{scheme}://{name}:{port}" for name in (*own, *LOOPBACK_NAMES)]
    return list(dict.fromkeys(origins))


def print_addresses(origin: str, tokens: Mapping[str, str]) -> None:
    """Print the address for the browser first. A token is in the fragment, which no log and no Referer has."""
    lines = [f"{origin}/#t={tokens['owner']}"]
    lines += [f"To read only: {origin}/#t={tokens['viewer']}"] if "viewer" in tokens else []
    lines += [f"For {origin}/metrics alone: Authorization: Bearer {tokens['metrics']}"] if "metrics" in tokens else []
    print_plain("\n".join([*lines, "Ctrl-C ends the server; runs go on."]))


def public_urls(arguments: Namespace) -> list[SplitResult]:
    """Return the addresses by which browsers reach the server. Refuse what would send the token unencrypted."""
    if bool(arguments.tls_cert) != bool(arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key belong together.", hint="Give both.")
    check_certificate(arguments.tls_cert, arguments.tls_key)
    given = {"--public-url": arguments.public_url, "--behind-proxy": arguments.behind_proxy}
    urls = [parse_public_url(flag, text) for flag, text in given.items() if text]
    if arguments.host in LOOPBACK:
        return urls
    if not (arguments.tls_cert or arguments.behind_proxy):
        raise UsageError(
            f"--host {arguments.host} is no loopback address, so the token would be sent unencrypted.",
            hint=f"Give --tls-cert and --tls-key, or --behind-proxy URL, or use a tunnel: "
            f"ssh -L {arguments.port}:127.0.0.1:{arguments.port} HOST.",
        )
    if arguments.host in WILDCARDS and not urls:
        raise UsageError(f"--host {arguments.host} has no name that browsers know.", hint="Give --public-url URL too.")
    return urls


def parse_public_url(flag: str, text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        is_whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or url.path.strip("/") or url.query or url.fragment or "@" in url.netloc:
        raise UsageError(f"{flag} {text}: this is no address such as https://orchestra.example.org.")
    return url


def check_certificate(certificate: str, key: str) -> None:
    if not certificate:
        return
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--tls-cert {certificate} cannot be used: {error.strerror or error}.") from None


def shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


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
