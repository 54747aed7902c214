"""Have a cheap model hold a long attempt against its brief, every few replies, and say when it drifts."""

import asyncio
from dataclasses import dataclass
from typing import Any

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.model_questions import ask_under_role
from orchestra.errors import LimitReached, ProviderError
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.judge.guardian import EVERY, NAME, ROLE, Watch, is_affordable, question_tokens, watch_question
from orchestra.model import Task, Usage
from orchestra.providers import catalogue

LOOK_PAUSE = 0.2  # seconds between two looks at the number of replies


@dataclass
class Guardian:
    """Watches one attempt. `ticket`: of its agent. A question that fails is a note, and ends the watch."""

    run: Run
    task: Task
    number: int
    ticket: ClientPass

    async def watch(self) -> str:
        """Return why the attempt drifts; empty if the guardian can say no more. It works until it is cancelled."""
        seen, spent = 0, 0
        while True:
            seen += EVERY
            replies = await self.wait_for_replies(seen)
            question = watch_question(self.task.brief, [each.reply for each in replies])
            usage = sum((each.usage for each in replies), Usage())
            if not is_affordable(question, usage.tokens, spent):
                continue
            spent += question_tokens(question)
            try:
                drift = await self.ask(question)
            except (ProviderError, LimitReached) as error:
                self.run.emit(events.Note(f"The guardian of {self.task.agent} stopped looking: {error}"))
                return ""
            if drift:
                return drift

    async def wait_for_replies(self, count: int) -> list[Exchange]:
        while True:
            answered = [each for each in self.ticket.exchanges if not each.failure]
            if len(answered) >= count:
                return answered[:count]
            await asyncio.sleep(LOOK_PAUSE)

    async def ask(self, question: str) -> str:
        model = catalogue.weak_model(self.run.context.model_of(self.task))
        how: dict[str, Any] = {"about": (self.task.id, self.number), "system": ROLE}
        found = await ask_under_role(NAME, self.run, model, question, Watch, **how)
        return found.drift
