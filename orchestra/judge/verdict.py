"""The verdict on one attempt: from the gateway's record, the agent's structured outcome and git, never from prose. Only
whether a reply without an edit may stand is read in its words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestra.judge.policy import POLICY, PROVIDER_VERDICTS
from orchestra.model import Judgement, Verdict
from orchestra.wording import join_some, one_line


@dataclass(frozen=True)
class LastExchange:
    """The last answer of an attempt in the gateway's record. `failure` is empty for a reply."""

    status: int
    failure: str = ""
    message: str = ""


@dataclass(frozen=True)
class AttemptObservation:
    """Everything that is known about an ended attempt. `model`: its full name with the provider."""

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
    time_is_up: str = ""  # set if the run's deadline stopped it
    only_answers: bool = False  # the requested result is its reply, not a change
    says_nothing_to_do: bool = False
    agent: str = "Aider"
    must_change: bool = False  # although no file is required: an earlier attempt failed by its own fault


CODE_SIGNS = ("```", "<<<<<<<")  # of an edit, in whatever format
NOTHING_TO_DO = re.compile(
    r"\bno need\b|\b(?:needs?|requires?) no\b|\bnothing (?:\S+ ){0,4}?(?:needs?|requires?|has to|must)\b"
    r"|\bnothing (?:\S+ ){0,2}?to (?:do|change|edit|modify|update|add|fix)\b"
    r"|\bno (?:\w+ ){0,2}(?:change|edit|modification|update)s? (?:\S+ ){0,4}?(?:needed|required|necessary|to make)\b"
    r"|\b(?:leav|left|stay|remain|keep|kept)\w* (?:\S+ ){0,4}?(?:unchanged|as (?:it is|they are|is)\b)"
    r"|\b(?<!I )(?<!we )(?:do|does|is|are)(?: not|n['’]t) (?:\w+ )?(?:need|require|necessary|affected|relevant|apply)",
    re.IGNORECASE,
)
# The words of a refusal, a question, advice, or a report of an edit that is not there: "nothing else" says so too.
DOUBTS = re.compile(
    r"\?|\b(?:else|further|more|additional|others?|otherwise|rest|remaining|until|unless|instead|unable|sorry|please)\b"
    r"|\b(?:apolog|clarif|declin|refus|provid|missing|access\b|in the chat|can be done)"
    r"|\b(?:ca|could|would|wo)n['’]t\b|\b(?:can|could|would|will|may|must|am|['’]m) ?not\b"
    r"|\bnot (?:\w+ )?(?:able|allowed|permitted|possible|have|see|find|know|understand)\b"
    r"|\b(?:you|we) (?:need|should|must|can|could)\b|\b(?:need|want|require) (?:the|to see)\b"
    r"|\bI(?:['’]ll| will| would) (?!leave|keep)|(?:^|[.!]\s+)(?:done|added|changed|fixed|implemented|updated)\b"
    r"|(?:\b(?:I|we|been)|['’]ve) (?:have )?(?:\w+ly )?(?:add|chang|edit|fix|implement|made|modif|remov|replac|updat)",
    re.IGNORECASE | re.MULTILINE,
)
NAMES = re.compile(r"`[^`\n]*`|\S*[/._]\w\S*")  # of files, and code within a sentence
NOT_ASKED = "acts by itself and was not requested by name"
NAME_IT = "To allow such an edit, name the file in --change or --files."
ANSWERED = "Answered without changing a file."
# The gateway's own failures, which have no verdict of their own.
FAILURE_REMEDIES = {
    "drift": "The files, the change, the PRD or this program have changed: record again with --record.",
    "key": "Take the key out of the change, the PRD or the files that the agent reads, and replace it by a new one.",
}


def judge_attempt(observation: AttemptObservation) -> Judgement:
    """Return the first verdict that applies: stopped, no answer, no accepted answer, nothing done, done."""
    verdict, cause = decide_verdict(observation)
    if verdict is Verdict.OUT_OF_SCOPE and observation.protected and not observation.foreign:
        return Judgement(verdict, cause, NAME_IT)
    if verdict is Verdict.NO_CHANGE and has_nothing_to_do(observation):
        sentence = f"{observation.model} found nothing to change in {format_paths(observation.owned)}."
        return Judgement(verdict, sentence, nothing_to_do=True)
    failure = observation.exchange.failure if observation.exchange and verdict is Verdict.PROVIDER_ERROR else ""
    return Judgement(verdict, cause, FAILURE_REMEDIES.get(failure, POLICY[verdict].remedy))


def decide_verdict(seen: AttemptObservation) -> tuple[Verdict, str]:
    files, answer = describe_subject(seen), describe_answer(seen)
    if seen.time_is_up and seen.exchange is not None and seen.exchange.failure not in ("", "cancelled", "budget"):
        # it was waiting for the provider
        verdict = PROVIDER_VERDICTS.get(seen.exchange.failure, Verdict.PROVIDER_ERROR)
        limit = seen.time_is_up[:1].lower() + seen.time_is_up[1:]
        return verdict, f"{answer} until {limit}: {one_line(seen.exchange.message)}"
    if seen.time_is_up:
        cause = f"{seen.time_is_up} while {files} was being changed, after {format_replies(seen.replies)}."
        return Verdict.BUDGET, cause
    if seen.timed_out:
        late = f"was stopped after {seen.timed_out:.0f} s with {format_replies(seen.replies)} of {seen.model}"
        return Verdict.TIMEOUT, f"The attempt on {files} {late}."
    if seen.end == "crashed":
        return Verdict.CRASHED, f"{seen.agent} crashed on {files}: {one_line(seen.failure)}"
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
    if seen.end == "accepted":
        unasked = f"{seen.agent} ended well on {files}, but asked {seen.model} nothing through this run's gateway"
        return Verdict.CRASHED, f"{unasked}, so its changes are not taken."
    if seen.failure:
        return Verdict.CRASHED, f"{seen.agent} failed on {files}: {one_line(seen.failure)}"
    return Verdict.CRASHED, f"{answer}, but {seen.agent} produced no edits from the reply."


def judge_accepted_reply(seen: AttemptObservation, answer: str) -> tuple[Verdict, str]:
    if seen.only_answers:
        return (Verdict.NO_CHANGE, f"{answer}, but with an empty reply.") if seen.empty else (Verdict.APPLIED, ANSWERED)
    if not seen.changed and (seen.foreign or seen.refused):
        strayed = format_paths((*seen.foreign, *seen.refused, *seen.protected))
        is_outside = any(path.startswith("/") for path in seen.refused)
        did = (
            "tried to edit only what is outside of its worktree" if is_outside else "edited only files of other agents"
        )
        return Verdict.OUT_OF_SCOPE, f"{answer}, but {did}: {strayed}."
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


def has_nothing_to_do(seen: AttemptObservation) -> bool:
    """Whether no change is needed: the files were found in a folder or by a glob, and the model says so."""
    return seen.says_nothing_to_do and not (seen.required or seen.changed or seen.must_change)


def says_nothing_to_do(replies: Sequence[str]) -> bool:
    """Whether the last reply says that nothing is to be changed. Not if a reply shows code: an edit may have been lost.
    What else it says in words, such as a refusal or a question, is a failure, and so is what says both."""
    if not replies or any(sign in reply for reply in replies for sign in CODE_SIGNS):
        return False
    words = NAMES.sub("it", replies[-1])
    return NOTHING_TO_DO.search(words) is not None and not DOUBTS.search(words)


def format_reasons(files: Mapping[str, str], most: int = 4) -> str:
    """Format reasons: Makefile (is a build script), and 3 more."""
    return join_some([f"{path} ({why})" for path, why in files.items()], most)


def describe_answer(seen: AttemptObservation) -> str:
    """Describe the last answer: which model replied about which files. Nearly every cause begins so."""
    if seen.exchange is None:
        return f"{seen.model} was not asked about {describe_subject(seen)}"
    if seen.exchange.failure == "budget" and not seen.exchange.status:
        return f"{seen.model} was not asked any more about {describe_subject(seen)}"
    if not seen.exchange.failure:
        return f"{seen.model} replied for {describe_subject(seen)}"
    answer = f"answered {seen.exchange.status}" if seen.exchange.status else "gave no answer"
    return f"{seen.model} {answer} for {describe_subject(seen)}"


def describe_subject(seen: AttemptObservation) -> str:
    return format_paths(seen.owned) or "a question"


def format_replies(count: int) -> str:
    return "1 reply" if count == 1 else f"{count or 'no'} replies"


def format_paths(paths: tuple[str, ...]) -> str:
    return join_some(paths, 4)
