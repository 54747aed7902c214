"""A plan in shards: each job in a clone of its own, and `combine` at the end."""

from pathlib import Path

import pytest

from tests.support.edits import knows
from tests.support.modelserver import ModelServer
from tests.support.runs import assert_clean
from tests.support.sharding import archives_of, clone_job, junit_cases, make_sharded, run_shard, tree_of

FILES = {f"part{letter}.py": f"value = {n}\n" for n, letter in enumerate("abcdefgh")}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
NEEDS = {"partb": ["parta"], "partd": ["partc"]}


@pytest.mark.thorough
def test_shards_in_clones_are_combined_to_the_same_tree_as_one_run(tmp_path: Path) -> None:
    place = make_sharded(tmp_path, FILES, NEEDS)
    with ModelServer(knows(WANTED, set())) as server:
        cut = place.run("plan", "shard", "many", "--into", "4", "--budget", "4", "--rpm", "400")
        assert cut.code == 0, cut.err
        print(cut.out)
        shards = [run_shard(place, f"{number}/4", server) for number in range(1, 5)]
        print(shards[0].out, shards[0].err)
        assert [ran.code for ran in shards] == [0] * 4, shards[0].err + shards[0].out
        asked = server.count()
        job = clone_job(place, "combined")
        combined = job.run("combine", "many", *archives_of(place), OPENAI_API_KEY="")
        print(combined.out, combined.err)
        assert combined.code == 0 and server.count() == asked, combined.out + combined.err
        alone = clone_job(place, "alone").run("execute", "many", server=server)
    assert tree_of(combined.place) == tree_of(alone.place)
    usages = [ran.summary["usage"] for ran in (*shards, combined, alone)]
    for name in ("requests", "input_tokens", "output_tokens"):
        assert sum(usage[name] for usage in usages[:4]) == usages[4][name] == usages[5][name]
    assert usages[4]["cost"] == pytest.approx(sum(usage["cost"] for usage in usages[:4]))
    assert junit_cases(combined) == junit_cases(alone)
    assert_clean(combined)
