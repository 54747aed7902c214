"""Who may ask: the token of the server, its own addresses, and how often. Pure but for the token's file.

There is no cookie: cookies ignore the port, so a page of another server on this machine would send them. The token is
in the fragment of the printed address, which no log and no Referer has, and then in the Authorization header.
"""

import hmac
import os
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.errors import UsageError
from orchestra.process import replace_file
from orchestra.web.envelope import ApiError

TOKEN_LENGTH = 32  # bytes
TICKET_SECONDS = 30
OPEN_PATHS = ("/", "/health/live", "/health/ready", "/favicon.ico")  # nothing secret is there
OPEN_FOLDERS = ("/static/",)
READS_PER_MINUTE, WRITES_PER_MINUTE, FAILURES_PER_MINUTE = 600, 60, 10
SOCKET_PATHS = ("/ws", "/api/ws", "/api/v1/ws")
PROTOCOL, TICKET_PREFIX = "ao.v1", "ticket."  # of a WebSocket
SAFE_METHODS = ("GET", "HEAD")
OWNER, VIEWER, METRICS, NOBODY = "owner", "viewer", "metrics", "nobody"
ROLE_WORDS = {VIEWER: "reading", METRICS: "/metrics"}
READING_POSTS = ("/tickets", "/locks/check")  # of the API: they change nothing
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def ticket_of_protocols(header: str) -> str:
    """Return the query that the ticket in `Sec-WebSocket-Protocol` stands for: a WebSocket of a page has no headers."""
    words = [word.strip() for word in header.split(",")]
    return next((f"ticket={word[len(TICKET_PREFIX) :]}" for word in words if word.startswith(TICKET_PREFIX)), "")


def load_token(path: Path, *, new: bool = False) -> str:
    """Read the server's token, or write a new one that only the user can read."""
    if not new and path.is_file():
        if path.stat().st_mode & 0o077 and os.name == "posix":
            raise UsageError(f"{path} can be read by others.", hint=f"Run `chmod 600 {path}`, or give --new-token.")
        if token := path.read_text("ascii", "replace").strip():
            return token
    token = secrets.token_urlsafe(TOKEN_LENGTH)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, token.encode() + b"\n", private=True)
    return token


def is_allowed(role: str, method: str, path: str) -> bool:
    """Whether a role may do this: an owner everything, a viewer what changes nothing, a scraper one path."""
    if role == METRICS:
        return method in SAFE_METHODS and path == "/metrics"
    reads = method in SAFE_METHODS or path.removeprefix("/api").removeprefix("/v1") in READING_POSTS
    return role == OWNER or (role == VIEWER and reads)


@dataclass
class Bucket:
    """A number of requests per minute, which fills again evenly."""

    most: int
    left: float
    filled: float

    def take(self, now: float) -> bool:
        self.left = min(self.most, self.left + (now - self.filled) * self.most / 60)
        self.filled = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass
class Access:
    """Decides about each request before it is routed."""

    token: str
    hosts: Collection[str]
    limited: bool = True
    viewer_token: str = ""  # with it one can only read; empty: there is none
    metrics_token: str = ""  # with it one can only read the metrics
    origins: Collection[str] = ()  # of our page; default: the hosts by HTTP
    clock: Callable[[], float] = time.monotonic
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    tickets: dict[str, tuple[str, float]] = field(default_factory=dict)  # for which path, and until when

    def __post_init__(self) -> None:
        self.origins = self.origins or {f"http://{host}" for host in self.hosts}

    def check(self, method: str, path: str, headers: Mapping[str, str], client: str, query: str = "") -> dict[str, str]:
        """Return the headers of the rate limit. Raise ApiError for a request that must not be answered."""
        return self.admit(method, path, headers, client, query)[1]

    def admit(
        self, method: str, path: str, headers: Mapping[str, str], client: str, query: str = ""
    ) -> tuple[str, dict[str, str]]:
        """Return the role of the caller, and the headers of the rate limit."""
        if headers.get("host", "") not in self.hosts:
            raise ApiError(421, "This server does not answer under that name.")
        origin = headers.get("origin", "")
        if origin and origin not in self.origins:
            raise ApiError(403, "Requests of pages of other servers are refused.")
        if headers.get("sec-fetch-site", "") in ("cross-site", "same-site") and not self.is_open(path):
            raise ApiError(403, "Requests of pages of other servers are refused.")
        if self.is_open(path):
            return NOBODY, {}
        role = VIEWER  # of a ticket: it opens one path, to read it
        if not (method == "GET" and self.redeem_ticket(path, query)):
            role = self.authenticate(headers.get("authorization", ""), client)
        if not is_allowed(role, method, path):
            raise ApiError(403, f"This token is only for {ROLE_WORDS[role]}.")
        return role, self.count(method, role)

    def issue_ticket(self, path: str) -> str:
        """Return a ticket with which one GET of this path needs no token: a new tab cannot send a header."""
        now = self.clock()
        self.tickets = {ticket: found for ticket, found in self.tickets.items() if found[1] > now}
        ticket = secrets.token_urlsafe(TOKEN_LENGTH)
        self.tickets[ticket] = (path, now + TICKET_SECONDS)
        return ticket

    def redeem_ticket(self, path: str, query: str) -> bool:
        wanted, expires = self.tickets.pop(query.removeprefix("ticket="), ("", 0.0))
        return wanted == path and self.clock() < expires

    def is_open(self, path: str) -> bool:
        return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)

    def authenticate(self, authorization: str, client: str) -> str:
        """Return the role of the token."""
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            for role, token in ((OWNER, self.token), (VIEWER, self.viewer_token), (METRICS, self.metrics_token)):
                if token and hmac.compare_digest(given.strip().encode(), token.encode()):
                    return role
        if authorization and not self.bucket("failure", client, FAILURES_PER_MINUTE).take(self.clock()):
            raise ApiError(429, "Too many wrong tokens: wait a minute.", headers={"Retry-After": "60"})
        raise ApiError(401, "The token is missing or wrong. `aider-orchestrator serve` prints the address with it.")

    def count(self, method: str, role: str = "") -> dict[str, str]:
        """Take one of the requests per minute."""
        if not self.limited:
            return {}
        kind, most = ("read", READS_PER_MINUTE) if method in SAFE_METHODS else ("write", WRITES_PER_MINUTE)
        bucket = self.bucket(kind, role, most)
        allowed = bucket.take(self.clock())
        reset = str(int(time.time() + (most - bucket.left) * 60 / most))
        headers = {"X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(int(bucket.left))}
        headers["X-RateLimit-Reset"] = reset
        if not allowed:
            pause = {"Retry-After": str(max(1, round(60 / most)))}
            message = f"More than {most} {kind}s a minute: wait a moment."
            raise ApiError(429, message, details={"reset": reset}, headers=headers | pause)
        return headers

    def bucket(self, kind: str, client: str, most: int) -> Bucket:
        return self.buckets.setdefault((kind, client), Bucket(most, most, self.clock()))
