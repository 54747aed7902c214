"""A plan in shards: each job in a clone of its own, and `combine` at the end."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from orchestra.providers import catalogue
from tests.support.edits import Respond, knows
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.runs import Place, assert_clean
from tests.support.sample import SOAK
from tests.support.sharding import (
    archives_of,
    clone_job,
    junit_cases,
    make_sharded,
    run_shard,
    shard_files,
    tree_of,
)

FILES = {f"part{letter}.py": f"value = {n}\n" for n, letter in enumerate("abcdefgh")}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
NEEDS = {"partb": ["parta"], "partd": ["partc"]}


@pytest.mark.thorough
def test_shards_in_clones_are_combined_to_the_same_tree_as_one_run(tmp_path: Path) -> None:
    place = make_sharded(tmp_path, FILES, NEEDS)
    with ModelServer(knows(WANTED, set())) as server:
        cut = place.run("plan", "shard", "many", "--into", "4", "--budget", "4", "--rpm", "400")
        assert cut.code == 0, cut.err
        shards = [run_shard(place, f"{number}/4", server) for number in range(1, 5)]
        assert [ran.code for ran in shards] == [0] * 4, shards[0].err + shards[0].out
        asked = server.count()
        job = clone_job(place, "combined")
        combined = job.run("combine", "many", *archives_of(place), OPENAI_API_KEY="")
        assert combined.code == 0 and server.count() == asked, combined.out + combined.err
        alone = clone_job(place, "alone").run("execute", "many", server=server)
    assert tree_of(combined.place) == tree_of(alone.place)
    usages = [ran.summary["usage"] for ran in (*shards, combined, alone)]
    for name in ("requests", "input_tokens", "output_tokens"):
        assert sum(usage[name] for usage in usages[:4]) == usages[4][name] == usages[5][name]
    assert usages[4]["cost"] == pytest.approx(sum(usage["cost"] for usage in usages[:4]))
    assert junit_cases(combined) == junit_cases(alone)
    assert_clean(combined)


MODEL = catalogue.resolve_model("openai/gpt-6.1-sol")


def bills_the_most(respond: Respond) -> Respond:
    """Bills as many output tokens as the request allows."""

    def reply(request: Request) -> Reply:
        most = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or MODEL.max_output or 0
        return Reply(respond(request).text, usage=Usage(len(str(request.body)) // 4, int(most)), latency=0.05)

    return reply


def billed(server: ModelServer) -> float:
    used = server.tokens()
    return catalogue.request_cost(MODEL, used.input, used.cached, 0, used.output) or 0.0


class Job:
    """One shard at work in a clone, which may be killed."""

    def __init__(self, place: Place, shard: str, server: ModelServer, *words: str, name: str) -> None:
        self.place, self.shard = clone_job(place, name), shard
        self.running = self.place.start("execute", "many", "--shard", shard, *words, server=server)

    def end(self) -> int:
        return self.running.end().code

    def heard(self) -> int:
        """How many answers its log has."""
        lines = [line for path in self.place.repo.glob(".aider_logs/*.jsonl") for line in path.read_text().splitlines()]
        return sum('"event": "request"' in line and '"failure": ""' in line for line in lines)

    @property
    def archive(self) -> Path:
        number, _, many = self.shard.partition("/")
        return self.place.repo / f"shard_{number}_of_{many}.tar.gz"


def wait_for_request(server: ModelServer, before: int) -> None:
    wait_until(lambda: server.count() > before, "its first request")


def answered_twice(server: ModelServer) -> int:
    """How many requests were answered that had an answer before."""
    bodies = [json.dumps(request.body, sort_keys=True) for request in server.requests if request.status == 200]
    return len(bodies) - len(set(bodies))


@pytest.mark.thorough
def test_killed_corrupt_foreign_and_repeated_shards_lose_nothing_and_overspend_nothing(tmp_path: Path) -> None:
    many, tasks = (16, 60) if SOAK else (6, 18)
    rng = random.Random(f"{tmp_path}")
    files = {f"p{n:02}.py": f"value = {n}\n" for n in range(tasks)}
    wanted = {path: f"{text}more = True\n" for path, text in files.items()}
    budget, unheard = 0.3 * tasks, 0  # answers that were on their way to a job when it was stopped
    place = make_sharded(tmp_path, files)
    other = make_sharded(tmp_path / "other", {"q.py": "value = 1\n"})
    with ModelServer(bills_the_most(knows(wanted | {"q.py": "value = 2\n"}, set()))) as server:
        into = ("--into", str(many), "--budget", str(budget))
        assert place.run("plan", "shard", "many", *into).code == 0
        assert other.run("plan", "shard", "many", "--into", "1").code == 0
        foreign = Job(other, "1/1", server, name="foreign")
        assert foreign.end() == 0
        server.requests.clear()
        jobs: list[Job] = []
        stopped, killed, corrupt, twice = rng.sample(range(1, many + 1), 4)
        for number in range(1, many + 1):
            before = server.count()
            jobs.append(job := Job(place, f"{number}/{many}", server, name=f"job{number}"))
            if number in (stopped, killed):
                wait_for_request(server, before)
                time.sleep(rng.uniform(0.0, 0.3))
                job.running.child.send_signal(signal.SIGTERM if number == stopped else signal.SIGKILL)
            job.end()
            unheard += server.count() - before - job.heard()
        jobs[corrupt - 1].archive.write_bytes(rng.randbytes(10_000))
        again = Job(place, f"{twice}/{many}", server, "--resume-from", str(jobs[twice - 1].archive), name="again")
        assert again.end() == 0

        archives = [str(job.archive) for job in (*jobs, again, foreign) if job.archive.exists()]
        assert str(jobs[killed - 1].archive) not in archives and str(jobs[stopped - 1].archive) in archives
        first = clone_job(place, "first")
        combined = first.run("combine", "many", *archives, OPENAI_API_KEY="")
        assert combined.code == 1, combined.out + combined.err
        named = {jobs[corrupt - 1]: "is no exported run", foreign: "another plan", jobs[twice - 1]: "is older"}
        for job, why in named.items():
            assert any(str(job.archive) in line and why in line for line in combined.err.splitlines()), combined.err
        assert f"{killed}/{many}" in combined.out + combined.err
        done = {path for path in files if (first.repo / path).read_text() == wanted[path]}
        lost = [f for n in (killed, corrupt) for f in shard_files(place, n)]
        assert done >= files.keys() - set(lost) - set(shard_files(place, stopped))
        assert billed(server) <= budget

        # The missing ones are done again: from the archive where there is one, else where they were.
        redone = Job(place, f"{stopped}/{many}", server, "--resume-from", str(jobs[stopped - 1].archive), name="redone")
        assert redone.end() == 0
        for number in (killed, corrupt):
            job = jobs[number - 1]
            job.archive.unlink(missing_ok=True)
            ran = job.place.run("execute", "many", "--shard", job.shard, server=server)
            assert ran.code == 0 and "goes on from run" in ran.err, ran.err
        archives = [str(job.archive) for job in (*jobs, again, redone)]
        ended = clone_job(place, "second").run("combine", "many", *archives, OPENAI_API_KEY="")
        assert ended.code == 0, ended.out + ended.err
        assert {path: (ended.place.repo / path).read_text() for path in files} == wanted
        assert billed(server) <= budget and answered_twice(server) <= unheard
        # The first result can be completed too: what it has already is not changed again.
        assert first.run("combine", "many", *archives, OPENAI_API_KEY="").code == 0
        assert tree_of(first) == tree_of(ended.place)


@pytest.mark.thorough
def test_combine_with_retry_does_the_rest_with_the_money_that_is_left(tmp_path: Path) -> None:
    """One shard is missing, and may have spent its share; of another one a task failed."""
    place = make_sharded(tmp_path, FILES)
    broken = "parta.py"
    with ModelServer(knows({path: text for path, text in WANTED.items() if path != broken}, set())) as server:
        assert place.run("plan", "shard", "many", "--into", "4", "--budget", "8").code == 0
        codes = [run_shard(place, f"{number}/4", server).code for number in (1, 2, 3)]
        assert sorted(codes) == [0, 0, 1]
    alone = clone_job(place, "alone").run("combine", "many", *archives_of(place), OPENAI_API_KEY="")
    assert alone.code == 1 and "Without an archive: shard 4/4. Not done of it: 2 tasks." in alone.out + alone.err
    assert alone.summary["limits"]["budget"] == 6.0
    with ModelServer(bills_the_most(knows(WANTED, set()))) as server:
        retried = clone_job(place, "retried").run("combine", "many", *archives_of(place), "--retry", server=server)
        assert retried.code == 0 and server.count() == 3, retried.out + retried.err
    assert {path: (retried.place.repo / path).read_text() for path in FILES} == WANTED
    assert retried.summary["limits"]["budget"] == 6.0 and retried.summary["usage"]["cost"] < 6.0
    assert_clean(retried)
    again = retried.place.run("combine", "many", *archives_of(place), OPENAI_API_KEY="")
    spent_here = retried.summary["usage"]["cost"] - alone.summary["usage"]["cost"]
    assert spent_here > 0 and again.summary["limits"]["budget"] == pytest.approx(6.0 - spent_here, abs=1e-5)
