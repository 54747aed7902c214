"""What waits for a person, over all runs."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from orchestra.report import run_status
from orchestra.web.envelope import data_response
from orchestra.web.routes.runs import MOST_RUNS
from orchestra.web.server import RunServer

WAITS_FOR_PERSON = 5  # the exit code


def people_routes(server: RunServer) -> APIRouter:
    routes = APIRouter()

    @routes.get("/interrupts", summary="The tasks of all runs that wait for a person, the oldest run first")
    async def interrupts() -> Response:
        return data_response(await list_waiting(server))

    return routes


async def list_waiting(server: RunServer) -> list[dict[str, Any]]:
    records = await asyncio.to_thread(server.repositories.records)
    waiting = []
    for record in reversed(records[:MOST_RUNS]):
        if record["state"] != run_status.ENDED or record["exit_code"] == WAITS_FOR_PERSON:
            live = await server.open(record["run"])
            waiting += [
                {"run": live.run.name, "change": live.report.change, "question": row["asks"], "task": row}
                for row in live.task_rows()
                if row["asks"]
            ]
    return waiting
