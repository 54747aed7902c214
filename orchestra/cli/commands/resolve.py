"""The words of `resolve`: what a person decides about a task that failed or waits."""

from pathlib import Path

from orchestra.cli.commands.steer import leading, number_of
from orchestra.errors import UsageError
from orchestra.model import Decision

RESOLVE_USAGE = """usage: aider-orchestrator resolve RUN TASK DECISION [options of the run]

Decide about a task that waits for a person, or has failed. A run that is under way carries it out; one that has ended
is taken up for it. DECISION is one of

  --retry [HINT]      have it tried again; the agent is told the hint
  --edit-brief FILE   have it tried again with what the file says (- for stdin) in place of its brief
  --abandon           give it up
  --spawn TEXT        give it up, and have another task do TEXT with the same files
  --take              do it yourself in a worktree; a second time, when you are done: take that for the task's work
"""
ACTIONS = {"--retry": "retry", "--edit-brief": "brief", "--abandon": "abandon", "--spawn": "spawn", "--take": "take"}
WANTED = {"brief": "a file", "spawn": "a text"}


def read(argv: list[str]) -> tuple[str, Decision, list[str]]:
    """The run, the decision, and what is left: flags of the run."""
    (stamp, task), flags = leading(argv, RESOLVE_USAGE, 2)
    given = [
        (n, word, joined)
        for n, flag in enumerate(flags)
        for word, _, joined in [flag.partition("=")]
        if word in ACTIONS
    ]
    if len(given) != 1:
        raise UsageError(f"say one thing to do with task {task}: {', '.join(ACTIONS)}.")
    ((at, word, text),) = given
    action, rest = ACTIONS[word], flags[at + 1 :]
    if not text and action not in ("abandon", "take") and rest and not rest[0].startswith("--"):
        text, *rest = rest
    if action in WANTED and not text:
        raise UsageError(f"{word} wants {WANTED[action]}.")
    return stamp, Decision(number_of(task), action, content(text) if action == "brief" else text), flags[:at] + rest


def content(file: str) -> str:
    try:
        text = Path("/dev/stdin" if file == "-" else file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"the brief {file} cannot be read: {reason}.") from None
    if not text.strip():
        raise UsageError(f"the brief {file} is empty.")
    return text
