"""Run a CI file as it stands, the way its system's runner does: real bash, no terminal, a small environment, and at a
time-out SIGTERM with ten seconds' grace. What only the host has (a checkout, an upload) is looked at, not done."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.load import within
from tests.test_report import read_outputs

ROOT = Path(__file__).resolve().parents[2]
OURS = "OWNER/aider-orchestrator@v0.2"
GRACE = 10.0
Over = Callable[[], bool]
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


def never() -> bool:
    return False


def read(path: Path) -> dict[str, Any]:
    """PyYAML takes the key `on` for yes."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


@dataclass
class Done:
    code: int
    said: str


def bash(script: str, folder: Path, env: Mapping[str, str], over: Over = never, group: bool = False) -> Done:
    """`over`: whether the time is up; then the shell, or all that it began, is told to end."""
    number = time.monotonic_ns()
    path, log = folder.parent / f"{number}.sh", folder.parent / f"{number}.log"
    path.write_text(script, "utf-8")
    with log.open("wb") as said:
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(path)]
        child = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    began = time.monotonic()
    try:
        while child.poll() is None and not over():
            assert time.monotonic() - began < within(), log.read_text("utf-8", "replace")
            time.sleep(0.02)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM) if group else child.terminate()
            child.wait(within(GRACE))
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return Done(child.returncode, log.read_text("utf-8", "replace"))


# --- GitHub ---------------------------------------------------------------------------------------------------------


@dataclass
class GitHub:
    """One job on a runner of GitHub's. `contexts` is what expressions may ask for."""

    folder: Path  # the checkout
    runner: Path  # RUNNER_TEMP, and what the runner keeps of each step
    env: dict[str, str]
    contexts: dict[str, Any]
    over: Over = never
    said: str = ""
    code: int = 0
    uploaded: list[str] = field(default_factory=list)
    artefacts: Path = Path()  # of a workflow with several jobs: what they uploaded, a folder for each name

    def job(self, path: Path, name: str = "") -> "GitHub":
        workflow = read(path)
        job = workflow["jobs"][name] if name else next(iter(workflow["jobs"].values()))
        if not name:
            assert workflow["permissions"] == {"contents": "write", "pull-requests": "write"}
        self.contexts |= {"steps": {}, "runner": {"temp": str(self.runner)}}
        if name:
            return self.steps_of(job)
        if "if" in job:
            assert self.value(job["if"].partition(" == ")[0]) == job["if"].partition("'")[2].rstrip("'")
        return self.steps_of(job)

    def steps_of(self, job: Mapping[str, Any]) -> "GitHub":
        for step in job["steps"]:
            if not self.code or step.get("if") == "always()":
                self.step(step, self.contexts)
        return self

    def outputs_of(self, path: Path, name: str) -> dict[str, str]:
        """What the job hands to those that need it."""
        job = read(path)["jobs"][name]
        return {output: self.text(value, self.contexts) for output, value in job.get("outputs", {}).items()}

    def step(self, step: Mapping[str, Any], contexts: dict[str, Any], env: Mapping[str, str] | None = None) -> None:
        given = dict(env or {}) | {name: self.text(value, contexts) for name, value in step.get("env", {}).items()}
        used = step.get("uses", "")
        if used == OURS:
            self.action(step, contexts, given)
        elif used.startswith("actions/upload-artifact") and self.artefacts != Path():
            self.upload(self.text(step["with"]["name"], contexts), step["with"])
        elif used.startswith("actions/download-artifact"):
            self.download(step, contexts)
        elif used.startswith("actions/upload-artifact"):
            # Without include-hidden-files nothing of a folder whose name begins with a dot is uploaded.
            assert step["with"]["include-hidden-files"]
            self.uploaded = [path.name for path in (self.folder / step["with"]["path"]).iterdir()]
        elif used.startswith("actions/cache/"):
            assert self.text(step["with"]["path"], self.contexts) == f"{self.runner}/aider-orchestrator"
            assert contexts["steps"]["wanted"]["outputs"]["key"]
        elif not used:
            self.run(step, contexts, given)
        else:
            assert used.startswith("actions/checkout") and step["with"]["fetch-depth"] == 0

    def upload(self, name: str, given: Mapping[str, Any]) -> None:
        """What the paths match, below the folder that all of them share: here the checkout."""
        target = self.artefacts / name
        assert given.get("overwrite") or not target.exists(), f"the artefact {name} exists"
        shutil.rmtree(target, ignore_errors=True)
        for pattern in given["path"].split():
            assert given.get("include-hidden-files") or not pattern.startswith(".")
            for found in self.folder.glob(pattern.rstrip("/")):
                copied = target / found.relative_to(self.folder)
                copied.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if found.is_dir() else shutil.copy)(found, copied)

    def download(self, step: Mapping[str, Any], contexts: Mapping[str, Any]) -> None:
        given = step["with"]
        pattern = self.text(given.get("name") or given["pattern"], contexts)
        found = sorted(self.artefacts.glob(pattern))
        assert found or step.get("continue-on-error"), f"there is no artefact {pattern}"
        for folder in found:
            shutil.copytree(folder, self.folder, dirs_exist_ok=True)

    def action(self, step: Mapping[str, Any], contexts: dict[str, Any], env: Mapping[str, str]) -> None:
        """A composite action: its steps, with contexts of their own, and then its outputs."""
        told = read(ROOT / "action.yml")
        given = {name: self.text(value, contexts) for name, value in step["with"].items()}
        assert given.keys() <= told["inputs"].keys()
        inside = {"inputs": dict.fromkeys(told["inputs"], "") | given, "steps": {}}
        for each in told["runs"]["steps"]:
            if not self.code:
                self.step(each, inside, dict(env) | {"GITHUB_ACTION_PATH": str(ROOT)})
        outputs = {name: self.text(each["value"], inside) for name, each in told["outputs"].items()}
        contexts["steps"][step.get("id", "")] = {"outputs": outputs}

    def run(self, step: Mapping[str, Any], contexts: dict[str, Any], env: Mapping[str, str]) -> None:
        assert "${{" not in step["run"], "an expression in a script is read by the shell"
        files = {name: self.runner / f"{name}_{time.monotonic_ns()}" for name in ("output", "step_summary")}
        own = {f"GITHUB_{name.upper()}": str(path) for name, path in files.items()}
        done = bash(step["run"], self.folder, self.env | {"RUNNER_TEMP": str(self.runner), **env, **own}, self.over)
        self.said, self.code = self.said + done.said, self.code or done.code
        if "id" in step and files["output"].exists():
            contexts["steps"][step["id"]] = {"outputs": read_outputs(files["output"].read_text("utf-8"))}
        if files["step_summary"].exists():
            self.contexts["summary"] = files["step_summary"].read_text("utf-8")

    def text(self, template: Any, contexts: Mapping[str, Any]) -> str:
        words = str(template).lower() if isinstance(template, bool) else str(template)
        return EXPRESSION.sub(lambda found: self.value(found[1], contexts), words)

    def value(self, words: str, contexts: Mapping[str, Any] | None = None) -> str:
        """`github.event.issue.title`, `toJSON(inputs)`. What is not there is empty."""
        if inner := re.fullmatch(r"toJSON\((.+)\)", words):
            return json.dumps((contexts or self.contexts)[inner[1]], indent=2)
        found: Any = contexts or self.contexts
        for name in words.split("."):
            found = found.get(name, "") if isinstance(found, Mapping) else ""
        return str(found)


# --- GitLab ---------------------------------------------------------------------------------------------------------


def gitlab_job(path: Path, name: str, folder: Path, env: Mapping[str, str]) -> tuple[Done, list[Path]]:
    """One job of a file with several, and the paths that are kept of it."""
    jobs = read(path)
    job = jobs[jobs[name]["extends"]] | jobs[name]
    done = bash("\n".join([*job["before_script"], *job["script"]]), folder, job["variables"] | env, group=True)
    return done, [found for pattern in job["artifacts"]["paths"] for found in folder.glob(pattern.rstrip("/"))]


def gitlab(path: Path, folder: Path, env: Mapping[str, str], over: Over = never) -> tuple[Done, set[Path]]:
    """The one job of the file, and the paths that are kept of it. Variables of the project's stand above the job's."""
    (job,) = read(path).values()
    assert job["rules"] == [{"if": "$CHANGE"}] and job["artifacts"]["when"] == "always"
    assert all(isinstance(value, str) for value in job["variables"].values())
    lines = "\n".join([*job["before_script"], *job["script"]])
    # As the first process of a container, the shell itself survives the signal.
    script = f"trap : TERM\n: | eval {shlex.quote(lines)}"
    done = bash(script, folder, job["variables"] | env, over, group=True)
    wanted = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    return done, {found for pattern in wanted for found in folder.glob(pattern.rstrip("/"))}
