"""Which shard this job is, by the variables of its CI system or scheduler."""

from collections.abc import Mapping
from typing import NamedTuple

from orchestra.errors import UsageError
from orchestra.plan.shards import ShardNumber


class JobVariables(NamedTuple):
    """The variables with the number of a job and how many there are, and the number of the first one. `total` may be
    empty: then the plan tells it. `first` may be a variable too."""

    system: str
    number: str
    total: str
    first: str | int


SYSTEMS = (
    JobVariables("GitLab", "CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    JobVariables("CircleCI", "CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    JobVariables("Buildkite", "BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0),
    JobVariables("Slurm", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    JobVariables("Kubernetes", "JOB_COMPLETION_INDEX", "", 0),
)
STEP = {"Slurm": "SLURM_ARRAY_TASK_STEP"}  # array=1-16:2 has every second number


def detect_shard_number(env: Mapping[str, str], of: int) -> ShardNumber:
    """Return the number of this job. `of`: how many shards the plan has."""
    for system in SYSTEMS:
        if env.get(system.number, "").strip():
            return number_of_job(system, env, of)
    known = ", ".join(f"{system.number} ({system.system})" for system in SYSTEMS)
    hint = "Give --shard I/N; in a matrix of GitHub: --shard ${{ matrix.shard }}/${{ matrix.of }}"
    raise UsageError(f"--shard auto finds no number of this job: none of {known} is set.", hint=hint)


def number_of_job(system: JobVariables, env: Mapping[str, str], of: int) -> ShardNumber:
    index = read_number(env, system.number)
    first = read_number(env, system.first) if isinstance(system.first, str) else system.first
    step = read_number(env, STEP[system.system]) if env.get(STEP.get(system.system, "")) else 1
    total = read_number(env, system.total) if system.total and env.get(system.total) else of
    number, rest = divmod(index - first, max(step, 1))
    if rest or not 0 <= number < total:
        raise UsageError(f"--shard auto: {system.number} is {index}, which is none of {total} jobs from {first} on.")
    return ShardNumber(number + 1, total)


def read_number(env: Mapping[str, str], name: str) -> int:
    value = env.get(name, "").strip()
    if not value.isdecimal():
        raise UsageError(f"--shard auto: {name} is {value!r}, which is no number.")
    return int(value)
