"""The result is handed over: a branch, a patch, a push, a pull request. Once, whatever is refused in between."""

import hashlib
import hmac
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import appends, no_edits
from tests.support.githttp import GitServer
from tests.support.hostserver import TOKEN, HostServer, Refusal
from tests.support.leaks import leaks
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place, read_proc
from tests.support.sample import SOAK
from tests.test_report import read_outputs

FILES = {f"f{n}.py": f"x = {n}\n" for n in range(2)}
JOB = ("--change", "Add a *line*\nto all", "--no-prd", "--files", *FILES, "--agents", "2")
GOOD = appends("# hi")
STEP: dict[str, Any] = {"CI": "true", "GITHUB_ACTIONS": "true"}


def with_remote(folder: Path) -> tuple[Place, Place]:
    """A repository, and the bare one that it is pushed to."""
    place = make_place(folder, FILES)
    bare = Place(folder / "origin.git", place.home, place.tmp)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare.repo)], check=True)
    place.git("remote", "add", "origin", str(bare.repo))
    place.git("push", "-q", "origin", "main")
    return place, bare


def heads(place: Place) -> dict[str, str]:
    lines = place.git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
    return dict(line.split() for line in lines)


def kinds(ran: Ran) -> list[str]:
    path = ran.logs / f"run_{ran.summary['timestamp']}.jsonl"
    return [json.loads(line)["event"] for line in path.read_text("utf-8").splitlines()]


# --- pull requests --------------------------------------------------------------------------------------------------

REFUSED: tuple[tuple[str, list[Refusal], str], ...] = (
    (
        "401",
        [Refusal(401, {"message": "Bad credentials"})],
        "does not accept the token in {variable} (Bad",
    ),
    (
        "404",
        [Refusal(404, {"message": "Not Found"})],
        "knows no ada/lighthouse, or the token in {variable}",
    ),
    (
        "read-only",
        [Refusal(403, {"message": "Resource not accessible by integration"})],
        "may not open a {request} (Resource not accessible by integration)",
    ),
    ("rate limit", [Refusal(429, {}, {"retry-after": "600"})], "the rate limit of {title} is reached, for 600 s more"),
    ("network loss", [Refusal(drop=True)] * 3, "cannot be reached"),
    ("garbage", [Refusal(201, ["what"])], "does not answer as {title} does"),
)
WORDS = {
    "github": {"title": "GitHub", "request": "pull request", "variable": "GITHUB_TOKEN"},
    "gitlab": {"title": "GitLab", "request": "merge request", "variable": "GITLAB_TOKEN"},
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ("github", "gitlab") if SOAK else ("github",))
def test_a_pull_request_is_opened_once_whatever_is_refused(kind: Any, tmp_path: Path) -> None:
    place, bare = with_remote(tmp_path)
    tool = {"github": "gh pr create --head aider", "gitlab": "glab mr create --source-branch aider"}[kind]
    with ModelServer(GOOD) as server, HostServer(kind) as host:
        words: tuple[str, ...] = (*JOB, "--pr")
        for name, refusals, sentence in REFUSED:
            host.refusals = list(refusals)
            ran = place.run(*words, server=server, **host.environment)
            assert ran.code == 1, (name, ran.out)
            assert sentence.format(**WORDS[kind]) in ran.out and f"By hand: {tool}" in ran.out, (name, ran.out)
            assert ran.summary["verdict"].startswith("All 2 tasks are complete") and ran.summary["pr_url"] is None
            assert "(pushed but without a pull request)" in ran.summary["verdict"]
            words = ("resume",)
        assert server.count() == 2 and kinds(ran).count("pushed") == 1 and host.opened == []

        output: dict[str, Any] = {
            "GITHUB_OUTPUT": str(place.home / "output"),
            "GITHUB_STEP_SUMMARY": str(place.home / "step.md"),
        }
        ran = place.run("resume", server=server, **host.environment, **STEP, **output)
        side = ran.summary["result"]["side_branch"]
        assert ran.code == 0, ran.out + ran.err
        assert heads(bare) == {"main": ran.head_before, side: ran.summary["result"]["result"]}
        assert place.head() == ran.head_before and "# hi" in bare.git("show", f"{side}:f1.py")
        (opened,) = host.opened
        url = opened["html_url" if kind == "github" else "web_url"]
        assert ran.summary["pr_url"] == url and f"Review and merge {url}" in ran.out
        assert read_outputs((place.home / "output").read_text())["pr-url"] == url
        assert f"<{url}>" in (place.home / "step.md").read_text()
        body = opened["body" if kind == "github" else "description"]
        assert opened["title"] == "Add a *line*" and "All 2 tasks are complete" in body and "resume" not in body

        asked = len(host.asked)
        again = place.run("resume", server=server, **host.environment)
        assert (again.code, len(host.asked), len(host.opened)) == (0, asked, 1), again.out
        assert (kinds(again).count("pushed"), kinds(again).count("pr_opened")) == (1, 1)
    assert leaks(place, ran.out, ran.err, again.out, again.err, keys=(TOKEN,)) == []


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ("github", "gitlab") if SOAK else ("gitlab",))
def test_a_request_that_exists_is_found_and_one_of_ours_is_brought_up_to_date(kind: Any, tmp_path: Path) -> None:
    place, bare = with_remote(tmp_path)
    bad = True

    def respond(request: Request) -> Reply:
        return no_edits()(request) if bad and "f1.py" in request.files else GOOD(request)

    with ModelServer(respond) as server, HostServer(kind) as host:
        names = ("head", "base") if kind == "github" else ("source_branch", "target_branch")
        number = {"number": 1, "html_url": "https://x.example/1"} if kind == "github" else {}
        host.opened = [
            dict(zip(names, ("fix/line", "main"), strict=True))
            | (number or {"iid": 1, "web_url": "https://x.example/1"})
        ]
        ran = place.run(*JOB, "--pr", "--branch", "fix/line", server=server, **host.environment)
        assert ran.code == 1 and ran.summary["pr_url"] == "https://x.example/1" and len(host.opened) == 1
        assert "body" not in host.opened[0] and "description" not in host.opened[0]
        first = heads(bare)["fix/line"]

        host.opened.clear()
        stamp = ran.summary["timestamp"]
        ran = place.run("restart", stamp, "--branch", "fix/other", server=server, **host.environment)
        assert ran.code == 1 and len(host.opened) == 1 and "1 of 2 tasks" in str(host.opened)
        bad = False
        ran = place.run("resume", server=server, **host.environment)
        assert ran.code == 0, ran.out + ran.err
        assert len(host.opened) == 1 and "All 2 tasks are complete" in str(host.opened)
    # The second result is another stack of commits: ours could be replaced on the remote, and nobody else's was.
    assert heads(bare) == {"main": place.head(), "fix/line": first, "fix/other": ran.summary["result"]["result"]}
    assert heads(place)["fix/other"] == ran.summary["result"]["result"]


# --- push, branch, patch --------------------------------------------------------------------------------------------


def test_push_and_patch_of_what_is_applied(tmp_path: Path) -> None:
    place, bare = with_remote(tmp_path)
    marker = place.home / "hook-ran"
    hook = place.repo / ".git/hooks/pre-push"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
    hook.chmod(0o755)
    patch = place.home / "all.patch"
    place.git("clone", "-q", str(bare.repo), str(tmp_path / "other"))
    with ModelServer(GOOD) as server:
        ran = place.run(*JOB, "--push", "--patch", str(patch), server=server)
        assert ran.code == 0, ran.out + ran.err
        assert heads(bare) == {"main": place.head()} and place.head() != ran.head_before
        assert not marker.exists() and "Your pre-push hook did not run" in ran.err
        assert "Pushed: main to origin" in ran.out and f"Patch: {patch}" in ran.out
    assert_clean(ran)
    other = Place(tmp_path / "other", place.home, place.tmp)
    other.git("apply", "--index", str(patch))
    assert other.git("write-tree") == place.git("rev-parse", "HEAD^{tree}")


@pytest.mark.thorough
def test_work_of_others_is_never_overwritten_and_nothing_is_lost(tmp_path: Path) -> None:
    place, bare = with_remote(tmp_path)
    place.git("clone", "-q", str(bare.repo), str(tmp_path / "other"))
    other = Place(tmp_path / "other", place.home, place.tmp)
    other.git("config", "user.name", "Eve")
    other.git("config", "user.email", "eve@example.com")
    other.write({"theirs.txt": "theirs\n"})
    theirs = other.commit("Theirs")
    other.git("push", "-q", "origin", "main", "main:fix/line")
    with ModelServer(GOOD) as server:
        ran = place.run(*JOB, "--push", "--branch", "fix/line", server=server)
        assert ran.code == 1 and heads(bare) == {"main": theirs, "fix/line": theirs}
        assert "fix/line exists with other work" in ran.out
        assert "By hand: git push origin fix/line:fix/line" in ran.out
        # The result is on the branch that was asked for, and the user's stays.
        assert place.head() == ran.head_before and heads(place)["fix/line"] == ran.summary["result"]["result"]
        assert_clean(ran, branches=("fix/line", "main"))
        # A rule of the host's, and a remote that is gone: the same run, taken up.
        bare.git("update-ref", "-d", "refs/heads/fix/line")
        rule = bare.repo / "hooks/pre-receive"
        rule.write_text(f"#!/bin/sh\necho 'remote rules {TOKEN}' >&2\nexit 1\n")
        rule.chmod(0o755)
        ran = place.run("resume", server=server, GITLAB_TOKEN=TOKEN)
        assert ran.code == 1 and "a rule of the host protects fix/line" in ran.out and TOKEN not in ran.out + ran.err
        rule.unlink()
        shutil.move(bare.repo, tmp_path / "away")
        ran = place.run("resume", server=server)
        assert ran.code == 1 and "Not handed over: origin: " in ran.out
        shutil.move(tmp_path / "away", bare.repo)
        assert place.run("resume", server=server).code == 0
        assert heads(bare)["fix/line"] == heads(place)["fix/line"]
        assert server.count() == 2


@pytest.mark.thorough
def test_failed_result_is_not_pushed(tmp_path: Path) -> None:
    place, bare = with_remote(tmp_path)
    with ModelServer(GOOD) as server, HostServer() as host:
        check = "! grep -q hi f0.py && ! grep -q hi f1.py"  # each breaks it by itself
        words = ("--pr", "--patch", str(place.home / "all.patch"), "--test-cmd", check)
        ran = place.run(*JOB, *words, server=server, **host.environment)
    assert ran.code == 1 and host.asked == [] and list(heads(bare)) == ["main"]
    assert "The result was not handed over: the tests failed on it" in ran.err
    assert (place.home / "all.patch").read_text().startswith("diff --git a/f")


# --- before anything is paid ----------------------------------------------------------------------------------------

HOSTED: dict[str, Any] = {"GITHUB_API_URL": "http://127.0.0.1:9", "GITHUB_REPOSITORY": "a/b", "GITHUB_TOKEN": TOKEN}
REFUSALS: tuple[tuple[tuple[str, ...], dict[str, Any], str], ...] = (
    (("--branch", "main"), {}, "--branch main: it is checked out. Choose another name."),
    (("--branch", "own"), {}, "--branch own: it exists and has other commits."),
    (("--branch", "own/x"), {}, "git cannot have it beside the branch own"),
    (("--branch", "a..b"), {}, "this is not a branch name"),
    (("--branch", "aider-orchestrator/x"), {}, "such names are the orchestrator's own"),
    (("--patch", "f0.py"), {}, "--patch f0.py exists and is not a patch."),
    (("--patch", "no/where"), {}, "no file can be written there"),
    (("--notify", "ftp://x"), {}, "--notify must be an address"),
    (("--pr",), {}, "neither GitHub nor GitLab."),
    (("--pr",), HOSTED | {"GITHUB_TOKEN": ""}, "--pr needs a token of GitHub's in GITHUB_TOKEN or GH_TOKEN."),
    (("--pr",), HOSTED | {"GITHUB_REPOSITORY": ""}, "set GITHUB_REPOSITORY"),
)


@pytest.mark.thorough
def test_handover_reports_known_obstacles_before_paying(tmp_path: Path) -> None:
    place, _ = with_remote(tmp_path)
    place.git("checkout", "-q", "-b", "own")
    place.write({"own.txt": "own\n"})
    place.commit()
    place.git("checkout", "-q", "main")
    with ModelServer(GOOD) as server:
        for words, env, sentence in REFUSALS:
            ran = place.run(*JOB, *words, server=server, **env)
            assert ran.code == 2 and sentence in ran.err and len(ran.err.splitlines()) == 1, (words, ran.err)
        place.git("checkout", "-q", "--detach")
        assert "HEAD is detached" in place.run(*JOB, "--pr", server=server, **HOSTED).err
        place.git("remote", "remove", "origin")
        assert "git remote add origin URL" in place.run(*JOB, "--push", server=server).err
        assert server.count() == 0
    assert not (place.repo / ".aider_logs").exists()


# --- tokens and notifications ---------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_token_logs_git_in_and_stands_nowhere(tmp_path: Path) -> None:
    place, bare = with_remote(tmp_path)
    store = place.home / "passwords"
    place.git("config", "credential.helper", f"store --file={store}")
    hook = "http://127.0.0.1:9/hooks/very-secret-0123"
    with ModelServer(GOOD) as server, HostServer() as host, GitServer(tmp_path, TOKEN) as git:
        place.git("remote", "set-url", "origin", git.url.replace("//", "//old:wrong@") + "/origin.git")
        host_of_ours = host.environment | {"GITHUB_SERVER_URL": git.url, "GITHUB_REPOSITORY": ""}
        running = place.start(*JOB, "--pr", server=server, ORCHESTRA_NOTIFY=hook, **host_of_ours)
        seen = []
        while running.child.poll() is None:
            seen += [read_proc(folder / "cmdline") for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        ran = running.end()
        assert [asked.path for asked in host.asked] == ["/repos/origin/pulls"]
    assert ran.code == 1 and "knows no origin" in ran.out
    assert set(git.logins) == {f"x-access-token:{TOKEN}"} and len(heads(bare)) == 2
    assert not any(TOKEN.encode() in line for line in seen) and not store.exists()
    assert "note: --notify was not delivered: " in ran.err
    assert leaks(place, ran.out, ran.err, keys=(TOKEN, "very-secret-0123"), user=(".git/config",)) == []

    with ModelServer(GOOD) as server, HostServer() as host, GitServer(tmp_path, TOKEN) as git:
        # In a job of GitHub's the token is there; a remote of somebody else's does not get it.
        place.git("remote", "set-url", "origin", f"{git.url}/origin.git")
        strange = host.environment | {"GITHUB_SERVER_URL": "https://github.com"}
        ran = place.run(*JOB, "--push", "--branch", "fix/it", server=server, **strange)
        assert git.logins == [] and "git cannot log in without asking" in ran.out


@pytest.mark.thorough
def test_webhook_gets_the_verdict(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    words = (*JOB, "--branch", "fix/it")
    with ModelServer(GOOD) as server, HostServer("listener") as listener:
        env: dict[str, Any] = {"ORCHESTRA_NOTIFY": listener.url, "ORCHESTRA_NOTIFY_SECRET": "secret-of-the-house-1"}
        ran = place.run(*words, server=server, **env)
        (heard,) = listener.asked
    assert ran.code == 0
    told = hmac.new(b"secret-of-the-house-1", heard.raw, hashlib.sha256).hexdigest()
    assert heard.headers["x-orchestra-signature"] == f"sha256={told}"
    expected = {"event": "run_ended", "run": ran.summary["timestamp"], "exit_code": 0, "branch": "fix/it"}
    assert expected.items() <= heard.body.items() and heard.body["verdict"] == ran.summary["verdict"]
    assert heard.body["cost"] == ran.summary["usage"]["cost"] and Path(heard.body["paths"]["summary"]).is_file()
    assert_clean(ran, branches=("fix/it", "main"))
