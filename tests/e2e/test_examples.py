"""The files in examples/ as they stand, each in a shell like its CI system's: they work, and stopped they leave all."""

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import junitparser
import pytest

from tests.e2e.test_main_job import prd_text
from tests.support.ci_runner import ROOT, GitHub, Over, bash, gitlab, never, read
from tests.support.edits import appends, gemini_prd
from tests.support.hostserver import TOKEN, HostServer
from tests.support.load import NEVER
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, make_place

pytestmark = pytest.mark.thorough

EXAMPLES = ROOT / "examples"
# Nothing of the checkout may run on the way to the program, whatever it is called.
TRAP = "open('/dev/tty'); raise SystemExit('a module of the checkout was run')\n"
FILES = {"f0.py": "x = 0\n", "f1.py": "x = 1\n", "Makefile": "test:\n\t@grep -q x f0.py f1.py\n"}
TRAPS = dict.fromkeys(("venv.py", "pip.py", "json.py", "orchestra/__init__.py"), TRAP)
CHANGE = """-- Add "hi" to `touch owned` $(touch owned) ${HOME} 'all'; $(shell touch owned)\n::error::owned"""
REQUEST = "Add a line\n\n$(touch owned)"
PRD = prd_text("f0.py", "f1.py")
GOOD = gemini_prd(PRD, appends("# hi"))


def slow(request: Request) -> Reply:
    """One agent is done, and the other one waits."""
    return Reply(GOOD(request).text, latency=NEVER if request.asks and "f1.py" in request.files else 0.0)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container's image: a Python of its own, and pip, which find what this one has and ask no network."""
    folder = tmp_path_factory.mktemp("image")
    venv.create(folder, symlinks=True)
    pip = folder / "bin/pip"
    pip.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -P -m pip "$@"\n')
    pip.chmod(0o755)
    return folder


def wheel(folder: Path) -> Path:
    """The program as pip takes it, with no need of what builds wheels."""
    about = folder / "aider_orchestrator-0.dist-info"
    files = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / "orchestra").rglob("*") if path.is_file()}
    files |= {Path(name): (ROOT / name).read_bytes() for name in ("aider_orchestrator.py", "gemini_prd_generator.py")}
    told = {
        "METADATA": "Metadata-Version: 2.1\nName: aider-orchestrator\nVersion: 0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\naider-orchestrator = aider_orchestrator:main\n",
        "RECORD": "",
    }
    path = folder / "aider_orchestrator-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for name, content in (files | {Path(about.name, name): text.encode() for name, text in told.items()}).items():
            made.writestr(str(name), content)
    return path


def checkout(folder: Path) -> tuple[Place, Place]:
    """A clone as CI makes it, and the repository that it is of."""
    place = make_place(folder, FILES | TRAPS)
    bare = Place(folder / "origin.git", place.home, place.tmp)
    subprocess.run(["git", "clone", "-q", "--bare", str(place.repo), str(bare.repo)], check=True)
    place.git("remote", "add", "origin", str(bare.repo))
    return place, bare


def environment(place: Place, server: ModelServer, image: Path, **more: str) -> dict[str, str]:
    """What a job has of its own system. The packages of this Python stand for those that a network would give; but an
    Aider is told of no PYTHONPATH."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    path = f"{image}/bin{os.pathsep}{os.environ['PATH']}"
    ours = {"PATH": path, "PYTHON": sys.executable, "PYTHONPATH": packages, "PIP_NO_INDEX": "1", "CI": "true"}
    return {"AIDER_BIN": str(Path(sys.executable).parent / "aider")} | place.environment(server, **(ours | more))


def half_done(place: Place) -> Over:
    logs = place.repo / ".aider_logs"
    return lambda: any('"attempt_ended"' in path.read_text("utf-8") for path in logs.glob("agent*.jsonl"))


def assert_all_there(place: Place, names: Any, stopped: bool = False) -> None:
    """Every form of the report, of one run, and each of them whole."""
    logs = place.repo / ".aider_logs"
    (page,) = logs.glob("report_*.html")
    stamp = page.stem.removeprefix("report_")
    wanted = {f"summary_{stamp}.json", f"report_{stamp}.html", f"report_{stamp}.md", f"junit_{stamp}.xml"}
    assert wanted <= set(names)
    assert page.read_text("utf-8").endswith("</html>\n")
    assert ("Stopped by SIGTERM" in page.read_text("utf-8")) == stopped
    assert len(list(junitparser.JUnitXml.fromfile(str(logs / f"junit_{stamp}.xml")))) > 0
    assert not (place.repo / "owned").exists()
    assert place.processes() == {}


# --- GitHub ---------------------------------------------------------------------------------------------------------

EVENTS: dict[str, dict[str, Any]] = {
    "github-dispatch.yml": {"inputs": {"change": CHANGE}},
    "github-label.yml": {
        "github": {"event": {"label": {"name": "aider"}, "issue": {"number": 7, "title": CHANGE, "body": REQUEST}}}
    },
}


def job(
    name: str, place: Place, image: Path, runner: Path, server: ModelServer, host: HostServer, over: Over = never
) -> GitHub:
    keys = {"OPENAI_API_KEY": "sk-of-the-repository", "GOOGLE_API_KEY": "AIza-of-the-repository"}
    contexts: dict[str, Any] = {"secrets": keys} | {name: dict(value) for name, value in EVENTS[name].items()}
    contexts["github"] = contexts.get("github", {}) | {"token": TOKEN}
    env = environment(place, server, image, GITHUB_ACTIONS="true", OPENAI_API_KEY="", GOOGLE_API_KEY="")
    env |= {name: value for name, value in host.environment.items() if name != "GITHUB_TOKEN"}
    return GitHub(place.repo, runner, env, contexts, over).job(EXAMPLES / name)


def test_github(tmp_path: Path, image: Path) -> None:
    """Two workflows that open a pull request each, and one at its time-out; the action is set up by the first one."""
    runner = tmp_path / "runner"
    runner.mkdir()
    for name in EVENTS:
        opens_a_pull_request(name, tmp_path / name, image, runner)
    place, _ = checkout(tmp_path / "stopped")
    with ModelServer(slow) as server, HostServer() as host:
        done = job("github-label.yml", place, image, runner, server, host, half_done(place))
    assert done.code == 143, done.said
    assert done.contexts["steps"]["change"]["outputs"]["exit-code"] == "143"
    assert "Stopped by SIGTERM" in done.contexts["summary"] and "Stopped by SIGTERM" in done.said
    assert_all_there(place, done.uploaded, stopped=True)


def opens_a_pull_request(name: str, folder: Path, image: Path, runner: Path) -> None:
    place, bare = checkout(folder)
    with ModelServer(GOOD) as server, HostServer() as host:
        done = job(name, place, image, runner, server, host)
        (prd,) = [asked for asked in server.requests if not asked.asks and asked.dialect == "gemini"]
    assert done.code == 0, done.said
    assert 'Add "hi" to `touch owned` $(touch owned) ${HOME}' in prd.text
    outputs = done.contexts["steps"]["change"]["outputs"]
    (opened,) = host.opened
    assert outputs["pr-url"] == opened["html_url"] and opened["base"] == "main"
    assert outputs["verified"] == "tests" and outputs["exit-code"] == "0"
    assert [name for name, value in outputs.items() if not value] == ["matrix"]
    assert "All 2 tasks are complete" in done.contexts["summary"]
    assert "# hi" in bare.git("show", f"{opened['head']}:f1.py")
    assert opened["head"] == ("aider/issue-7" if "label" in name else outputs["branch"])
    assert_all_there(place, done.uploaded)


def test_only_a_set_label_starts_the_work_on_an_issue() -> None:
    """Not an event that somebody without rights can cause, nor code from a fork beside the keys."""
    events = [read(EXAMPLES / name)["on"] for name in EVENTS]
    assert {event for each in events for event in each} == {"workflow_dispatch", "issues"}
    assert events[1]["issues"] == {"types": ["labeled"]}


# --- GitLab ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", (False, True))
def test_gitlab(stopped: bool, tmp_path: Path, image: Path) -> None:
    place, bare = checkout(tmp_path)
    place.git("checkout", "-q", "--detach")
    place.git("branch", "-q", "-D", "main")
    with ModelServer(slow if stopped else GOOD) as server, HostServer("gitlab") as host:
        env = environment(place, server, image, GITLAB_CI="true", CI_COMMIT_BRANCH="main", CHANGE=CHANGE)
        env |= host.environment | {"AIDER_ORCHESTRATOR": str(wheel(tmp_path))}
        done, kept = gitlab(EXAMPLES / "gitlab-ci.yml", place.repo, env, half_done(place) if stopped else never)
    assert done.code == (143 if stopped else 0), done.said
    assert "section_start:" in done.said and "HEAD is detached" in done.said
    assert "checkout does not last" not in done.said
    assert place.repo / ".aider_logs" in kept and [path for path in kept if path.suffix == ".xml"]
    assert_all_there(place, os.listdir(place.repo / ".aider_logs"), stopped)
    assert len(host.opened) == (0 if stopped else 1)
    if not stopped:
        assert "# hi" in bare.git("show", f"{host.opened[0]['source_branch']}:f0.py")


# --- make -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", (False, True))
def test_make(stopped: bool, tmp_path: Path, image: Path) -> None:
    place, _ = checkout(tmp_path)
    place.write({"Makefile": FILES["Makefile"] + (EXAMPLES / "change.mk").read_text("utf-8")})
    place.commit()
    command = image / "bin/aider-orchestrator"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/aider_orchestrator.py "$@"\n')
    command.chmod(0o755)
    with ModelServer(slow if stopped else GOOD) as server:
        env: Mapping[str, str] = environment(place, server, image, WORDS=CHANGE)
        script = 'exec make change CHANGE="$WORDS" ARGS="--agents 2"'
        done = bash(script, place.repo, env, half_done(place) if stopped else never)
        (prd,) = [asked for asked in server.requests if not asked.asks and asked.dialect == "gemini"]
    assert 'Add "hi" to `touch owned` $(touch owned) ${HOME}' in prd.text
    assert (done.code == 0) != stopped, done.said
    assert "Files of this run:" in done.said
    assert_all_there(place, os.listdir(place.repo / ".aider_logs"), stopped)
    assert ("# hi" in place.git("show", "HEAD:f1.py")) != stopped
