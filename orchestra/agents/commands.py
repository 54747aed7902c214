"""Run an agent that is a program of its own, in a sandbox, and read how it ended."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from orchestra.agents.base import Agent, AgentOutcome
from orchestra.agents.seat import AgentJob
from orchestra.process import NO_SANDBOX, open_own_file, read_tail, run_command

BRIEF, ERRORS = "brief.md", "brief.md.err"
# The brief may be longer than one argument may be. What is printed on stderr must not stand between lines of JSON.
STREAMS = 'exec "$@" <"$0" 2>"$0.err"'
MOST_PRINTED = 8 << 20  # bytes
MOST_ERRORS = 16 << 10
NO_SANDBOX_MADE = 125
VERSION_TIMEOUT = 20.0


async def run_agent_command(agent: Agent, job: AgentJob, tree: str, sandbox: str = NO_SANDBOX) -> AgentOutcome:
    """Run the program to its end. Cancelling ends it and all that it has started. `tree`: where it finds its files."""
    brief = job.folder / BRIEF
    brief.write_text(job.message, encoding="utf-8")
    command = ["/bin/sh", "-c", STREAMS, str(brief), *job.argv]
    ended = await run_command(command, cwd=job.cwd, env=job.env, output=job.output_file, sandbox=sandbox)
    printed = await asyncio.to_thread(read_printed, job.output_file, MOST_PRINTED)
    errors = await asyncio.to_thread(append_errors, job)
    if ended.code == NO_SANDBOX_MADE and "the sandbox cannot be made" in printed:
        return AgentOutcome("crashed", ended.code, failure=printed.strip()[-300:])
    outcome = agent.read_outcome(printed if printed.strip() else errors, ended.code, tree)
    if outcome.end == "crashed" and errors.strip():
        last = errors.strip().splitlines()[-1][:300]
        return AgentOutcome(outcome.end, outcome.code, refused=outcome.refused, failure=f"{outcome.failure}: {last}")
    return outcome


def append_errors(job: AgentJob) -> str:
    """Put the end of what was printed on stderr behind the rest of the output, and return it."""
    errors = read_printed(job.folder / ERRORS, MOST_ERRORS)
    if errors:
        with suppress(OSError), open_own_file(job.output_file, os.O_WRONLY | os.O_APPEND) as file:
            file.write(f"\n{errors}".encode())
    return errors


def read_printed(path: Path, most: int) -> str:
    """Read the end of what an agent printed; empty if it has put something else there."""
    try:
        return read_tail(path, most)
    except OSError:
        return ""


def find_program(agent: Agent, environ: Mapping[str, str]) -> str:
    """Return the path of the agent's program; empty if it is not installed."""
    return shutil.which(agent.program, path=environ.get("PATH")) or ""


async def program_version(program: str, home: Path, environment: Mapping[str, str]) -> str:
    """Ask a program for its version; empty if it does not say one."""
    child = await asyncio.create_subprocess_exec(
        *(program, "--version"),
        cwd=home,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(VERSION_TIMEOUT):
            printed, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return ""
    found = re.search(r"\d+(?:\.\d+)+", printed.decode("utf-8", "replace"))
    return found[0] if found else ""


def is_tried_version(agent: Agent, version: str) -> bool:
    """Whether the tests of this program ran on this version, or on ones around it."""
    first, last = (tuple(map(int, each.split("."))) for each in agent.tried_versions)
    return first <= tuple(map(int, version.split("."))) <= last
