"""The verdict on one attempt: from what the gateway heard, how the seat ended and what git shows, never from prose."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra.judge.policy import POLICY, PROVIDER_VERDICTS
from orchestra.model import Judgement, Verdict


@dataclass(frozen=True)
class LastExchange:
    """The last answer of an attempt, as the gateway heard it. `failure` is empty for a reply."""

    status: int
    failure: str = ""
    message: str = ""


@dataclass(frozen=True)
class AttemptObservation:
    """Everything that is known of an ended attempt. `model` is its full name, with the provider's."""

    model: str
    end: str
    replies: int
    owned: tuple[str, ...]
    required: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    protected: Mapping[str, str] = field(default_factory=dict)  # with the reason
    exchange: LastExchange | None = None
    empty: bool = False
    cut_off: bool = False
    complaint: str = ""
    failure: str = ""
    timed_out: float = 0.0
    time_is_up: str = ""  # it was the run's deadline that stopped it
    only_answers: bool = False  # its reply is what was asked for, and no change


NOT_ASKED = "acts by itself, and was not asked for by name"
NAME_IT = "Where such an edit is wanted, name the file in --change or --files."
ANSWERED = "Answered, and changed no file."
# Of failures that the gateway itself decides, and that have no verdict of their own.
FAILURE_REMEDIES = {
    "drift": "The files, the change, the PRD or this program are not what they were: record anew with --record.",
    "key": "Take the key out of the change, the PRD or the files that the agent reads, and replace it by a new one.",
}


def judge_attempt(seen: AttemptObservation) -> Judgement:
    """The first that holds, from the outside in: stopped, no answer, no accepted answer, nothing done, done."""
    verdict, cause = decide_verdict(seen)
    if verdict is Verdict.OUT_OF_SCOPE and seen.protected and not seen.foreign:
        return Judgement(verdict, cause, NAME_IT)
    failure = seen.exchange.failure if seen.exchange is not None and verdict is Verdict.PROVIDER_ERROR else ""
    return Judgement(verdict, cause, FAILURE_REMEDIES.get(failure, POLICY[verdict].remedy))


def decide_verdict(seen: AttemptObservation) -> tuple[Verdict, str]:
    files, answer = describe_subject(seen), describe_answer(seen)
    if seen.time_is_up and seen.exchange is not None and seen.exchange.failure not in ("", "cancelled", "budget"):
        # It had waited for the provider until then.
        verdict = PROVIDER_VERDICTS.get(seen.exchange.failure, Verdict.PROVIDER_ERROR)
        return verdict, f"{answer} until {lower_first(seen.time_is_up)}: {one_line(seen.exchange.message)}"
    if seen.time_is_up:
        return (
            Verdict.BUDGET,
            f"{seen.time_is_up} while {files} was being changed, after {format_replies(seen.replies)}.",
        )
    if seen.timed_out:
        late = f"was stopped after {seen.timed_out:.0f} s with {format_replies(seen.replies)} of {seen.model}"
        return Verdict.TIMEOUT, f"The attempt on {files} {late}."
    if seen.end == "crashed":
        return Verdict.CRASHED, f"Aider crashed on {files}: {one_line(seen.failure)}"
    if seen.exchange is not None and seen.exchange.failure:
        verdict = PROVIDER_VERDICTS.get(seen.exchange.failure, Verdict.PROVIDER_ERROR)
        return verdict, f"{answer}: {one_line(seen.exchange.message)}"
    if seen.end == "exhausted" or seen.cut_off:
        return Verdict.CONTEXT, f"{answer}, but the reply was cut off at the model's output limit."
    if seen.end == "rejected":
        late = f"but after {format_replies(seen.replies)} its edits still did not fit"
        return Verdict.REJECTED_EDIT, f"{answer}, {late}: {one_line(seen.complaint)}"
    if seen.end == "accepted" and seen.exchange is not None:
        return judge_accepted_reply(seen, answer)
    return Verdict.CRASHED, f"{answer}, and Aider made nothing of it."


def judge_accepted_reply(seen: AttemptObservation, answer: str) -> tuple[Verdict, str]:
    if seen.only_answers:
        return (Verdict.NO_CHANGE, f"{answer}, but with an empty reply.") if seen.empty else (Verdict.APPLIED, ANSWERED)
    if not seen.changed and (seen.foreign or seen.refused):
        strayed = format_paths((*seen.foreign, *seen.refused, *seen.protected))
        return Verdict.OUT_OF_SCOPE, f"{answer}, but edited only what is not this agent's own: {strayed}."
    if not seen.changed and seen.protected:
        return Verdict.OUT_OF_SCOPE, f"{answer}, but edited only what {NOT_ASKED}: {format_reasons(seen.protected)}."
    if not seen.changed:
        how = "but with an empty reply" if seen.empty else "but changed nothing in it"
        return Verdict.NO_CHANGE, f"{answer}, {how}."
    missed = tuple(path for path in seen.required if path not in seen.changed and path not in seen.protected)
    if missed:
        return Verdict.NO_CHANGE, f"{answer}, but changed nothing in {format_paths(missed)}, which was asked for."
    kept_out = f" Not taken: {format_reasons(seen.protected)}." if seen.protected else ""
    return Verdict.APPLIED, f"Changed {format_paths(seen.changed)}.{kept_out}"


def format_reasons(files: Mapping[str, str], most: int = 4) -> str:
    """Makefile (is a build script), and 3 more."""
    shown = ", ".join(f"{path} ({why})" for path, why in list(files.items())[:most])
    return shown + (f" and {len(files) - most} more" if len(files) > most else "")


def describe_answer(seen: AttemptObservation) -> str:
    """Who said what about which files: the beginning of nearly every cause."""
    if seen.exchange is None:
        return f"{seen.model} was not asked about {describe_subject(seen)}"
    if seen.exchange.failure == "budget" and not seen.exchange.status:
        return f"{seen.model} was not asked any more about {describe_subject(seen)}"
    said = f"answered {seen.exchange.status}" if seen.exchange.status else "gave no answer"
    return f"{seen.model} {said} for {describe_subject(seen)}"


def describe_subject(seen: AttemptObservation) -> str:
    return format_paths(seen.owned) or "a question"


def format_replies(count: int) -> str:
    return "1 reply" if count == 1 else f"{count or 'no'} replies"


def format_paths(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def one_line(text: str, limit: int = 400) -> str:
    return " ".join(text.split())[:limit]
