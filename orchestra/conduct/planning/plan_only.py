"""What a run does that only plans: it makes a draft, or talks about one, and changes nothing but a plan's file."""

from orchestra.conduct.core.context import Run
from orchestra.conduct.planning.lead import ask_lead, checked_here, decompose, divided, world_of
from orchestra.conduct.planning.prd import obtain_prd, repository_digest
from orchestra.model import Prd
from orchestra.plan import planner
from orchestra.plan.check import Checked, check
from orchestra.plan.draft import Draft, items_of
from orchestra.plan.file import write
from orchestra.plan.targets import Targets


async def make(run: Run, given: Targets | None, *, single: bool = False) -> Checked:
    """A draft of the change: by a model, or, where the user has named the files or there is no key, by coupling."""
    prd = await obtain_prd(run)
    return await (decompose(run, prd, single=single) if run.context.settings.decompose else divided(run, prd, given))


async def discuss(run: Run, draft: Draft, said: str) -> tuple[str, Checked | None]:
    """A model's answer to a person, and the plan as it proposes it, if that is another one."""
    context = run.context
    digest = await repository_digest(run.context)
    question = planner.discussion(write(draft, "draft"), said, digest)
    seen = await world_of(context.settings, context.repository, context.entries, draft, Prd(""), context.model.context)

    def proposed(answer: planner.Changed) -> Draft:
        kept = [item for item in draft.task if item.done or item.proposed]
        return draft.with_items([*kept, *items_of(answer.tasks)])

    def complaint(answer: planner.Changed) -> str:
        return check(proposed(answer), seen).complaint if answer.tasks else ""

    answer = await ask_lead(run, question, planner.Changed, complaint)
    return answer.say, (await checked_here(run.context, Prd(""), proposed(answer)) if answer.tasks else None)
