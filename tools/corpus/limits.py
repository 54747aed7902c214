"""Scenarios about money, tokens and time, and about what becomes of a run that is stopped or dies."""

import signal

from orchestra.plan.draft import Draft, PlanItem
from orchestra.plan.toml_file import format_draft
from tests.support import misfortunes as m
from tests.support.edits import appends, gemini_prd, knows
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tools.corpus.stage import COLD, Stage, scenario

FILES = {f"part{n}.py": f"value = {n}\n" for n in range(4)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
GOOD = knows(WANTED, set())
CHANGE = ("--change", "Add more", "--no-prd")
JOB = (*CHANGE, "--files", *FILES, "--agents", "4")
TWO = (*CHANGE, "--files", "part0.py", "part1.py", "--agents", "2")
PRD = '# More\n\n```json\n{"work": [{"file": "part0.py", "do": "more"}]}\n```\n'
TESTS = "grep -q more part0.py"


class Slow:
    """Whoever asks for one of these files waits for its reply, as long as there are any."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)

    def __call__(self, request: Request) -> Reply:
        return Reply(GOOD(request).text, latency=120.0 if self.paths & request.files.keys() else 0.0)


# --- limits ---------------------------------------------------------------------------------------------------------


def expensive(request: Request) -> Reply:
    return Reply(GOOD(request).text, usage=Usage(1_000, 4_000))


@scenario
def budget_used_up_and_raised(stage: Stage) -> None:
    """One task after the other, until too little is left."""
    stage.begin(FILES)
    items = tuple(PlanItem(f"t{n}", f"Part {n}", "Add more", (path,)) for n, path in enumerate(FILES))
    (stage.home / "four.toml").write_text(format_draft(Draft("Add more", task=items), "four"))
    with ModelServer(expensive) as server:
        words = ("execute", str(stage.home / "four.toml"), "--max-agents", "1", "--budget", "0.13")
        stage.run(*words, server=server)
        stage.run("resume", "--budget", "5", server=server)


@scenario
def budget_of_many_tasks(stage: Stage) -> None:
    """All at once: whose reservation is refused is a matter of who came first."""
    stage.begin(FILES)
    with ModelServer(expensive) as server:
        stage.run(*JOB, "--budget", "0.13", server=server)
        stage.run("resume", "--budget", "5", server=server)


@scenario
def task_budget(stage: Stage) -> None:
    stage.begin(FILES)
    bad = "part0.py\n```\n<<<<<<< SEARCH\nno\n=======\nyes\n>>>>>>> REPLACE\n```\n"
    respond = lambda request: Reply(  # noqa: E731
        bad if "part0.py" in request.files else GOOD(request).text, usage=Usage(1_000, 3_000)
    )
    stage.play(respond, *TWO, "--task-budget", "0.08")


@scenario
def tokens_used_up(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(m.unmatched, *CHANGE, "--files", "part0.py", "--max-tokens", "4000")


@scenario
def billed_beyond_the_budget(stage: Stage) -> None:
    stage.begin(FILES)
    respond = lambda request: Reply(GOOD(request).text, usage=Usage(1_000, 60_000))  # noqa: E731
    stage.play(respond, *CHANGE, "--files", *FILES, "--max-agents", "2", "--budget", "0.25")


@scenario
def lost_reply_with_a_budget(stage: Stage) -> None:
    stage.begin(FILES)
    torn = iter([Reply("some text " * 50, drop="mid")])
    stage.play(lambda request: next(torn, None) or GOOD(request), *CHANGE, "--files", "part0.py", "--budget", "1")


@scenario
def deadline_while_at_work(stage: Stage) -> None:
    stage.begin(FILES)
    slow = Slow("part2.py")
    with ModelServer(slow) as server:
        stage.run(*JOB, "--deadline", "15s", server=server)
        slow.paths.clear()
        stage.run("resume", "--deadline", "10m", server=server)


@scenario
def deadline_before_the_agents(stage: Stage) -> None:
    stage.begin(FILES)
    with ModelServer(gemini_prd(PRD, GOOD), latency=30.0) as server:
        stage.run("--change", "Add more", "--deadline", "2s", server=server)
    with ModelServer(gemini_prd(PRD, GOOD)) as server:
        stage.run("resume", "--deadline", "5m", server=server)


# --- signals --------------------------------------------------------------------------------------------------------


@scenario
def interrupted_and_resumed(stage: Stage) -> None:
    """Ctrl-C while one agent still waits for its model."""
    stage.begin(FILES)
    slow = Slow("part2.py")
    with ModelServer(slow) as server:
        running = stage.start(*JOB, "--test-cmd", TESTS, server=server)
        stage.wait_for("attempt_ended", 3)
        running.signal(signal.SIGINT)
        slow.paths.clear()
        stage.run("resume", server=server)


@scenario
def terminated(stage: Stage) -> None:
    stage.begin(FILES)
    with stage.playing(Slow(*FILES), *TWO) as running:
        running.wait_for_requests(2)
        running.signal(signal.SIGTERM)


@scenario
def interrupted_while_gemini_writes(stage: Stage) -> None:
    stage.begin(FILES)
    with stage.playing(m.but(latency=60.0), "--change", "Add more") as running:
        running.wait_for_requests(1)
        running.signal(signal.SIGINT)
    stage.play(gemini_prd(PRD, GOOD), "resume")


@scenario
def interrupted_in_a_gate(stage: Stage) -> None:
    stage.begin(FILES)
    with stage.playing(GOOD, *TWO, "--test-cmd", "sleep 60") as running:
        stage.wait_for("gate_started", name="tests", tree="combined")
        running.signal(signal.SIGINT)


# --- killed ---------------------------------------------------------------------------------------------------------


@scenario
def killed_with_requests_on_their_way(stage: Stage) -> None:
    stage.begin(FILES)
    slow = Slow("part1.py", "part2.py")
    with ModelServer(slow) as server:
        running = stage.start(*JOB, "--budget", "1.5", "--test-cmd", TESTS, server=server)
        stage.wait_for("attempt_ended", 2)
        running.server = server
        running.wait_for_requests(4)
        running.kill()
        slow.paths.clear()
        stage.run("resume", server=server)


@scenario
def killed_and_not_resumed(stage: Stage) -> None:
    """It is interrupted for ever: no last event, and a reply that never came."""
    stage.begin(FILES)
    with stage.playing(Slow("part1.py"), *TWO, "--budget", "1") as running:
        stage.wait_for("attempt_ended")
        running.wait_for_requests(2)
        running.kill()


@scenario
def killed_while_gemini_writes(stage: Stage) -> None:
    stage.begin(FILES)
    with stage.playing(m.but(latency=60.0), "--change", "Add more", "--budget", "1") as running:
        running.wait_for_requests(1)
        running.kill()
    stage.play(gemini_prd(PRD, GOOD), "resume")


@scenario
def killed_twice(stage: Stage) -> None:
    stage.begin(FILES)
    for words, count in ((JOB, 1), (("resume",), 2)):
        slow = Slow(*list(FILES)[count:])
        with stage.playing(slow, *words, "--budget", "3") as running:
            stage.wait_for("attempt_ended", count)
            running.wait_for_requests(4 if count == 1 else 3)
            running.kill()
    stage.play(GOOD, "resume")


@scenario
def killed_in_the_gates(stage: Stage) -> None:
    """What had been combined is gated again."""
    stage.begin(FILES)
    go = stage.home / "go"
    check = f"test -e {go} || sleep 60; {TESTS}"
    with stage.playing(GOOD, *TWO, "--test-cmd", check) as running:
        stage.wait_for("gate_started", name="tests", tree="combined")
        running.kill()
    go.touch()
    stage.play(GOOD, "resume")


@scenario
def disk_full_and_resumed(stage: Stage) -> None:
    """The log cannot be written any more: exit code 6, and nothing that was written is lost."""
    stage.begin(FILES)
    with stage.playing(m.but(latency=5.0), *CHANGE, "--files", "part0.py", **COLD) as running:
        running.wait_for_requests(1)
        m.fills_the_disk(running, running.server)
    stage.play(GOOD, "resume")


@scenario
def torn_last_line(stage: Stage) -> None:
    """As a crash of the machine leaves it: a resumed run goes on behind it."""
    stage.begin(FILES)
    with stage.playing(Slow("part1.py"), *TWO) as running:
        stage.wait_for("attempt_ended")
        running.wait_for_requests(2)
        running.kill()
    log = stage.logs / f"agent{stage.task_of('part1.py')}_{stage.stamp}.jsonl"
    log.write_bytes(log.read_bytes() + b'{"event": "request", "run": "2026')
    stage.play(GOOD, "resume")


@scenario
def failed_and_resumed(stage: Stage) -> None:
    """Its settings were wrong; the good tasks stay."""
    stage.begin(FILES)
    wrong = lambda request: m.error(401, "Wrong key")(request) if "part1.py" in request.files else GOOD(request)  # noqa: E731
    stage.play(wrong, *JOB)
    stage.play(GOOD, "resume")


@scenario
def set_up_that_fails(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(GOOD, *CHANGE, "--files", "part0.py", "--setup-cmd", "echo no compiler here; exit 3")
    only_combined = "case $PWD in *gate-*) echo no compiler here; exit 3;; esac"
    stage.play(appends("# x"), *CHANGE, "--files", "part1.py", "--test-cmd", "true", "--setup-cmd", only_combined)
