"""The order for an attempt: all that a host must know, as plain data."""

from orchestra.agents.aider_args import parse_aider_args
from orchestra.agents.base import AgentModel, AttemptOrder, FileRules
from orchestra.conduct.attempt.prompt import build_prompt
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.names import commit_message
from orchestra.conduct.core.permits import user_words
from orchestra.conduct.core.setup_settings import setup_from_settings
from orchestra.conduct.core.task_result import AttemptStart
from orchestra.model import Task
from orchestra.providers import catalogue

EARLIER = "# Earlier attempts at this task did not succeed"


async def make_attempt_order(run: Run, task: Task, number: int, start: AttemptStart) -> AttemptOrder:
    context = run.context
    role = context.role_of(task)
    brief = await build_prompt(run, task, start.base)
    return AttemptOrder(
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
        set_up=setup_from_settings(context.settings),
        rules=FileRules(run.state.plan.owners, tuple(run.state.report.user_files), user_words(run)),
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
