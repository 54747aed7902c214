"""Have a model review a task's change. Its verdict counts like a gate's; a missing review does not count as passed."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.deadline import deadline_sentence, emit_deadline_reached, timeout_at_deadline
from orchestra.conduct.core.house_rules import house_rules_of
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

AGAIN = "`resume` reviews it; the agent's replies are not paid again."


@dataclass(frozen=True)
class Opinion:
    """The result of a review: pass, fail or missing. A change without a review may still be taken."""

    outcome: str
    judgement: Judgement | None = None
    lesson: CheckFailure | None = None


@dataclass
class Critic:
    """Ask for one review per change: the same change by another attempt gets the same review."""

    run: Run
    model: catalogue.Model
    reviews: dict[str, Review] = field(default_factory=dict)

    @property
    def description(self) -> str:
        return f"review by {self.model.name}"

    async def give_opinion(self, task: Task, number: int, diff: bytes) -> Opinion:
        run, started = self.run, time.monotonic()
        # What was secret for the author's provider is secret for the critic's.
        text = run.context.secrets.scrub(diff.decode("utf-8", "replace"))
        label = f"task{task.id}-{number}"
        run.emit(events.GateStarted(name=NAME, command=self.description, tree=label), task.id, number)
        try:
            review = await self.review(task, number, text)
        except (ProviderError, LimitReached) as error:
            self.emit_review_ended(task.id, number, started, ok=False, code=error.exit_code, missing=str(error))
            failure = error.failure if isinstance(error, QuestionFailed) else ""
            verdict = Verdict.BUDGET if isinstance(error, LimitReached) else unreviewed_verdict(failure)
            cause = f"The change of {task.agent} was not reviewed: {error}"
            return Opinion("missing", Judgement(verdict, cause, AGAIN))
        cut = f"The critic saw only the first {DIFF_LIMIT:,} characters of the change."
        path = run.context.logs / f"{NAME}_{label}_{run.context.stamp}.txt"
        lines = [f"{self.model.name}: {review.verdict}", *(f"- {reason}" for reason in review.reason_lines)]
        path.write_text(run.context.secrets.scrub("\n".join(lines)) + "\n", encoding="utf-8")
        output, code = str(path.relative_to(run.context.repository.root)), int(not review.passed)
        how = {"output": output, "remarks": (cut,) if is_diff_cut(text) else (), "reasons": review.reason_lines}
        self.emit_review_ended(task.id, number, started, ok=review.passed, code=code, **how)
        if review.passed:
            return Opinion("pass")
        return Opinion("fail", Judgement(Verdict.GATES_FAILED, review.sentence, f"See {output}."), review.as_failure)

    async def review(self, task: Task, number: int, diff: str) -> Review:
        run = self.run
        rules = await house_rules_of(run.context, task)
        briefed = replace(task, brief=f"{rules}\n\n{task.brief}") if rules else task
        asked = review_question(briefed, run.state.report.requirements, diff)
        if asked in self.reviews:
            return self.reviews[asked]
        try:
            async with timeout_at_deadline(run.context):
                how: dict[str, Any] = {"about": (task.id, number), "system": ROLE, "check": review_complaint}
                review = await ask_under_role(NAME, run, self.model, asked, Review, **how)
        except TimeoutError:
            emit_deadline_reached(run)
            raise LimitReached(f"{deadline_sentence(run.context)} before the review was complete.") from None
        self.reviews[asked] = review
        return review

    def emit_review_ended(self, task: int, number: int, started: float, *, ok: bool, code: int, **how: Any) -> None:
        ended = events.GateEnded(
            name=NAME,
            about=events.ABOUT_REVIEW,
            command=self.description,
            tree=f"task{task}-{number}",
            ok=ok,
            verifies=False,
            code=code,
            seconds=round(time.monotonic() - started, 3),
            **how,
        )
        self.run.emit(ended, task, number)
