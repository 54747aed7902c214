"""Run git so that nothing outside can steer it: no hooks, no signing, no prompts, no GIT_* from the environment."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.errors import GitFailed, RepositoryError
from orchestra.process import base_environment
from orchestra.wording import join_some

CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "merge.autoStash": "false",
    "merge.verifySignatures": "false",
    "advice.detachedHead": "false",
    "checkout.workers": "1",
    "color.ui": "false",
    "diff.noprefix": "false",
    "diff.mnemonicPrefix": "false",
}
OLDEST_GIT = (2, 34)
ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
LOST = "`git fsck` lists what is missing; `git fetch --refetch`, or a fresh clone, brings it back."
DEFAULT_IDENTITY = ("Aider Orchestrator", "aider-orchestrator@localhost")


@dataclass(frozen=True)
class Git:
    """Git in one folder."""

    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    def at(self, folder: Path) -> "Git":
        return Git(folder, self.extra)

    def with_env(self, **extra: str) -> "Git":
        return Git(self.folder, {**self.extra, **extra})

    async def attempt(self, *arguments: str, input: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Return exit code, stdout and stderr."""
        # A git command is short and leaves locks if it is cut off, so it runs to its end even if we are cancelled.
        talk = asyncio.ensure_future(self.communicate(arguments, input))
        try:
            return await asyncio.shield(talk)
        except asyncio.CancelledError:
            await talk
            raise

    async def communicate(self, arguments: Sequence[str], input: bytes | None) -> tuple[int, bytes, bytes]:
        try:
            child = await asyncio.create_subprocess_exec(
                *git_command(arguments),
                cwd=self.folder,
                env=base_environment(os.environ) | ENVIRONMENT | dict(self.extra),
                stdin=asyncio.subprocess.DEVNULL if input is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            if not self.folder.is_dir():
                raise
            raise RepositoryError("git was not found.", hint="Install it, 2.34 or newer.") from None
        out, err = await child.communicate(input)
        return child.returncode or 0, out, err

    async def raw(self, *arguments: str, input: bytes | None = None) -> bytes:
        code, out, err = await self.attempt(*arguments, input=input)
        if code:
            raise self.as_error(arguments[0], err or out or f"exit code {code}".encode())
        return out

    def as_error(self, what: str, output: bytes) -> GitFailed:
        return GitFailed(f"git {what} failed in {self.folder}: {git_message(output)}")

    async def text(self, *arguments: str, input: bytes | None = None) -> str:
        return os.fsdecode(await self.raw(*arguments, input=input)).removesuffix("\n")

    async def ok(self, *arguments: str) -> bool:
        return (await self.attempt(*arguments))[0] == 0

    async def maybe(self, *arguments: str) -> str:
        """Return the output; empty if git fails."""
        code, out, _ = await self.attempt(*arguments)
        return "" if code else os.fsdecode(out).strip()

    async def commit_tree(self, tree: str, parent: str, message: str) -> str:
        return await self.text("commit-tree", tree, "-p", parent, "-F", "-", input=message.encode())

    async def remove_worktree(self, path: Path) -> bool:
        """Remove exactly this worktree, whether its folder still exists or not. Return whether git did it. `git
        worktree prune` would also forget the user's on a disk that is not mounted now."""
        return await self.ok("worktree", "remove", "--force", "--force", str(path))

    async def paths(self, *arguments: str, input: bytes | None = None) -> list[str]:
        """Return the paths in the output of a command with -z."""
        return split_nul(await self.raw(*arguments, input=input))


def git_command(arguments: Sequence[str]) -> list[str]:
    return ["git", *(part for name, value in CONFIG.items() for part in ("-c", f"{name}={value}")), *arguments]


def git_message(output: bytes) -> str:
    """Return git's message without its advice, on one line."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if not line.startswith("hint:")]
    return " ".join(filter(None, lines)).removeprefix("fatal: ").removeprefix("error: ")


def split_nul(raw: bytes) -> list[str]:
    return [os.fsdecode(part) for part in raw.split(b"\0") if part]


def join_nul(paths: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def lost_content_error(paths: Sequence[str]) -> RepositoryError:
    return RepositoryError(f"git has lost the content of {join_some(paths)}.", hint=LOST)


def split_contents(raw: bytes, paths: Sequence[str]) -> Iterator[bytes]:
    """Split an answer of `git cat-file --batch` into contents, one for each path, in order."""
    at = 0
    for path in paths:
        end = raw.find(b"\n", at)
        words = raw[at:end].split() if end >= 0 else []
        if len(words) != 3 or not words[2].isdigit():  # "<object> missing"
            raise lost_content_error([path])
        start = end + 1
        at = start + int(words[2]) + 1
        yield raw[start : at - 1]


async def commit_identity(git: Git) -> dict[str, str]:
    """Return who commits: the user if git knows one, or else the orchestrator."""
    found: dict[str, str] = {}
    for what, nobody in zip(("NAME", "EMAIL"), DEFAULT_IDENTITY, strict=True):
        known = await git.maybe("config", f"user.{what.lower()}") or nobody
        found |= {f"GIT_{who}_{what}": os.environ.get(f"GIT_{who}_{what}") or known for who in ("AUTHOR", "COMMITTER")}
    return found


def ask_git(folder: Path, *arguments: str, input: str = "") -> str | None:
    """Ask git a short question before there is an event loop. None if it fails or is missing."""
    done = run_git_once(folder, arguments, input)
    return os.fsdecode(done.stdout).removesuffix("\n") if done and done.returncode == 0 else None


def check_git_version() -> None:
    """Refuse a git that is too old. One that is missing is reported by the first command."""
    number = re.search(r"(\d+)\.(\d+)", ask_git(Path("/"), "--version") or "")
    if number and (int(number[1]), int(number[2])) < OLDEST_GIT:
        oldest = ".".join(map(str, OLDEST_GIT))
        raise RepositoryError(f"git {number[0]} is too old.", hint=f"Install {oldest} or newer.")


def git_exit_code(folder: Path, *arguments: str) -> int | None:
    """Return git's exit code; None if it cannot be started."""
    done = run_git_once(folder, arguments)
    return None if done is None else done.returncode


def run_git_once(folder: Path, words: Sequence[str], input: str = "") -> "subprocess.CompletedProcess[bytes] | None":
    env = base_environment(os.environ) | ENVIRONMENT
    try:
        return subprocess.run(git_command(words), cwd=folder, env=env, capture_output=True, input=input.encode())
    except OSError:
        return None


def top_level(folder: Path) -> Path | None:
    found = ask_git(folder, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def is_tracked(folder: Path, name: str) -> bool:
    return ask_git(folder, "ls-files", "--error-unmatch", "--", name) is not None


def existing_commits(folder: Path, commits: Sequence[str]) -> set[str]:
    """Return which of the commits this repository has, by one command."""
    full = [commit for commit in dict.fromkeys(commits) if len(commit) in (40, 64) and commit.isalnum()]
    output = ask_git(folder, "cat-file", "--batch-check", input="\n".join(full)) if full else None
    return {line.split()[0] for line in (output or "").splitlines() if line.split()[1:2] == ["commit"]}
