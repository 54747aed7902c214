"""The verdict on one attempt, from what the gateway heard, how the seat ended and what git shows. Never from the agent's own words."""

from dataclasses import dataclass

from orchestra.model import Judgement, Verdict


@dataclass(frozen=True)
class Trouble:
    """The last request of an attempt that got no reply."""

    failure: str
    provider: str
    model: str
    status: int
    message: str


@dataclass(frozen=True)
class Seen:
    """Everything that is known of an ended attempt."""

    end: str
    replies: int
    owned: tuple[str, ...]
    required: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    trouble: Trouble | None = None
    cut_off: bool = False
    complaint: str = ""
    failure: str = ""
    timed_out: float = 0.0


PROVIDER_VERDICTS = {
    "auth": Verdict.AUTH,
    "quota": Verdict.QUOTA,
    "rate_limit": Verdict.RATE_LIMIT,
    "context": Verdict.CONTEXT,
    "unreachable": Verdict.UNREACHABLE,
    "timeout": Verdict.TIMEOUT,
    "budget": Verdict.BUDGET,
    "iterations": Verdict.ITERATIONS,
}
REMEDIES = {
    Verdict.AUTH: "Check the key for this provider and that it may use this model.",
    Verdict.QUOTA: "Add credit or raise the quota with the provider, then run again.",
    Verdict.RATE_LIMIT: "Run again later or with fewer agents.",
    Verdict.CONTEXT: "Give each agent fewer or smaller files (more agents), or a model with a larger context.",
    Verdict.UNREACHABLE: "Check the base URL and the network.",
    Verdict.TIMEOUT: "Raise --agent-timeout, or use a faster model.",
    Verdict.ITERATIONS: "Raise --max-iterations, or make the change smaller.",
    Verdict.PROVIDER_ERROR: "See the provider's message; try again or another model.",
    Verdict.REJECTED_EDIT: "Try again, or use a model that keeps to the edit format.",
    Verdict.NO_CHANGE: "Say more precisely what must change in these files, or leave them out.",
    Verdict.OUT_OF_SCOPE: "Give these files to the same agent, or say what belongs where.",
    Verdict.CRASHED: "See the agent's output; if it happens again, it is a bug worth reporting.",
}


def judge(seen: Seen) -> Judgement:
    """The first of these that holds, from the outside in: stopped, no answer, no accepted answer, nothing done, done."""
    verdict, cause = decide(seen)
    return Judgement(verdict, cause, REMEDIES.get(verdict, ""))


def decide(seen: Seen) -> tuple[Verdict, str]:
    files = named(seen.owned)
    if seen.timed_out:
        return Verdict.TIMEOUT, f"The attempt on {files} was stopped after {seen.timed_out:.0f} s."
    if seen.end == "crashed":
        return Verdict.CRASHED, f"Aider crashed on {files}: {one_line(seen.failure)}"
    if seen.end == "exhausted" or seen.cut_off:
        return Verdict.CONTEXT, f"The reply for {files} was cut off at the model's output limit."
    if seen.end == "no_reply":
        return no_reply(seen, files)
    if seen.end == "rejected":
        if seen.trouble is not None and seen.trouble.failure == "iterations":
            return no_reply(seen, files)
        return (
            Verdict.REJECTED_EDIT,
            f"After {seen.replies} replies the edits for {files} still did not fit: {one_line(seen.complaint)}",
        )
    return accepted(seen, files)


def no_reply(seen: Seen, files: str) -> tuple[Verdict, str]:
    trouble = seen.trouble
    if trouble is None:
        return Verdict.PROVIDER_ERROR, f"No model reply came for {files}, and no request reached the gateway."
    status = f" answered {trouble.status}" if trouble.status else ""
    cause = f"{trouble.provider} ({trouble.model}){status} for {files}: {trouble.message}"
    return PROVIDER_VERDICTS.get(trouble.failure, Verdict.PROVIDER_ERROR), one_line(cause)


def accepted(seen: Seen, files: str) -> tuple[Verdict, str]:
    if not seen.changed and (seen.foreign or seen.refused):
        strayed = named((*seen.foreign, *seen.refused))
        return Verdict.OUT_OF_SCOPE, f"The agent for {files} edited only what is not its own: {strayed}."
    if not seen.changed:
        return Verdict.NO_CHANGE, f"The model answered, but changed nothing in {files}."
    missed = tuple(path for path in seen.required if path not in seen.changed)
    if missed:
        return Verdict.NO_CHANGE, f"The model changed nothing in {named(missed)}, which was asked for."
    return Verdict.APPLIED, f"Changed {named(seen.changed)}."


def named(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def one_line(text: str, limit: int = 400) -> str:
    return " ".join(text.split())[:limit]
