"""Have a task's change reviewed by a model. Its word is a gate's; where it has none, the change is not taken as if."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.deadline import deadline_sentence, emit_deadline_reached
from orchestra.conduct.core.model_questions import QuestionFailed, ask_under_role
from orchestra.errors import LimitReached, ProviderError
from orchestra.judge.critic import (
    DIFF_LIMIT,
    NAME,
    ROLE,
    Review,
    is_diff_cut,
    review_complaint,
    review_question,
    unreviewed_verdict,
)
from orchestra.judge.retry import CheckFailure
from orchestra.model import Judgement, Task, Verdict
from orchestra.providers import catalogue

AGAIN = "`resume` has it reviewed; the agent's replies are not paid for a second time."


@dataclass(frozen=True)
class Opinion:
    """What came of asking for a review: pass, fail or missing. Without a judgement the change may be taken."""

    outcome: str
    judgement: Judgement | None = None
    lesson: CheckFailure | None = None


class Critic:
    """Asks about each change once: the same one, made by another attempt, has the same review."""

    def __init__(self, run: Run, model: catalogue.Model) -> None:
        self.run = run
        self.model = model
        self.reviews: dict[str, Review] = {}

    @property
    def description(self) -> str:
        return f"review by {self.model.name}"

    async def give_opinion(self, task: Task, number: int, diff: bytes) -> Opinion:
        run, started = self.run, time.monotonic()
        # What was a secret for the author's provider is one for the critic's.
        text = run.context.secrets.scrub(diff.decode("utf-8", "replace"))
        run.emit(
            events.GateStarted(name=NAME, command=self.description, tree=tree_label(task, number)), task.id, number
        )
        try:
            review = await self.review(task, number, text)
        except (ProviderError, LimitReached) as error:
            self.emit_review_ended(task, number, started, ok=False, code=error.exit_code, missing=str(error))
            failure = error.failure if isinstance(error, QuestionFailed) else ""
            verdict = Verdict.BUDGET if isinstance(error, LimitReached) else unreviewed_verdict(failure)
            cause = f"The change of {task.agent} was not reviewed: {error}"
            return Opinion("missing", Judgement(verdict, cause, AGAIN))
        remarks = (
            (f"The critic saw only the first {DIFF_LIMIT:,} characters of the change.",) if is_diff_cut(text) else ()
        )
        output, code = self.write_review(task, number, review), int(not review.passed)
        how = {"output": output, "remarks": remarks, "reasons": review.reason_lines}
        self.emit_review_ended(task, number, started, ok=review.passed, code=code, **how)
        if review.passed:
            return Opinion("pass")
        return Opinion("fail", Judgement(Verdict.GATES_FAILED, review.sentence, f"See {output}."), review.as_failure)

    async def review(self, task: Task, number: int, diff: str) -> Review:
        run = self.run
        asked = review_question(task, run.state.report.requirements, diff)
        if asked in self.reviews:
            return self.reviews[asked]
        try:
            async with asyncio.timeout_at(None if run.context.deadline == math.inf else run.context.deadline):
                about = task.id, number
                review = await ask_under_role(
                    NAME, run, self.model, asked, Review, about=about, system=ROLE, check=review_complaint
                )
        except TimeoutError:
            emit_deadline_reached(run)
            raise LimitReached(f"{deadline_sentence(run.context)} before the review had come.") from None
        self.reviews[asked] = review
        return review

    def write_review(self, task: Task, number: int, review: Review) -> str:
        """The whole review, where the gates' outputs lie too."""
        context = self.run.context
        path = context.logs / f"{NAME}_{tree_label(task, number)}_{context.stamp}.txt"
        lines = [f"{self.model.name}: {review.verdict}", *(f"- {reason}" for reason in review.reason_lines)]
        path.write_text(context.secrets.scrub("\n".join(lines)) + "\n", encoding="utf-8")
        return str(path.relative_to(context.repository.root))

    def emit_review_ended(self, task: Task, number: int, started: float, *, ok: bool, code: int, **how: Any) -> None:
        ended = events.GateEnded(
            name=NAME,
            about=events.ABOUT_REVIEW,
            command=self.description,
            tree=tree_label(task, number),
            ok=ok,
            verifies=False,
            code=code,
            seconds=round(time.monotonic() - started, 3),
            **how,
        )
        self.run.emit(ended, task.id, number)


def tree_label(task: Task, number: int) -> str:
    return f"task{task.id}-{number}"
