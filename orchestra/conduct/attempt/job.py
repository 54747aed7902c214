"""What the seat is told: how Aider is called for a task, and what it finds in its environment."""

import json
from pathlib import Path

from orchestra.conduct.core.context import Run

from orchestra.agents.aider_args import parse_aider_args
from orchestra.agents.seat import Job, seat_environment
from orchestra.gateway.ledger import Pass
from orchestra.model import Task
from orchestra.providers import catalogue
from orchestra.workspace.git import CONFIG
from orchestra.workspace.trees import Tree

EARLIER = "# Earlier attempts at this task did not succeed"
AIDER_FLAGS = (
    *("--yes-always", "--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--no-analytics"),
    *("--no-gitignore", "--no-detect-urls", "--no-suggest-shell-commands", "--no-pretty", "--no-stream"),
    *("--no-fancy-input", "--no-auto-lint", "--no-auto-commits", "--no-dirty-commits", "--skip-sanity-check-repo"),
    # The attempt's clock ends a request, and the gateway alone repeats one. Aider must never lose its patience before.
    *("--map-tokens", "0", "--timeout", "86400"),
)


def make_job(run: Run, task: Task, tree: Tree, ticket: Pass, lesson: str = "") -> Job:
    folder = tree.path.parent
    home = folder / "home"
    home.mkdir(exist_ok=True)
    model = run.context.model_of(task)
    provider = model.provider
    door = {
        provider.agent_key_var: ticket.token,
        provider.agent_base_var: run.services.gateway.url(ticket, provider.name),
    }
    env = seat_environment(home) | git_care() | door
    weak = catalogue.weak_model(model)
    entry = catalogue.settings_entry(model, weak.aider_name, task.tokens)
    brief = f"{task.brief}\n\n{EARLIER}\n\n{lesson}" if lesson else task.brief
    name = ticket.token[:8] + folder.name
    return Job(name, tree.path, folder, arguments(run, task, tree, folder), brief, env, entry)


def git_care() -> dict[str, str]:
    """Aider asks git too, and must not set off what our own git leaves alone: hooks, monitors."""
    numbered = list(enumerate(CONFIG.items()))
    names = {f"GIT_CONFIG_KEY_{n}": name for n, (name, _) in numbered}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in numbered}
    return {"GIT_CONFIG_COUNT": str(len(numbered))} | names | values


def arguments(run: Run, task: Task, tree: Tree, folder: Path) -> tuple[str, ...]:
    """Files are absolute, so that a name that begins with a dash is no option."""
    model, role = run.context.model_of(task), run.context.role(task)
    weak = catalogue.weak_model(model)
    metadata = folder / "model-metadata.json"
    metadata.write_text(
        json.dumps({m.aider_name: catalogue.metadata_entry(m) for m in (model, weak)}), encoding="utf-8"
    )
    present = [tree.path / file.path for file in task.files if not file.new or (tree.path / file.path).is_file()]
    own = [word for path in present for word in ("--file", str(path))]
    along = [word for path in task.reads for word in ("--read", str(tree.path / path))]
    # Without a name for each of these Aider would write into the worktree.
    files = {
        "--chat-history-file": "chat.md",
        "--input-history-file": "input",
        "--llm-history-file": "llm",
        "--model-metadata-file": metadata.name,
    }
    places = [word for option, name in files.items() for word in (option, str(folder / name))]
    models = ("--model", model.aider_name, "--weak-model", weak.aider_name)
    # After the user's own options, since it is said of this role alone.
    ways = {"--edit-format": role.edit_format, "--chat-mode": role.chat_mode}
    way = [word for option, value in ways.items() if value for word in (option, value)]
    return (*AIDER_FLAGS, *models, *places, *parse_aider_args(run.context.settings.aider_args), *way, *own, *along)
