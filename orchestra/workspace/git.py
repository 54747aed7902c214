"""Git as a child that nothing outside can steer: no hooks, no signing, no prompts, no GIT_* from the environment."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.errors import GitFailed
from orchestra.process import base_environment

CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "merge.autoStash": "false",
    "merge.verifySignatures": "false",
    "advice.detachedHead": "false",
    "checkout.workers": "1",
}
ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
NOBODY = ("Aider Orchestrator", "aider-orchestrator@localhost")


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
        """Exit code, stdout and stderr."""
        child = await asyncio.create_subprocess_exec(
            "git",
            *(part for name, value in CONFIG.items() for part in ("-c", f"{name}={value}")),
            *arguments,
            cwd=self.folder,
            env=base_environment(os.environ) | ENVIRONMENT | dict(self.extra),
            stdin=asyncio.subprocess.PIPE if input is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        # A git command is short and leaves locks when it is cut off, so it is let run to its end even when we are cancelled.
        talk = asyncio.ensure_future(child.communicate(input))
        try:
            out, err = await asyncio.shield(talk)
        except asyncio.CancelledError:
            await talk
            raise
        return child.returncode or 0, out, err

    async def raw(self, *arguments: str, input: bytes | None = None) -> bytes:
        code, out, err = await self.attempt(*arguments, input=input)
        if code:
            said = err.decode("utf-8", "replace").strip() or out.decode("utf-8", "replace").strip()
            raise GitFailed(f"git {arguments[0]} failed in {self.folder}: {said or f'exit code {code}'}")
        return out

    async def text(self, *arguments: str, input: bytes | None = None) -> str:
        return os.fsdecode(await self.raw(*arguments, input=input)).removesuffix("\n")

    async def ok(self, *arguments: str) -> bool:
        return (await self.attempt(*arguments))[0] == 0

    async def maybe(self, *arguments: str) -> str:
        """The output, or nothing where git says no."""
        code, out, _ = await self.attempt(*arguments)
        return "" if code else os.fsdecode(out).strip()

    async def paths(self, *arguments: str, input: bytes | None = None) -> list[str]:
        """The output of a command with -z."""
        return split(await self.raw(*arguments, input=input))


def split(raw: bytes) -> list[str]:
    return [os.fsdecode(part) for part in raw.split(b"\0") if part]


def joined(paths: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


async def identity(git: Git) -> dict[str, str]:
    """Who commits: the user where git knows them, else the orchestrator."""
    name = await git.maybe("config", "user.name") or os.environ.get("GIT_AUTHOR_NAME") or NOBODY[0]
    email = await git.maybe("config", "user.email") or os.environ.get("GIT_AUTHOR_EMAIL") or NOBODY[1]
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }


def ask(folder: Path, *arguments: str) -> str | None:
    """One short question before there is an event loop. None where git says no, or is not there."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=base_environment(os.environ) | ENVIRONMENT,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    return os.fsdecode(done.stdout).removesuffix("\n") if done.returncode == 0 else None


def top_level(folder: Path) -> Path | None:
    found = ask(folder, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def is_tracked(folder: Path, name: str) -> bool:
    return ask(folder, "ls-files", "--error-unmatch", "--", name) is not None
