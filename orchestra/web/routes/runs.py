"""Runs: the list, one run, its events, its changes and its stream."""

import asyncio
import json
import re
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse

from orchestra.cli.commands.clean import delete_leftovers, find_leftovers
from orchestra.cli.commands.diff import diff_of_run
from orchestra.cli.find import RunIndex
from orchestra.errors import StoreError, UsageError
from orchestra.events import Event, event_record
from orchestra.journal.store import Owner
from orchestra.report import run_status
from orchestra.report.event_lines import describe_event
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.event_pages import is_large, read_pages
from orchestra.web.live import LiveRun, stream_frames
from orchestra.web.rows import Row, cost_record, file_rows
from orchestra.web.server import RunServer
from orchestra.web.timeline import timeline_record

MOST_RUNS, MOST_EVENTS = 100, 1_000
MOST_PAGES = 20  # of events that one request looks at
# A report holds texts of models: it is a document without this page's origin.
SANDBOX = "sandbox allow-scripts; default-src 'unsafe-inline' data:"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class PatchResponse(Response):
    media_type = "text/x-diff"


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


def list_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])

    @routes.get("/runs", summary="List all runs, the latest first")
    async def list_runs(
        limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 20,
        offset: Annotated[int, Query(ge=0)] = 0,
        cursor: str = "",
        state: str = "",
        repo: str = "",
        q: str = "",
    ) -> Response:
        """`cursor` is the `page.next` or `page.prev` of another page: no run is skipped or shown twice when new ones
        begin. A run at work has its `progress`. `page.problems` tells which stores do not answer; their runs are then
        as they were listed last."""
        records = await asyncio.to_thread(server.repositories.records)
        chosen = [record for record in records if is_wanted(record, state, repo, q)]
        start = find_cursor(chosen, cursor, limit) if cursor else offset
        shown = await server.add_progress(chosen[start : start + limit])
        page: Row = {"limit": limit, "offset": start, "total": len(chosen)}
        page["next"] = make_cursor(chosen[start + limit]) if start + limit < len(chosen) else None
        page["prev"] = f"-{make_cursor(chosen[start])}" if 0 < start < len(chosen) else None
        return data_response(shown, page | {"problems": list(server.repositories.problems.values())})

    @routes.get("/runs/{run}", summary="One run with its tasks, as `status --json` has it")
    async def get_run(run: str, request: Request) -> Response:
        live = await server.open(run)
        tag = f'"{live.seq}-{live.has_owner:d}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        owner = await asyncio.to_thread(find_known_owner, live)
        folder = live.index.logs.relative_to(live.index.root)
        logs = {task: str(folder / f"agent{task}_{live.run.name}.jsonl") for task in live.report.tasks}
        record = run_status.status_record(live.report, logs, {"pid": owner.pid} if owner else None)
        data = {"run": live.current_row(), "rows": live.task_rows(), "status": record, "graph": live.graph()}
        response = data_response(data)
        response.headers["ETag"] = tag
        return response

    @routes.delete("/runs/{run}", summary="Delete what a run has left, as `clean` does; `dry_run` only lists it")
    async def delete_run(run: str, dry_run: bool = False, force: bool = False) -> Response:
        """`force` also deletes branches that are not merged. A run that a process works on is kept (409)."""
        index, known = await server.find(run)
        wanted = Namespace(runs=[known.name], older_than=0.0, keep_failed=False, force=force)
        fresh = server.repositories.refresh(index)
        # In a thread, because the database is compacted too.
        deleted, kept, problems = await asyncio.to_thread(clean_run, fresh, wanted, dry_run=dry_run)
        if not deleted:
            raise ApiError(409, f"Kept: {'; '.join(kept) or 'there is nothing to delete'}.")
        return data_response({"run": known.name, "deleted": deleted, "kept": kept, "problems": problems})

    return routes


def clean_run(index: RunIndex, wanted: Namespace, *, dry_run: bool) -> tuple[list[str], list[str], list[str]]:
    """Delete what `clean` would. Return sentences about what is deleted, what is kept, and what went wrong."""

    async def clean() -> tuple[list[str], list[str], list[str]]:
        going, kept = await find_leftovers(index, wanted)
        described = [leaving.describe() for leaving in going]
        return described, kept, [] if dry_run else await delete_leftovers(index, going)

    return asyncio.run(clean())


def is_wanted(record: Row, state: str, repository: str, text: str) -> bool:
    words = f"{record['run']} {record['change']}".lower()
    return state in ("", record["state"]) and repository in ("", record["repository"]) and text.lower() in words


def make_cursor(record: Row) -> str:
    """Return what tells the place of a run in the list: its start, and its name."""
    return f"{record['started']}.{record['ref']}"


def find_cursor(records: Sequence[Row], cursor: str, limit: int) -> int:
    """Return where a page begins: at the cursor's run or the next older one; with `-`, before that."""
    time, _, ref = cursor.removeprefix("-").partition(".")
    if not (time.isascii() and time.isdigit() and len(time) < 20):
        raise ApiError(400, "`cursor` must be the `next` or `prev` of a page.")
    same = (n for n, record in enumerate(records) if (record["started"], record["ref"]) == (int(time), ref))
    older = (n for n, record in enumerate(records) if record["started"] <= int(time))
    place = next(same, next(older, len(records)))  # the run itself may have been deleted
    return max(0, place - limit) if cursor.startswith("-") else place


def part_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])

    @routes.get("/runs/{run}/events", summary="The events of a run, in words and as they are stored")
    async def get_events(
        run: str,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 200,
        task: int | None = None,
        kinds: str = "",
        q: str = "",
    ) -> Response:
        """`kinds`: with commas between them. `q`: a text in the words or the data. `page.next` is the `after` of the
        next page; `page.total` is not known of a large run."""
        live = await server.open(run)
        wanted = EventFilter(task, frozenset(filter(None, kinds.split(","))), q.lower())
        return data_response(*await asyncio.to_thread(event_page, live, after, limit, wanted))

    @routes.get("/runs/{run}/events/{seq}", summary="One event with all of its data")
    async def get_event(run: str, seq: int) -> Response:
        live = await server.open(run)
        found = await asyncio.to_thread(find_event, live, seq)
        if found is None:
            raise ApiError(404, f"Run {live.run.name} has no event {seq}.")
        return data_response(event_words(found))

    @routes.get("/runs/{run}/graph", summary="The tasks and what they need, with a layout")
    async def get_graph(run: str) -> Response:
        live = await server.open(run)
        nodes = [{"id": task.id, "title": task.title, "state": task.state} for task in live.report.tasks.values()]
        edges = [{"from": need, "to": task.id} for task in live.report.tasks.values() for need in task.needs]
        return data_response({"nodes": nodes, "edges": edges, "layout": live.graph()})

    @routes.get("/runs/{run}/timeline", summary="What each agent did and when, without breaks between sessions")
    async def get_timeline(run: str, packed: bool | None = None) -> Response:
        """Times are milliseconds of work since the start. A span is its kind, start, end and task. `packed`: a lane for
        each slot in place of each task."""
        live = await server.open(run)
        now = int(time.time() * 1000) if live.has_owner else live.detail.ended
        return data_response(timeline_record(live.report, live.detail, now, packed=packed))

    @routes.get("/runs/{run}/files", summary="The files of a run: who changes them, and who holds them")
    async def get_files(run: str) -> Response:
        live = await server.open(run)
        leases = await asyncio.to_thread(live.index.store.list_leases, live.run.key)
        return data_response(file_rows(live.report, {lease.path for lease in leases if lease.run == live.run.name}))

    @routes.get("/runs/{run}/cost", summary="What the run has cost, by role and by task, and its limits")
    async def get_cost(run: str) -> Response:
        return data_response(cost_record((await server.open(run)).report))

    @routes.get(
        "/runs/{run}/diff",
        response_class=PatchResponse,
        summary="What the run changed, as a patch; with `file` of one file",
    )
    async def get_diff(run: str, file: str = "") -> Response:
        return await patch_response(file, diff_of_run, *await server.find(run))

    @routes.get("/runs/{run}/report", response_class=HTMLResponse, summary="The HTML report, in a document of its own")
    async def get_report(run: str) -> Response:
        index, known = await server.find(run)
        path = index.logs / f"report_{known.name}.html"
        if not path.is_file():
            raise ApiError(404, f"Run {known.name} has no report yet: it is written when the run ends.")
        return FileResponse(path, headers={"Content-Security-Policy": SANDBOX})

    @routes.get("/runs/{run}/stream", response_class=EventStream, summary="Changed rows as server-sent events")
    async def stream(run: str, request: Request, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        live = await server.open(run)
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isdigit() else after
        return StreamingResponse(stream_frames(server.live, live, start), 200, STREAM_HEADERS, "text/event-stream")

    @routes.get("/stream", response_class=EventStream, summary="The same, with the run in the query")
    async def stream_of_query(run: str, request: Request, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        return await stream(run, request, after)

    return routes


def find_known_owner(live: LiveRun) -> Owner | None:
    """Return the run's owner; none while the store does not answer."""
    try:
        return live.index.find_owner(live.run)
    except StoreError:
        return None


class EventFilter(NamedTuple):
    task: int | None
    kinds: frozenset[str]
    text: str

    def matches(self, event: Event) -> bool:
        if self.task not in (None, event.task) or (self.kinds and event.kind not in self.kinds):
            return False
        return not self.text or self.text in json.dumps(event_words(event), ensure_ascii=False, default=str).lower()


def event_page(live: LiveRun, after: int, limit: int, wanted: EventFilter) -> tuple[list[Row], Row]:
    """Return the next events that are wanted. Of a large run, only so many are looked at in one request."""
    index, run = live.index, live.run
    if not is_large(index, run):
        events = index.read_log(run).events
        chosen = [event for event in events if event.seq > after and wanted.matches(event)]
        following = chosen[limit - 1].seq if len(chosen) > limit else None
        page: Row = {"total": len(chosen), "last": events[-1].seq if events else 0}
        return [event_words(event) for event in chosen[:limit]], page | {"limit": limit, "next": following}
    chosen, seen = [], after
    for part in islice(read_pages(index, run, after), MOST_PAGES):
        for event in part:
            seen = event.seq
            chosen += [event] if wanted.matches(event) else []
            if len(chosen) == limit:
                break
        if len(chosen) == limit:
            break
    page = {"total": None, "last": live.seq, "limit": limit, "next": seen if seen < live.seq else None}
    return [event_words(event) for event in chosen], page


def find_event(live: LiveRun, seq: int) -> Event | None:
    if seq < 1:
        return None
    if is_large(live.index, live.run):
        found = live.index.store.read_events(live.run.key, live.run.name, after=seq - 1, limit=1)
    else:
        found = [event for event in live.index.read_log(live.run).events if event.seq == seq]
    return found[0] if found and found[0].seq == seq else None


def event_words(event: Event) -> Row:
    return event_record(event) | {"words": describe_event(event)}


async def patch_response(file: str, read_patch: Callable[..., bytes], *given: Any) -> Response:
    """Return the patch, or its part about one file."""
    try:
        patch = await asyncio.to_thread(read_patch, *given)
    except UsageError as error:
        raise ApiError(404, str(error)) from None
    if file:
        parts = [part for part in split_patch(patch) if file in patched_paths(part)]
        if not parts:
            raise ApiError(404, f"Nothing of {file} was changed.")
        patch = b"".join(parts)
    return PatchResponse(patch)


def split_patch(patch: bytes) -> list[bytes]:
    return [part for part in re.split(rb"^(?=diff --git )", patch, flags=re.MULTILINE) if part]


def patched_paths(part: bytes) -> set[str]:
    """Return the paths that the part of a patch is about."""
    head = part.split(b"\n@@", 1)[0].decode("utf-8", "surrogateescape").split("\n")
    named = [line[4:].rstrip("\t") for line in head if line.startswith(("--- ", "+++ "))]
    # Without hunks, as of a changed mode: both names of the first line are the same.
    named = [name for name in named if name != "/dev/null"] or [head[0][len(head[0]) // 2 + 6 :]]
    return {unquote_path(name)[2:] for name in named}


def unquote_path(name: str) -> str:
    """Undo git's quotes around a path with unusual characters."""
    if not name.startswith('"'):
        return name
    found = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), name.strip('"').encode())
    for quoted, plain in ((rb"\t", b"\t"), (rb"\n", b"\n"), (rb"\"", b'"'), (rb"\\", b"\\")):
        found = found.replace(quoted, plain)
    return found.decode("utf-8", "surrogateescape")
