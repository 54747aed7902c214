"""Open pull requests on GitHub and merge requests on GitLab; find and update existing ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx

from orchestra.errors import HandoverFailed
from orchestra.handover.code_hosts import CodeHost
from orchestra.handover.host_client import send_request
from orchestra.handover.refusals import explain_host_refusal


class RequestForm(NamedTuple):
    """How a kind of host names the parts of a request, and refuses a second one: status and words."""

    refusal: tuple[int, str]
    state: str
    head: str
    base: str
    body: str
    url: str
    number: str
    update: str


FORMS = {
    "github": RequestForm((422, "already exists"), "open", "head", "base", "body", "html_url", "number", "PATCH"),
    "gitlab": RequestForm(
        (409, ""), "opened", "source_branch", "target_branch", "description", "web_url", "iid", "PUT"
    ),
}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class RequestDraft:
    """A request to merge the branch `head` into the branch `base`."""

    head: str
    base: str
    title: str
    body: str


@dataclass(frozen=True)
class OpenedRequest:
    """`existed`: it had been opened before, by an earlier try or by someone else."""

    url: str
    number: int
    existed: bool = False


async def open_request(host: CodeHost, wanted: RequestDraft) -> OpenedRequest:
    answer = await send_request("POST", host.url, host.headers | JSON, request_content(host, wanted, new=True))
    form = FORMS[host.kind]
    status, words = form.refusal
    if isinstance(answer, httpx.Response) and answer.status_code == status and words in answer.text:
        # It may be open already, for these branches.
        head = f"{host.project.partition('/')[0]}:{wanted.head}" if host.kind == "github" else wanted.head
        query = urlencode({"state": form.state, form.head: head, form.base: wanted.base})
        listed = accept_answer(host, await send_request("GET", f"{host.url}?{query}", host.headers))
        if isinstance(listed, list) and listed:
            return parse_opened(host, listed[0], existed=True)
    return parse_opened(host, accept_answer(host, answer))


async def update_request(host: CodeHost, number: int, wanted: RequestDraft) -> None:
    """Update the text of our request after the branch got new commits."""
    content, headers = request_content(host, wanted, new=False), host.headers | JSON
    accept_answer(host, await send_request(FORMS[host.kind].update, f"{host.url}/{number}", headers, content))


def request_content(host: CodeHost, wanted: RequestDraft, *, new: bool) -> bytes:
    form = FORMS[host.kind]
    branches = {form.head: wanted.head, form.base: wanted.base} if new else {}
    return json.dumps({"title": wanted.title, form.body: wanted.body} | branches).encode()


def accept_answer(host: CodeHost, answer: httpx.Response | str) -> Any:
    """Return the host's answer. Raise if it is a refusal."""
    if isinstance(answer, str):
        raise HandoverFailed(f"{host.profile.title} cannot be reached at {host.api}: {answer}")
    if not answer.is_success:
        raise HandoverFailed(explain_host_refusal(host, answer.status_code, answer.headers, answer.text))
    try:
        return answer.json()
    except ValueError:
        raise HandoverFailed(f"{host.api} does not answer as {host.profile.title} does") from None


def parse_opened(host: CodeHost, answer: Any, *, existed: bool = False) -> OpenedRequest:
    record, form = answer if isinstance(answer, Mapping) else {}, FORMS[host.kind]
    url, number = record.get(form.url), record.get(form.number)
    if not isinstance(url, str) or not isinstance(number, int):
        raise HandoverFailed(f"{host.api} does not answer as {host.profile.title} does")
    return OpenedRequest(url, number, existed)
