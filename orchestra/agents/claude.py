"""Claude Code as an agent: its flags, its environment, and how it reports its end."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    read_json_lines,
)

FLAGS = (
    *("--print", "--output-format", "stream-json", "--verbose", "--no-session-persistence"),
    # Neither the repository's nor the user's instructions, hooks, servers and settings.
    *("--safe-mode", "--setting-sources", "", "--strict-mcp-config"),
    # What no rule allows is refused without a question.
    *("--permission-mode", "dontAsk"),
)
READING, WRITING = ("Read", "Glob", "Grep"), ("Edit", "Write")
ENVIRONMENT = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    # The gateway repeats requests, and an attempt's clock ends one that takes too long.
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "API_TIMEOUT_MS": "86400000",
    "CLAUDE_CONFIG_DIR": f"{FOLDER}/home/claude",
    "CLAUDE_CODE_TMPDIR": f"{FOLDER}/tmp",
}
NAMES = uuid.UUID("c1a0de00-0000-4000-8000-000000000000")
UNQUOTABLE = re.compile(r"[()\\*?\[\]{}!,]")  # signs with a meaning in a permission rule


@dataclass(frozen=True)
class ClaudeAgent(CommandAgent):
    """Claude Code has no sandbox of its own here, but rules for each file. It gets no tool that runs commands."""

    def build_call(self, order: AttemptOrder, absent: frozenset[str], *, fenced: bool = False) -> AgentCall:
        model = order.model
        tools = READING if order.chat_mode else (*READING, *WRITING)
        session = uuid.uuid5(NAMES, f"{order.run}/{order.task}/{order.attempt}")
        rules = () if order.chat_mode else ("--allowedTools", *permission_rules(order.files))
        arguments = (
            *("claude", *FLAGS, "--session-id", str(session), "--model", model.upstream_name),
            *("--tools", ",".join(tools)),
            *rules,
        )
        environment = ENVIRONMENT | {"ANTHROPIC_BASE_URL": DOOR, "ANTHROPIC_API_KEY": TOKEN}
        environment |= dict.fromkeys(
            ("ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL"), model.upstream_name
        )
        if model.output_cap:
            environment["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(model.output_cap)
        return AgentCall(arguments, order.brief, environment)

    def read_outcome(self, printed: str, code: int, tree: str) -> AgentOutcome:
        result: Mapping[str, Any] | None = None
        for record in read_json_lines(printed):
            result = record if record.get("type") == "result" else result
        if result is None or ended_by_signal(code):
            return AgentOutcome("crashed", code, failure=f"it ended without a result (exit code {code})")
        refused = tuple(dict.fromkeys(denied_paths(result, tree)))
        # With a failure of the provider, `subtype` is "success" nevertheless.
        if not code and result.get("is_error") is False and result.get("subtype") == "success":
            return AgentOutcome("accepted", refused=refused)
        failure = f"{result.get('subtype')}: {result.get('result') or result.get('terminal_reason') or ''}"
        return AgentOutcome("no_reply", code, refused=refused, failure=failure[:300])


def permission_rules(files: tuple[str, ...]) -> tuple[str, ...]:
    """Return rules that allow edits of these files. Where a name cannot be quoted, all files of the worktree are
    allowed: what is taken of them is decided afterwards."""
    if any(UNQUOTABLE.search(path) for path in files):
        return (f"Edit(/{TREE}/**)",)
    return tuple(f"Edit(/{TREE}/{path})" for path in files)


def denied_paths(result: Mapping[str, Any], tree: str) -> list[str]:
    """Return the files that it was not allowed to edit, by their paths in the worktree if they are in it."""
    denials = result.get("permission_denials")
    inputs = [each.get("tool_input") for each in denials if isinstance(each, dict)] if isinstance(denials, list) else []
    paths = [each.get("file_path") for each in inputs if isinstance(each, dict)]
    return [path.removeprefix(f"{tree}/") for path in paths if isinstance(path, str)]


CLAUDE = ClaudeAgent(
    name="claude",
    title="Claude Code",
    dialects=frozenset({"anthropic"}),
    program="claude",
    tried_versions=("2.1.197", "2.1.332"),
    author=("Claude", "noreply@anthropic.com"),
)
