"""Which kinds of agents a run uses, and whether each can work: the program, the provider, the command."""

import os
from collections.abc import Collection, Iterator

from orchestra.agents import AGENTS
from orchestra.agents.base import Agent
from orchestra.agents.commands import find_program
from orchestra.conduct.core.models import role_model
from orchestra.errors import AgentMissing, SettingsError
from orchestra.plan.roles import find_role
from orchestra.providers.catalogue import PROVIDERS, Model
from orchestra.settings import Settings

# Of a task, as far as they are known: its role, and the kind of agent that the plan names.
Assignment = tuple[str, str]
INSTALL = {
    "claude": "Install it (npm install -g @anthropic-ai/claude-code), or use another --agent-kind.",
    "codex": "Install it (npm install -g @openai/codex), or use another --agent-kind.",
}


def kind_of(settings: Settings, assignment: Assignment) -> str:
    role, kind = assignment
    return kind or find_role(role, settings.roles).kind or settings.agent_kind


def list_assignments(settings: Settings, tasks: Collection[Assignment]) -> Collection[Assignment]:
    """Return the assignments of a plan; without one, those that it may have."""
    return tasks or [("", ""), *((role, "") for role in (settings.roles if settings.decompose else ()))]


def check_agents(settings: Settings, model: Model, tasks: Collection[Assignment]) -> None:
    """Check each kind of agent with the model that it gets, before anything is paid."""
    agents = dict.fromkeys(agents_with_models(settings, model, tasks))
    for kind, asked in agents:
        check_agent(settings, AGENTS[kind], asked)
    kinds = {kind for kind, _ in agents} | {role.kind for role in settings.roles.values()}
    if settings.source_of("agent_cmd") == "flag" and "exec" not in kinds:
        hint = "Add --agent-kind exec, or leave --agent-cmd out."
        raise SettingsError("--agent-cmd is not used: no task has an agent of kind exec.", hint=hint)


def agents_with_models(settings: Settings, model: Model, tasks: Collection[Assignment]) -> Iterator[tuple[str, Model]]:
    for each in list_assignments(settings, tasks):
        yield kind_of(settings, each), role_model(settings, each[0]) or model


def check_agent(settings: Settings, agent: Agent, model: Model) -> None:
    provider = model.provider
    if provider.dialect not in agent.dialects or (agent.providers and provider.name not in agent.providers):
        known = sorted(agent.providers) or [name for name, one in PROVIDERS.items() if one.dialect in agent.dialects]
        hint = f"Choose a --model of {' or '.join(known)}, or another --agent-kind."
        raise SettingsError(f"{agent.title} cannot ask {model.name}.", hint=hint)
    if agent.name == "exec" and not settings.agent_cmd.strip():
        raise SettingsError("An agent of kind exec needs a command.", hint="Give --agent-cmd CMD.")
    if agent.program and not find_program(agent, os.environ):
        raise AgentMissing(
            f"{agent.title} is not installed: there is no command {agent.program}.", hint=INSTALL[agent.name]
        )
