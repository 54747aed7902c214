"""Before anything is paid: the repository, what is to be brought into worktrees, and the dry run."""

from collections.abc import Mapping
from pathlib import Path

from orchestra import catalogue
from orchestra.conduct.attempt import extra_arguments
from orchestra.conduct.planning import divide, prd_targets, read_prd
from orchestra.conduct.run import chosen_model
from orchestra.conduct.secrets import Secrets
from orchestra.conduct.survey import by_mode
from orchestra.errors import PlanError
from orchestra.model import Plan, Prd
from orchestra.plan.sizing import FIXED_TOKENS
from orchestra.plan.targets import Targets
from orchestra.prd import parse
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository, clone, open_repository, present
from orchestra.workspace.trees import check_furniture


async def find_repository(settings: Settings) -> Repository:
    """The current directory's, or --repo: a path, or a URL that is cloned into the current directory first."""
    if not settings.repo:
        return await open_repository(Path.cwd())
    if ":" in settings.repo and not present(Path(settings.repo)):
        return await open_repository(await clone(settings.repo, Path.cwd()))
    return await open_repository(Path(settings.repo).absolute())


def check_furnishing(settings: Settings, repository: Repository) -> None:
    extra_arguments(settings.aider_args)
    keys = Secrets.of(settings).values
    check_furniture(repository.root, settings.worktree_copy, settings.worktree_link, keys)


def dry_run(settings: Settings, repository: Repository, entries: Mapping[str, Entry], targets: Targets | None) -> int:
    """The plan and an estimate. Nobody is asked, so what only Gemini could say must be given."""
    model = chosen_model(settings)
    prd = parse(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    if targets is None:
        if not settings.prd:
            raise PlanError("A dry run asks nobody: say which files to change with --files, or give a --prd.")
        targets = prd_targets(prd, by_mode(entries))
    plan = divide(settings, prd, targets, entries, model.context)
    print(plan_text(plan, model, targets))
    return 0


def plan_text(plan: Plan, model: catalogue.Model, targets: Targets) -> str:
    lines = [f"{len(plan.tasks)} task(s), {plan.agents} agent(s) at once, {model.name}", ""]
    for task in plan.tasks:
        lines.append(f"agent{task.id}  about {task.tokens:,} tokens of files")
        lines += [f"  {file.path}{'  (new)' if file.new else ''}" for file in task.files]
        lines += [f"  {path}  (to read only)" for path in task.reads]
    if targets.skipped:
        lines += ["", f"Left out, because Aider cannot edit them: {', '.join(targets.skipped)}"]
    return "\n".join([*lines, "", estimate(plan, model)])


def estimate(plan: Plan, model: catalogue.Model) -> str:
    """From one reply per task that writes a third of its files, to three that write them all."""
    own = sum(task.tokens for task in plan.tasks)
    fixed = FIXED_TOKENS * len(plan.tasks) // 4
    low = (own + fixed, own // 3 + 200 * len(plan.tasks))
    high = (3 * (own + fixed) + 2 * own, own + 1000 * len(plan.tasks))
    tokens = f"{sum(low):,} to {sum(high):,} tokens"
    prices = [catalogue.cost(model, asked, 0, 0, said) for asked, said in (low, high)]
    if prices[0] is None or prices[1] is None:
        return f"Estimate: {tokens}; no price is known for {model.name}."
    return f"Estimate: {tokens}, ${prices[0]:.2f} to ${prices[1]:.2f} (one reply per task to three), without the PRD's."
