"""Branches beyond the one the user is on: a local one of another name, and those of a remote. No work of others is ever
overwritten: a branch only goes forward, or from a commit that this run has put there itself."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestra.process import base_environment, read_tail, run_command
from orchestra.workspace.git import ENVIRONMENT, Git, git_command

PATIENCE = 180.0
# A push is the user's own: it may use what logs it in elsewhere, but it asks nobody.
LOGIN = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN")
SILENT = {"GIT_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never", "GCM_INTERACTIVE": "never"}
# No hook of the user's: it would judge the work tree and not what is pushed, and may itself be an agent's work.
PUSH = ("push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
TOKEN = "ORCHESTRA_PUSH_TOKEN"
HELPER = f'!f() {{ test "$1" = get && echo "username=$ORCHESTRA_PUSH_USER" && echo "password=${TOKEN}"; }}; f'


@dataclass(frozen=True)
class Remote:
    """`urls`: the address that is pushed to, the one that is fetched from, and what is configured."""

    name: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Login:
    """Who pushes over https. Git gets it from a helper that reads the environment, so that no list of processes, no
    file and no store of passwords ever has it."""

    user: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        return {"ORCHESTRA_PUSH_USER": self.user, TOKEN: self.token}


async def find_remote(git: Git, branch: str) -> Remote | None:
    """The branch's own, or origin, or the only one."""
    names = (await git.text("remote")).split()
    own = await git.maybe("config", f"branch.{branch}.remote") if branch else ""
    name = next((each for each in (own, "origin", *(names if len(names) == 1 else ())) if each in names), "")
    if not name:
        return None
    asked = ("remote", "get-url", "--push", name), ("remote", "get-url", name), ("config", f"remote.{name}.url")
    return Remote(name, tuple(dict.fromkeys([await git.maybe(*words) for words in asked])))


async def branch_refusal(git: Git, name: str, base: str, ours: str = "") -> str:
    """Why the result cannot be put on a branch of this name, or nothing. `ours` is what the run has put there."""
    if await git.maybe("check-ref-format", "--branch", name) != name:
        return "that is no name for a branch"
    stands = await git.maybe("rev-parse", "-q", "--verify", f"refs/heads/{name}^{{commit}}")
    if stands and stands == ours:
        return ""
    if f"branch refs/heads/{name}" in (await git.text("worktree", "list", "--porcelain")).splitlines():
        return "it is checked out"
    known = (await git.text("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads")).splitlines()
    rival = next((each for each in known if each.startswith(f"{name}/") or name.startswith(f"{each}/")), "")
    if rival:
        return f"git cannot have it beside the branch {rival}"
    if stands and not await git.ok("merge-base", "--is-ancestor", stands, base):
        return "it is there already and has commits of its own"
    return ""


async def put_on_branch(git: Git, name: str, commit: str, base: str, ours: str) -> str:
    """Why it could not be put there, or nothing. From where the branch stands now: nobody's move is undone."""
    stands = await git.maybe("rev-parse", "-q", "--verify", f"refs/heads/{name}^{{commit}}")
    if stands == commit:
        return ""
    why = await branch_refusal(git, name, base, ours)
    if not why:
        await git.raw("update-ref", f"refs/heads/{name}", commit, stands or "0" * len(commit))
    return why


async def push_commit(
    git: Git, remote: Remote, commit: str, branch: str, replaces: str, login: Login | None, folder: Path,
    scrub: Callable[[str], str],
) -> str:  # fmt: skip
    """What git says when it refuses, or nothing. `replaces` is the commit that this run has pushed there before."""
    ref = f"refs/heads/{branch}"
    where, config = remote.name, list[str]()
    if login is not None and (bare := strip_login(remote.urls[0])):
        # The user's own helpers would store what they are given, and an address may name somebody else.
        where, config = bare, ["-c", "credential.helper=", "-c", f"credential.helper={HELPER}"]
    lease = [f"--force-with-lease={ref}:{replaces}"] if replaces else []
    words = git_command([*config, *PUSH, *lease, "--", where, f"{commit}:{ref}"])
    output = folder / "push.txt"
    output.unlink(missing_ok=True)
    env = push_environment(os.environ) | dict(git.extra) | (login.environment if login else {})
    ended = await run_command(words, cwd=git.folder, env=env, output=output, timeout=PATIENCE, scrub=scrub)
    if ended.timed_out:
        return f"it did not end within {PATIENCE:.0f} s"
    return "" if ended.code == 0 else read_tail(output) or f"git push ended with {ended.code}"


def push_environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environ[name] for name in LOGIN if name in environ}
    # In CI nobody could be asked: there it is a program that answers.
    asking = {"GIT_ASKPASS": environ["GIT_ASKPASS"]} if environ.get("CI") and "GIT_ASKPASS" in environ else {}
    return base_environment(environ) | ENVIRONMENT | kept | SILENT | asking


def strip_login(url: str) -> str:
    """An address for http without whoever logs in there; nothing of another kind of address."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme in ("http", "https") else ""
