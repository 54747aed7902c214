"""Explain why a push or pull request was refused, and what to do, in one sentence."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from orchestra.handover.code_hosts import CodeHost
from orchestra.wording import one_line

FORK = "This is a pull request from a fork, to which CI gives no secrets."
MOST_EVENTS = 1 << 20
LONGEST = 300
READ_ONLY = {
    "github": "in a workflow give it `permissions: contents: write, pull-requests: write`, and let the repository's "
    "settings allow GitHub Actions to create pull requests",
    "gitlab": "put into GITLAB_TOKEN one of the project, with the scopes api and write_repository, as a Developer",
}
UNSHALLOW = "`git fetch --unshallow` (in GitHub Actions fetch-depth: 0)"
# Messages of git, ssh and servers. The first match counts.
PUSHES = (
    (r"stale info|non-fast-forward|fetch first", "{branch} exists with other work, which is never overwritten"),
    (r"shallow update not allowed", f"this clone is shallow: {UNSHALLOW}"),
    (r"protected branch|GH006|GH013|pre-receive hook declined", "a rule of the host protects {branch}: {said}"),
    (r"error: 403|denied to|not allowed to (push|upload)|access denied", "the token or key may only read: {remedy}"),
    (
        r"could not read (Username|Password)|terminal prompts disabled|Authentication failed|Permission denied"
        r"|Host key verification failed|error: 401",
        "git cannot log in without asking: {login}",
    ),
    (r"Could not resolve|unable to access|Connection|Could not read from remote|does not appear", "{remote}: {said}"),
)
LOGIN = "give it a key, a credential helper or a token in the environment"


def explain_push_refusal(output: str, remote: str, branch: str, host: CodeHost | None) -> str:
    message = one_line(re.sub(r"(?m)^(To |hint:|Done|Pushing ).*$", "", output), LONGEST)
    words = next((words for pattern, words in PUSHES if re.search(pattern, output, re.IGNORECASE)), "{said}")
    remedy = READ_ONLY[host.kind] if host else "give it one that may write"
    return words.format(branch=branch, remote=remote, said=message, remedy=remedy, login=LOGIN)


def explain_host_refusal(host: CodeHost, status: int, headers: Mapping[str, str], body: str) -> str:
    """Explain an answer of the host other than 2xx."""
    title, request, message = host.profile.title, host.profile.request, host_message(body)
    if status == 429 or (status == 403 and "rate limit" in body.lower()):
        again = headers.get("retry-after", "")
        return f"the rate limit of {title} is reached" + (f", for {again} s more" if again.isdecimal() else "")
    if status == 401:
        return f"{title} does not accept the token in {host.variable} ({message})"
    if status == 403:
        return f"the token in {host.variable} may not open a {request} ({message}): {READ_ONLY[host.kind]}"
    if status == 404:
        return f"{title} knows no {host.project}, or the token in {host.variable} may not see it"
    if 300 <= status < 400:
        return f"{host.project} has moved: set the remote's address anew"
    return f"{title} refuses the {request} ({status}): {message}"


def host_message(body: str) -> str:
    """Return the host's error: GitHub's list, GitLab's message, or the beginning of any other text."""
    answer = None
    with suppress(ValueError):
        answer = json.loads(body)
    if not isinstance(answer, dict):
        return one_line(body, LONGEST)
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else ""
    detail = first.get("message", "") if isinstance(first, dict) else first
    return one_line(str(detail or answer.get("message") or answer.get("error") or body), LONGEST)


def is_from_fork(env: Mapping[str, str]) -> bool:
    """Whether CI builds a pull or merge request from another repository."""
    if env.get("GITLAB_CI"):
        source, target = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID"), env.get("CI_MERGE_REQUEST_PROJECT_ID")
        return bool(source and target and source != target)
    try:
        with Path(env.get("GITHUB_EVENT_PATH", "")).open(encoding="utf-8") as file:
            request = json.loads(file.read(MOST_EVENTS))["pull_request"]
        return bool(request["head"]["repo"]["full_name"] != request["base"]["repo"]["full_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
