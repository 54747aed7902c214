"""The order for an attempt: all that a host must know, as plain data."""

from orchestra.agents.aider_args import parse_aider_args
from orchestra.agents.base import AgentModel, Order, Rules
from orchestra.conduct.attempt.prompt import full_brief
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.names import commit_message
from orchestra.conduct.core.permits import words_of
from orchestra.conduct.core.results import Start
from orchestra.conduct.core.set_up import set_up_of
from orchestra.model import Task
from orchestra.providers import catalogue

EARLIER = "# Earlier attempts at this task did not succeed"


async def make_order(run: Run, task: Task, number: int, start: Start) -> Order:
    context = run.context
    role = context.role(task)
    brief = await full_brief(run, task, start.base)
    return Order(
        run=context.stamp,
        task=task.id,
        attempt=number,
        base=start.base,
        parent=start.parent,
        message=commit_message(context, task),
        brief=f"{brief}\n\n{EARLIER}\n\n{start.lesson}" if start.lesson else brief,
        agent=context.agent_of(task).name,
        model=agent_model(context, task),
        files=task.paths,
        new=tuple(file.path for file in task.files if file.new),
        reads=task.reads,
        edit_format=role.edit_format,
        chat_mode=role.chat_mode,
        arguments=tuple(parse_aider_args(context.settings.aider_args)),
        set_up=set_up_of(context.settings),
        rules=Rules(run.state.plan.owners, tuple(run.state.report.named), words_of(run)),
    )


def agent_model(context: Context, task: Task) -> AgentModel:
    model = context.model_of(task)
    weak = catalogue.weak_model(model)
    return AgentModel(
        name=model.name,
        agent_name=model.aider_name,
        weak_name=weak.aider_name,
        key_variable=model.provider.agent_key_var,
        base_variable=model.provider.agent_base_var,
        metadata={each.aider_name: catalogue.metadata_entry(each) for each in (model, weak)},
        settings=catalogue.settings_entry(model, weak.aider_name, task.tokens),
    )
