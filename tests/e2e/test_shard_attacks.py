"""Forged archives of shards are refused or contained, each in one sentence, and nothing of theirs takes effect."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import knows
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, Ran
from tests.support.sharding import archives_of, clone_job, make_sharded, run_shard

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n", "tests/test_c.py": "c = 1\n"}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
Contents = dict[str, bytes]
Change = Callable[[Contents, dict[str, Any], list[dict[str, Any]]], object]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two shards are done: the first has two tasks, the second has one."""
    place = make_sharded(tmp_path_factory.mktemp("shards"), FILES, {"b": ["a"]})
    with ModelServer(knows(WANTED, set())) as server:
        assert place.run("plan", "shard", "many", "--into", "2").code == 0
        for shard in ("1/2", "2/2"):
            assert run_shard(place, shard, server).code == 0
    yield place


def forge(archive: str, target: Path, change: Change) -> Path:
    """Change an archive, with digests that fit."""
    with tarfile.open(archive) as source:
        contents = {about.name: source.extractfile(about).read() for about in source}  # type: ignore[union-attr]
    manifest = json.loads(contents.pop("manifest.json"))
    events = [json.loads(line) for line in contents["events.jsonl"].splitlines()]
    change(contents, manifest, events)
    contents["events.jsonl"] = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    manifest["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    with gzip.open(target, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive_file:
        for name, content in {"manifest.json": json.dumps(manifest).encode(), **contents}.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive_file.addfile(about, io.BytesIO(content))
    return target


def combine_forged(place: Place, folder: Path, change: Change) -> Ran:
    """Combine a forged archive of the first shard with the second shard's own, in a clone."""
    first, second = archives_of(place)
    forged = forge(first, folder / "forged.tar.gz", change)
    job = clone_job(place, f"combine{folder.name}")
    ran = job.run("combine", "many", str(forged), second, OPENAI_API_KEY="")
    shown = ran.out + ran.err
    assert ran.code == 1, shown
    assert "Traceback" not in shown and "\x1b" not in shown
    assert (job.repo / "tests/test_c.py").read_text() == WANTED["tests/test_c.py"]
    assert job.git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").split() == ["main"]
    assert not list(job.repo.rglob("evil*")) and not (job.repo / ".git/hooks/post-merge").exists()
    return ran


def edit_events(kind: str, **values: Any) -> Change:
    def change(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["event"] == kind:
                event["data"] |= values

    return change


def change_cut(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    edit_events("plan_made", cut="0" * 32)(_, __, events)


def name_other_shard(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    events[0]["data"]["options"]["shard"] = "2/2"


def add_task_of_other(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    event = next(event for event in events if event["event"] == "attempt_ended")
    events.append(event | {"task": 3, "seq": events[-1]["seq"] + 1})


def earn_money(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    next(event for event in events if event["event"] == "request")["data"]["usage"]["dollars"] = -100.0


def move_back(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    events[3]["run"] = "20200101_000000"


def change_base(_: Contents, manifest: dict[str, Any], events: list[dict[str, Any]]) -> None:
    manifest["base"] = events[0]["data"]["base"] = "0" * 40


def set_dollars(amount: float) -> Change:
    def change(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
        next(event for event in events if event["event"] == "request")["data"]["usage"]["dollars"] = amount

    return change


def live_in_future(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    events[-1]["time"] = 10**18


def keep_other_branch(_: Contents, __: dict[str, Any], events: list[dict[str, Any]]) -> None:
    event = next(event for event in events if event["event"] == "attempt_ended")
    events.append(
        event | {"event": "branch_kept", "data": {"branch": "main; touch evil"}, "seq": events[-1]["seq"] + 1}
    )


@pytest.mark.thorough
@pytest.mark.xdist_group("shard_attacks")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (change_cut, "it is of another plan, or of another cut of this one."),
        (change_base, "it is of another plan, or of another cut of this one."),
        (name_other_shard, "it does not have the tasks of shard 2/2."),
        (add_task_of_other, "it has events of task 3, which is not of shard 1/2."),
        (earn_money, "are not possible."),
        (set_dollars(float("inf")), "the amounts of event"),
        (set_dollars(1e308), "the amounts of event"),
        (live_in_future, "its events are not of the past: the clock here or there is wrong."),
        (keep_other_branch, "names the branch 'main; touch evil', which is not of task 1."),
        (edit_events("attempt_ended", commit="", parent=""), "is said to be done, but it has no commit."),
        (edit_events("attempt_ended", commit="", answered=True), "is said to be done, but it has no commit."),
        (move_back, "its events are not those of run"),
        (lambda contents, _, __: contents.update({"../evil": b"x"}), "which an exported run does not"),
        (lambda contents, _, __: contents.update({"commits.bundle": b"no bundle"}), "git cannot read its commits."),
        (lambda contents, _, __: contents.pop("commits.bundle"), "git cannot read its commits."),
        (edit_events("attempt_ended", commit="f" * 40), "Its commit ffffffffffff is missing."),
        (edit_events("attempt_ended", commit="--help"), "Its commit --help is missing."),
    ],
)
def test_forged_archive_is_refused(place: Place, tmp_path: Path, change: Change, why: str) -> None:
    ran = combine_forged(place, tmp_path, change)
    assert any("forged.tar.gz" in line and why in line for line in ran.err.splitlines()), ran.err
    assert ran.agents["agent1"]["verdict"] == ran.agents["agent2"]["verdict"] == ""
    assert ran.agents["agent3"]["verdict"] == "applied"


def replace_commits(place: Place, files: dict[str, str], *, root: bool = False, link: bool = False) -> Change:
    """Put a commit with these files in the place of the first shard's."""
    git = ["git", "-C", str(place.repo)]
    index = {**os.environ, "GIT_INDEX_FILE": str(place.tmp / "index")}

    def run(*words: str, text: str = "") -> str:
        done = subprocess.run([*git, *words], input=text.encode(), env=index, capture_output=True, check=True)
        return done.stdout.decode().strip()

    run("read-tree", "HEAD")
    for path, content in files.items():
        blob = run("hash-object", "-w", "--stdin", text=content)
        run("update-index", "--add", "--cacheinfo", f"{'120000' if link else '100644'},{blob},{path}")
    parents = [] if root else ["-p", "HEAD"]
    commit = run("commit-tree", run("write-tree"), *parents, "-m", "Evil")
    ref, bundle = f"refs/aider-orchestrator/{commit}", place.tmp / "evil.bundle"
    run("update-ref", ref, commit)
    run("bundle", "create", "-q", str(bundle), ref, *([] if root else ["^HEAD"]))
    run("update-ref", "-d", ref)

    def change(contents: Contents, manifest: dict[str, Any], events: list[dict[str, Any]]) -> None:
        contents["commits.bundle"] = bundle.read_bytes()
        manifest["branches"] = dict.fromkeys(manifest["branches"], commit)
        edit_events("attempt_ended", commit=commit, parent="")(contents, manifest, events)

    return change


@pytest.mark.thorough
@pytest.mark.xdist_group("shard_attacks")
@pytest.mark.parametrize(
    ("files", "how", "why"),
    [
        (
            {".github/workflows/evil.yml": "on: push"},
            {},
            "Its work changes .github/workflows/evil.yml, which nobody named",
        ),
        ({"tests/test_c.py": "c = 2\n"}, {}, "Its work changes tests/test_c.py, a file of task 3."),
        ({"a.py": "/etc/passwd"}, {"link": True}, "Its work changes a.py, which is no regular file."),
        ({"a.py": "a = 2\n"}, {"root": True}, "does not stand on the plan's base."),
        ({".gitattributes": "* filter=evil"}, {}, "Its work changes .gitattributes, which nobody named"),
    ],
)
def test_forged_commits_are_refused(
    place: Place, tmp_path: Path, files: dict[str, str], how: dict[str, bool], why: str
) -> None:
    ran = combine_forged(place, tmp_path, replace_commits(place, files, **how))
    assert any("forged.tar.gz" in line and why in line for line in ran.err.splitlines()), ran.err
    assert ran.agents["agent1"]["verdict"] == ""


@pytest.mark.thorough
@pytest.mark.xdist_group("shard_attacks")
def test_forged_texts_settings_and_refs_take_no_effect(place: Place, tmp_path: Path) -> None:
    """What is taken of such an archive is data: its texts are shown as they are, without control characters."""

    def change(_: Contents, manifest: dict[str, Any], events: list[dict[str, Any]]) -> None:
        commit = next(iter(manifest["branches"].values()))
        manifest["branches"] |= {
            "main": commit,
            "evil": commit,
            f"aider-orchestrator/{manifest['run']}/../evil": commit,
            **{f"aider-orchestrator/{manifest['run']}/task{n}": commit for n in range(3, 3000)},
        }
        events[0]["data"]["options"] |= {"test_cmd": "touch evil", "setup_cmd": "touch evil", "budget": 1e9}
        events[0]["data"]["folder"] = str(place.home)
        for event in events:
            if event["event"] == "attempt_ended":
                event["data"] |= {"cause": "\x1b]0;evil\x07</script>::error::evil", "verdict": "no_change"}

    ran = combine_forged(place, tmp_path, change)
    assert ran.agents["agent1"]["verdict"] == "no_change" and place.home.is_dir()
    assert "budget" not in ran.summary["limits"] or ran.summary["limits"]["budget"] is None


@pytest.mark.thorough
@pytest.mark.xdist_group("shard_attacks")
def test_newer_archive_with_bad_commits_does_not_displace_a_good_one(place: Place, tmp_path: Path) -> None:
    def change(contents: Contents, manifest: dict[str, Any], events: list[dict[str, Any]]) -> None:
        replace_commits(place, {".github/workflows/evil.yml": "on: push"})(contents, manifest, events)
        events[-1]["time"] += 1000

    first, second = archives_of(place)
    forged = forge(first, tmp_path / "forged.tar.gz", change)
    job = clone_job(place, f"combine{tmp_path.name}")
    ran = job.run("combine", "many", str(forged), first, second, OPENAI_API_KEY="")
    assert ran.code == 0 and f"{forged}: Its work changes .github/workflows/evil.yml, which nobody named" in ran.err, (
        ran.err
    )
    assert {path: (job.repo / path).read_text() for path in FILES} == WANTED
