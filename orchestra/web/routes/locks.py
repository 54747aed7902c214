"""The files that runs hold, so that no other run changes them at the same time."""

import asyncio
import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.journal.sql import index_key
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object

MOST_PATHS = 100


def lock_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["files held"])

    @routes.get("/locks", summary="The files that runs hold now")
    async def list_locks() -> Response:
        return data_response(await asyncio.to_thread(read_locks, server))

    @routes.post("/locks/check", summary="Whether a run could hold these files now")
    async def check_locks(request: Request) -> Response:
        """Body: `paths`, 1 to 100 of them."""
        paths = (await read_object(request)).get("paths")
        if not isinstance(paths, list) or not 0 < len(paths) <= MOST_PATHS or not all(type(p) is str for p in paths):
            raise ApiError(400, f"`paths` must be a list of 1 to {MOST_PATHS} texts.")
        by_key = {index_key(path): path for path in paths}
        locks = await asyncio.to_thread(read_locks, server)
        conflicts = [lock | {"path": by_key[lock["path"]]} for lock in locks if lock["path"] in by_key]
        return data_response({"available": not conflicts, "conflicts": conflicts})

    return routes


def read_locks(server: RunServer) -> list[Row]:
    now = time.time() * 1000
    return [
        {
            "repository": str(index.root),
            **lease._asdict(),
            "seconds_left": max(0.0, round((lease.expires - now) / 1000, 1)),
        }
        for index in server.repositories.indexes
        for lease in index.store.list_leases(index.key)
    ]
