"""Pull requests on GitHub, merge requests on GitLab: opened once, found again, brought up to date."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from orchestra.errors import HandOverFailed
from orchestra.handover.hosts import Host
from orchestra.handover.why import refusal
from orchestra.handover.wire import send

EXISTS = {"github": (422, "already exists"), "gitlab": (409, "")}


@dataclass(frozen=True)
class Wanted:
    """A request as it is to be: to take the branch `head` into the branch `base`."""

    head: str
    base: str
    title: str
    body: str


@dataclass(frozen=True)
class Opened:
    """`existed`: somebody, or an earlier try of ours, had opened it."""

    url: str
    number: int
    existed: bool = False


async def open_request(host: Host, wanted: Wanted) -> Opened:
    answer = await send("POST", host.url, host.headers | JSON, content(host, wanted, new=True))
    status, words = EXISTS[host.kind]
    if isinstance(answer, httpx.Response) and answer.status_code == status and words in answer.text:
        found = await find(host, wanted)
        if found is not None:
            return found
    return opened(host, accepted(host, answer))


async def find(host: Host, wanted: Wanted) -> Opened | None:
    """The open one for these branches."""
    if host.kind == "github":
        owner = host.project.partition("/")[0]
        query = {"state": "open", "head": f"{owner}:{wanted.head}", "base": wanted.base}
    else:
        query = {"state": "opened", "source_branch": wanted.head, "target_branch": wanted.base}
    listed = accepted(host, await send("GET", f"{host.url}?{urlencode(query)}", host.headers))
    return opened(host, listed[0], existed=True) if isinstance(listed, list) and listed else None


async def update(host: Host, number: int, wanted: Wanted) -> None:
    """The words of a request of ours, after the branch has got other commits."""
    method = "PATCH" if host.kind == "github" else "PUT"
    accepted(host, await send(method, f"{host.url}/{number}", host.headers | JSON, content(host, wanted, new=False)))


JSON = {"content-type": "application/json"}


def content(host: Host, wanted: Wanted, *, new: bool) -> bytes:
    if host.kind == "github":
        branches = {"head": wanted.head, "base": wanted.base}
        said = {"title": wanted.title, "body": wanted.body}
    else:
        branches = {"source_branch": wanted.head, "target_branch": wanted.base}
        said = {"title": wanted.title, "description": wanted.body}
    return json.dumps(said | (branches if new else {})).encode()


def accepted(host: Host, answer: httpx.Response | str) -> Any:
    """What the host answers, when it is not a refusal."""
    if isinstance(answer, str):
        raise HandOverFailed(f"{host.known.title} cannot be reached at {host.api}: {answer}")
    if not answer.is_success:
        raise HandOverFailed(refusal(host, answer.status_code, answer.headers, answer.text))
    try:
        return answer.json()
    except ValueError:
        raise HandOverFailed(f"{host.api} does not answer as {host.known.title} does") from None


def opened(host: Host, told: Any, *, existed: bool = False) -> Opened:
    url, number = ("html_url", "number") if host.kind == "github" else ("web_url", "iid")
    if not isinstance(told, Mapping) or not isinstance(told.get(url), str) or not isinstance(told.get(number), int):
        raise HandOverFailed(f"{host.api} does not answer as {host.known.title} does")
    return Opened(told[url], told[number], existed)
