"""Which host a remote is on, what a refusal means, and notifications that can be believed."""

import asyncio
import hashlib
import hmac
import json
import os
import socket
from pathlib import Path

import pytest

from orchestra.conduct.deliver.handover import fork_hint
from orchestra.errors import UsageError
from orchestra.handover.code_hosts import detect_host, parse_address
from orchestra.handover.host_client import post_notification
from orchestra.handover.refusals import FORK, explain_host_refusal, explain_push_refusal, is_from_fork
from orchestra.settings import load_settings, mask_value
from tests.support.hostserver import HostServer, Refusal

PLACES = {
    "https://github.com/ada/lighthouse.git": ("github.com", "ada/lighthouse"),
    "https://me:secret@GitHub.com/ada/lighthouse/": ("github.com", "ada/lighthouse"),
    "git@gitlab.com:group/sub/lighthouse.git": ("gitlab.com", "group/sub/lighthouse"),
    "ssh://git@git.example:2222/group/lighthouse": ("git.example", "group/lighthouse"),
    "github.com:ada/lighthouse": ("github.com", "ada/lighthouse"),
    "/srv/git/lighthouse.git": ("", ""),
    "../lighthouse.git": ("", ""),
    "file:///srv/git/lighthouse.git": ("", ""),
    "C:/work/lighthouse": ("", ""),
}
ACTIONS = {"GITHUB_API_URL": "https://api.github.com", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_TOKEN": "t-1"}
RUNNER = {"CI_API_V4_URL": "https://git.corp/api/v4", "CI_SERVER_URL": "https://git.corp", "CI_JOB_TOKEN": "t-2"}
OWN = {"GITHUB_SERVER_URL": "https://git.corp", "GITHUB_API_URL": "https://git.corp/api/v3", "GH_TOKEN": "t-3"}
HOSTS: tuple[tuple[str, dict[str, str], str, str], ...] = (
    ("https://github.com/a/b.git", {}, "https://api.github.com/repos/a/b/pulls", ""),
    ("git@gitlab.com:g/s/b.git", {}, "https://gitlab.com/api/v4/projects/g%2Fs%2Fb/merge_requests", ""),
    ("https://gitlab.com/g/b", ACTIONS, "https://gitlab.com/api/v4/projects/g%2Fb/merge_requests", ""),
    ("https://x:y@git.corp/g/b.git", RUNNER, "https://git.corp/api/v4/projects/g%2Fb/merge_requests", "t-2"),
    ("https://git.corp/a/b.git", OWN, "https://git.corp/api/v3/repos/a/b/pulls", "t-3"),
    ("/srv/b.git", ACTIONS | {"GITHUB_REPOSITORY": "a/b"}, "https://api.github.com/repos/a/b/pulls", "t-1"),
)


@pytest.mark.parametrize("url", PLACES)
def test_where_a_remote_is(url: str) -> None:
    assert parse_address(url) == PLACES[url]


@pytest.mark.parametrize(("url", "env", "asked", "token"), HOSTS)
def test_which_host_and_where_it_is_asked(url: str, env: dict[str, str], asked: str, token: str) -> None:
    host = detect_host([url], load_settings({}, [("environment", env)]))
    assert (host.url, host.token) == (asked, token)
    assert token not in repr(host) or not token
    assert host.address == ("" if url.startswith("/") else url)


@pytest.mark.parametrize("env", [{}, ACTIONS | RUNNER])
def test_unknown_host_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"git\.example is neither GitHub nor GitLab"):
        detect_host(["https://git.example/a/b"], load_settings({}, [("environment", env)]))


def test_a_repositorys_file_cannot_send_a_token_to_a_server_of_its_choice() -> None:
    places = [("environment", {"GITHUB_TOKEN": "t-1"}), ("repository .env", {"GITHUB_API_URL": "https://evil.example"})]
    assert detect_host(["https://github.com/a/b"], load_settings({}, places)).api == "https://api.github.com"


PUSHES = {
    "! [rejected] main -> main (fetch first)": "main exists with other work",
    "! [rejected] x -> x (stale info)": "main exists with other work",
    "remote: Permission to a/b.git denied to github-actions[bot].\nfatal: error: 403": "permissions: contents: write",
    "remote: You are not allowed to push code to this project.": "may only read",
    "fatal: could not read Username for 'https://x': terminal prompts disabled": "cannot log in without asking",
    "git@github.com: Permission denied (publickey).": "cannot log in without asking",
    "! [remote rejected] x -> x (shallow update not allowed)": "git fetch --unshallow",
    "remote: error: GH006: Protected branch update failed": "a rule of the host protects main",
    "fatal: unable to access 'https://x/': Could not resolve host: x": "origin: ",
    "something {new}": "something {new}",
}


@pytest.mark.parametrize("said", PUSHES)
def test_why_a_push_was_refused(said: str) -> None:
    host = detect_host(["https://github.com/a/b"], load_settings({}, []))
    words = explain_push_refusal(f"To https://github.com/a/b\n{said}\nhint: some advice\n", "origin", "main", host)
    assert PUSHES[said] in words and "\n" not in words and "hint" not in words


def test_rate_limit_differs_from_a_forbidden_token() -> None:
    host = detect_host(["https://github.com/a/b"], load_settings({}, [("environment", {"GH_TOKEN": "t"})]))
    limited = explain_host_refusal(
        host, 403, {"retry-after": "60"}, '{"message": "API rate limit exceeded for installation"}'
    )
    assert limited == "the rate limit of GitHub is reached, for 60 s more"
    assert "GH_TOKEN may not open a pull request" in explain_host_refusal(
        host, 403, {}, '{"message": "Resource not accessible"}'
    )
    assert explain_host_refusal(host, 422, {}, '{"errors": [{"message": "No commits between a and b"}]}').endswith(
        "between a and b"
    )


def test_what_is_built_of_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever refuses something in such a job, the likely reason is said with it."""
    event = tmp_path / "event.json"
    ours, theirs = ({"repo": {"full_name": f"{who}/lighthouse"}} for who in ("ada", "mallory"))
    for told, forked in (({"head": theirs, "base": ours}, True), ({"head": ours, "base": ours}, False), ({}, False)):
        event.write_text(json.dumps({"pull_request": told}))
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
        assert is_from_fork(os.environ) == forked
        assert fork_hint() == (f". {FORK}" if forked else "")
    project = {"GITLAB_CI": "true", "CI_MERGE_REQUEST_PROJECT_ID": "1"}
    assert is_from_fork(project | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"})
    assert not is_from_fork(project | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1"}) and not is_from_fork(project)


# --- notifications --------------------------------------------------------------------------------------------------


def test_a_notification_is_signed_and_tried_again() -> None:
    with HostServer("listener") as listener:
        listener.refusals = [Refusal(503), Refusal(drop=True)]
        assert asyncio.run(post_notification(f"{listener.url}/hook", b'{"run": 1}', "of the house")) == ""
        assert len(listener.asked) == 3
        heard = listener.asked[-1]
        told = hmac.new(b"of the house", heard.raw, hashlib.sha256).hexdigest()
        assert heard.headers["x-orchestra-signature"] == f"sha256={told}" and heard.body == {"run": 1}
        # One that is refused for good is not repeated, and a redirect is not followed.
        for status in (404, 302):
            listener.refusals = [Refusal(status, headers={"location": f"{listener.url}/other"})]
            assert asyncio.run(post_notification(listener.url, b"{}", "")) == f"it answered {status}"
        assert len(listener.asked) == 5 and "x-orchestra-signature" not in listener.asked[-1].headers


def test_webhook_without_a_listener_gives_a_reason() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert asyncio.run(post_notification(f"http://127.0.0.1:{free.getsockname()[1]}/", b"{}", "")) != ""


def test_the_address_of_a_hook_is_a_secret() -> None:
    settings = load_settings({"notify": "https://chat.example/hooks/T0/B0/very-secret"}, [])
    assert mask_value("notify", settings.notify) == "https://chat.example/…"
    assert "notify" not in settings.recorded_values()
