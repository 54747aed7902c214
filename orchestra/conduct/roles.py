"""The roles that the tasks of a plan have: what they demand, known before anything begins."""

from collections.abc import Iterable
from datetime import date

from orchestra import catalogue
from orchestra.conduct.limits import check_prices
from orchestra.conduct.run import Run, role_model, upstreams
from orchestra.model import Task
from orchestra.settings import Settings


def role_models(settings: Settings, tasks: Iterable[Task]) -> list[catalogue.Model]:
    """The models of the roles that tasks really have, beside the agents' own."""
    roles = dict.fromkeys(task.role for task in tasks)
    return [model for role in roles if (model := role_model(settings, role))]


def check_roles(settings: Settings, model: catalogue.Model, tasks: Iterable[Task], *, replayed: bool) -> None:
    """That there are such roles, and what their models need: a name that somebody serves, a key, a price."""
    models = role_models(settings, tasks)
    if not models:
        return
    upstreams(settings, model, models, replayed=replayed)
    if not replayed:
        check_prices(settings, model, roles=models, asks_gemini=False)


def engage(run: Run) -> None:
    """Open the ways to the models of the plan's roles; where one cannot be used, no agent begins."""
    replayed = run.gateway.replay is not None
    check_roles(run.settings, run.model, run.plan.tasks, replayed=replayed)
    models = [model for model in role_models(run.settings, run.plan.tasks) if model.name != run.model.name]
    run.gateway.upstreams |= upstreams(run.settings, run.model, models, replayed=replayed)
    for text in dict.fromkeys(remark for model in models for remark in remarks(model)):
        if text not in run.report.notes:
            run.emit("note", text=text)


def remarks(model: catalogue.Model) -> list[str]:
    notice = catalogue.retirement(model, date.today())
    found = [f"{notice.sentence}."] if notice is not None else []
    if model.price_in is None:
        found.append(f"No price is known for {model.name}: its cost cannot be said ([prices] gives one).")
    return found
