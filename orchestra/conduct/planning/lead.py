"""Make a graph of tasks, by a model or from a file, and check it before it becomes the run's plan."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from orchestra import events
from orchestra.agents import DEFAULT_AGENT
from orchestra.answers import prd_format
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.model_questions import ask_under_role
from orchestra.conduct.core.models import Project, usable_model
from orchestra.conduct.core.slots import measure_machine
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.divide import Division, find_context_of_shares, plan_by_division
from orchestra.conduct.planning.plan_files import is_users_plan
from orchestra.conduct.planning.prd import (
    digest_repository,
    emit_plan_made,
    find_prd_targets,
    note_protected,
    obtain_prd,
    plan_without_model,
    read_prd,
    relative_to_root,
)
from orchestra.conduct.planning.survey import classify_by_mode, survey_files
from orchestra.division.coupling import Coupling, find_links
from orchestra.division.shares import DividedFiles
from orchestra.errors import NeedsApproval, PlanError, ProviderError
from orchestra.model import DivisionBasis, Plan, Prd, TargetFile, Task
from orchestra.plan import planner
from orchestra.plan.brief import make_brief
from orchestra.plan.check import AllowedDraft, CheckedDraft, PlanContext, check_draft, item_targets, restrict_draft
from orchestra.plan.draft import (
    PRIORITIES,
    Draft,
    PlanItem,
    all_needs_by_id,
    draft_from_plan,
    group_phases,
    items_from_answer,
)
from orchestra.plan.roles import known_roles
from orchestra.plan.shards import parse_shard_number
from orchestra.plan.sizing import bound_agents
from orchestra.plan.targets import Targets, TrackedFile
from orchestra.plan.toml_file import format_draft
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.wording import join_some
from orchestra.workspace.evidence import gather_evidence
from orchestra.workspace.repository import path_exists
from orchestra.workspace.tracked import is_tracked_regular

ANSWER_TOKENS = 32_000
MOST_SAID = 10
T = TypeVar("T")


def load_plan_settings(settings: Settings, root: Path) -> tuple[Settings, Draft | None]:
    """Load the settings that the file of --plan stands for, and its content."""
    if not settings.plan:
        return settings, None
    path = plan_files.find_plan_file(root, settings.plan)
    draft = plan_files.load_draft(path)
    if not draft.goal.strip():
        raise PlanError(f'the plan {settings.plan} has no goal: write one: goal = "what is wanted".')
    committed = not is_users_plan(root, path)
    if committed:
        draft = dataclasses.replace(draft, approved=False)  # whoever can commit may have written the approval
        refuse_committed_kinds(settings, draft)
    prd = settings.prd or prd_of_plan(settings.plan, draft.prd, root, committed=committed)
    return settings.with_values(change=draft.goal, prd=prd, use_prd=bool(prd)), draft


def refuse_committed_kinds(settings: Settings, draft: Draft) -> None:
    """Refuse a plan that came with the repository and chooses another program as an agent than the user."""
    kinds = {item.kind for item in draft.unfinished} - {"", DEFAULT_AGENT, settings.agent_kind}
    if kinds:
        hint = "Copy it to a file that git does not track, or give --agent-kind."
        raise PlanError(
            f"the plan {settings.plan} came with the repository, and names {join_some(sorted(kinds))}.", hint=hint
        )


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


async def check_plan(project: Project, draft: Draft) -> CheckedDraft:
    """Check a draft before anything starts. One that cannot be carried out is refused."""
    settings = project.settings
    prd = prd_format.parse_prd(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    checked = await asyncio.to_thread(check_draft, draft, await survey_world(project, draft, prd))
    if checked.problems:
        raise PlanError(f"the plan {settings.plan} cannot be carried out: {checked.problem_text}.")
    return checked


async def survey_world(project: Project, draft: Draft, prd: Prd) -> PlanContext:
    """Survey what the draft is checked against. Only the files that it names are opened."""
    wanted = {path for item in draft.task for path in (*item.files, *item.reads) if path in project.entries}
    return make_world(project, await survey_files(project, wanted), prd)


def make_world(project: Project, tracked: Mapping[str, TrackedFile], prd: Prd) -> PlanContext:
    roles = known_roles(project.settings.roles)
    reading = [name for name, role in roles.items() if role.only_answers]
    return PlanContext(tracked, list(roles), reading, [one.id for one in prd.requirements], project.model.context)


async def obtain_plan(run: Run, prd: Prd, given: Targets | None, checked: CheckedDraft | None) -> Plan:
    """Obtain the plan: from the named file, from a model, or else by coupling."""
    context, settings, root = run.context, run.context.settings, run.context.repository.root
    if checked is not None:
        path = plan_files.find_plan_file(root, settings.plan)
    elif not (settings.decompose or settings.approve):
        return await plan_without_model(run, prd, given)
    else:
        checked = await (decompose_change(run, prd) if settings.decompose else draft_by_division(run, prd, given))
        path = plan_files.new_plan_path(root, settings.change)
        plan_files.save_draft(path, checked.draft)
    name = path.stem if path.parent == plan_files.plans_folder(root) else plan_files.display_path(path)
    if settings.approve and not checked.draft.approved:
        confirm = run.services.prompts.confirm_plan
        if confirm is None or not await confirm(checked.draft):  # the plan waits in its file
            emit_drafted(run, checked, path)
            raise NeedsApproval(name)
        checked = dataclasses.replace(checked, draft=dataclasses.replace(checked.draft, approved=True))
        plan_files.save_draft(path, checked.draft)
    note_repairs(run, checked.repairs)
    mine = is_users_plan(root, path)
    allowed = allow_draft(context, checked.draft, by_person=mine)
    if allowed.left_out and not allowed.draft.unfinished:
        emit_drafted(run, checked, path)
        raise NeedsApproval(name)
    note_protected(run, allowed.left_out, f"To have them changed: `plan approve {name}` before `execute`.")
    plan = await plan_from_draft(context, prd, allowed.draft)
    plan = keep_shard(settings, allowed.draft, plan) if settings.shard else plan
    emit_plan_made(run, plan, **plan_facts(context, allowed, path, tuple(checked.repairs)))
    return plan


def plan_facts(project: Project, allowed: AllowedDraft, path: Path, repairs: tuple[str, ...]) -> dict[str, Any]:
    """Return what the event of a plan tells beside its tasks. `path`: of its file."""
    root, settings = project.repository.root, project.settings
    words = is_users_plan(root, path) and settings.is_set_by_user("change")
    facts = {"file": relative_to_root(path, root), "repairs": repairs, "named": tuple(allowed.named), "words": words}
    return facts | {"cut": allowed.draft.shards.digest if settings.shard else ""}


def keep_shard(settings: Settings, draft: Draft, plan: Plan) -> Plan:
    """Return the plan with the shard's tasks only. They keep their numbers."""
    wanted = set(draft.shards.shard[parse_shard_number(settings.shard).number - 1].tasks)
    agents = count_agents(settings, [item for item in draft.unfinished if item.id in wanted])
    return dataclasses.replace(plan, agents=agents, tasks=tuple(task for task in plan.tasks if task.name in wanted))


def allow_draft(project: Project, draft: Draft, *, by_person: bool) -> AllowedDraft:
    """Return the draft that agents may be given. `by_person`: its approvals were given by a person here."""
    words = project.settings if by_person else project.settings.with_values(change="")
    return restrict_draft(draft, dataclasses.replace(project, settings=words).permit(), by_person)


def emit_drafted(run: Run, checked: CheckedDraft, path: Path) -> None:
    """Emit where the plan's file is."""
    note_repairs(run, checked.repairs)
    where = relative_to_root(path, run.context.repository.root)
    run.emit(events.PlanDrafted(where, len(checked.draft.unfinished), tuple(checked.repairs)))


async def draft_by_division(run: Run, prd: Prd, given: Targets | None) -> CheckedDraft:
    """Make a draft without a model, by coupling."""
    targets = given or await find_prd_targets(run.context, prd)
    note_protected(run, targets.protected)
    plan = await plan_by_division(run.context, prd, targets)
    draft = draft_from_plan(plan, run.context.settings.change, run.state.report.prd_path, targets.named)
    return await check_new_draft(run.context, prd, draft)


async def check_new_draft(project: Project, prd: Prd, draft: Draft) -> CheckedDraft:
    checked = await asyncio.to_thread(check_draft, draft, await survey_world(project, draft, prd))
    if checked.problems:
        raise ProviderError(f"The plan cannot be carried out: {checked.problem_text}.")
    return checked


def note_repairs(run: Run, repairs: Sequence[str]) -> None:
    for repair in repairs[:MOST_SAID]:
        run.emit(events.Note(f"The plan was corrected: {repair}."))
    if len(repairs) > MOST_SAID:
        run.emit(events.Note(f"The plan was corrected in {len(repairs) - MOST_SAID} more places."))


def lead_model(settings: Settings) -> catalogue.Model:
    return usable_model(settings, settings.gemini_name)


async def decompose_change(run: Run, prd: Prd, *, single: bool = False) -> CheckedDraft:
    """Ask a model for a graph of tasks. It is told once of an error that cannot be corrected here."""
    context = run.context
    seen = make_world(context, classify_by_mode(context.entries), prd)
    goal, path = context.settings.change, run.state.report.prd_path
    # Each role is described by the first line of its prompt.
    prompts = {name: role.prompt.splitlines() for name, role in known_roles(context.settings.roles).items()}
    roles = {name: next((x.lstrip("# ").strip() for x in lines if x.strip()), "") for name, lines in prompts.items()}
    question = planner.planner_question(goal, prd, await digest_repository(context), roles, single=single)

    def find_complaint(answer: planner.PlanAnswer) -> str:
        if single and len(answer.tasks) > 1:
            return "there must be exactly one task"
        return check_draft(planner.draft_from_answer(answer, goal, path), seen).problem_text

    answer = await ask_lead(run, question, planner.PlanAnswer, find_complaint)
    return await check_new_draft(run.context, prd, planner.draft_from_answer(answer, goal, path))


async def ask_lead(run: Run, question: str, kind: type[T], complaint: Callable[[T], str]) -> T:
    model = lead_model(run.context.settings)
    how: dict[str, Any] = {"system": planner.ROLE, "check": complaint, "expected": ANSWER_TOKENS}
    return await ask_under_role(planner.NAME, run, model, question, kind, **how)


async def plan_from_draft(project: Project, prd: Prd, draft: Draft) -> Plan:
    """Make the plan of the tasks that are left, with their briefs and the number of agents that can be busy."""
    items, tracked, repository = draft.unfinished, classify_by_mode(project.entries), project.repository
    shares = tuple(item_targets(item, tracked) for item in items)
    paths = sorted({file.path for share in shares for file in share})
    found = await gather_evidence(repository.git, repository.base, project.entries, paths)
    coupling = await asyncio.to_thread(Coupling, paths, found)
    await asyncio.to_thread(coupling.build_graph)
    agents = count_agents(project.settings, items)
    division = Division(DividedFiles(shares, agents, None, 0), coupling, ())
    reads, nearby = await find_context_of_shares(project, division)
    numbers = {item.id: n for n, item in enumerate(items, start=1)}
    mine = zip(items, shares, reads, strict=True)
    bare = [task_from_item(item, numbers, share, (*item.reads, *read)) for item, share, read in mine]
    tasks = []
    for task, near, item in zip(bare, nearby, items, strict=True):
        brief = make_brief(draft.goal, prd, task, bare, near, part=brief_with_answers(item, draft))
        tasks.append(dataclasses.replace(task, brief=brief))
    together, apart = find_links(coupling, shares)
    beside = [link for link in apart if can_overlap(items, link.one, link.other)]
    advice = "two tasks change them at the same time: consider merging these tasks, or let one need the other"
    notes = [f"{link.one} and {link.other} belong together ({link.why}), and {advice}." for link in beside]
    return Plan(tuple(tasks), agents, DivisionBasis(None, 0, tuple(map(tuple, together)), tuple(beside), tuple(notes)))


def task_from_item(
    item: PlanItem, numbers: Mapping[str, int], files: tuple[TargetFile, ...], reads: Sequence[str]
) -> Task:
    return Task(
        id=numbers[item.id],
        title=item.title,
        files=files,
        requirements=item.requirements,
        reads=tuple(dict.fromkeys(reads)),
        needs=tuple(numbers[need] for need in item.needs if need in numbers),
        role=item.role,
        priority=PRIORITIES[item.priority],
        risk=item.risk,
        acceptance=item.acceptance,
        name=item.id,
        kind=item.kind,
    )


def brief_with_answers(item: PlanItem, draft: Draft) -> str:
    """Build a task's brief, with the answers of tasks that it needs and that an earlier run completed."""
    found = [other for need in item.needs if (other := draft.find_item(need)) and other.said]
    return "\n\n".join([item.brief, *(f"What was found out before ({one.title}):\n{one.said}" for one in found)])


def count_agents(settings: Settings, items: Sequence[PlanItem]) -> int:
    """Count the agents that can work at once, as far as the machine allows."""
    widest = max((len(phase) for phase in group_phases(items)), default=1)
    most = bound_agents([1] * len(items), measure_machine(), at_most=settings.max_agents).agents
    return max(1, min(settings.agents or min(widest, most), len(items)))


def can_overlap(items: Sequence[PlanItem], one: str, other: str) -> bool:
    """Whether two tasks that change one file may run at the same time."""
    needs = all_needs_by_id(items)
    first = [item.id for item in items if one in item.files]
    second = [item.id for item in items if other in item.files]
    return not any(a == b or a in needs[b] or b in needs[a] for a in first for b in second)


async def make_draft(run: Run, given: Targets | None, *, single: bool = False) -> CheckedDraft:
    """Make a draft of the change: by a model, or by coupling if the user named the files or there is no key."""
    prd = await obtain_prd(run)
    if run.context.settings.decompose:
        return await decompose_change(run, prd, single=single)
    return await draft_by_division(run, prd, given)


async def discuss_draft(run: Run, draft: Draft, question_text: str) -> tuple[str, CheckedDraft | None]:
    """Ask a model about the draft. Return its answer, and a new draft if it proposes one."""
    digest = await digest_repository(run.context)
    question = planner.discussion_question(format_draft(draft, "draft"), question_text, digest)
    seen = await survey_world(run.context, draft, Prd(""))

    def apply_answer(answer: planner.DiscussionAnswer) -> Draft:
        kept = [item for item in draft.task if item.done or item.proposed]
        return draft.with_items([*kept, *items_from_answer(answer.tasks)])

    def find_complaint(answer: planner.DiscussionAnswer) -> str:
        return check_draft(apply_answer(answer), seen).problem_text if answer.tasks else ""

    answer = await ask_lead(run, question, planner.DiscussionAnswer, find_complaint)
    return answer.say, (await check_new_draft(run.context, Prd(""), apply_answer(answer)) if answer.tasks else None)
