"""Pull requests on GitHub, merge requests on GitLab: opened once, found again, brought up to date."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from orchestra.errors import HandoverFailed
from orchestra.handover.code_hosts import CodeHost
from orchestra.handover.host_client import send_request
from orchestra.handover.refusals import explain_host_refusal

EXISTS = {"github": (422, "already exists"), "gitlab": (409, "")}


@dataclass(frozen=True)
class RequestDraft:
    """A request as it is to be: to take the branch `head` into the branch `base`."""

    head: str
    base: str
    title: str
    body: str


@dataclass(frozen=True)
class OpenedRequest:
    """`existed`: somebody, or an earlier try of ours, had opened it."""

    url: str
    number: int
    existed: bool = False


async def open_request(host: CodeHost, wanted: RequestDraft) -> OpenedRequest:
    answer = await send_request("POST", host.url, host.headers | JSON, request_content(host, wanted, new=True))
    status, words = EXISTS[host.kind]
    if isinstance(answer, httpx.Response) and answer.status_code == status and words in answer.text:
        found = await find_open_request(host, wanted)
        if found is not None:
            return found
    return parse_opened(host, accept_answer(host, answer))


async def find_open_request(host: CodeHost, wanted: RequestDraft) -> OpenedRequest | None:
    """The open one for these branches."""
    if host.kind == "github":
        owner = host.project.partition("/")[0]
        query = {"state": "open", "head": f"{owner}:{wanted.head}", "base": wanted.base}
    else:
        query = {"state": "opened", "source_branch": wanted.head, "target_branch": wanted.base}
    listed = accept_answer(host, await send_request("GET", f"{host.url}?{urlencode(query)}", host.headers))
    return parse_opened(host, listed[0], existed=True) if isinstance(listed, list) and listed else None


async def update_request(host: CodeHost, number: int, wanted: RequestDraft) -> None:
    """The words of a request of ours, after the branch has got other commits."""
    method = "PATCH" if host.kind == "github" else "PUT"
    accept_answer(
        host,
        await send_request(
            method, f"{host.url}/{number}", host.headers | JSON, request_content(host, wanted, new=False)
        ),
    )


JSON = {"content-type": "application/json"}


def request_content(host: CodeHost, wanted: RequestDraft, *, new: bool) -> bytes:
    if host.kind == "github":
        branches = {"head": wanted.head, "base": wanted.base}
        said = {"title": wanted.title, "body": wanted.body}
    else:
        branches = {"source_branch": wanted.head, "target_branch": wanted.base}
        said = {"title": wanted.title, "description": wanted.body}
    return json.dumps(said | (branches if new else {})).encode()


def accept_answer(host: CodeHost, answer: httpx.Response | str) -> Any:
    """What the host answers, when it is not a refusal."""
    if isinstance(answer, str):
        raise HandoverFailed(f"{host.profile.title} cannot be reached at {host.api}: {answer}")
    if not answer.is_success:
        raise HandoverFailed(explain_host_refusal(host, answer.status_code, answer.headers, answer.text))
    try:
        return answer.json()
    except ValueError:
        raise HandoverFailed(f"{host.api} does not answer as {host.profile.title} does") from None


def parse_opened(host: CodeHost, answer: Any, *, existed: bool = False) -> OpenedRequest:
    url, number = ("html_url", "number") if host.kind == "github" else ("web_url", "iid")
    if (
        not isinstance(answer, Mapping)
        or not isinstance(answer.get(url), str)
        or not isinstance(answer.get(number), int)
    ):
        raise HandoverFailed(f"{host.api} does not answer as {host.profile.title} does")
    return OpenedRequest(answer[url], answer[number], existed)
