"""The workflows with shards in examples/, job by job as their CI systems run them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_examples import EXAMPLES, GOOD, checkout, environment, image, wheel
from tests.support.ci_runner import GitHub, gitlab_job, read
from tests.support.hostserver import TOKEN, HostServer
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place

__all__ = ["image"]
pytestmark = [pytest.mark.thorough, pytest.mark.xdist_group("shard_examples")]
KEYS = {"OPENAI_API_KEY": "sk-of-the-repository", "GOOGLE_API_KEY": "AIza-of-the-repository"}


TASKS = [
    {"id": f"more-{n}", "title": f"Add hi to f{n}", "brief": f"Add hi to f{n}.py.", "files": [f"f{n}.py"]}
    for n in (0, 1)
]


def respond(request: Request) -> Reply:
    """Plans two tasks, which do not belong together, and does them."""
    is_planning = request.dialect == "gemini" and not request.asks and '"acceptance"' in request.text
    return Reply(json.dumps({"tasks": TASKS})) if is_planning else GOOD(request)


def clone(place: Place, folder: Path) -> Place:
    """A fresh checkout of the same commit, as the next job gets one."""
    origin = place.git("remote", "get-url", "origin").strip()
    subprocess.run(["git", "clone", "-q", origin, str(folder)], check=True)
    job = Place(folder, place.home, place.tmp)
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.com")):
        job.git("config", key, value)
    return job


def test_github_plans_shards_and_combines(tmp_path: Path, image: Path) -> None:
    path, runner = EXAMPLES / "github-shards.yml", tmp_path / "runner"
    place, bare = checkout(tmp_path)
    runner.mkdir()
    needs: dict[str, Any] = {}

    def run(name: str, **matrix: Any) -> GitHub:
        folder = clone(place, tmp_path / f"{name}{matrix.get('shard', '')}{len(list(tmp_path.iterdir()))}").repo
        contexts: dict[str, Any] = {"secrets": KEYS, "inputs": {"change": "Add hi"}, "needs": needs, "matrix": matrix}
        contexts["github"] = {"token": TOKEN}
        env = environment(place, server, image, GITHUB_ACTIONS="true", OPENAI_API_KEY="", GOOGLE_API_KEY="")
        env |= {key: value for key, value in host.environment.items() if key != "GITHUB_TOKEN"}
        job = GitHub(folder, runner, env, contexts, artefacts=tmp_path / "artefacts")
        return job.job(path, name)

    with ModelServer(respond) as server, HostServer() as host:
        planned = run("plan")
        assert planned.code == 0, planned.said
        needs["plan"] = {"outputs": planned.outputs_of(path, "plan")}
        jobs = json.loads(needs["plan"]["outputs"]["matrix"])["include"]
        assert [job["of"] for job in jobs] == [8] * len(jobs) and 1 <= len(jobs) <= 2
        for job in jobs:
            done = run("shard", **job)
            assert done.code == 0 and (tmp_path / f"artefacts/shard-{job['shard']}").exists(), done.said
        asked = server.count()
        again = run("shard", **jobs[0])  # a person runs the job again
        assert again.code == 0 and "goes on from" in again.said and server.count() == asked, again.said
        combined = run("combine")
    assert combined.code == 0, combined.said
    outputs = combined.contexts["steps"]["combine"]["outputs"]
    (opened,) = host.opened
    assert outputs["pr-url"] == opened["html_url"]
    assert server.count() == asked and "# hi" in bare.git("show", f"{opened['head']}:f1.py")


def test_github_gives_the_key_and_the_right_to_push_to_different_jobs() -> None:
    jobs = read(EXAMPLES / "github-shards.yml")["jobs"]
    can_push = {name for name, job in jobs.items() if "write" in job["permissions"].values()}
    has_key = {
        name for name, job in jobs.items() if any("OPENAI_API_KEY" in step.get("env", {}) for step in job["steps"])
    }
    assert can_push == {"combine"} and has_key == {"plan", "shard"}


def test_gitlab_plans_shards_and_combines(tmp_path: Path, image: Path) -> None:
    path = EXAMPLES / "gitlab-shards.yml"
    place, bare = checkout(tmp_path)
    many = read(path)["shard"]["parallel"]
    kept = tmp_path / "kept"

    def run(name: str, **variables: str) -> str:
        folder = clone(place, tmp_path / f"{name}{variables.get('CI_NODE_INDEX', '')}").repo
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        env = environment(place, server, image, GITLAB_CI="true", CI_COMMIT_BRANCH="main", CHANGE="Add hi", **variables)
        env |= host.environment | {"AIDER_ORCHESTRATOR": str(package)}
        done, paths = gitlab_job(path, name, folder, env)
        assert done.code == 0, done.said
        for found in paths if name != "combine" else []:
            copied = kept / found.relative_to(folder)
            copied.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if found.is_dir() else shutil.copy)(found, copied)
        return done.said

    kept.mkdir()
    package = wheel(tmp_path)
    with ModelServer(respond) as server, HostServer("gitlab") as host:
        run("plan")
        said = [run("shard", CI_NODE_INDEX=str(n), CI_NODE_TOTAL=str(many)) for n in range(1, many + 1)]
        assert sum("has no tasks: there is nothing to do" in text for text in said) >= many - 2
        run("combine")
    (opened,) = host.opened
    assert "# hi" in bare.git("show", f"{opened['source_branch']}:f0.py")
