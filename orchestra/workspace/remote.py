"""Branches other than the user's current one: local ones, and those of a remote.

Work of others is never overwritten: a branch is fast-forwarded, or moved from a commit that this run put there.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestra.process import base_environment, read_tail, run_command
from orchestra.workspace.git import ENVIRONMENT, Git, git_command

PATIENCE = 180.0
# The user requested the push, so credentials from elsewhere are used, but nothing prompts.
LOGIN = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN")
SILENT = {"GIT_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never", "GCM_INTERACTIVE": "never"}
# No hooks: they would judge the work tree and not what is pushed, and may be an agent's work.
PUSH = ("push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
TOKEN = "ORCHESTRA_PUSH_TOKEN"
HELPER = f'!f() {{ test "$1" = get && echo "username=$ORCHESTRA_PUSH_USER" && echo "password=${TOKEN}"; }}; f'


@dataclass(frozen=True)
class Remote:
    """`urls`: the address to push to, the one to fetch from, and the configured one."""

    name: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Login:
    """Credentials for a push over https.

    Git gets them from a helper that reads the environment, so they appear in no process list, file or password store.
    """

    user: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        return {"ORCHESTRA_PUSH_USER": self.user, TOKEN: self.token}


async def find_remote(git: Git, branch: str) -> Remote | None:
    """Find the branch's remote, or origin, or the only one."""
    names = (await git.text("remote")).split()
    own = await git.maybe("config", f"branch.{branch}.remote") if branch else ""
    name = next((each for each in (own, "origin", *(names if len(names) == 1 else ())) if each in names), "")
    if not name:
        return None
    asked = ("remote", "get-url", "--push", name), ("remote", "get-url", name), ("config", f"remote.{name}.url")
    return Remote(name, tuple(dict.fromkeys([await git.maybe(*words) for words in asked])))


async def branch_refusal(git: Git, name: str, base: str, ours: str = "") -> str:
    """Return why the result cannot go onto this branch, or an empty text. `ours`: what this run has put there."""
    if await git.maybe("check-ref-format", "--branch", name) != name:
        return "this is not a branch name"
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
        return "it exists and has other commits"
    return ""


async def put_on_branch(git: Git, name: str, commit: str, base: str, ours: str) -> str:
    """Move a branch from its present commit to the result. Return why it failed; empty on success."""
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
    """Push. Return git's refusal; empty on success. `replaces`: the commit that this run pushed there before."""
    ref = f"refs/heads/{branch}"
    where, config = remote.name, list[str]()
    if login is not None and (bare := strip_login(remote.urls[0])):
        # The user's helpers would store these credentials, and an address may name another user.
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
    # CI has no one to ask: there it is a program that answers
    asking = {"GIT_ASKPASS": environ["GIT_ASKPASS"]} if environ.get("CI") and "GIT_ASKPASS" in environ else {}
    return base_environment(environ) | ENVIRONMENT | kept | SILENT | asking


def strip_login(url: str) -> str:
    """Return an http address without credentials; other addresses become empty."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme in ("http", "https") else ""
