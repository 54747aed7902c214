"""What caching saves a task with candidates, retries and a critic, before servers that bill by the published rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import say
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.prefix_billing import PrefixBilling
from tests.support.runs import Place, Ran, make_place
from tests.support.seating import MODELS

BULK = "".join(f"def step_{n}(value):\n    return value + {n}\n\n\n" for n in range(900))
FILES = {"part.py": BULK + "value = 0\n", "notes.py": "note = 1\n"}
JOB = ("--change", "Make the value two", "--no-prd", "--files", "part.py", "--agents-per-task", "3")
PRICES = {"anthropic": "4,20", "openai": "2,10"}  # a price of the user's own has no price of the cache: no marks


def author(request: Request) -> Reply:
    """Three replies whose block does not match, then an edit: another one in each round, and the right one at last."""
    if sum(role == "assistant" and "value = 77" in text for role, text in request.messages) < 3:
        return Reply(say(request, "part.py", "value = 77\n", "value = 1\n"))
    value = next((value for seen, value in (("Attempt 6:", 2), ("Attempt 3:", 1)) if seen in request.text), 7)
    return Reply(say(request, "part.py", request.files["part.py"], f"{BULK}value = {value}\n"))


def critic(request: Request) -> Reply:
    verdict = {"verdict": "pass"} if "+value = 2" in request.text else {"verdict": "fail", "reasons": ["It is not two"]}
    return Reply(f"```json\n{json.dumps(verdict)}\n```")


def run(place: Place, billing: PrefixBilling, provider: str, *words: str) -> Ran:
    def respond(request: Request) -> Reply:
        return billing.answer(request, author(request) if request.asks else critic(request))

    with ModelServer(respond) as server:
        model = MODELS[provider]
        usual = (*JOB, "--critic", "--retries", "2", "--model", model, "--critic-model", model)
        ran = place.run(*usual, *words, server=server)
        assert ran.code == 0, ran.out + ran.err
        assert sum(bool(request.asks) for request in server.requests) == 36, "4 replies, 3 candidates, 3 rounds"
    return ran


@pytest.mark.thorough
@pytest.mark.parametrize("provider", PRICES)
def test_caching_saves_most_of_the_input_and_changes_no_tree(
    tmp_path: Path, provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bills: list[PrefixBilling] = []
    trees: list[str] = []
    sent: list[dict[str, Any]] = []
    for how in (("--price", PRICES[provider]), ()):
        place = make_place(tmp_path / str(len(bills)), FILES)
        billing = PrefixBilling(as_aider=bool(how))
        ran = run(place, billing, provider, *how)
        bills.append(billing)
        trees.append(place.git("rev-parse", "HEAD^{tree}"))
        sent.append(ran.summary["usage"])
    before, after = bills
    with capsys.disabled():
        print(
            f"\n{provider}: input before ${before.dollars:.4f}, after ${after.dollars:.4f}"
            f" (-{1 - after.dollars / before.dollars:.0%}); {sent[1]['cached_tokens']:,} of"
            f" {sent[1]['input_tokens']:,} tokens from cache"
        )
    assert trees[0] == trees[1]
    assert after.dollars < 0.6 * before.dollars
    assert before.marks == 0 and after.marks > 0
    # What the report says is what the provider bills.
    output = sent[1]["output_tokens"] * {"anthropic": 20e-6, "openai": 10e-6}[provider]
    assert sent[1]["cost"] == pytest.approx(after.dollars + output)
    assert f" tokens in ({sent[1]['cached_tokens']:,} from cache), " in ran.out
