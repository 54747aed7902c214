"""A plan that people read and edit before it runs: tasks by name, with their dependencies."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestra.answers.prd_format import change_slug
from orchestra.answers.shape import described_field
from orchestra.model import Plan
from orchestra.plan.shards import NOT_CUT, Shards, digest_shards
from orchestra.plan.task_order import dependency_depths

PRIORITIES = {"high": 1, "normal": 0, "low": -1}
RISKS = ("low", "normal", "high")


@dataclass(frozen=True)
class AnsweredTask:
    """One task, as a model is asked for it."""

    id: str = described_field("a short name of its own, such as user-model")
    title: str = described_field("what it achieves, in one line")
    brief: str = described_field("everything that whoever does it must know and do")
    files: tuple[str, ...] = described_field(
        "the paths of the files that it changes or creates, and no others", default=()
    )
    new: tuple[str, ...] = described_field(
        "those of its files that do not exist yet and that no other task creates", default=()
    )
    needs: tuple[str, ...] = described_field("the ids of the tasks whose result it builds on", default=())
    role: str = described_field("who should do it", default="")
    priority: str = described_field("high, normal or low: which of those that may begin comes first", default="normal")
    risk: str = described_field("low, normal or high: how likely it is to break something", default="normal")
    acceptance: tuple[str, ...] = described_field(
        "what must hold when it is done, each one testable sentence", default=()
    )
    requirements: tuple[str, ...] = described_field("the ids of the requirements that it serves", default=())
    reads: tuple[str, ...] = described_field("files that it should see but not change", default=())


@dataclass(frozen=True)
class PlanItem(AnsweredTask):
    """One task of a draft."""

    proposed: bool = False  # by an agent, and not approved yet
    named: tuple[str, ...] = ()  # files that a person named one by one
    done: str = ""  # the run that completed it
    said: str = ""  # the reply of a task that only answers
    kind: str = ""  # of its agent: aider, claude, codex, exec; empty: as its role or --agent-kind says


@dataclass(frozen=True)
class Draft:
    """A plan's file: the goal, the PRD behind it, the tasks in reading order, and the shards, if it was cut.

    `shared`: files that several tasks may change at once; the gates must prove each merge of their edits.
    """

    goal: str
    prd: str = ""
    approved: bool = False
    shared: tuple[str, ...] = ()
    task: tuple[PlanItem, ...] = ()
    shards: Shards = NOT_CUT

    @property
    def ids(self) -> list[str]:
        return [item.id for item in self.task]

    @property
    def unfinished(self) -> tuple[PlanItem, ...]:
        """The tasks that are still to be done."""
        return tuple(item for item in self.task if not (item.done or item.proposed))

    def find_item(self, id: str) -> PlanItem | None:
        return next((item for item in self.task if item.id == id), None)

    def with_items(self, items: Iterable[PlanItem]) -> "Draft":
        return dataclasses.replace(self, task=tuple(items))

    def with_item(self, item: PlanItem) -> "Draft":
        """Return the draft with this task in place of the one with its id."""
        return self.with_items(item if old.id == item.id else old for old in self.task)


def sharded_draft(draft: Draft) -> Draft:
    """Return the draft as it was when it was cut: the tasks of its shards are not done, and others only if they were.
    The numbers of the tasks in each shard's run follow from their order here."""
    wanted = set(draft.shards.task_ids)
    kept = [item for item in draft.task if item.id in wanted or item.done]
    return draft.with_items(dataclasses.replace(item, done="", said="") if item.id in wanted else item for item in kept)


def digest_draft(draft: Draft) -> str:
    """Return the digest of the cut plan. An approval does not change it, nor does what was done since."""
    tasks = [dataclasses.asdict(item) for item in sharded_draft(draft).task]
    tasks += [{"shared": draft.shared}] if draft.shared else []
    return digest_shards(tasks, draft.goal, draft.prd, draft.shards)


def items_from_answer(tasks: Iterable[AnsweredTask]) -> tuple[PlanItem, ...]:
    names = [field.name for field in dataclasses.fields(AnsweredTask)]
    return tuple(PlanItem(**{name: getattr(task, name) for name in names}) for task in tasks)


def needs_by_id(items: Iterable[PlanItem]) -> dict[str, tuple[str, ...]]:
    """Return the existing needs of each task: a completed one is part of the base."""
    items = list(items)
    known = {item.id for item in items}
    return {item.id: tuple(need for need in item.needs if need in known) for item in items}


def group_phases(items: Sequence[PlanItem]) -> list[list[PlanItem]]:
    """Group tasks by phase: those that may begin at once, those that need only them, and so on."""
    depth = dependency_depths(needs_by_id(items))
    return [[item for item in items if depth[item.id] == n] for n in sorted(set(depth.values()))]


def all_needs_by_id(items: Iterable[PlanItem]) -> dict[str, set[str]]:
    """Return all direct and indirect needs of each task; empty for tasks of a cycle."""
    direct = needs_by_id(items)
    found: dict[str, set[str]] = {}
    depth = dependency_depths(direct)
    for id in sorted(direct, key=lambda id: depth[id]):
        found[id] = set(direct[id]).union(*(found.get(need, set()) for need in direct[id]))
    return found


def critical_path(items: Sequence[PlanItem], weights: Mapping[str, float]) -> list[str]:
    """Return the longest chain of dependent tasks, which more agents cannot shorten."""
    direct = needs_by_id(items)
    depth = dependency_depths(direct)
    best: dict[str, tuple[float, list[str]]] = {}
    for id in sorted(direct, key=lambda id: depth[id]):
        longest = max((best[need] for need in direct[id] if need in best), default=(0.0, []))
        best[id] = (longest[0] + weights.get(id, 1.0), [*longest[1], id])
    return max(best.values(), default=(0.0, []))[1]


def draft_from_plan(plan: Plan, goal: str, prd: str, named: Collection[str] = ()) -> Draft:
    """Make a draft from a plan by coupling, for people to edit."""
    items = [
        PlanItem(
            id=f"part-{task.id}",
            title=task.title,
            brief="Do that part of the goal which falls into these files.",
            files=task.paths,
            new=tuple(file.path for file in task.files if file.new),
            requirements=task.requirements,
            reads=task.reads,
            named=tuple(path for path in task.paths if path in named),
        )
        for task in plan.tasks
    ]
    return Draft(goal, prd, task=tuple(items))


def unused_name(wanted: str, taken: Iterable[str]) -> str:
    """Return an unused name: user-model, user-model-2."""
    base, used = change_slug(wanted), set(taken)
    return next(name for n in range(1, len(used) + 2) if (name := base if n == 1 else f"{base}-{n}") not in used)
