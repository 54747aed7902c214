"""Plans: made from a change, read, edited, checked, approved and carried out."""

import asyncio
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.cli.commands.plan import approve_plan, change_draft
from orchestra.cli.plan_editor import EditedPlan, split_words
from orchestra.conduct.planning.plan_files import new_plan_path
from orchestra.errors import PlanError
from orchestra.plan.edit import EDITS
from orchestra.process import replace_file
from orchestra.web.envelope import ApiError, data_response, require_match
from orchestra.web.launch import check_text, option_words
from orchestra.web.plans import PlanFiles, draft_of_text, replaced_text
from orchestra.web.routes.launches import launch
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object

EDIT_BODY = (
    'Body: `words`, such as `["connect", "use", "model"]`, or `command`, the same as one text; `If-Match` is optional. '
    f"The commands are {', '.join(f'`{name}`' for name in EDITS)}, with the words that `plan edit --help` tells."
)


def plan_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["plans"])
    plans = PlanFiles(server.repositories)

    @routes.get("/plans", summary="The plans of all repositories")
    async def list_plans() -> Response:
        return data_response(await asyncio.to_thread(plans.list_plans))

    @routes.post("/plans", summary="Make a plan of a change, without carrying it out", status_code=202)
    async def make_plan(request: Request) -> Response:
        """Body: `change`, `name` if the plan is to have one of its own, and options as for a new run. The answer names
        the plan and the launch that makes it."""
        values = await read_object(request)
        change, name = check_text(values.pop("change", ""), "change"), check_text(values.pop("name", ""), "name")
        if not change.strip():
            raise ApiError(400, "Give a `change`.")
        index = server.repositories.find_index(str(values.pop("repository", "")))
        words = option_words(values, server.launcher.allow_commands)
        plan = (await asyncio.to_thread(new_plan_path, index.root, change, name)).stem
        # The change is read from stdin: as a word it could be an option, or name a file.
        return await launch(server, request, index, ["plan", f"--name={plan}", *words, "-"], text=change, plan=plan)

    @routes.get("/plans/{name}", summary="One plan: its file, tasks, problems, graph and estimate")
    async def get_plan(name: str, repository: str = "") -> Response:
        return plan_response(await asyncio.to_thread(plans.read, name, repository))

    @routes.put("/plans/{name}", summary="Replace the file of a plan, or write a new plan with If-None-Match: *")
    async def put_plan(name: str, request: Request, repository: str = "") -> Response:
        """Body: `toml`, the file's text. Header `If-Match`: the ETag of the plan that you read (428 without it, 412 if
        the file was changed since). An approval ends, because it was for the plan before."""
        text = check_text((await read_object(request)).get("toml"), "toml", longest=None)
        if request.headers.get("if-none-match") == "*":
            draft = draft_of_text(name, text)
            return plan_response(await asyncio.to_thread(plans.write_new, name, repository, draft), 201)

        def write(plan: EditedPlan) -> EditedPlan:
            replace_file(plan.path, replaced_text(plan, text).encode())
            return plan

        check = partial(require_match, request)
        return plan_response(await asyncio.to_thread(plans.change, name, repository, check, write))

    @routes.post("/plans/{name}/edit", summary="Change a plan by a command of `plan edit`", description=EDIT_BODY)
    async def edit_plan(name: str, request: Request, repository: str = "") -> Response:
        words = edit_words(await read_object(request))

        def edit(plan: EditedPlan) -> EditedPlan:
            plan.save(change_draft(plan.load(), words))
            return plan

        return plan_response(await asyncio.to_thread(plans.change, name, repository, optional_match(request), edit))

    @routes.post("/plans/{name}/check", summary="Whether a plan can be executed: its problems and repairs")
    async def check_plan(name: str, request: Request, repository: str = "") -> Response:
        await read_object(request)
        record = await asyncio.to_thread(plans.read, name, repository)
        return data_response({"ok": not record["problems"]} | {key: record[key] for key in ("problems", "repairs")})

    @routes.post("/plans/{name}/approve", summary="Approve a plan, with the tasks that agents proposed")
    async def approve(name: str, request: Request, repository: str = "") -> Response:
        await read_object(request)
        try:
            return plan_response(
                await asyncio.to_thread(plans.change, name, repository, optional_match(request), approve_plan)
            )
        except PlanError as error:
            raise ApiError(409, str(error)) from None

    @routes.post("/plans/{name}/execute", summary="Start a run that carries out a plan", status_code=202)
    async def execute_plan(name: str, request: Request, repository: str = "") -> Response:
        """Body: options as for a new run."""
        values = await read_object(request)
        index = await asyncio.to_thread(plans.find_index, name, repository)
        words = ["execute", name, *option_words(values, server.launcher.allow_commands)]
        return await launch(server, request, index, words, plan=name)

    return routes


def plan_response(record: Row, status: int = 200) -> Response:
    return data_response(record, None, status, {"ETag": record["etag"]})


def optional_match(request: Request) -> Callable[[str], None]:
    return partial(require_match, request) if "if-match" in request.headers else lambda _: None


def edit_words(values: Row) -> list[str]:
    words = values.get("words")
    if isinstance(values.get("command"), str):
        words = split_words(values["command"])
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ApiError(400, 'Give `words`, a list of texts such as ["remove", "model"], or `command`, one text.')
    return words
