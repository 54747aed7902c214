"""Why a push or a pull request was refused, in one sentence that says what to do."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from orchestra.handover.code_hosts import CodeHost

FORK = "This is a pull request from a fork, to which CI gives no secrets."
MOST_EVENTS = 1 << 20
LONGEST = 300
READ_ONLY = {
    "github": "in a workflow give it `permissions: contents: write, pull-requests: write`, and let the repository's "
    "settings allow GitHub Actions to create pull requests",
    "gitlab": "put into GITLAB_TOKEN one of the project with the scopes api and write_repository, as a Developer",
}
# What git, ssh and servers print. The first that fits counts.
PUSHES = (
    (
        r"stale info|non-fast-forward|fetch first",
        "{branch} is there already with other work, which is never overwritten",
    ),
    (
        r"shallow update not allowed",
        "this clone is shallow: `git fetch --unshallow` (in GitHub Actions fetch-depth: 0)",
    ),
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
    told = shorten_line(re.sub(r"(?m)^(To |hint:|Done|Pushing ).*$", "", output))
    words = next((words for pattern, words in PUSHES if re.search(pattern, output, re.IGNORECASE)), "{said}")
    remedy = READ_ONLY[host.kind] if host else "give it one that may write"
    return words.format(branch=branch, remote=remote, said=told, remedy=remedy, login=LOGIN)


def explain_host_refusal(host: CodeHost, status: int, headers: Mapping[str, str], body: str) -> str:
    """The words of a host's answer that is none of 2xx."""
    title, request, said = host.profile.title, host.profile.request, host_message(body)
    if status == 429 or (status == 403 and "rate limit" in body.lower()):
        again = headers.get("retry-after", "")
        return f"the rate limit of {title} is reached" + (f", for {again} s more" if again.isdecimal() else "")
    if status == 401:
        return f"{title} does not accept the token in {host.variable} ({said})"
    if status == 403:
        return f"the token in {host.variable} may not open a {request} ({said}): {READ_ONLY[host.kind]}"
    if status == 404:
        return f"{title} knows no {host.project}, or the token in {host.variable} may not see it"
    if 300 <= status < 400:
        return f"{host.project} has moved: set the remote's address anew"
    return f"{title} refuses the {request} ({status}): {said}"


def host_message(body: str) -> str:
    """What a host says is wrong: GitHub's list of errors, GitLab's message, or the beginning of anything else."""
    try:
        told = json.loads(body)
    except ValueError:
        return shorten_line(body)
    if not isinstance(told, dict):
        return shorten_line(body)
    errors = told.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else ""
    detail = first.get("message", "") if isinstance(first, dict) else first
    return shorten_line(str(detail or told.get("message") or told.get("error") or body))


def shorten_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def is_from_fork(env: Mapping[str, str]) -> bool:
    """Whether a pull or merge request from somebody else's repository is being built."""
    if env.get("GITLAB_CI"):
        source, target = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID"), env.get("CI_MERGE_REQUEST_PROJECT_ID")
        return bool(source and target and source != target)
    try:
        with Path(env.get("GITHUB_EVENT_PATH", "")).open(encoding="utf-8") as file:
            request = json.loads(file.read(MOST_EVENTS))["pull_request"]
        return bool(request["head"]["repo"]["full_name"] != request["base"]["repo"]["full_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
