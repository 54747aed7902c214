"""Make a graph of tasks, by a model or from a file, and check it before it becomes the run's plan."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from orchestra import events
from orchestra.answers import prd_format
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.machine import measure_machine
from orchestra.conduct.core.model_questions import ask_under_role
from orchestra.conduct.core.models import chosen_model, usable_model
from orchestra.conduct.core.permits import is_users_plan, permit_from_settings
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.planning.divide import Division, find_context_of_shares, plan_by_division
from orchestra.conduct.planning.prd import (
    digest_repository,
    emit_plan_made,
    note_protected,
    plan_without_model,
    prd_files,
    prd_targets,
    read_prd,
)
from orchestra.conduct.planning.survey import classify_by_mode, survey_files
from orchestra.division.coupling import WEAK, Coupling, find_links
from orchestra.division.shares import DividedFiles
from orchestra.errors import NeedsApproval, PlanError, ProviderError
from orchestra.model import DivisionBasis, Plan, Prd, Task
from orchestra.plan import planner
from orchestra.plan.brief import make_brief
from orchestra.plan.check import AllowedDraft, CheckedDraft, PlanContext, check_draft, item_targets, restrict_draft
from orchestra.plan.draft import PRIORITIES, Draft, PlanItem, all_needs_by_id, draft_from_plan, group_phases
from orchestra.plan.roles import known_roles
from orchestra.plan.sizing import Machine, bound_agents
from orchestra.plan.targets import Targets, TrackedFile
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.workspace.evidence import gather_evidence
from orchestra.workspace.repository import Entry, Repository, path_exists
from orchestra.workspace.tracked import is_tracked_regular

ANSWER_TOKENS = 32_000
MOST_SAID = 10
Entries = Mapping[str, Entry]
T = TypeVar("T")


# --- before the run -------------------------------------------------------------------------------------------------


def load_plan_settings(settings: Settings, root: Path) -> tuple[Settings, Draft | None]:
    """Load the settings that the file of --plan stands for, and its content."""
    if not settings.plan:
        return settings, None
    path = drafts.find_plan_file(root, settings.plan)
    draft = drafts.load_draft(path)
    if not draft.goal.strip():
        raise PlanError(f'the plan {settings.plan} has no goal: write one: goal = "what is wanted".')
    committed = not is_users_plan(root, path)
    if committed:
        draft = dataclasses.replace(draft, approved=False)  # whoever can commit may have written the approval
    prd = settings.prd or prd_of_plan(settings.plan, draft.prd, root, committed=committed)
    return settings.with_values(change=draft.goal, prd=prd, use_prd=bool(prd)), draft


def prd_of_plan(plan: str, prd: str, root: Path, *, committed: bool) -> str:
    """Read the PRD that a plan's file names. It must be in the repository, and tracked if the plan is."""
    path = root / prd
    if not prd or not path_exists(path):
        return ""
    inside = path.is_file() and path.resolve().is_relative_to(root.resolve())
    if not inside or (committed and not is_tracked_regular(root, prd)):
        why = "which git does not track here" if inside else "which is no file of this repository"
        raise PlanError(f"the plan {plan} names the PRD {prd!r}, {why}.", hint="Give one with --prd FILE.")
    return str(path)


async def check_plan(settings: Settings, repository: Repository, entries: Entries, draft: Draft) -> CheckedDraft:
    """Check a draft before anything starts. One that cannot be carried out is refused."""
    prd = prd_format.parse_prd(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    seen = await survey_world(settings, repository, entries, draft, prd, chosen_model(settings).context)
    checked = await asyncio.to_thread(check_draft, draft, seen)
    if checked.problems:
        raise PlanError(f"the plan {settings.plan} cannot be carried out: {checked.problem_text}.")
    return checked


async def survey_world(
    settings: Settings, repository: Repository, entries: Entries, draft: Draft, prd: Prd, context: int | None
) -> PlanContext:
    """Survey what the draft is checked against. Only the files that it names are opened."""
    wanted = {path for item in draft.task for path in (*item.files, *item.reads) if path in entries}
    return make_world(settings, await survey_files(repository, entries, wanted), prd, context)


def make_world(settings: Settings, tracked: Mapping[str, TrackedFile], prd: Prd, context: int | None) -> PlanContext:
    roles = known_roles(settings.roles)
    reading = [name for name, role in roles.items() if role.only_answers]
    return PlanContext(tracked, list(roles), reading, [one.id for one in prd.requirements], context)


# --- the plan of a run ----------------------------------------------------------------------------------------------


async def obtain_plan(run: Run, prd: Prd, given: Targets | None, checked: CheckedDraft | None) -> Plan:
    """Obtain the plan: from the named file, from a model, or else by coupling."""
    context = run.context
    root = context.repository.root
    if checked is not None:
        path = drafts.find_plan_file(root, context.settings.plan)
    elif context.settings.decompose:
        checked, path = await decompose_change(run, prd), path_for_new_plan(run.context)
        drafts.save_draft(path, checked.draft)
    else:
        if not context.settings.approve:
            return await plan_without_model(run, prd, given)
        path = path_for_new_plan(run.context)
        checked = await draft_by_division(run, prd, given)
        drafts.save_draft(path, checked.draft)
    if context.settings.approve and not checked.draft.approved:
        checked = await ask_for_approval(run, checked, path)
    note_repairs(run, checked.repairs)
    mine = is_users_plan(root, path)
    allowed = allow_draft(checked.draft, context.settings, context.entries, by_person=mine)
    if allowed.left_out and not allowed.draft.unfinished:
        emit_drafted(run, checked, path)
        raise NeedsApproval(drafts.command_name_of_plan(context.repository.root, path))
    note_protected(
        run,
        allowed.left_out,
        f"To have them changed: `plan approve {drafts.command_name_of_plan(root, path)}` before `execute`.",
    )
    plan = await plan_from_draft(
        context.settings, context.repository, context.entries, prd, allowed.draft, context.model.context
    )
    words = mine and context.settings.is_set_by_user("change")
    about = {"file": relative_to_root(path, root), "repairs": tuple(checked.repairs)}
    emit_plan_made(run, plan, named=tuple(allowed.named), words=words, **about)
    return plan


def allow_draft(draft: Draft, settings: Settings, entries: Entries, *, by_person: bool) -> AllowedDraft:
    """Return the draft that agents may be given. `by_person`: its approvals were given by a person here."""
    words = settings if by_person else settings.with_values(change="")
    return restrict_draft(draft, permit_from_settings(words, entries), by_person)


async def ask_for_approval(run: Run, checked: CheckedDraft, path: Path) -> CheckedDraft:
    """Ask for approval at the terminal. Without one, the plan waits in its file."""
    if run.services.prompts.confirm_plan is None or not await run.services.prompts.confirm_plan(checked.draft):
        emit_drafted(run, checked, path)
        raise NeedsApproval(drafts.command_name_of_plan(run.context.repository.root, path))
    draft = dataclasses.replace(checked.draft, approved=True)
    drafts.save_draft(path, draft)
    return dataclasses.replace(checked, draft=draft)


def emit_drafted(run: Run, checked: CheckedDraft, path: Path) -> None:
    """Emit where the plan's file is."""
    note_repairs(run, checked.repairs)
    where = relative_to_root(path, run.context.repository.root)
    run.emit(events.PlanDrafted(where, len(checked.draft.unfinished), tuple(checked.repairs)))


async def draft_by_division(run: Run, prd: Prd, given: Targets | None) -> CheckedDraft:
    """Make a draft without a model, by coupling."""
    context = run.context
    tracked = await survey_files(context.repository, context.entries, prd_files(prd, context.entries))
    targets = given or prd_targets(prd, tracked, permit_from_settings(context.settings, context.entries))
    note_protected(run, targets.protected)
    plan = await plan_by_division(
        context.settings, context.repository, context.entries, prd, targets, context.model.context
    )
    draft = draft_from_plan(plan, context.settings.change, run.state.report.prd_path, targets.named)
    return await check_new_draft(run.context, prd, draft)


async def check_new_draft(context: Context, prd: Prd, draft: Draft) -> CheckedDraft:
    seen = await survey_world(context.settings, context.repository, context.entries, draft, prd, context.model.context)
    checked = await asyncio.to_thread(check_draft, draft, seen)
    if checked.problems:
        raise ProviderError(f"The plan cannot be carried out: {checked.problem_text}.")
    return checked


def path_for_new_plan(context: Context) -> Path:
    return drafts.new_plan_path(context.repository.root, context.settings.change)


def relative_to_root(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def note_repairs(run: Run, repairs: Sequence[str]) -> None:
    for repair in repairs[:MOST_SAID]:
        run.emit(events.Note(f"The plan was corrected: {repair}."))
    if len(repairs) > MOST_SAID:
        run.emit(events.Note(f"The plan was corrected in {len(repairs) - MOST_SAID} more places."))


# --- asking a model -------------------------------------------------------------------------------------------------


def lead_model(settings: Settings) -> catalogue.Model:
    return usable_model(settings, settings.gemini_name)


async def decompose_change(run: Run, prd: Prd, *, single: bool = False) -> CheckedDraft:
    """Ask a model for a graph of tasks.

    An error that cannot be corrected here is told to the model once; a second one ends the run.
    """
    context = run.context
    seen = make_world(context.settings, classify_by_mode(context.entries), prd, context.model.context)
    goal, path = context.settings.change, run.state.report.prd_path
    question = planner.planner_question(
        goal, prd, await digest_repository(run.context), role_summaries(context.settings), single=single
    )

    def find_complaint(answer: planner.PlanAnswer) -> str:
        if single and len(answer.tasks) > 1:
            return "there must be exactly one task"
        return check_draft(planner.draft_from_answer(answer, goal, path), seen).problem_text

    answer = await ask_lead(run, question, planner.PlanAnswer, find_complaint)
    return await check_new_draft(run.context, prd, planner.draft_from_answer(answer, goal, path))


async def ask_lead(run: Run, question: str, kind: type[T], complaint: Callable[[T], str]) -> T:
    model = lead_model(run.context.settings)
    return await ask_under_role(
        planner.NAME, run, model, question, kind, system=planner.ROLE, check=complaint, expected=ANSWER_TOKENS
    )


def role_summaries(settings: Settings) -> dict[str, str]:
    """Describe each role in one line."""
    return {name: first_prompt_line(role.prompt) for name, role in known_roles(settings.roles).items()}


def first_prompt_line(text: str) -> str:
    return next((line.lstrip("# ").strip() for line in text.splitlines() if line.strip()), "")


# --- from the draft to the plan -------------------------------------------------------------------------------------


async def plan_from_draft(
    settings: Settings, repository: Repository, entries: Entries, prd: Prd, draft: Draft, context: int | None
) -> Plan:
    """Make the plan of the tasks that are left, with their briefs and the number of agents that can be busy."""
    items, tracked = draft.unfinished, classify_by_mode(entries)
    shares = tuple(item_targets(item, tracked) for item in items)
    paths = sorted({file.path for share in shares for file in share})
    found = await gather_evidence(repository.git, repository.base, entries, paths)
    coupling = await asyncio.to_thread(Coupling, paths, found)
    graph = await asyncio.to_thread(coupling.build_graph)
    agents = count_agents(settings, items, shares)
    division = Division(DividedFiles(shares, agents, None, 0), coupling, graph, found, ())
    reads, nearby = await find_context_of_shares(repository, entries, division)
    numbers = {item.id: n for n, item in enumerate(items, start=1)}
    bare = [
        dataclasses.replace(task, files=share, reads=tuple(dict.fromkeys((*task.reads, *read))))
        for task, share, read in zip((task_from_item(item, numbers) for item in items), shares, reads, strict=True)
    ]
    tasks = [
        dataclasses.replace(
            task, brief=make_brief(draft.goal, prd, task, bare, near, part=brief_with_answers(item, draft))
        )
        for task, near, item in zip(bare, nearby, items, strict=True)
    ]
    together, apart = find_links(coupling, graph, shares)
    beside = [link for link in apart if can_overlap(items, link.one, link.other)]
    notes = [
        f"{link.one} and {link.other} belong together ({link.why}), and two tasks change them at the same time: "
        "consider merging these tasks, or let one need the other."
        for link in beside
        if link.why not in WEAK
    ]
    return Plan(tuple(tasks), agents, DivisionBasis(None, 0, tuple(map(tuple, together)), tuple(beside), tuple(notes)))


def task_from_item(item: PlanItem, numbers: Mapping[str, int]) -> Task:
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


def brief_with_answers(item: PlanItem, draft: Draft) -> str:
    """Build a task's brief, with the answers of tasks that it needs and that an earlier run completed."""
    found = [other for need in item.needs if (other := draft.find_item(need)) and other.said]
    return "\n\n".join([item.brief, *(f"What was found out before ({one.title}):\n{one.said}" for one in found)])


def count_agents(settings: Settings, items: Sequence[PlanItem], shares: Sequence[Sequence[object]]) -> int:
    """Count the agents that can work at once, as far as the machine allows."""
    widest = max((len(phase) for phase in group_phases(items)), default=1)
    most = bound_agents([1] * len(shares), Machine(*measure_machine()), at_most=settings.max_agents).agents
    return max(1, min(settings.agents or min(widest, most), len(items)))


def can_overlap(items: Sequence[PlanItem], one: str, other: str) -> bool:
    """Whether two tasks that change one file may run at the same time."""
    needs = all_needs_by_id(items)
    first = [item.id for item in items if one in item.files]
    second = [item.id for item in items if other in item.files]
    return not any(a == b or a in needs[b] or b in needs[a] for a in first for b in second)
