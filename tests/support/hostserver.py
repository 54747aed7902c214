"""GitHub or GitLab on loopback, as far as a pull request needs them. They keep what was opened; a script refuses."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback import Loopback, Quiet

TOKEN = "ghs-planted-host-0123456789"
GITHUB, GITLAB = "/repos/ada/lighthouse/pulls", "/projects/ada%2Flighthouse/merge_requests"


@dataclass(frozen=True)
class Refusal:
    """An answer other than what was asked for. `drop`: the connection is closed without one."""

    status: int = 0
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes


class HostServer(Loopback):
    """`refusals` are given one by one, before anything is done; then it is a host that keeps its word."""

    def __init__(self, kind: Literal["github", "gitlab", "listener"] = "github") -> None:
        self.kind = kind
        self.asked: list[Asked] = []
        self.refusals: list[Refusal] = []
        self.opened: list[dict[str, Any]] = []
        host = self

        class Handler(Quiet):
            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(raw or b"{}"), raw)
                host.asked.append(asked)
                said = host.refusals.pop(0) if host.refusals else host.obey(asked)
                if said.drop:
                    self.close_connection = True
                    return
                content = json.dumps(said.body).encode()
                self.send_response(said.status)
                for name, value in ({"content-length": str(len(content))} | said.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        super().__init__(Handler)

    @property
    def environment(self) -> dict[str, Any]:
        """As this host's own CI sets it."""
        if self.kind == "github":
            return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": "ada/lighthouse", "GITHUB_TOKEN": TOKEN}
        return {"CI_API_V4_URL": self.url, "CI_PROJECT_PATH": "ada/lighthouse", "GITLAB_TOKEN": TOKEN}

    def posts(self) -> list[Asked]:
        return [each for each in self.asked if each.method == "POST"]

    def obey(self, asked: Asked) -> Refusal:
        if self.kind == "listener":
            return Refusal(204)
        given = asked.headers.get("authorization" if self.kind == "github" else "private-token", "")
        parts = urlsplit(asked.path)
        if given.removeprefix("Bearer ") != TOKEN:
            return Refusal(401, {"message": "Bad credentials"})
        root = GITHUB if self.kind == "github" else GITLAB
        if not parts.path.startswith(root):
            return Refusal(404, {"message": "Not Found"})
        if asked.method == "GET":
            return Refusal(200, [each for each in self.opened if matches(each, parse_qs(parts.query))])
        if asked.method in ("PATCH", "PUT"):
            found = self.opened[int(parts.path.rpartition("/")[2]) - 1]
            found |= asked.body
            return Refusal(200, found)
        if any(branches(each) == branches(asked.body) for each in self.opened):
            return already(self.kind)
        number = len(self.opened) + 1
        url = f"https://{self.kind}.example/ada/lighthouse/{number}"
        named = {"number": number, "html_url": url} if self.kind == "github" else {"iid": number, "web_url": url}
        self.opened.append(asked.body | named)
        return Refusal(201, self.opened[-1])


def branches(told: dict[str, Any]) -> list[Any]:
    return [told.get(name) for name in ("head", "base", "source_branch", "target_branch")]


def matches(told: dict[str, Any], query: dict[str, list[str]]) -> bool:
    wanted = {name: values[0].removeprefix("ada:") for name, values in query.items() if name != "state"}
    return all(told.get(name) == value for name, value in wanted.items())


def already(kind: str) -> Refusal:
    if kind == "github":
        error = {"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for ada:x."}
        return Refusal(422, {"message": "Validation Failed", "errors": [error]})
    return Refusal(409, {"message": ["Another open merge request already exists for this source branch: !1"]})
