"""The agents at work now, and the figures of all runs. An agent is an attempt: it begins and ends with it."""

import asyncio
import re
from collections import Counter
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.events import event_record
from orchestra.model import TaskState
from orchestra.report import run_status
from orchestra.report.detail import build_detail
from orchestra.report.event_lines import describe_event
from orchestra.report.state import Report
from orchestra.report.summary import usage_record
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.live import LiveRun
from orchestra.web.routes.launches import start_run_of
from orchestra.web.routes.runs import MOST_EVENTS
from orchestra.web.rows import Row, task_row
from orchestra.web.server import RunServer, read_object
from orchestra.web.steering import send_command, source_of

AGENT_ID = re.compile(r"(.+):(\d+):(\d+)")


def agent_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["agents"])

    @routes.get("/agents", summary="The attempts at work now, over all runs")
    async def list_agents() -> Response:
        runs = await asyncio.to_thread(server.repositories.list_runs)
        unfinished = [found for found in runs if found[1].run.last is None]
        opened = [await server.open_found(*found) for found in unfinished]
        return data_response([row for live in opened if live.has_owner for row in agent_rows(live)])

    @routes.post("/agents", summary="Start a run with so many agents at each task", status_code=202)
    async def start_agents(request: Request) -> Response:
        """Body: what `POST /runs` has; `agents_per_task` attempts work at each task, and the best is kept."""
        return await start_run_of(server, request, await read_object(request))

    @routes.delete("/agents/{agent}", summary="Cancel the task that the agent works on")
    async def stop_agent(agent: str, request: Request) -> Response:
        run, task, number = split_agent(agent)
        live = await server.open(run)
        if (task, number) not in live.detail.working_attempts:
            raise ApiError(409, f"No attempt {number} at task {task} of run {live.run.name} is at work.")
        return data_response(await send_command(live.index, live.run, source_of(request), "cancel", task))

    @routes.get("/agents/{agent}", summary="One attempt, also one that has ended; its id is `run:task:attempt`")
    async def get_agent(agent: str) -> Response:
        run, task, number = split_agent(agent)
        index, known = await server.find(run)
        detail = build_detail((await asyncio.to_thread(index.read_log, known)).events)
        for attempt in detail.all_attempts(task):
            if attempt.number == number:
                record = run_status.attempt_record(attempt, "")
                return data_response({"id": agent, "run": known.name, "task": task, "ended": attempt.ended} | record)
        raise ApiError(404, f"Run {known.name} has no attempt {number} at task {task}.")

    @routes.get("/agents/{agent}/logs", summary="The events of one attempt, in words and as they are stored")
    async def get_agent_logs(agent: str) -> Response:
        run, task, number = split_agent(agent)
        index, known = await server.find(run)
        log = await asyncio.to_thread(index.read_log, known)
        chosen = [event for event in log.events if (event.task, event.attempt) == (task, number)]
        records = [event_record(event) | {"words": describe_event(event)} for event in chosen[-MOST_EVENTS:]]
        return data_response(records, {"limit": MOST_EVENTS, "total": len(chosen)})

    @routes.get("/dashboard/stats", summary="Runs, tasks, agents and decisions by state, the success rate, the cost")
    async def get_stats() -> Response:
        return data_response(stats_record(await asyncio.to_thread(server.metrics.read_reports)))

    return routes


def split_agent(agent: str) -> tuple[str, int, int]:
    if (parts := AGENT_ID.fullmatch(agent)) is None:
        raise ApiError(404, "The id of an agent is `run:task:attempt`.")
    return parts[1], int(parts[2]), int(parts[3])


def agent_rows(live: LiveRun) -> list[Row]:
    rows = []
    for task, number in sorted(live.detail.working_attempts, key=lambda key: (key[0] or 0, key[1] or 0)):
        record, attempt = live.report.tasks.get(task or 0), live.detail.get_attempt(task or 0, number or 1)
        if record is None:
            continue
        row = task_row(live.report, live.detail, record, 0)
        rows.append(
            {
                "id": f"{live.ref}:{record.id}:{attempt.number}",
                "status": "WORKING",
                "run": live.ref,
                "task": record.id,
                "attempt": attempt.number,
                "model": attempt.model,
                "started": attempt.started,
                "usage": usage_record(attempt.usage),
                **{name: row[name] for name in ("agent", "title", "role", "phase", "waits", "files")},
            }
        )
    return rows


def stats_record(reports: list[tuple[Report, str]]) -> Row:
    tasks = [task for report, _ in reports for task in report.tasks.values()]
    states = Counter(str(task.state) for task in tasks)
    ended = [task for task in tasks if task.state in (TaskState.COMPLETE, TaskState.FAILED, TaskState.ABANDONED)]
    good = sum(task.state == TaskState.COMPLETE for task in ended)
    today = [report for report, _ in reports if is_today(report.started)]
    working = sum(len(report.running_attempts) for report, state in reports if state == run_status.RUNNING)
    return {
        "runs": Counter(state for _, state in reports),
        "tasks": {str(state): states[str(state)] for state in TaskState} | {"total": len(tasks)},
        "agents": {"working": working},
        "exceptions": {"open": sum(bool(task.asks) for task in tasks)},
        "verdicts": Counter(str(task.verdict) for task in tasks if task.verdict),
        "successRate": round(good / len(ended), 4) if ended else None,
        "cost": sum(report.usage.paid or 0.0 for report, _ in reports),
        "costToday": sum(report.usage.paid or 0.0 for report in today),
    }


def is_today(time: int) -> bool:
    try:
        return datetime.fromtimestamp(time / 1000).date() == datetime.now().date()
    except (OverflowError, ValueError, OSError):
        return False
