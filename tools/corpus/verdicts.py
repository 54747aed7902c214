"""Scenarios of one agent or a few: each verdict, with and without a PRD."""

import os
import signal

from tests.support import misfortunes as m
from tests.support.edits import appends, edits_foreign, gemini_prd, knows, malformed, no_edits, search_replace
from tests.support.modelserver import Reply, Request, Usage
from tools.corpus.stage import COLD, Stage, scenario

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n", "test_a.py": "import a\n\n\ndef test_a():\n    assert a.a == 1\n"}
JOB = ("--change", "Say hi", "--no-prd", "--files", "a.py")
TWO = ("--change", "Say hi", "--no-prd", "--files", "a.py", "b.py", "--agents", "2")
PYTEST = "python -m pytest -q -p no:cacheprovider"
GOOD = appends("# hi")
PRD = """# Say hi

All files say hi.

```json
{"requirements": [{"id": "R1", "text": "a.py says hi.", "acceptance": ["It ends with hi"]},
                  {"id": "R2", "text": "b.py says hi."}, {"id": "R3", "text": "Nobody does this."}],
 "contracts": [{"name": "hi", "signature": "hi()", "file": "a.py"}],
 "work": [{"file": "a.py", "do": "Say hi.", "requirements": ["R1"]},
          {"file": "b.py", "do": "Say hi.", "requirements": ["R2"]},
          {"file": "new.py", "do": "Say hi in a new file.", "new": true, "requirements": ["R1"]}]}
```
"""


@scenario
def all_applied(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(GOOD, *TWO, "--test-cmd", PYTEST)


@scenario
def prd_by_gemini(stage: Stage) -> None:
    stage.begin(FILES)
    edits = {"a.py": "a = 1\n# hi\n", "b.py": "b = 1\n# hi\n", "new.py": "# hi\n"}
    stage.play(gemini_prd(PRD, knows(edits, {"new.py"})), "--change", "Say hi", "--agents", "3", "--commit-prd")


@scenario
def prd_without_a_block(stage: Stage) -> None:
    stage.begin(FILES)
    (stage.home / "prd.md").write_text("# Say hi\n\nLet a.py say hi, and b.py too.\n")
    words = ("--change", "Say hi", "--prd", str(stage.home / "prd.md"), "--commit-prd", "--model")
    stage.play(GOOD, *words, "anthropic/claude-sonnet-5-5")


@scenario
def prd_that_fails(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(gemini_prd("", m.error(403, "No access.")), "--change", "Say hi")
    stage.play(lambda request: Reply("No access.", status=403), "--change", "Say hi")


PARTS = {f"part{n}.py": f"# {n}\nsize = 1\n" for n in range(8)}


@scenario
def many_verdicts_at_once(stage: Stage) -> None:
    """Each file's agent meets something else."""
    stage.begin(PARTS)
    scripts = {
        "part0.py": GOOD,
        "part1.py": no_edits(),
        "part2.py": malformed(),
        "part3.py": edits_foreign("part0.py", PARTS["part0.py"], "broken = True\n"),
        "part4.py": m.error(400, "Unknown parameter."),
        "part5.py": m.error(413, "Request Entity Too Large"),
        "part6.py": m.half_good,
        "part7.py": m.but(finish="length"),
    }
    words = ("--change", "Say hi", "--no-prd", "--files", *PARTS, "--agents", "8")
    stage.play(lambda request: scripts[next(iter(request.files))](request), *words)


@scenario
def wrong_key(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.error(401, "Incorrect API key provided."), *JOB, "--retries", "2")


@scenario
def no_credit(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.error(402, "Insufficient credits."), *JOB)


@scenario
def rate_limited(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.error(429, "Slow down.", retry_after="3600"), *JOB, "--model", "gemini/gemini-3.8-flash")


@scenario
def waited_for_the_provider(stage: Stage) -> None:
    """A short wait, a server's error, and a lost reply, all of one agent."""
    stage.begin(FILES)
    replies = iter(
        (Reply("Slow down.", status=429, headers={"retry-after": "1"}), Reply("Oops", status=500), Reply(drop="mid"))
    )
    stage.play(lambda request: ("a.py" in request.files and next(replies, None)) or GOOD(request), *TWO)


@scenario
def context_exceeded(stage: Stage) -> None:
    stage.begin(FILES)
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    stage.play(m.error(400, text, "context_length_exceeded"), *JOB)


@scenario
def unreachable(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(GOOD, *JOB, **m.refused(stage))


@scenario
def timed_out(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.but(stall=60.0), *JOB, "--agent-timeout", "3")


@scenario
def iterations_used_up(stage: Stage) -> None:
    stage.begin(FILES | {"a.py": "size = 1\n"})
    stage.play(m.half_good, *JOB, "--max-iterations", "2")


@scenario
def crashed_beside_a_good_one(stage: Stage) -> None:
    stage.begin(FILES)
    slow = lambda request: Reply(GOOD(request).text, latency=60.0 if "a.py" in request.files else 0.0)  # noqa: E731
    with stage.playing(slow, *TWO, **COLD) as running:
        running.wait_for_requests(2)
        stage.wait_for("attempt_ended")
        os.kill(m.seat(running), signal.SIGSEGV)


@scenario
def crashed_with_the_fork_server(stage: Stage) -> None:
    stage.begin(FILES)
    with stage.playing(m.but(latency=60.0), *JOB, **COLD) as running:
        running.wait_for_requests(1)
        m.ends_the_fork_server(running, running.server)


@scenario
def empty_reply(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(lambda request: Reply(""), *JOB, "--retries", "1")


@scenario
def content_filter(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.but(finish="filter"), *JOB, "--model", "anthropic/claude-sonnet-5-5")


@scenario
def usage_not_told(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.without_usage, *JOB)


@scenario
def tokens_of_all_kinds(stage: Stage) -> None:
    """Cached ones and thoughts; and a price that is not known."""
    stage.begin(FILES)
    used = Usage(input=2_000, output=900, cached=1_500, thoughts=700)
    stage.play(lambda request: Reply(GOOD(request).text, usage=used), *JOB)
    stage.play(appends("# more"), *JOB, "--model", "openai/my-model")


@scenario
def retried_until_good(stage: Stage) -> None:
    """What is wrong with each attempt is told to the next one."""
    stage.begin(
        {"part.py": "value = 0\n", "test_part.py": "import part\ndef test_it():\n    assert part.value in (0, 3)\n"}
    )

    def learns(request: Request) -> Reply:
        value = request.text.count("Attempt ") + 1
        return Reply(search_replace("part.py", request.files["part.py"], f"value = {value}\n"))

    stage.play(learns, "--change", "Three", "--no-prd", "--test-cmd", PYTEST, "--retries", "4", "--files", "part.py")


@scenario
def half_done_and_kept(stage: Stage) -> None:
    files = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
    stage.begin(files)

    def one_by_one(request: Request) -> Reply:
        name = "b.py" if "Earlier attempts" in request.text else "a.py"
        return Reply(search_replace(name, files[name], files[name].replace("1", "2")))

    stage.play(one_by_one, *TWO[:-1], "1", "--retries", "4")
