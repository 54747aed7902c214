"""What a person does in the browser: a command to the process that works on the run, and its answer."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from fastapi import Request

from orchestra.cli.commands.steer import ask_run_owner
from orchestra.cli.find import KnownRun, RunIndex
from orchestra.errors import OwnerGone, RequestRefused
from orchestra.web.envelope import ApiError

ANSWER_TIMEOUT = 30.0  # longer than in a terminal: a person at a page cannot ask again at once
# Threads that wait for answers: those of other requests must not.
ASKING = ThreadPoolExecutor(32, "asking")
RUN_COMMANDS = ("pause", "unpause", "cancel", "budget", "add", "replan")
TAB = re.compile(r"[0-9a-z]{1,8}")  # how a page names itself
TASK_COMMANDS = ("interrupt", "cancel", "retry", "resolve", "edit", "abandon")


def source_of(request: Request) -> str:
    """Return where a command comes from, in words: the role of the token, and the tab of the browser."""
    role, tab = request.state.role, request.headers.get("x-tab", "")
    return f"the browser ({role}, tab {tab})" if TAB.fullmatch(tab) else f"the API ({role})"


async def send_command(
    index: RunIndex,
    run: KnownRun,
    source: str,
    kind: str,
    task: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Send a command, and return the owner's answer. Nothing is left behind where no process would take it."""
    try:
        ask = partial(ask_run_owner, index, run, kind, task, values, timeout=ANSWER_TIMEOUT, source=source)
        answer = await asyncio.get_running_loop().run_in_executor(ASKING, ask)
    except OwnerGone as why:
        raise ApiError(409, f"{str(why)[0].upper()}{str(why)[1:]}", "NOT_RUNNING") from None
    except RequestRefused as why:
        raise ApiError(409, str(why), "CYCLE" if "because that is a circle" in str(why) else "CONFLICT") from None
    if not answer:
        raise ApiError(504, "The run has not answered; it may still do what was asked.", "RUN_SILENT")
    return {"run": run.name, "task": task, "command": kind, "answer": answer}
