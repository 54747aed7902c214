"""A plan cut into shards, each done in a clone of its own, as jobs of a CI system do it."""

import dataclasses
import json
import subprocess
import tomllib
import xml.etree.ElementTree as xml
from collections.abc import Mapping
from pathlib import Path

from tests.support.modelserver import ModelServer
from tests.support.runs import Place, Ran, make_place

PLAN = ".aider_logs/plans/many.toml"
TASK = '\n[[task]]\nid = "{id}"\nbrief = "Add more to {file}."\nfiles = ["{file}"]\nneeds = {needs}\n'


def make_sharded(folder: Path, files: Mapping[str, str], needs: Mapping[str, list[str]] | None = None) -> Place:
    """A repository with a plan that has a task for each file; the task of a.py is `a`."""
    place = make_place(folder / "origin", files)
    ids = {path.rpartition("/")[2].split(".")[0]: path for path in files}
    tasks = (TASK.format(id=id, file=path, needs=json.dumps((needs or {}).get(id, []))) for id, path in ids.items())
    place.write({PLAN: 'goal = "Add more"\n' + "".join(tasks), ".aider_logs/.gitignore": "*\n"})
    return place


def clone_job(place: Place, name: str) -> Place:
    """The checkout of one job: a clone, with the plan as an artefact."""
    folder = place.repo.parent.parent / name
    job = dataclasses.replace(place, repo=folder / "repo", home=folder / "home", tmp=folder / "tmp")
    for path in (job.home, job.tmp):
        path.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(place.repo), str(job.repo)], check=True)
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.com")):
        job.git("config", key, value)
    job.write({PLAN: (place.repo / PLAN).read_text(), ".aider_logs/.gitignore": "*\n"})
    return job


def run_shard(place: Place, shard: str, server: ModelServer, *words: str, name: str = "") -> Ran:
    """Do a shard in a clone of its own."""
    job = clone_job(place, name or f"job{shard.replace('/', '_of_')}")
    return job.run("execute", "many", "--shard", shard, *words, server=server)


def archives_of(place: Place) -> list[str]:
    """The archives of all jobs."""
    return [str(path) for path in sorted(place.repo.parent.parent.glob("job*/repo/shard_*.tar.gz"))]


def tree_of(place: Place) -> str:
    return place.git("rev-parse", "HEAD^{tree}").strip()


def junit_cases(ran: Ran) -> dict[str, str]:
    """What JUnit says of each case."""
    path = next(ran.logs.glob(f"junit_{ran.summary['timestamp']}.xml"))
    cases = xml.parse(path).getroot().iter("testcase")
    return {
        case.get("name", ""): next((child.tag for child in case if child.tag != "system-out"), "") for case in cases
    }


def shard_files(place: Place, number: int) -> list[str]:
    """The files of a shard's tasks."""
    plan = tomllib.loads((place.repo / PLAN).read_text())
    wanted = plan["shards"]["shard"][number - 1]["tasks"]
    return [path for task in plan["task"] if task["id"] in wanted for path in task["files"]]
