"""How a plan is cut into shards, and which one a job does."""

import asyncio
import dataclasses
import json
import os
import signal
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.cli.commands.shard import archive_names, end_with, free_archive_name
from orchestra.cli.launch import run_until_done
from orchestra.cli.shard_number import detect_shard_number
from orchestra.conduct.session.shard_archives import FetchedShards, ShardArchive, renamed_events
from orchestra.conduct.session.shard_money import limit_to_rest
from orchestra.errors import PlanError, StoppedBySignal, UsageError
from orchestra.events import Event, make_event
from orchestra.journal.run_archive import RunArchive
from orchestra.model import DivisionBasis, FileLink, Plan, TargetFile, Task
from orchestra.plan.draft import Draft, PlanItem, digest_draft, sharded_draft
from orchestra.plan.shards import (
    Shard,
    ShardNumber,
    Shards,
    describe_groups,
    enough_shards,
    group_tasks,
    pack_shards,
    parse_shard_number,
    share_limits,
)
from orchestra.plan.toml_file import format_draft, parse_draft
from orchestra.report.fold import count_lost_requests, fold_events
from orchestra.settings import Settings
from tests.support.runs import Place
from tests.support.sharding import PLAN, make_sharded


def make_task(number: int, *, needs: tuple[int, ...] = (), path: str = "", requirement: str = "") -> Task:
    files = (TargetFile(path or f"f{number}.py", 10),)
    return Task(number, "", files, needs=needs, name=f"t{number}", requirements=(requirement,) if requirement else ())


def test_tasks_that_belong_together_are_one_group() -> None:
    tasks = [make_task(1), make_task(2, needs=(1,)), make_task(3, requirement="R1"), make_task(4, requirement="R1")]
    tasks += [make_task(5), make_task(6), make_task(7, path="f6.py"), make_task(8)]
    links = (FileLink("f5.py", "f8.py", 9, "changed together 9 times"),)
    groups = group_tasks(Plan(tuple(tasks), 1, DivisionBasis(apart=links)))
    assert groups == [("t1", "t2"), ("t3", "t4"), ("t5", "t8"), ("t6", "t7")]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.integers(1, 12))
def test_every_task_is_in_one_shard_and_no_shard_is_far_above_the_mean(sizes: list[int], many: int) -> None:
    tokens = {f"t{n}": size for n, size in enumerate(sizes)}
    groups = [(name,) for name in tokens]
    shards = pack_shards(groups, tokens, many)
    assert sorted(name for shard in shards for name in shard.tasks) == sorted(tokens)
    assert max(shard.tokens for shard in shards) <= sum(sizes) / many + max(sizes)
    enough = enough_shards(groups, tokens, many)
    assert 1 <= enough <= many
    assert max(s.tokens for s in pack_shards(groups, tokens, enough)) <= max(shard.tokens for shard in shards)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=30), st.floats(0.5, 1000), st.integers(30, 5000))
def test_shares_never_exceed_the_whole(tokens: list[int], budget: float, rpm: int) -> None:
    shards = [Shard(("t",), each) for each in tokens]
    try:
        shared = share_limits(shards, budget, rpm)
    except PlanError as error:
        assert "less than a cent" in str(error)
        return
    assert sum(shard.budget for shard in shared) <= budget + 1e-9
    assert sum(shard.rpm for shard in shared) <= rpm
    assert all(shard.budget > 0 and shard.rpm > 0 for shard in shared)


def test_a_share_that_would_be_no_limit_is_refused() -> None:
    with pytest.raises(PlanError, match="less than a cent"):
        share_limits([Shard(("a",), 1), Shard(("b",), 999)], 0.02, 0)
    with pytest.raises(PlanError, match="cannot share --rpm 1"):
        share_limits([Shard(("a",), 1), Shard(("b",), 1)], 0, 1)


def test_how_many_shards_pay_off() -> None:
    tokens = {f"t{n}": 10 for n in range(40)}
    groups = [tuple(f"t{n}" for n in range(12)), *((f"t{n}",) for n in range(12, 40))]
    assert describe_groups(groups, tokens, 16) == "12 of 40 tasks hang together: 4 shards are enough."
    assert describe_groups(groups, tokens, 4) == ""
    assert describe_groups([("t1",), ("t2",)], tokens, 4) == "There are only 2 tasks: 2 shards are enough."
    assert describe_groups([("t1",)], tokens, 2) == "There is 1 task: 1 shard is enough."


def test_the_table_survives_its_file_and_the_digest_sees_every_change() -> None:
    items = (PlanItem("a", "A", "do a", ("a.py",)), PlanItem("b", "B", "do b", ("b.py",)))
    parts = (Shard(("a",), 5, 0.25, 10), Shard(("b",), 7, 0.5, 10))
    cut = Draft("goal", "", True, (), items, Shards("c" * 40, "d" * 32, 0.75, parts))
    assert parse_draft(format_draft(cut, "x"), "x") == cut
    digest = digest_draft(cut)
    done = cut.with_item(dataclasses.replace(items[0], done="20261130_000000"))
    assert digest == digest_draft(done) == digest_draft(dataclasses.replace(cut, approved=False))
    assert [item.done for item in sharded_draft(done).task] == ["", ""]
    other = dataclasses.replace(cut.shards, shard=(parts[1], parts[0]))
    for changed in (cut.with_item(dataclasses.replace(items[1], brief="x")), dataclasses.replace(cut, shards=other)):
        assert digest_draft(changed) != digest


JOBS = [
    ("1/4", {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "4"}),
    ("4/4", {"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4"}),
    ("1/4", {"CIRCLE_NODE_INDEX": "0", "CIRCLE_NODE_TOTAL": "4"}),
    ("4/4", {"CIRCLE_NODE_INDEX": "3", "CIRCLE_NODE_TOTAL": "4"}),
    ("1/4", {"BUILDKITE_PARALLEL_JOB": "0", "BUILDKITE_PARALLEL_JOB_COUNT": "4"}),
    ("4/4", {"BUILDKITE_PARALLEL_JOB": "3", "BUILDKITE_PARALLEL_JOB_COUNT": "4"}),
    ("1/4", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "0"}),
    ("4/4", {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"}),
    (
        "3/4",
        {
            "SLURM_ARRAY_TASK_ID": "5",
            "SLURM_ARRAY_TASK_COUNT": "4",
            "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_STEP": "2",
        },
    ),
    ("1/4", {"JOB_COMPLETION_INDEX": "0"}),
    ("4/4", {"JOB_COMPLETION_INDEX": "3"}),
]


@pytest.mark.parametrize(("number", "env"), JOBS)
def test_the_number_of_a_job_by_its_system(number: str, env: dict[str, str]) -> None:
    assert str(detect_shard_number(env, 4)) == number


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "none of CI_NODE_INDEX (GitLab), CIRCLE_NODE_INDEX"),
        ({"GITHUB_ACTIONS": "true"}, "none of CI_NODE_INDEX (GitLab)"),
        ({"CI_NODE_INDEX": "0", "CI_NODE_TOTAL": "4"}, "CI_NODE_INDEX is 0, which is none of 4 jobs from 1 on"),
        ({"CIRCLE_NODE_INDEX": "4", "CIRCLE_NODE_TOTAL": "4"}, "which is none of 4 jobs from 0 on"),
        ({"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX is 'x', which is no number"),
    ],
)
def test_a_job_without_a_number_is_told_what_to_give(env: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError) as error:
        detect_shard_number(env, 4)
    assert why in str(error.value)


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "a/b", "1/999", "-1/4", "1/4/4"])
def test_numbers_of_shards_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match="--shard must be I/N"):
        parse_shard_number(text)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_sharded(tmp_path, {"a.py": "a = 1\n", "b.py": "b = 1\n", "c.py": "c = 1\n"}, {"b": ["a"]})


def test_matrices_hold_numbers_of_shards_with_tasks(place: Place) -> None:
    cut = ("plan", "shard", "many", "--into", "3")
    github = place.run(*cut, "--matrix", "github")
    assert github.code == 0 and "There are only 3 tasks: 2 shards are enough." not in github.out
    jobs = json.loads(github.out)["include"]
    assert [(job["shard"], job["of"]) for job in jobs] == [(1, 3), (2, 3)] and jobs[0]["title"].endswith("(2 tasks)")
    assert place.run(*cut, "--matrix", "env").out == 'SHARDS="1/3 2/3"\n'
    assert place.run(*cut, "--matrix", "gitlab").out.count("extends: .shard") == 2
    table = tomllib.loads((place.repo / PLAN).read_text())["shards"]
    assert [shard["tasks"] for shard in table["shard"]] == [["a", "b"], ["c"], []] and table["base"] == place.head()


def test_a_shard_that_cannot_be_done_is_refused_in_one_sentence(place: Place) -> None:
    def refuse(*words: str) -> str:
        ran = place.run(*words)
        assert ran.code == 2 and ran.out == "", ran.out
        return ran.err

    assert "is not cut into shards. Cut it: aider-orchestrator plan shard" in refuse(
        "execute", "many", "--shard", "1/2"
    )
    assert "--into must be a number from 1 to 256" in refuse("plan", "shard", "many", "--into", "0")
    assert place.run("plan", "shard", "many", "--into", "3").code == 0
    assert "is cut into 3 shards, not 2" in refuse("execute", "many", "--shard", "1/2")
    assert "--shard must be I/N" in refuse("execute", "many", "--shard", "x")
    assert "--shard auto finds no number of this job" in refuse("execute", "many", "--shard", "auto")
    assert "are for --shard I/N" in refuse("execute", "many", "--archive", "x.tar.gz")
    assert "--shard is for a plan" in refuse("--change", "x", "--no-prd", "--files", "a.py", "--shard", "1/2")
    assert "there is no such file" in refuse("combine", "many", "gone.tar.gz")
    empty = place.run("execute", "many", "--shard", "auto", CI_NODE_INDEX="3", CI_NODE_TOTAL="3")
    assert empty.code == 0 and empty.out == "Shard 3/3 of the plan many has no tasks: there is nothing to do.\n"
    gone = ("execute", "many", "--shard", "1/3", "--archive", "gone/x.tgz")
    assert "the archive cannot be written: there is no folder gone." in refuse(*gone)
    # `run --plan` is the same, as in the action.
    assert "--shard auto finds no number of this job" in refuse("run", "--plan", "many", "--shard", "auto")
    assert place.run("run", "--plan", "many", "--shard", "3/3").out == empty.out
    plan = place.repo / PLAN
    plan.write_text(plan.read_text().replace("Add more to c.py.", "Add less."))
    assert "has changed since it was cut into shards" in refuse("execute", "many", "--shard", "1/3")


def test_tasks_that_were_done_before_the_cut_stay_done(place: Place) -> None:
    plan = place.repo / PLAN
    plan.write_text(plan.read_text().replace('id = "a"', 'id = "a"\ndone = "20260101_000000"\nsaid = "42"'))
    assert place.run("plan", "shard", "many", "--into", "1").code == 0
    draft = parse_draft(plan.read_text(), "x")
    assert draft.shards.task_ids == ["b", "c"] and [item.id for item in sharded_draft(draft).unfinished] == ["b", "c"]
    assert next(item.said for item in sharded_draft(draft).task if item.id == "a") == "42"
    assert place.run("execute", "many", "--shard", "1/1", "--dry-run").code == 0


def test_events_of_an_archive_get_the_new_name_also_if_one_stamp_begins_with_the_other() -> None:
    old, new = "20260101_000000", "20260101_000000_2"
    started = {"namespace": "aider-orchestrator", "change": "", "options": {}, "folder": "", "pid": 0, "unborn": False}
    started |= {"repository": "", "branch": "", "base": "", "model": "", "provider": ""}
    kept = {"branch": f"aider-orchestrator/{old}/task1"}
    log = [make_event(old, 1, 1, "run_started", None, None, started), make_event(old, 2, 2, "branch_kept", 1, 1, kept)]
    (event,) = renamed_events(RunArchive(old, "", {}, log), new, "aider-orchestrator-agents", 0)
    assert event.run == new and event.data["branch"] == f"aider-orchestrator-agents/{new}/task1"


def test_no_archive_is_written_over_another_one_whatever_its_ending(tmp_path: Path) -> None:
    for ending in (".tgz", ".tar.gz", ""):
        target = tmp_path / f"shard{ending}"
        for expected in (target, tmp_path / f"shard-2{ending}", tmp_path / f"shard-3{ending}"):
            assert free_archive_name(target) == expected
            expected.touch()
    for name in archive_names(tmp_path / "shard.tgz"):
        name.touch()
    with pytest.raises(UsageError, match="there are 99 archives such as"):
        free_archive_name(tmp_path / "shard.tgz")


def test_signals_stop_the_work_but_not_the_archive() -> None:
    """The first signal comes during the work, or only when the archive is written; more may follow."""
    done: list[str] = []

    async def write() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
        done.append("written")

    async def work(signum: int) -> int:
        if signum:
            os.kill(os.getpid(), signum)
            await asyncio.sleep(60)
        return 0

    for signum, code in ((signal.SIGINT, 130), (0, 143)):
        with pytest.raises(StoppedBySignal) as error:
            run_until_done(end_with(write, work(signum)))
        assert error.value.exit_code == code
    assert done == ["written"] * 2


RUN, BASE = "20260101_000000", "c" * 40


def request(time: int, dollars: float, number: int = 1) -> Event:
    data = {"role": "agent", "failure": "", "usage": {"dollars": dollars}, "identity": f"i{time}", "number": number}
    return make_event(RUN, time, time, "request", 1, 1, data)


def reservation(time: int, dollars: float, number: int = 1) -> Event:
    data = {"role": "agent", "number": number, "dollars": dollars, "tokens": 1}
    return make_event(RUN, time, time, "set_aside", 1, 1, data)


def archive_of(number: int, *log: Event) -> ShardArchive:
    return ShardArchive(Path(f"{number}"), RunArchive(RUN, BASE, {}, list(log)), ShardNumber(number, 3))


def left_of(used: list[ShardArchive], unused: list[ShardArchive], *earlier: list[Event], shard: str = "") -> float:
    """What `combine --retry` may spend in all, of $9 in three shards; or a shard of its $3."""
    cut = Shards(BASE, "d", 9.0, (Shard(("a",), 1, 3.0), Shard(("b",), 1, 3.0), Shard(("c",), 1, 3.0)))
    settings = Settings().with_values(budget=3.0 if shard else 9.0, shard=shard)
    return limit_to_rest(settings, cut, FetchedShards(tuple(used), tuple(unused), ()), earlier).budget


def test_money_that_the_used_archives_do_not_tell_is_not_spent_again() -> None:
    first, second = archive_of(1, request(1, 0.5)), archive_of(2, request(2, 0.5))
    third = archive_of(3, request(3, 0.5))
    assert left_of([first, second, third], []) == 9.0
    assert left_of([first, second], []) == 6.0, "a shard that has no archive may have spent its share"
    assert left_of([first, second], [third]) == 6.0, "also if its archive cannot be used"
    goes_on = archive_of(1, request(1, 0.5), request(4, 0.25))
    assert left_of([goes_on, second, third], [first]) == 9.0, "the newer one has what the older one spent"
    anew = archive_of(1, request(5, 0.25))
    assert left_of([anew, second, third], [first]) == 8.5
    forged = archive_of(1, request(6, 1e9))
    assert left_of([first, second, third], [forged]) == 6.0, "no try has more than its share"


def test_money_that_runs_in_the_clone_have_spent_is_not_spent_again() -> None:
    every = [archive_of(n, request(n, 0.5)) for n in (1, 2, 3)]
    known = [request(n, 0.5) for n in (1, 2, 3)]
    once, twice = [*known, request(7, 1.0)], [*known, request(8, 2.0), reservation(9, 0.75, number=2)]
    assert left_of(every, [], once) == 8.0
    assert left_of(every, [], once, twice) == 5.25, "a request that was lost may be billed"
    newer = [request(1, 0.5), request(10, 1.5)]
    assert left_of(every[:1], [], newer, shard="1/3") == 1.5, "the archive is older than the run in the clone"


def test_lost_requests_of_a_resumed_shard_count_when_it_is_combined() -> None:
    """Each session numbers its requests from 1 on: one of the second does not end a lost one of the first."""
    started = {"namespace": "n", "change": "", "options": {}, "folder": "", "pid": 0, "unborn": False}
    started |= {"repository": "", "branch": "", "base": "", "model": "", "provider": ""}
    begin = make_event(RUN, 1, 1, "run_started", None, None, started)
    resumed = make_event(RUN, 3, 3, "run_resumed", None, None, {"folder": "", "pid": 0, "options": {}})
    log = [begin, reservation(2, 0.75), resumed, reservation(4, 0.25), request(5, 0.125)]
    taken = list(renamed_events(RunArchive(RUN, BASE, {}, log), "20260101_000001", "n", 10))
    assert [event.data["number"] for event in taken] == [11, 12, 12]
    report = fold_events([begin, *taken])
    count_lost_requests(report)
    assert report.usage.paid == 0.875
