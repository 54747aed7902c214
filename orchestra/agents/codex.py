"""Codex as an agent: its flags, its environment, and how it reports its end."""

import json
from dataclasses import dataclass
from typing import Any

from orchestra.agents.base import (
    DOOR,
    FOLDER,
    TOKEN,
    AgentCall,
    AgentOutcome,
    AttemptOrder,
    CommandAgent,
    ended_by_signal,
    read_json_lines,
)

KEY_VARIABLE = "AGENT_KEY"
HOME = f"{FOLDER}/home"
DOOR_SETTINGS = {"name": "door", "base_url": DOOR, "env_key": KEY_VARIABLE, "wire_api": "responses"}
# The gateway repeats requests, and an attempt's clock ends one that takes too long.
DOOR_LIMITS = ("request_max_retries=0", "stream_max_retries=0", "stream_idle_timeout_ms=86400000")
# The sandbox of Codex leaves /tmp and TMPDIR writable by default, where other attempts are. What else is off asks
# servers of its own, or reads what a repository says.
CONFIG: dict[str, Any] = {
    "sandbox_workspace_write.exclude_slash_tmp": True,
    "sandbox_workspace_write.exclude_tmpdir_env_var": True,
    "project_doc_max_bytes": 0,
    "web_search": "disabled",
    "skills.include_instructions": False,
    "analytics.enabled": False,
    "check_for_update_on_startup": False,
    **{
        f"features.{name}": False
        for name in ("plugins", "apps", "multi_agent", "goals", "enable_request_compression", "hooks")
    },
}


@dataclass(frozen=True)
class CodexAgent(CommandAgent):
    """Codex speaks the responses format only."""

    def build_call(self, order: AttemptOrder, absent: frozenset[str], *, fenced: bool = False) -> AgentCall:
        door = ",".join([*(f'{name}="{value}"' for name, value in DOOR_SETTINGS.items()), *DOOR_LIMITS])
        config = {name: json.dumps(value) for name, value in CONFIG.items()}
        config |= {"model_provider": '"door"', "model_providers.door": f"{{{door}}}"}
        given = [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
        arguments = (
            *("codex", "exec", "--json", "--ephemeral", "--ignore-user-config", "--ignore-rules"),
            *("--model", order.model.upstream_name),
            *("--sandbox", sandbox_mode(order, fenced)),
            *given,
            "-",
        )
        environment = {KEY_VARIABLE: TOKEN, "CODEX_HOME": HOME}
        return AgentCall(arguments, order.brief, environment)

    def read_outcome(self, printed: str, code: int, tree: str) -> AgentOutcome:
        end, failure = "", ""
        for record in read_json_lines(printed):
            kind = record.get("type")
            if kind in ("turn.completed", "turn.failed"):
                end = str(kind)
            if kind in ("turn.failed", "error"):
                failure = find_message(record) or failure
        if not end or ended_by_signal(code):
            return AgentOutcome("crashed", code, failure=failure or f"it ended without a result (exit code {code})")
        if end == "turn.completed" and not code:
            return AgentOutcome("accepted")
        return AgentOutcome("no_reply", code, failure=failure or f"exit code {code}")


def sandbox_mode(order: AttemptOrder, fenced: bool) -> str:
    """Return the sandbox that Codex makes for its commands. It cannot make one (with bubblewrap) inside of ours, which
    then holds alone: the agent's own folder, and no other port than the gateway's."""
    if fenced:
        return "danger-full-access"
    return "read-only" if order.chat_mode else "workspace-write"


def find_message(record: Any) -> str:
    error = record.get("error")
    message = error.get("message") if isinstance(error, dict) else record.get("message")
    return str(message or "")[:300]


CODEX = CodexAgent(
    name="codex",
    title="Codex",
    dialects=frozenset({"openai"}),
    program="codex",
    tried_versions=("0.171.0", "0.171.0"),
    providers=frozenset({"openai"}),
    author=("Codex", "noreply@openai.com"),
)
