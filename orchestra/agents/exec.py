"""Any command as an agent: the brief on stdin and in a file, and addresses and a token in its environment."""

from dataclasses import dataclass

from orchestra.agents.base import (
    DOOR,
    FOLDER,
    TOKEN,
    TREE,
    AgentCall,
    AgentOutcome,
    AttemptOrder,
    CommandAgent,
    ended_by_signal,
)

BRIEF = f"{FOLDER}/brief.md"
ADDRESSES = (
    *("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
    *("GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL"),
)
# The shell puts the values in, so that a path may have any signs.
PLACES = {"{brief}": "AGENT_BRIEF", "{worktree}": "AGENT_WORKTREE", "{model}": "AGENT_MODEL"}
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


@dataclass(frozen=True)
class ExecAgent(CommandAgent):
    """A shell command of the user. Its exit code says whether it has done its work."""

    def build_call(self, order: AttemptOrder, absent: frozenset[str], *, fenced: bool = False) -> AgentCall:
        command = order.command
        for name, variable in PLACES.items():
            command = command.replace(name, f'"${variable}"')
        model = order.model
        environment = dict.fromkeys((*ADDRESSES, model.base_variable), DOOR)
        environment |= dict.fromkeys((*KEYS, model.key_variable), TOKEN)
        environment |= {"AGENT_BRIEF": BRIEF, "AGENT_WORKTREE": TREE, "AGENT_MODEL": model.upstream_name}
        return AgentCall(("sh", "-c", command), order.brief, environment)

    def read_outcome(self, printed: str, code: int, tree: str) -> AgentOutcome:
        if not code:
            return AgentOutcome("accepted")
        words = next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")
        failure = f"exit code {code}{f': {words[:300]}' if words else ''}"
        return AgentOutcome("crashed" if ended_by_signal(code) else "no_reply", code, failure=failure)


EXEC = ExecAgent(
    name="exec",
    title="The command",
    dialects=frozenset({"openai", "responses", "anthropic", "gemini"}),
    author=("exec", "exec@localhost"),
)
