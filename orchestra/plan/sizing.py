"""How many agents at once, and how many tasks the work must be cut into."""

from collections.abc import Sequence
from dataclasses import dataclass

MEMORY_PER_AGENT = 100 << 20
AGENTS_PER_CORE = 8
BYTES_PER_TOKEN = 3
# What a prompt holds beside its files, and the share of the context that a model still uses well.
FIXED_TOKENS = 8_000
USABLE = 0.5
DEFAULT_CONTEXT = 128_000
# So many agents may each be told the fixed part of a prompt without a thought; more must have files worth telling it.
SMALL_CHANGE = 8
# What a file costs beside its tokens: an agent that has many small ones is busy too. A new file has no tokens yet.
FILE_TOKENS = 300
NEW_FILE_TOKENS = 500
SLACK = 1.1


@dataclass(frozen=True)
class Machine:
    cores: int
    free_memory: int


@dataclass(frozen=True)
class AgentBound:
    """At most so many agents, and what it is that says so."""

    agents: int
    reason: str


def tokens_of_size(size: int) -> int:
    """An estimate from a file's size that is rather too high than too low."""
    return -(-size // BYTES_PER_TOKEN)


def usable_tokens(context: int | None) -> int:
    """The tokens of files that one agent can work on well."""
    return max(int((context or DEFAULT_CONTEXT) * USABLE) - FIXED_TOKENS, 1_000)


def bound_agents(sizes: Sequence[int], machine: Machine, *, at_most: int = 0) -> AgentBound:
    """The most agents that can be of use. `sizes` are the tokens of what cannot be divided: files, or groups of them.
    Agents wait for the network, so cores bind them little; memory and files do."""
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
    """So many, that each fits into the model's usable context, even the fullest that an even division makes."""
    return max(-(-int(tokens * SLACK) // usable_tokens(context)), 1)
