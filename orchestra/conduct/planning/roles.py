"""The roles of a plan's tasks and what they require, checked before anything begins."""

from collections.abc import Iterable
from datetime import date

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.models import Project, build_upstreams, check_prices, chosen_model, role_model
from orchestra.conduct.core.slots import count_slots
from orchestra.model import Plan
from orchestra.providers import catalogue
from orchestra.report.plans.estimate import estimate_plan
from orchestra.settings import Settings


def role_models(settings: Settings, roles: Iterable[str]) -> list[catalogue.Model]:
    """Return the models that these roles have of their own."""
    return [model for role in dict.fromkeys(roles) if (model := role_model(settings, role))]


def check_roles(settings: Settings, roles: Iterable[str], *, replayed: bool) -> None:
    """Check that the roles exist and that their models can be used: known name, key, price."""
    model, others = chosen_model(settings), role_models(settings, roles)
    if others:
        build_upstreams(settings, model, others, replayed=replayed)
    if others and not replayed:
        check_prices(settings, model, roles=others, asks_gemini=False)


def open_role_models(run: Run) -> None:
    """Connect the models of the plan's roles. If one cannot be used, no agent begins."""
    context = run.context
    roles, replayed = [task.role for task in run.state.plan.tasks], run.services.gateway.replay is not None
    check_roles(context.settings, roles, replayed=replayed)
    models = [model for model in role_models(context.settings, roles) if model.name != context.model.name]
    run.services.gateway.upstreams |= build_upstreams(context.settings, context.model, models, replayed=replayed)
    remarks = []
    for model in models:
        if notice := catalogue.retirement_notice(model, date.today()):
            remarks.append(f"{notice.sentence}.")
        if model.price_in is None:
            remarks.append(f"No price is known for {model.name}: its cost is unknown; set [prices].")
    for text in dict.fromkeys(remarks):
        if text not in run.state.report.notes:
            run.emit(events.Note(text))


def estimate_with_roles(project: Project, plan: Plan) -> events.PlanRange:
    """Estimate the plan with each role's own model."""
    settings, model = project.settings, project.model
    roles = {task.role: role_model(settings, task.role) or model for task in plan.tasks}
    sizes = {path: entry.size for path, entry in project.entries.items()}
    slots = count_slots(plan.agents, settings)
    return estimate_plan(plan, model, sizes, roles, each=settings.agents_per_task, slots=slots)
