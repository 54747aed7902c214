"""Names of branches and commit messages of a run."""

from orchestra.conduct.core.context import Context
from orchestra.model import Task


def commit_message(context: Context, task: Task, *, by_agent: bool = True) -> str:
    about = task.title if task.name else context.settings.change
    first = next((line.strip() for line in about.splitlines() if line.strip()), "Change")
    first = context.secrets.scrub(first)
    subject = first if len(first) <= 72 else first[:71] + "…"
    files = "\n".join(f"- {path}" for path in task.paths[:50])
    trailers = [
        f"Task: {task.id}",
        f"Run: {context.stamp}",
        *([context.agent_of(task).trailer(context.model_of(task).name)] if by_agent else []),
    ]
    return f"{subject}\n\n{files}\n\n" + "\n".join(trailers) + "\n"


def candidate_branch(context: Context, task: int, number: int) -> str:
    return context.branch(f"task{task}-{number}")
