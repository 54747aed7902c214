"""The guardian stops a long attempt that leaves its task, and costs next to nothing for one that does not."""

import json
from functools import partial
from pathlib import Path

import pytest

from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.runs import Ran, assert_clean, make_place

pytestmark = pytest.mark.thorough
FILES = {"app.py": "def f():\n    return 1\n"}
MODEL = "openai/gpt-5.4"
ASKS = "curl -sS -o $TMPDIR/reply -H 'content-type: application/json' $OPENAI_BASE_URL/chat/completions"
BODY = '{{"model": "%s", "n": %d, "messages": []}}'
LOOP = f"""for number in $(seq {{count}}); do
printf '{BODY}' "$AGENT_MODEL" $number | {ASKS} -H "authorization: Bearer $OPENAI_API_KEY" -d @-
grep -q choices $TMPDIR/reply || exit 1
done
sed -i 's/return 1/return 2/' app.py"""
EACH = Usage(8_000, 200)


class Watched:
    """An agent that drifts from its `drifts_at`th reply on (0: never), and a guardian that sees it in what is said. The
    last reply of each attempt waits until the guardian has `looked` at as many attempts as have got so far."""

    def __init__(self, drifts_at: int = 0, last: int = 0) -> None:
        self.drifts_at, self.looks, self.replies, self.last, self.ending = drifts_at, 0, 0, last, 0

    def __call__(self, request: Request) -> Reply:
        if "You watch an agent" in request.text:
            self.looks += 1
            is_poem = "poem" in request.text.partition("lately")[2]
            verdict = {"verdict": "drifting", "reason": "it writes poems"} if is_poem else {"verdict": "working"}
            return Reply(json.dumps(verdict))
        self.replies += 1
        if request.body.get("n") == self.last:
            self.ending += 1
            return Reply("I am done.", usage=EACH, until=partial(self.has_looked, self.ending))
        drifts = self.drifts_at and self.replies >= self.drifts_at
        return Reply("I write another poem." if drifts else "I read app.py.", usage=EACH)

    def has_looked(self, attempts: int) -> bool:
        return self.looks >= attempts


def run_guarded(folder: Path, server: ModelServer, count: int, *words: str) -> Ran:
    place = make_place(folder, FILES)
    given = ("--change", "Return 2", "--no-prd", "--agents", "1", "--files", "app.py", "--model", MODEL, "--guardian")
    command = LOOP.format(count=count)
    return place.run(*given, "--agent-kind", "exec", "--agent-cmd", command, *words, server=server)


def test_guardian_stops_an_attempt_that_drifts_and_the_next_one_learns_why(tmp_path: Path) -> None:
    model = Watched(drifts_at=10)
    with ModelServer(model) as server:
        ran = run_guarded(tmp_path, server, 10_000, "--retries", "1", "--max-iterations", "50")
    assert ran.code == 1 and ran.verdicts == ["gates_failed"], ran.out
    assert ran.agents["agent1"]["cause"] == "The guardian stopped the attempt on app.py: it writes poems"
    assert model.looks >= 2 and model.replies < 100
    starts = [event["data"] for event in ran.events() if event["event"] == "attempt_ended"]
    assert "it writes poems" in starts[0]["tried"]["output"]
    assert_clean(ran)


def test_guardian_lets_twenty_good_attempts_pass_for_less_than_three_percent(tmp_path: Path) -> None:
    files = {f"part{number}.py": FILES["app.py"] for number in range(20)}
    place = make_place(tmp_path, files)
    tasks = (f'\n[[task]]\nid = "t{n}"\ntitle = "Do {n}"\nfiles = ["{path}"]\n' for n, path in enumerate(files))
    place.write(
        {".aider_logs/plans/many.toml": 'goal = "Return 2"\n' + "".join(tasks), ".aider_logs/.gitignore": "*\n"}
    )
    command = LOOP.format(count=10).replace("app.py", "part*.py")
    command = command.replace("part*.py", """$(sed -n '/^## Your files/,/^$/s/^- //p' "$AGENT_BRIEF")""")
    given = ("--plan", "many", "--model", MODEL, "--guardian", "--agent-kind", "exec", "--agent-cmd", command)
    model = Watched(last=10)
    with ModelServer(model) as server:
        ran = place.run(*given, server=server)
    assert (ran.code, ran.verdicts) == (0, ["applied"] * 20), ran.out + ran.err
    roles = ran.summary["usage"]["roles"]
    assert model.looks >= 20 and roles["guardian"]["total_tokens"] < 0.03 * roles["agent"]["total_tokens"]
    assert_clean(ran)
