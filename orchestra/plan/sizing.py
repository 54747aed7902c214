"""How many agents at once, and how many tasks the work must be cut into."""

from dataclasses import dataclass

MEMORY_PER_AGENT = 100 << 20
AGENTS_PER_CORE = 8
BYTES_PER_TOKEN = 3
# What a prompt holds beside its files, and the share of the context that a model still uses well.
FIXED_TOKENS = 8_000
USABLE = 0.5
DEFAULT_CONTEXT = 128_000


@dataclass(frozen=True)
class Machine:
    cores: int
    free_memory: int


def tokens_of(size: int) -> int:
    """An estimate from a file's size that is rather too high than too low."""
    return -(-size // BYTES_PER_TOKEN)


def agents_at_once(files: int, machine: Machine, *, exactly: int = 0, at_most: int = 0) -> int:
    """Agents wait for the network, so cores bind them little; memory and files do."""
    if exactly:
        return min(exactly, files)
    bound = at_most or max(1, min(machine.cores * AGENTS_PER_CORE, machine.free_memory // MEMORY_PER_AGENT))
    return min(bound, files)


def tasks_needed(tokens: int, agents: int, context: int | None) -> int:
    """One task per agent, or more, in waves, when the files of one would not fit into the model's usable context."""
    room = max(int((context or DEFAULT_CONTEXT) * USABLE) - FIXED_TOKENS, 1_000)
    return max(agents, -(-tokens // room))
