"""The judge's decisions, as a table: from what was seen to verdict, cause and exit code."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.judge.policy import ORDER, POLICY, PROVIDER_VERDICTS, UNKNOWN, Retry, compute_exit_code, policy_of
from orchestra.judge.verdict import (
    ANSWERED,
    FAILURE_REMEDIES,
    AttemptObservation,
    LastExchange,
    judge_attempt,
    says_nothing_to_do,
)
from orchestra.model import Verdict as V
from orchestra.model import Verified

REFERENCE = Path(__file__).parents[1] / "docs"
MODEL = "openai/gpt-x"
REPLY = LastExchange(200)
GOOD = AttemptObservation(MODEL, "accepted", 1, ("a.py", "b.py"), ("a.py",), ("a.py",), exchange=REPLY)
NOTHING = replace(GOOD, changed=())
HEAD = f"{MODEL} replied for a.py, b.py"

TABLE = [
    (GOOD, V.APPLIED, "Changed a.py."),
    (replace(GOOD, changed=("a.py", "new.py")), V.APPLIED, "Changed a.py, new.py."),
    (replace(GOOD, foreign=("c.py",)), V.APPLIED, "Changed a.py."),
    (replace(GOOD, refused=("../x",)), V.APPLIED, "Changed a.py."),
    (replace(GOOD, changed=("b.py",)), V.NO_CHANGE, f"{HEAD}, but changed nothing in a.py, which was asked for."),
    (NOTHING, V.NO_CHANGE, f"{HEAD}, but changed nothing in it."),
    (replace(NOTHING, empty=True), V.NO_CHANGE, f"{HEAD}, but with an empty reply."),
    (
        replace(NOTHING, foreign=("c.py",), refused=("../x",)),
        V.OUT_OF_SCOPE,
        f"{HEAD}, but edited only files of other agents: c.py, ../x.",
    ),
    (
        replace(GOOD, end="rejected", replies=4, complaint="No match\nfor  this"),
        V.REJECTED_EDIT,
        f"{HEAD}, but after 4 replies its edits still did not fit: No match for this",
    ),
    # Whose reply is its result has changed nothing, and what it changed all the same does not count.
    (replace(NOTHING, only_answers=True), V.APPLIED, ANSWERED),
    (replace(GOOD, only_answers=True, changed=("b.py",), foreign=("c.py",)), V.APPLIED, ANSWERED),
    (replace(NOTHING, only_answers=True, empty=True), V.NO_CHANGE, f"{HEAD}, but with an empty reply."),
    (
        replace(NOTHING, only_answers=True, empty=True, owned=()),
        V.NO_CHANGE,
        f"{MODEL} replied for a question, but with an empty reply.",
    ),
    (
        replace(NOTHING, only_answers=True, cut_off=True),
        V.CONTEXT,
        f"{HEAD}, but the reply was cut off at the model's output limit.",
    ),
    (replace(GOOD, end="exhausted"), V.CONTEXT, f"{HEAD}, but the reply was cut off at the model's output limit."),
    (replace(GOOD, cut_off=True), V.CONTEXT, f"{HEAD}, but the reply was cut off at the model's output limit."),
    (
        replace(GOOD, end="no_reply", exchange=LastExchange(401, "auth", "Wrong\nkey")),
        V.AUTH,
        f"{MODEL} answered 401 for a.py, b.py: Wrong key",
    ),
    (
        replace(GOOD, end="no_reply", exchange=LastExchange(0, "unreachable", "127.0.0.1:1: refused")),
        V.UNREACHABLE,
        f"{MODEL} gave no answer for a.py, b.py: 127.0.0.1:1: refused",
    ),
    (
        replace(GOOD, end="rejected", exchange=LastExchange(0, "iterations", "the limit of 2 replies is reached")),
        V.ITERATIONS,
        f"{MODEL} gave no answer for a.py, b.py: the limit of 2 replies is reached",
    ),
    (
        replace(GOOD, end="no_reply"),
        V.CRASHED,
        f"{HEAD}, but Aider produced no edits from the reply.",
    ),
    (
        replace(GOOD, end="no_reply", exchange=None),
        V.CRASHED,
        f"{MODEL} was not asked about a.py, b.py, but Aider produced no edits from the reply.",
    ),
    (
        replace(GOOD, end="crashed", failure="killed by SIGSEGV"),
        V.CRASHED,
        "Aider crashed on a.py, b.py: killed by SIGSEGV",
    ),
    (
        replace(GOOD, end="stopped", timed_out=3.2, replies=1),
        V.TIMEOUT,
        f"The attempt on a.py, b.py was stopped after 3 s with 1 reply of {MODEL}.",
    ),
    (
        replace(GOOD, end="stopped", timed_out=3.2, replies=0, exchange=None),
        V.TIMEOUT,
        f"The attempt on a.py, b.py was stopped after 3 s with no replies of {MODEL}.",
    ),
]


@pytest.mark.parametrize(("seen", "verdict", "cause"), TABLE)
def test_each_case(seen: AttemptObservation, verdict: V, cause: str) -> None:
    judged = judge_attempt(seen)
    assert (judged.verdict, judged.cause) == (verdict, cause)
    assert bool(judged.remedy) == (verdict is not V.APPLIED)
    assert "\n" not in judged.cause


@pytest.mark.parametrize("failure", (*PROVIDER_VERDICTS, "server", "garbage", "bad_request", "gateway", "drift"))
def test_each_failure_of_a_provider(failure: str) -> None:
    judged = judge_attempt(replace(GOOD, end="no_reply", exchange=LastExchange(503, failure, "why")))
    assert judged.verdict is PROVIDER_VERDICTS.get(failure, V.PROVIDER_ERROR)
    assert judged.remedy == FAILURE_REMEDIES.get(failure, POLICY[judged.verdict].remedy)


def test_only_an_accepted_reply_that_changed_what_was_asked_for_is_applied() -> None:
    """All combinations: nothing else may look like success."""
    ends = ("accepted", "rejected", "no_reply", "exhausted", "crashed", "stopped", "anything new")
    heard = (None, REPLY, LastExchange(401, "auth"), LastExchange(500, "server"))
    changes = ((), ("a.py",), ("b.py",), ("new.py",))
    for end, last, changed, cut, late in itertools.product(ends, heard, changes, (False, True), (0.0, 5.0)):
        seen = replace(GOOD, end=end, exchange=last, changed=changed, cut_off=cut, timed_out=late)
        applied = judge_attempt(seen).verdict is V.APPLIED
        assert applied == (end == "accepted" and changed == ("a.py",) and not cut and not late and last == REPLY)


def test_files_that_were_only_found_may_stay_unchanged() -> None:
    found = replace(NOTHING, required=(), says_nothing_to_do=True)
    judged = judge_attempt(found)
    assert (judged.verdict, judged.nothing_to_do, judged.ends_well, judged.remedy) == (V.NO_CHANGE, True, True, "")
    assert judged.cause == f"{MODEL} found nothing to change in a.py, b.py."
    for doubt in ({"says_nothing_to_do": False}, {"must_change": True}, {"required": ("a.py",)}):
        failed = judge_attempt(replace(found, **doubt))
        assert (failed.verdict, failed.nothing_to_do, failed.ends_well) == (V.NO_CHANGE, False, False), doubt
    for other in (replace(found, end="rejected"), replace(found, foreign=("c.py",)), replace(found, cut_off=True)):
        assert not judge_attempt(other).ends_well


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("There is nothing to do here.", True),
        ("No changes are needed in shop/tax.py.", True),
        ("This file does not need to be changed.", True),
        ("It isn't affected by the request, so I leave it as it is.", True),
        ("These files require no edits.", True),
        ("The module has it already, so no changes are necessary in `shop/missing.py`.", True),
        ("No changes are needed in shop/provider.py.", True),
        ("I will leave shop/tax.py as it is.", True),
        ("Done. Nothing else needs to change.", False),
        ("I have updated it; no further changes are needed.", False),
        ("I cannot do that.", False),
        ("I have made the change.", False),
        ("Which of the two functions do you mean?", False),
        # A refusal, a question, advice or a report is no result, though it has such words too.
        ("I'm sorry, there is nothing I can do without the file.", False),
        ("I can't change this file, as it is not in the chat.", False),
        ("I’m not able to change these files.", False),
        ("I won't make this edit, as it is against my policy.", False),
        ("No changes were made, because I need the contents of shop/tax.py first.", False),
        ("I have not changed anything yet. Please add shop/tax.py to the chat.", False),
        ("I do not have access to the file, so there is nothing to change.", False),
        ("Should I leave it as it is?", False),
        ("I don't need to see them. I will now add the function.", False),
        ("You need to change line 3; the file stays as it is in the meantime.", False),
        ("I've updated the function as it is described; nothing needs to be restarted.", False),
        ("It has been updated; the tests stay as they are.", False),
        ("", False),
        # An edit may have been lost.
        ("No other changes are needed:\n```python\nx = 2\n```", False),
        ("Nothing else.\n<<<<<<< SEARCH\nx = 1\n", False),
    ],
)
def test_what_says_that_nothing_is_to_be_changed(reply: str, says: bool) -> None:
    assert says_nothing_to_do([reply]) == says
    assert not says_nothing_to_do(["```\nx = 2\n```", reply])


def test_many_files_are_named_briefly() -> None:
    many = replace(NOTHING, owned=tuple(f"f{n}.py" for n in range(9)))
    assert "f3.py and 5 more" in judge_attempt(many).cause


# --- the table of verdicts ------------------------------------------------------------------------------------------


def test_policy_has_one_row_for_each_verdict() -> None:
    assert set(POLICY) == set(V)


def test_policy_names_each_failure_once() -> None:
    failures = [failure for policy in POLICY.values() for failure in policy.failures]
    assert len(failures) == len(set(failures)) == len(PROVIDER_VERDICTS)


def test_policy_has_a_remedy_unless_the_caller_writes_it() -> None:
    assert {verdict for verdict, policy in POLICY.items() if not policy.remedy} == {
        *(V.APPLIED, V.GATES_FAILED, V.CANCELLED)
    }


def test_policy_never_retries_verdicts_with_their_own_exit_code() -> None:
    """A provider or a limit: another attempt would meet the same one. What was paid stands."""
    for policy in POLICY.values():
        if policy.exit_code in (4, 6):
            assert (policy.retry, policy.answers_stand, policy.junit) == (Retry.NEVER, True, "error")


def test_policy_of_no_verdict_is_that_of_an_interrupted_attempt() -> None:
    assert policy_of("") is POLICY[V.CANCELLED]
    assert policy_of("timeout") is POLICY[V.TIMEOUT]
    assert policy_of("of a newer version") is UNKNOWN


# --- exit codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((V.APPLIED, V.APPLIED), 0),
        ((V.APPLIED, V.AUTH), 1),
        ((V.AUTH, V.UNREACHABLE), 4),
        ((V.QUOTA,), 4),
        ((V.RATE_LIMIT, V.NO_CHANGE), 1),
        ((V.CONTEXT,), 1),
        ((V.CRASHED,), 1),
        ((V.TIMEOUT, V.APPLIED), 1),
        ((V.BUDGET, V.APPLIED), 6),
        ((V.BUDGET, V.AUTH), 6),
        ((), 1),
    ],
)
def test_exit_codes(verdicts: tuple[V, ...], code: int) -> None:
    changed = V.APPLIED in verdicts
    assert compute_exit_code(verdicts, excluded=False, gates_failed=False, changed=changed) == code


def test_exit_code_of_what_is_not_a_verdict() -> None:
    good = (V.APPLIED,)
    assert compute_exit_code(good, excluded=True, gates_failed=False, changed=True) == 1
    assert compute_exit_code(good, excluded=False, gates_failed=True, changed=True) == 1
    assert compute_exit_code(good, excluded=False, gates_failed=False, changed=False) == 1
    assert compute_exit_code(good, excluded=False, gates_failed=False, changed=True, moved=True) == 1
    assert compute_exit_code((V.BUDGET,), excluded=True, gates_failed=True, changed=False, stopped=130) == 130
    assert compute_exit_code((V.AUTH,), excluded=True, gates_failed=True, changed=False, stopped=143) == 143


def test_reference_has_every_verdict_exit_code_and_word_of_verified() -> None:
    text = (REFERENCE / "reference-verdicts.md").read_text("utf-8")
    verdicts, codes, verified = (part.split("\n## ")[0] for part in text.split("\n## ")[1:])
    first_cells = [line.split("|")[1] for line in verdicts.splitlines() if line.startswith("| ")][1:]
    assert {word.strip() for cell in first_cells for word in cell.split(",")} == set(V)
    rows = [line.split("|")[1] for line in codes.splitlines() if line.startswith("| ")][1:]
    assert {int(code) for row in rows for code in row.split(",")} == set(ORDER)
    order = re.search(r"When several apply, the first of (.+)\.", codes)
    assert order and tuple(map(int, re.findall(r"\d+", order[1]))) == ORDER
    words = ", ".join(Verified)
    assert f"`verified` is one of {words}:" in " ".join(verified.split())
    assert f"`verified` ({words})" in (REFERENCE / "reference-files.md").read_text("utf-8")
