"""Events of the result: the combination, its delivery, and its handover."""

from collections.abc import Mapping

from orchestra.events.base import Payload, Record, optional_field


class TaskIntegrated(Payload, kind="task_integrated", of_task=True, needs=("commit",)):
    """A task's work became part of the combination, as this commit."""

    commit: str


class TaskExcluded(Payload, kind="task_held", of_task=True, needs=("reason",)):
    """A task's work stays out of the combination."""

    reason: str


class MergeTried(Record, needs=("name",)):
    """A way to keep both edits, why it may be right, and why it was not taken (empty: it was)."""

    name: str
    reason: str
    why_not: str


class ConflictDecided(Payload, kind="conflict_decided", of_task=True, kw_only=True, needs=("files",)):
    """Git could not merge a task's edit of `files` with that of `others`. `taken`: the way that keeps both and was
    proven, and `diff` is what it changed there; empty if the task goes back to its author."""

    files: tuple[str, ...]
    others: tuple[str, ...]
    tried: tuple[MergeTried, ...]
    taken: str
    diff: str


class WorkCombined(Payload, kind="combined", needs=("commit",)):
    """The accepted work was combined. Earlier gates did not check it. `base`: the newer commit that it stands on."""

    commit: str
    base: str = optional_field("")


class TasksBlamed(Payload, kind="blamed"):
    """The combination failed, and a search (of `asked` runs) found the sets of tasks that break it."""

    green: tuple[int, ...]
    guilty: tuple[tuple[int, ...], ...]
    dropped: tuple[int, ...]
    asked: int


class ResultDelivered(Payload, kind="delivered", kw_only=True, needs=("applied", "result")):
    """The result is on the user's branch (`applied`), or on a side branch and why; `take` is the command to get it.

    `moved`: the user's branch has new commits. `withheld`: the result must not be applied. `files`: added and removed
    lines by path.
    """

    applied: bool
    reason: str
    take: str
    moved: bool
    withheld: bool
    branch: str
    side_branch: str
    result: str
    files: Mapping[str, tuple[int, int]]


class PatchWritten(Payload, kind="patch_written", needs=("path",)):
    """The result was written to a patch file of `size` bytes."""

    path: str
    size: int


class ResultBranched(Payload, kind="branched", needs=("branch",)):
    """The result is on the branch that the user named."""

    branch: str
    commit: str


class BranchPushed(Payload, kind="pushed", needs=("branch",)):
    """The branch with the result was pushed."""

    remote: str
    branch: str
    commit: str


class PrOpened(Payload, kind="pr_opened", kw_only=True, needs=("url",)):
    """A pull request for the result is open. `existed`: it was there already."""

    url: str
    number: int | None
    existed: bool
    host: str
    head: str
    base: str
    commit: str


class NotHandedOver(Payload, kind="not_handed_over", needs=("what",)):
    """A patch, branch, push or pull request (`what`) failed. `by_hand` is the command that does it."""

    what: str
    why: str
    by_hand: str
