"""New runs, and runs that are continued or started over."""

import asyncio
import re
from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.cli.find import RunIndex
from orchestra.model import Decision
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.launch import decision_words, launch_record, option_words
from orchestra.web.repositories import FoundRun
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object
from orchestra.web.steering import send_command, source_of

KEY = re.compile(r"[\x21-\x7e]{1,200}")


def launch_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["new runs"])

    @routes.post("/runs", summary="Start a run; with `dry_run` only plan it and estimate its cost", status_code=202)
    async def start_run(request: Request) -> Response:
        """Body: options by the names of their flags (`change`, `files`, `model`, `max-agents`, `budget`, …), and
        `repository` if the server has several. Options that run, send, read or write need `serve --allow-commands`.
        The header `Idempotency-Key` makes a repeated request start one run."""
        return await start_run_of(server, request, await read_object(request))

    @routes.post("/runs/{run}/resume", summary="Continue a run that no process works on, or one that is paused")
    async def resume_run(run: str, request: Request) -> Response:
        """Body: options to change, as for a new run. Unfinished work goes on; paid replies are not paid again."""
        values, found = await read_object(request), await server.find(run)
        if await has_owner(found):
            return data_response(await send_command(*found, source_of(request), "unpause"))
        words = ["resume", found[1].name, *option_words(values, server.launcher.allow_commands)]
        return await launch(server, request, found[0], words, found[1].name)

    @routes.post("/runs/{run}/restart", summary="Start a new run with the settings of this one", status_code=202)
    async def restart_run(run: str, request: Request) -> Response:
        """Body: options to change, as for a new run."""
        values, found = await read_object(request), await server.find(run)
        words = ["restart", found[1].name, *option_words(values, server.launcher.allow_commands)]
        return await launch(server, request, found[0], words)

    @routes.get("/launches/{launch}", summary="What became of a start: its run, its exit code, the end of its output")
    async def get_launch(launch: str) -> Response:
        return data_response(await asyncio.to_thread(read_launch, server, launch))

    return routes


async def has_owner(found: FoundRun) -> bool:
    return await asyncio.to_thread(found[0].find_owner, found[1]) is not None


async def start_run_of(server: RunServer, request: Request, values: Row) -> Response:
    index = server.repositories.find_index(str(values.pop("repository", "")))
    dry_run = values.pop("dry_run", values.pop("dry-run", False))
    if not isinstance(dry_run, bool):
        raise ApiError(400, "`dry_run` must be true or false.")
    words = ["run", *option_words(values, server.launcher.allow_commands)]
    if not (values.get("change") or values.get("plan")):
        raise ApiError(400, "Give a `change`, or the name of a `plan`.")
    if dry_run:
        return data_response({"plan": await asyncio.to_thread(server.launcher.estimate, index, words)})
    return await launch(server, request, index, words)


async def resolve_task(
    server: RunServer, request: Request, found: FoundRun, decision: Decision, *, resume: bool
) -> Response:
    """Send a decision to the run's owner; without one and with `resume`, resume the run for it (202)."""
    if resume and not await has_owner(found):
        words, text = decision_words(found[1].name, decision)
        return await launch(server, request, found[0], words, found[1].name, text)
    values: Row = {"action": decision.action, "text": decision.text}
    values |= {} if decision.question is None else {"question": decision.question}
    return data_response(await send_command(*found, source_of(request), "resolve", decision.task, values))


async def launch(
    server: RunServer,
    request: Request,
    index: RunIndex,
    words: Sequence[str],
    run: str = "",
    text: str = "",
    plan: str = "",
) -> Response:
    key = request.headers.get("idempotency-key", "")
    if key and not KEY.fullmatch(key):
        raise ApiError(400, "An Idempotency-Key is 1 to 200 printable characters without blanks.")
    started = await asyncio.to_thread(server.launcher.start, index, words, key, run, text)
    record = {"launch": started.id, "run": run or None, "console": str(started.console.relative_to(index.root))}
    record |= {"plan": plan} if plan else {}
    response = data_response(record, status=202)
    response.headers["Location"] = f"/api/v1/launches/{started.id}"
    return response


def read_launch(server: RunServer, id: str) -> dict[str, object]:
    index, found = server.launcher.find(id, server.repositories.indexes)
    return launch_record(server.repositories.refresh(index), found)
