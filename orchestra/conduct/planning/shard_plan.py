"""One shard of a plan: its tasks, from the plan's base, within its share of the money and the rate."""

import dataclasses

from orchestra.errors import PlanError, RepositoryError
from orchestra.plan.draft import Draft, digest_draft
from orchestra.plan.shards import ShardNumber, parse_shard_number
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository


def check_cut(name: str, draft: Draft) -> None:
    """Refuse a plan that is not cut into shards, or has changed since."""
    again = f"Cut it: aider-orchestrator plan shard {name} --into N"
    if not draft.shards:
        raise PlanError(f"the plan {name} is not cut into shards.", hint=again)
    if draft.shards.digest != digest_draft(draft):
        raise PlanError(f"the plan {name} has changed since it was cut into shards.", hint=again)


def find_shard(settings: Settings, draft: Draft | None) -> ShardNumber:
    """Return which shard the settings name."""
    if draft is None:
        raise PlanError("--shard is for a plan: aider-orchestrator execute PLAN --shard I/N.")
    check_cut(settings.plan, draft)
    shard = parse_shard_number(settings.shard)
    if shard.of != len(draft.shards.shard):
        hint = f"Cut it again: aider-orchestrator plan shard {settings.plan} --into {shard.of}"
        many = len(draft.shards.shard)
        raise PlanError(f"the plan {settings.plan} is cut into {many} shards, not {shard.of}.", hint=hint)
    return shard


def limit_to_shard(settings: Settings, draft: Draft, shard: ShardNumber) -> Settings:
    """Return the settings with the shard's share of money and rate, of which less may be given, and without handover,
    which `combine` does."""
    share = draft.shards.shard[shard.number - 1]
    limits = {"budget": share.budget, "rpm": share.rpm}
    given = {name: getattr(settings, name) for name in limits}
    settings = settings.with_values(branch="", push=False, pr=False, patch="", commit_prd=False)
    return settings.with_values(**{name: min(filter(None, (limits[name], given[name])), default=0) for name in limits})


async def start_at_base(repository: Repository, draft: Draft) -> Repository:
    """Return the repository with the base that the plan was cut at."""
    base = draft.shards.base
    if not await repository.git.ok("cat-file", "-e", f"{base}^{{commit}}"):
        hint = f"Fetch it: git fetch origin {base}"
        raise RepositoryError(f"The plan was cut at commit {base[:12]}, which is not in this clone.", hint=hint)
    return dataclasses.replace(repository, base=base, unborn=False)
