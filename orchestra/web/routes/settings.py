"""What a new run would use: the settings with their sources, the models, the roles, the repositories."""

import asyncio
from datetime import date

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestra.cli.commands.config import effective_value
from orchestra.cli.consent import mask_setting
from orchestra.cli.load import read_settings
from orchestra.conduct.core.secrets import Secrets
from orchestra.plan.roles import known_roles
from orchestra.providers import catalogue
from orchestra.settings import Settings, key_of, option_fields
from orchestra.settings.option import flag_of
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.launch import check_text
from orchestra.web.repositories import add_repository
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object


def settings_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["settings"])

    @routes.get("/settings", summary="Every setting of a repository with its source; keys are masked")
    async def get_settings(repository: str = "") -> Response:
        return data_response(setting_rows(await read_settings_of(server, repository)))

    @routes.get("/models", summary="The models of the catalogue: prices per token, context, retirement")
    async def list_models(q: str = "") -> Response:
        found = [model for model in catalogue.list_models() if q.lower() in model.name.lower()]
        return data_response([model_row(model) for model in found])

    @routes.get("/roles", summary="The roles of agents, with those of the repository's settings")
    async def list_roles(repository: str = "") -> Response:
        settings = await read_settings_of(server, repository)
        return data_response(
            [
                {"name": role.name, "model": role.model, "only_answers": role.only_answers, "gates": role.gates}
                for role in known_roles(settings.roles).values()
            ]
        )

    @routes.get("/repositories", summary="The repositories of this server")
    async def list_repositories() -> Response:
        return data_response([str(index.root) for index in server.repositories.indexes])

    @routes.get("/roots", summary="The folders of `serve --root`, below which repositories can be added")
    async def list_roots() -> Response:
        return data_response([str(root) for root in server.repositories.roots])

    @routes.post("/repositories", summary="Add a repository below a folder of `serve --root`", status_code=201)
    async def post_repository(request: Request) -> Response:
        """Body: `path`, of a repository or of a new or empty folder, which becomes one; or `clone`, a URL, with `path`
        as the folder to clone into (default: the first root)."""
        values = await read_object(request)
        path, clone = (check_text(values.get(name, ""), name) for name in ("path", "clone"))
        if not (path or clone):
            raise ApiError(400, "Give a `path`, or a URL to `clone`.")
        return data_response({"repository": await add_repository(server.repositories, path, clone)}, status=201)

    return routes


async def read_settings_of(server: RunServer, repository: str) -> Settings:
    index = server.repositories.find_index(repository)
    return await asyncio.to_thread(read_settings, {"repo": str(index.root)})


def setting_rows(settings: Settings) -> list[Row]:
    secrets = Secrets.from_settings(settings)
    return [
        {
            "name": key_of(option),
            "flag": flag_of(option),
            "value": mask_setting(option.name, effective_value(settings, option), secrets),
            "source": settings.sources[option.name],
            "help": option.metadata["help"],
            "power": option.metadata["power"],
        }
        for option in option_fields()
    ]


def model_row(model: catalogue.Model) -> Row:
    notice = catalogue.retirement_notice(model, date.today())
    return {
        "name": model.name,
        "provider": model.provider.name,
        "price_in": model.price_in,
        "price_out": model.price_out,
        "context": model.context,
        "notice": notice.sentence if notice else "",
    }
