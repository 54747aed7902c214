"""Plan like a lead: a graph of tasks, by a model or from a file, checked here before it becomes the run's plan."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from orchestra import events
from orchestra.answers import prd as prd_format
from orchestra.conduct.core.asking import ask_as
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.machine import count_machine
from orchestra.conduct.core.models import chosen_model, usable_model
from orchestra.conduct.core.permits import early_permit, is_persons_plan
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.planning.divide import Division, divide, surroundings
from orchestra.conduct.planning.prd import (
    announce,
    make_plan,
    prd_files,
    prd_targets,
    read_prd,
    repository_digest,
    tell_protected,
)
from orchestra.conduct.planning.survey import by_mode, survey
from orchestra.division.coupling import Coupling
from orchestra.division.nearby import WEAK, links
from orchestra.division.split import Split
from orchestra.errors import NeedsApproval, PlanError, ProviderError
from orchestra.model import Basis, Plan, Prd, Task
from orchestra.plan import planner
from orchestra.plan.allowed import Allowed, allowed_part
from orchestra.plan.brief import brief
from orchestra.plan.check import Checked, World, check, targets
from orchestra.plan.draft import PRIORITIES, Draft, Item, above, drafted, phases
from orchestra.plan.roles import known
from orchestra.plan.sizing import Machine, bound
from orchestra.plan.targets import Targets, Tracked
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.workspace.evidence import evidence
from orchestra.workspace.repository import Entry, Repository, present
from orchestra.workspace.tracked import tracked_file

ANSWER_TOKENS = 32_000
MOST_SAID = 10
Entries = Mapping[str, Entry]
T = TypeVar("T")


# --- before the run -------------------------------------------------------------------------------------------------


def with_plan(settings: Settings, root: Path) -> tuple[Settings, Draft | None]:
    """With --plan: the settings that the plan's file stands for, and what is in it."""
    if not settings.plan:
        return settings, None
    path = drafts.place(root, settings.plan)
    draft = drafts.load(path)
    if not draft.goal.strip():
        raise PlanError(f'the plan {settings.plan} has no goal: write one, as in goal = "what is wanted".')
    committed = not is_persons_plan(root, path)
    if committed:
        draft = dataclasses.replace(draft, approved=False)  # whoever can commit may have written the yes
    prd = settings.prd or prd_of_plan(settings.plan, draft.prd, root, committed=committed)
    return settings.with_values(change=draft.goal, prd=prd, use_prd=bool(prd)), draft


def prd_of_plan(plan: str, prd: str, root: Path, *, committed: bool) -> str:
    """The PRD that a plan's file names: a file of the repository, and one that git tracks if it tracks the plan."""
    path = root / prd
    if not prd or not present(path):
        return ""
    inside = path.is_file() and path.resolve().is_relative_to(root.resolve())
    if not inside or (committed and not tracked_file(root, prd)):
        why = "which git does not track here" if inside else "which is no file of this repository"
        raise PlanError(f"the plan {plan} names the PRD {prd!r}, {why}.", hint="Give one with --prd FILE.")
    return str(path)


async def check_plan(settings: Settings, repository: Repository, entries: Entries, draft: Draft) -> Checked:
    """Before anything is started: the draft as it can be carried out. One that cannot be is refused."""
    prd = prd_format.parse(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    seen = await world_of(settings, repository, entries, draft, prd, chosen_model(settings).context)
    checked = await asyncio.to_thread(check, draft, seen)
    if checked.problems:
        raise PlanError(f"the plan {settings.plan} cannot be carried out: {checked.complaint}.")
    return checked


async def world_of(
    settings: Settings, repository: Repository, entries: Entries, draft: Draft, prd: Prd, context: int | None
) -> World:
    """What the draft is checked against; only the files that it names are opened."""
    wanted = {path for item in draft.task for path in (*item.files, *item.reads) if path in entries}
    return about(settings, await survey(repository, entries, wanted), prd, context)


def about(settings: Settings, tracked: Mapping[str, Tracked], prd: Prd, context: int | None) -> World:
    roles = known(settings.roles)
    reading = [name for name, role in roles.items() if role.only_answers]
    return World(tracked, list(roles), reading, [one.id for one in prd.requirements], context)


# --- the plan of a run ----------------------------------------------------------------------------------------------


async def plan_for(run: Run, prd: Prd, given: Targets | None, checked: Checked | None) -> Plan:
    """The plan in the file that was named, the graph that a model makes, or else a division by coupling."""
    context = run.context
    root = context.repository.root
    if checked is not None:
        path = drafts.place(root, context.settings.plan)
    elif context.settings.decompose:
        checked, path = await decompose(run, prd), new_file(run.context)
        drafts.save(path, checked.draft)
    else:
        if not context.settings.approve:
            return await make_plan(run, prd, given)
        path = new_file(run.context)
        checked = await divided(run, prd, given)
        drafts.save(path, checked.draft)
    if context.settings.approve and not checked.draft.approved:
        checked = await ask_for_yes(run, checked, path)
    tell_repairs(run, checked.repairs)
    mine = is_persons_plan(root, path)
    allowed = allow(checked.draft, context.settings, context.entries, by_person=mine)
    if allowed.left_out and not allowed.draft.left:
        written_down(run, checked, path)
        raise NeedsApproval(drafts.name_of(context.repository.root, path))
    tell_protected(
        run, allowed.left_out, f"To have them changed: `plan approve {drafts.name_of(root, path)}` before `execute`."
    )
    plan = await plan_of(
        context.settings, context.repository, context.entries, prd, allowed.draft, context.model.context
    )
    words = mine and context.settings.is_users("change")
    about = {"file": relative(path, root), "repairs": tuple(checked.repairs)}
    announce(run, plan, named=tuple(allowed.named), words=words, **about)
    return plan


def allow(draft: Draft, settings: Settings, entries: Entries, *, by_person: bool) -> Allowed:
    """What of the draft agents may be given. `by_person`: what it says of a person's yes is true."""
    words = settings if by_person else settings.with_values(change="")
    return allowed_part(draft, early_permit(words, entries), by_person)


async def ask_for_yes(run: Run, checked: Checked, path: Path) -> Checked:
    """At a terminal the question is asked there; elsewhere the plan waits in its file."""
    if run.services.people.confirm is None or not await run.services.people.confirm(checked.draft):
        written_down(run, checked, path)
        raise NeedsApproval(drafts.name_of(run.context.repository.root, path))
    draft = dataclasses.replace(checked.draft, approved=True)
    drafts.save(path, draft)
    return dataclasses.replace(checked, draft=draft)


def written_down(run: Run, checked: Checked, path: Path) -> None:
    """The run's log tells where the plan is that it has made."""
    tell_repairs(run, checked.repairs)
    where = relative(path, run.context.repository.root)
    run.emit(events.Drafted(where, len(checked.draft.left), tuple(checked.repairs)))


async def divided(run: Run, prd: Prd, given: Targets | None) -> Checked:
    """Without a model: by what belongs together."""
    context = run.context
    tracked = await survey(context.repository, context.entries, prd_files(prd, context.entries))
    targets = given or prd_targets(prd, tracked, early_permit(context.settings, context.entries))
    tell_protected(run, targets.protected)
    plan = await divide(context.settings, context.repository, context.entries, prd, targets, context.model.context)
    draft = drafted(plan, context.settings.change, run.state.report.prd_path, targets.named)
    return await checked_here(run.context, prd, draft)


async def checked_here(context: Context, prd: Prd, draft: Draft) -> Checked:
    seen = await world_of(context.settings, context.repository, context.entries, draft, prd, context.model.context)
    checked = await asyncio.to_thread(check, draft, seen)
    if checked.problems:
        raise ProviderError(f"The plan cannot be carried out: {checked.complaint}.")
    return checked


def new_file(context: Context) -> Path:
    return drafts.new_place(context.repository.root, context.settings.change)


def relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def tell_repairs(run: Run, repairs: Sequence[str]) -> None:
    for repair in repairs[:MOST_SAID]:
        run.emit(events.Note(f"The plan was put right: {repair}."))
    if len(repairs) > MOST_SAID:
        run.emit(events.Note(f"The plan was put right in {len(repairs) - MOST_SAID} more places."))


# --- asking a model -------------------------------------------------------------------------------------------------


def lead_model(settings: Settings) -> catalogue.Model:
    return usable_model(settings, settings.gemini_name)


async def decompose(run: Run, prd: Prd, *, single: bool = False) -> Checked:
    """A model's graph of tasks. What cannot be put right in it is told to the model once, and then ends the run."""
    context = run.context
    seen = about(context.settings, by_mode(context.entries), prd, context.model.context)
    goal, path = context.settings.change, run.state.report.prd_path
    question = planner.question(
        goal, prd, await repository_digest(run.context), trades(context.settings), single=single
    )

    def complaint(answer: planner.Answer) -> str:
        if single and len(answer.tasks) > 1:
            return "there must be exactly one task"
        return check(planner.draft_of(answer, goal, path), seen).complaint

    answer = await ask_lead(run, question, planner.Answer, complaint)
    return await checked_here(run.context, prd, planner.draft_of(answer, goal, path))


async def ask_lead(run: Run, question: str, kind: type[T], complaint: Callable[[T], str]) -> T:
    model = lead_model(run.context.settings)
    return await ask_as(
        planner.NAME, run, model, question, kind, system=planner.ROLE, check=complaint, expected=ANSWER_TOKENS
    )


def trades(settings: Settings) -> dict[str, str]:
    """What each role is, in a line."""
    return {name: first_line(role.prompt) for name, role in known(settings.roles).items()}


def first_line(text: str) -> str:
    return next((line.lstrip("# ").strip() for line in text.splitlines() if line.strip()), "")


# --- from the draft to the plan -------------------------------------------------------------------------------------


async def plan_of(
    settings: Settings, repository: Repository, entries: Entries, prd: Prd, draft: Draft, context: int | None
) -> Plan:
    """The tasks that are still to be done, with their briefs, and how many agents they can keep busy."""
    items, tracked = draft.left, by_mode(entries)
    shares = tuple(targets(item, tracked) for item in items)
    paths = sorted({file.path for share in shares for file in share})
    found = await evidence(repository.git, repository.base, entries, paths)
    coupling = await asyncio.to_thread(Coupling, paths, found)
    graph = await asyncio.to_thread(coupling.graph)
    agents = agents_for(settings, items, shares)
    division = Division(Split(shares, agents, None, 0), coupling, graph, found, ())
    reads, nearby = await surroundings(repository, entries, division)
    numbers = {item.id: n for n, item in enumerate(items, start=1)}
    bare = [
        dataclasses.replace(task, files=share, reads=tuple(dict.fromkeys((*task.reads, *read))))
        for task, share, read in zip((task_of(item, numbers) for item in items), shares, reads, strict=True)
    ]
    tasks = [
        dataclasses.replace(task, brief=brief(draft.goal, prd, task, bare, near, part=with_answers(item, draft)))
        for task, near, item in zip(bare, nearby, items, strict=True)
    ]
    together, apart = links(coupling, graph, shares)
    beside = [link for link in apart if parallel(items, link.one, link.other)]
    notes = [
        f"{link.one} and {link.other} belong together ({link.why}), and two tasks change them at the same time: "
        "consider merging these tasks, or let one need the other."
        for link in beside
        if link.why not in WEAK
    ]
    return Plan(tuple(tasks), agents, Basis(None, 0, tuple(map(tuple, together)), tuple(beside), tuple(notes)))


def task_of(item: Item, numbers: Mapping[str, int]) -> Task:
    return Task(
        id=numbers[item.id],
        title=item.title,
        files=(),
        requirements=item.requirements,
        reads=item.reads,
        needs=tuple(numbers[need] for need in item.needs if need in numbers),
        role=item.role,
        priority=PRIORITIES[item.priority],
        risk=item.risk,
        acceptance=item.acceptance,
        name=item.id,
    )


def with_answers(item: Item, draft: Draft) -> str:
    """What a task is to do, with what those found out that it needs and that an earlier run has done."""
    found = [other for need in item.needs if (other := draft.item(need)) and other.said]
    return "\n\n".join([item.brief, *(f"What was found out before ({one.title}):\n{one.said}" for one in found)])


def agents_for(settings: Settings, items: Sequence[Item], shares: Sequence[Sequence[object]]) -> int:
    """As many as can be at work at once, and as the machine bears."""
    widest = max((len(phase) for phase in phases(items)), default=1)
    most = bound([1] * len(shares), Machine(*count_machine()), at_most=settings.max_agents).agents
    return max(1, min(settings.agents or min(widest, most), len(items)))


def parallel(items: Sequence[Item], one: str, other: str) -> bool:
    """Whether no task that changes the one file comes before one that changes the other."""
    before = above(items)
    first = [item.id for item in items if one in item.files]
    second = [item.id for item in items if other in item.files]
    return not any(a == b or a in before[b] or b in before[a] for a in first for b in second)
