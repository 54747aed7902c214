"""What a run does that only plans: it makes a draft, or talks about one, and changes nothing but a plan's file."""

from orchestra.conduct.core.context import Run
from orchestra.conduct.planning.lead import ask_lead, check_new_draft, decompose_change, draft_by_division, survey_world
from orchestra.conduct.planning.prd import digest_repository, obtain_prd
from orchestra.model import Prd
from orchestra.plan import planner
from orchestra.plan.check import CheckedDraft, check_draft
from orchestra.plan.draft import Draft, items_from_answer
from orchestra.plan.targets import Targets
from orchestra.plan.toml_file import format_draft


async def make_draft(run: Run, given: Targets | None, *, single: bool = False) -> CheckedDraft:
    """A draft of the change: by a model, or, where the user has named the files or there is no key, by coupling."""
    prd = await obtain_prd(run)
    return await (
        decompose_change(run, prd, single=single)
        if run.context.settings.decompose
        else draft_by_division(run, prd, given)
    )


async def discuss_draft(run: Run, draft: Draft, question_text: str) -> tuple[str, CheckedDraft | None]:
    """A model's answer to a person, and the plan as it proposes it, if that is another one."""
    context = run.context
    digest = await digest_repository(run.context)
    question = planner.discussion_question(format_draft(draft, "draft"), question_text, digest)
    seen = await survey_world(
        context.settings, context.repository, context.entries, draft, Prd(""), context.model.context
    )

    def apply_answer(answer: planner.DiscussionAnswer) -> Draft:
        kept = [item for item in draft.task if item.done or item.proposed]
        return draft.with_items([*kept, *items_from_answer(answer.tasks)])

    def find_complaint(answer: planner.DiscussionAnswer) -> str:
        return check_draft(apply_answer(answer), seen).problem_text if answer.tasks else ""

    answer = await ask_lead(run, question, planner.DiscussionAnswer, find_complaint)
    return answer.say, (await check_new_draft(run.context, Prd(""), apply_answer(answer)) if answer.tasks else None)
