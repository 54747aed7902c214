"""In CI by itself: what GitHub Actions, GitLab and plain CI are shown of a run, and the files that are left."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import appends, no_edits
from tests.support.load import NEVER, wait_until
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place
from tests.support.shell import Shell, shell
from tests.test_foreign_text import commands
from tests.test_report import junit_schema, read_outputs

__all__ = ["shell"]

FILES = {f"f{n}.py": f"x = {n}\n" for n in range(3)}
JOB = ("--change", "Add a line", "--no-prd", "--files", *FILES, "--agents", "3")
EVIL = "done\n::error::owned\n##[error]owned <script>\x1b[31m"


def one_fails(request: Request) -> Reply:
    return no_edits()(request) if "f1.py" in request.files else appends("# hi")(request)


def github(place: Place, **more: str) -> dict[str, Any]:
    folder = place.home
    return {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "step.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
    } | more


def files(ran: Ran) -> dict[str, str]:
    """Every form of the report, all of them there and of this run."""
    stamp = ran.summary["timestamp"]
    names = (f"report_{stamp}.html", f"report_{stamp}.md", f"junit_{stamp}.xml")
    return {Path(name).suffix: (ran.logs / name).read_text("utf-8") for name in names}


def test_github_gets_summary_annotations_and_outputs(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    # Each change alone breaks it, and the base does not.
    check = f"grep -q '# hi' *.py || exit 0; printf {json.dumps(EVIL)!r}; echo f0.py:2: wrong; exit 1"
    with ModelServer(one_fails) as server:
        ran = place.run(*JOB, "--test-cmd", check, server=server, **github(place))
    assert ran.code == 1
    made = files(ran)
    assert (place.home / "step.md").read_text() == made[".md"]
    told = read_outputs((place.home / "output").read_text())
    assert told["run"] == ran.summary["timestamp"] and told["verdict"] == ran.summary["verdict"]
    assert told["branch"] == ran.summary["result"]["side_branch"] and told["exit-code"] == "1"
    assert Path(told["summary"]).is_file() and Path(told["html"]).read_text("utf-8") == made[".html"]
    given = commands(ran.err)
    errors = [each for each in given if each.startswith("::error")]
    assert errors[0].startswith("::error file=f0.py,line=2,title=tests failed::")
    assert [each for each in errors if "file=f1.py" in each] and len(errors) == 2
    assert {each for each in given if each not in errors} == {
        *("::group::Requirements and plan", "::group::Agents", "::group::Checks and result", "::endgroup::")
    }
    assert commands(ran.out) == [] and "\x1b" not in ran.out + ran.err
    assert all(f"  {path}\n" in ran.err for path in (told["summary"], told["html"], told["junit"], told["markdown"]))


@pytest.mark.thorough
def test_gitlab_folds_and_hears_no_foreign_marks(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends("# hi")) as server:
        ran = place.run(*JOB, server=server, CI="true", GITLAB_CI="true")
    assert ran.code == 0, ran.err
    starts, ends = (re.findall(rf"\x1b\[0Ksection_{what}:\d+:(\w+)\s", ran.err) for what in ("start", "end"))
    assert starts == ends == ["orchestra_requirements_and_plan", "orchestra_agents", "orchestra_checks_and_result"]
    assert "junit_" in ran.err and "::" not in ran.err
    assert_clean(ran)


@pytest.mark.thorough
def test_plain_ci(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends("# hi")) as server:
        ran = place.run(*JOB, server=server, CI="true")
    assert ran.code == 0
    assert "section_" not in ran.err and "::" not in ran.err and "\x1b" not in ran.err
    assert "Files of this run:" in ran.err


@pytest.mark.thorough
def test_stopped_by_the_time_out_all_files_are_there(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    slow = lambda request: Reply(appends("# hi")(request).text, latency=0.0 if "f0.py" in request.files else NEVER)  # noqa: E731
    with ModelServer(slow) as server:
        running = place.start(*JOB, server=server, **github(place))
        wait_until(lambda: any('"attempt_ended"' in path.read_text() for path in place.repo.glob(".aider_logs/agent*")))
        running.child.send_signal(signal.SIGTERM)
        ran = running.end()
    assert ran.code == 143
    made = files(ran)
    junit_schema().validate(made[".xml"])
    assert "Stopped by SIGTERM" in made[".html"] and "Stopped by SIGTERM" in made[".md"]
    assert f"aider-orchestrator resume {ran.summary['timestamp']}" in made[".html"]
    assert read_outputs((place.home / "output").read_text())["exit-code"] == "143"


def test_events_on_stdout(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends("# hi")) as server:
        place.write({"f0.py": "x = 5\n"})
        ran = place.run(*JOB, "--events", "-", server=server)
    records: list[dict[str, Any]] = [json.loads(line) for line in ran.out.splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[0]["event"] == "run_started" and records[-1]["event"] == "run_ended"
    assert ran.summary["verdict"] in ran.err
    assert any("f0.py" in record["data"]["text"] for record in records if record["event"] == "note")
    assert not any("body" in record["data"] for record in records)


@pytest.mark.thorough
def test_the_report_can_be_made_again(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(one_fails) as server:
        ran = place.run(*JOB, server=server)
    made, stamp = files(ran), ran.summary["timestamp"]
    assert place.run("report", "--junit").out == made[".xml"]
    assert place.run("report", stamp, "--markdown", "-o", str(tmp_path / "again.md")).code == 0
    assert (tmp_path / "again.md").read_text("utf-8") == made[".md"]
    page = ran.logs / f"report_{stamp}.html"
    page.unlink()
    assert place.run("report").out.strip() == str(page)
    assert page.read_text("utf-8") == made[".html"]
    assert "<ins>" in made[".html"] and "# hi" in made[".html"]


@pytest.mark.thorough
def test_no_key_is_in_any_form(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    key = place.environment()["OPENAI_API_KEY"]
    with ModelServer(appends(f"# {key}")) as server:
        ran = place.run(*JOB, "--test-cmd", f"cat *.py; echo {key}; exit 1", server=server, **github(place))
    for text in (*files(ran).values(), ran.out, ran.err, (place.home / "step.md").read_text()):
        assert key not in text
    assert "[redacted" in files(ran)[".html"]


# --- clear sentences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("head", "foreign"), (("mallory/lighthouse", True), ("ada/lighthouse", False)))
def test_a_pull_request_from_a_fork_has_no_key(head: str, foreign: bool, shell: Shell, tmp_path: Path) -> None:
    event = {"pull_request": {"head": {"repo": {"full_name": head}}, "base": {"repo": {"full_name": "ada/lighthouse"}}}}
    (tmp_path / "event.json").write_text(json.dumps(event))
    env = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    said = shell.run("--change", "x", "--no-prd", "--files", "a.py", **env)
    assert said.code == 2
    assert ("pull request from a fork" in said.err) == foreign
    assert len(commands(said.err)) == 1 and commands(said.err)[0].startswith("::error title=Aider Orchestrator::")


@pytest.mark.thorough
def test_shallow_clones_and_detached_heads_are_named(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({"f0.py": "x = 10\n"})
    place.commit()
    place.git("clone", "-q", "--depth", "1", place.repo.as_uri(), str(tmp_path / "clone"))
    clone = Place(tmp_path / "clone", place.home, place.tmp)
    clone.git("checkout", "-q", "--detach")
    with ModelServer(appends("# hi")) as server:
        ran = clone.run(*JOB, server=server, CI="true")
    assert ran.code == 0
    assert "This clone is shallow" in ran.err and "HEAD is detached" in ran.err
    assert "A CI job's checkout does not last: --pr, --push or --patch FILE" in ran.err
    assert "git merge aider-orchestrator/" in ran.out
