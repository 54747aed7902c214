"""`resolve`: what a person decides about a task that failed or waits."""

from pathlib import Path

from orchestra.cli.commands.resume import ask_owner_if_any, find_run_to_resume
from orchestra.cli.commands.steer import parse_task_argument, split_leading_words
from orchestra.cli.start import Story, run_until_done
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


def cmd_resolve(argv: list[str], story: Story) -> int:
    """Have the run's owner carry the decision out, or take the run up for it."""
    if "--help" in argv or "-h" in argv:
        print(RESOLVE_USAGE, end="")
        return 0
    stamp, decision, flags = parse_resolve_args(argv)
    settings, past = find_run_to_resume(stamp, flags)
    settings = settings.for_resume(past.options)
    if answer := ask_owner_if_any(
        settings, past.stamp, "resolve", decision.task, action=decision.action, text=decision.text
    ):
        print(answer)
        return 0
    return run_until_done(story(settings, past=past.with_decision(decision)))


def parse_resolve_args(argv: list[str]) -> tuple[str, Decision, list[str]]:
    """The run, the decision, and what is left: flags of the run."""
    (stamp, task), flags = split_leading_words(argv, RESOLVE_USAGE, 2)
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
    return (
        stamp,
        Decision(parse_task_argument(task), action, read_brief_file(text) if action == "brief" else text),
        flags[:at] + rest,
    )


def read_brief_file(file: str) -> str:
    try:
        text = Path("/dev/stdin" if file == "-" else file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"the brief {file} cannot be read: {reason}.") from None
    if not text.strip():
        raise UsageError(f"the brief {file} is empty.")
    return text
