"""Aider as an agent: its flags, its environment, what it cannot edit, and how it reports its end."""

import json

from orchestra.agents.base import DOOR, FOLDER, NOT_EDITABLE, TOKEN, TREE, AgentCall, AgentOutcome, AttemptOrder

FLAGS = (
    *("--yes-always", "--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--no-analytics"),
    *("--no-gitignore", "--no-detect-urls", "--no-suggest-shell-commands", "--no-pretty", "--no-stream"),
    *("--no-fancy-input", "--no-auto-lint", "--no-auto-commits", "--no-dirty-commits", "--skip-sanity-check-repo"),
    # The attempt's clock ends a request, and only the gateway repeats one. Aider must not give up earlier.
    *("--map-tokens", "0", "--timeout", "86400"),
)
METADATA = "model-metadata.json"
# Without a path for each of these, Aider would write into the worktree.
FILES = {
    "--chat-history-file": "chat.md",
    "--input-history-file": "input",
    "--llm-history-file": "llm",
    "--model-metadata-file": METADATA,
}


class Aider:
    """Aider 0.86 with litellm: it asks models in any dialect that litellm speaks."""

    name = "aider"
    title = "Aider"
    is_command = False
    program = ""
    tried_versions = ("", "")
    providers: frozenset[str] = frozenset()
    iterations = 10
    dialects = frozenset({"openai", "anthropic", "gemini"})
    edits_only = True
    # litellm repeats a request whose reply it could not read, so a repeated request means a bad reply.
    repeats_requests = False

    def why_not_editable(self, kind: str) -> str:
        return NOT_EDITABLE.get(kind, "")

    def trailer(self, model: str) -> str:
        return f"Co-authored-by: aider ({model}) <aider@aider.chat>"

    def build_call(self, order: AttemptOrder, absent: frozenset[str], *, fenced: bool = False) -> AgentCall:
        model = order.model
        environment = {model.key_variable: TOKEN, model.base_variable: DOOR}
        files = {METADATA: json.dumps(dict(model.metadata))}
        return AgentCall(self.arguments(order, absent), order.brief, environment, files, model.settings)

    def read_outcome(self, printed: str, code: int, tree: str) -> AgentOutcome:
        raise NotImplementedError("its process writes a record, which read_outcome_file reads")

    def arguments(self, order: AttemptOrder, absent: frozenset[str]) -> tuple[str, ...]:
        """Return the arguments. Files are absolute, so that a name with a leading dash is no option."""
        own = [word for path in order.files if path not in absent for word in ("--file", f"{TREE}/{path}")]
        along = [word for path in order.reads for word in ("--read", f"{TREE}/{path}")]
        places = [word for option, name in FILES.items() for word in (option, f"{FOLDER}/{name}")]
        models = ("--model", order.model.agent_name, "--weak-model", order.model.weak_name)
        # After the user's own options, because the role decides this.
        ways = {"--edit-format": order.edit_format, "--chat-mode": order.chat_mode}
        way = [word for option, value in ways.items() if value for word in (option, value)]
        return (*FLAGS, *models, *places, *order.arguments, *way, *own, *along)
