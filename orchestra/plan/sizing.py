"""Decide how many agents work at once, and into how many tasks the work is divided."""

from collections.abc import Sequence
from dataclasses import dataclass

MEMORY_PER_AGENT = 100 << 20
AGENTS_PER_CORE = 8
BYTES_PER_TOKEN = 3
# What a prompt holds beside its files, and the share of a context that a model uses well.
FIXED_TOKENS = 8_000
USABLE = 0.5
DEFAULT_CONTEXT = 128_000
# Up to this many agents the fixed part of a prompt does not matter; more must have files worth it.
SMALL_CHANGE = 8
# What a file costs beside its tokens: many small files keep an agent busy too. A new file has no tokens yet.
FILE_TOKENS = 300
NEW_FILE_TOKENS = 500
SLACK = 1.1


@dataclass(frozen=True)
class Machine:
    cores: int
    free_memory: int


@dataclass(frozen=True)
class AgentBound:
    """A bound on the number of agents, and its reason."""

    agents: int
    reason: str


def tokens_of_size(size: int) -> int:
    """Estimate tokens from a file's size, rather too high than too low."""
    return -(-size // BYTES_PER_TOKEN)


def usable_tokens(context: int | None) -> int:
    """Return the tokens of files that one agent can work on well."""
    return max(int((context or DEFAULT_CONTEXT) * USABLE) - FIXED_TOKENS, 1_000)


def bound_agents(sizes: Sequence[int], machine: Machine, *, at_most: int = 0) -> AgentBound:
    """Bound the number of useful agents. `sizes`: tokens of what cannot be divided, files or groups of them. Agents
    wait for the network, so cores hardly matter; memory and files do."""
    work = sum(sizes) + FILE_TOKENS * len(sizes)
    largest = max(sizes, default=0) + FILE_TOKENS
    bounds = [
        AgentBound(at_most or len(sizes), "--max-agents"),
        AgentBound(len(sizes), "the number of files"),
        AgentBound(-(-work // largest), "the largest file, which takes one agent as long as the others their shares"),
        AgentBound(max(SMALL_CHANGE, sum(sizes) // FIXED_TOKENS), "the prompts, which would cost more than the files"),
    ]
    if not at_most:
        bounds += machine_bounds(machine)
    least = min(bounds, key=lambda one: one.agents)
    return AgentBound(max(least.agents, 1), least.reason)


def machine_bounds(machine: Machine) -> list[AgentBound]:
    return [
        AgentBound(machine.cores * AGENTS_PER_CORE, "the number of cores"),
        AgentBound(machine.free_memory // MEMORY_PER_AGENT, "the free memory"),
    ]


def machine_capacity(machine: Machine) -> int:
    return max(min(one.agents for one in machine_bounds(machine)), 1)


def tasks_needed(tokens: int, context: int | None) -> int:
    """Return the number of tasks so that each fits into the model's usable context, even in an uneven division."""
    return max(-(-int(tokens * SLACK) // usable_tokens(context)), 1)
