"""Run the real program in a real repository, as a user would, and look at what it leaves behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from orchestra.events import has_ended
from orchestra.journal import jsonl
from orchestra.journal.open_store import open_store
from orchestra.report.fold import fold_events
from tests.support import warm
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer

PROGRAM = Path(__file__).resolve().parents[2] / "aider_orchestrator.py"
KEYS = {
    "OPENAI_API_KEY": "sk-planted-openai-0123456789",
    "ANTHROPIC_API_KEY": "sk-ant-planted-anthropic-0123456789",
    "GOOGLE_API_KEY": "AIza-planted-google-0123456789",
}


@dataclass(frozen=True)
class Place:
    """A user's repository, with a home and a temporary folder that nobody else uses."""

    repo: Path
    home: Path
    tmp: Path

    def git(self, *words: str) -> str:
        # Our own looking sets off no hook.
        quiet = ("core.quotePath=false", "core.hooksPath=/dev/null", "core.fsmonitor=false")
        command = ["git", *(word for each in quiet for word in ("-c", each)), *words]
        done = subprocess.run(command, cwd=self.repo, env=self.environment(), capture_output=True, check=False)
        assert done.returncode == 0, f"git {' '.join(words)}: {os.fsdecode(done.stderr)}"
        return os.fsdecode(done.stdout)

    def write(self, files: Mapping[str, bytes | str]) -> None:
        for name, content in files.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "More") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def status(self) -> list[str]:
        return self.git("status", "--porcelain", "--untracked-files=all").splitlines()

    def environment(self, server: ModelServer | None = None, **extra: str) -> dict[str, str]:
        """Next to nothing of ours. An empty value takes a variable away. Who wants to see retries asks for them."""
        env = {
            "ORCHESTRA_RETRIES": "0",
            "AIDER_BIN": warm.aider() if warm.shared else "",
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
        } | KEYS
        if server is not None:
            bases = server.openai_base, server.anthropic_base, server.gemini_base
            env |= dict(zip(("OPENAI_API_BASE", "ANTHROPIC_API_BASE", "GEMINI_API_BASE"), bases, strict=True))
        return {name: value for name, value in (env | extra).items() if value}

    def start(
        self, *words: str, server: ModelServer | None = None, cwd: Path | None = None, shell: str = "", **env: str
    ) -> "Running":
        """`words` as on the command line, `shell` a script that ends in `exec "$@"`, all other keywords variables."""
        return Running(self, words, self.environment(server, **env), cwd or self.repo, shell)

    def run(self, *words: str, server: ModelServer | None = None, cwd: Path | None = None, **env: str) -> "Ran":
        return self.start(*words, server=server, cwd=cwd, **env).end()

    def processes(self) -> dict[int, str]:
        """Whatever still lives in this place: by its working directory, its command line or its environment."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                traces = [read_proc(folder / name) for name in ("cmdline", "environ")] + [cwd_of(folder)]
                if any(os.fsencode(self.tmp) in trace for trace in traces):
                    found[int(folder.name)] = traces[0].replace(b"\0", b" ").decode("utf-8", "replace")
        return found


def make_place(folder: Path, files: Mapping[str, bytes | str], message: str = "Start") -> Place:
    """A repository whose only commit holds these files."""
    place = Place(folder / "repo", folder / "home", folder / "tmp")
    for path in (place.repo, place.home, place.tmp):
        path.mkdir(parents=True)
    place.git("init", "-q", "-b", "main")
    place.git("config", "user.name", "Ada")
    place.git("config", "user.email", "ada@example.com")
    place.write(files)
    place.git("add", "-A")
    place.git("commit", "-q", "--allow-empty", "-m", message)
    return place


TIME_PASSES = Path(__file__).with_name("time_passes.py")


def with_clock_that_jumps(file: Path, seconds: float) -> str:
    """The shell for a run whose clock jumps ahead by so many seconds once the file is there."""
    return f'python=$1; shift 2; exec "$python" "{TIME_PASSES}" "{file}" {seconds} "$@"'


class Running:
    """The program while it runs."""

    def __init__(self, place: Place, words: tuple[str, ...], env: dict[str, str], cwd: Path, shell: str) -> None:
        self.place = place
        self.before = place.status()
        self.head_before = place.git("rev-parse", "--verify", "-q", "HEAD").strip() if has_head(place) else ""
        self.outputs = [place.home.parent / f"{time.time_ns()}.{name}" for name in ("out", "err")]
        with self.outputs[0].open("wb") as out, self.outputs[1].open("wb") as err:
            command = [*(("sh", "-c", shell, "sh") if shell else ()), sys.executable, str(PROGRAM), *words]
            self.child = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    def end(self) -> "Ran":
        try:
            code = self.child.wait(within())
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"not done after {within():.0f} s:\n{self.said(1)}") from None
        assert_store_tells_the_same(self.place.repo / ".aider_logs")
        return Ran(self.place, code, self.said(0), self.said(1), self.before, self.head_before)

    def said(self, stream: int) -> str:
        return self.outputs[stream].read_text("utf-8", "replace")


@dataclass(frozen=True)
class Ran:
    """The program when it has ended."""

    place: Place
    code: int
    out: str
    err: str
    before: list[str]
    head_before: str

    @property
    def logs(self) -> Path:
        return self.place.repo / ".aider_logs"

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The newest one."""
        paths = sorted(self.logs.glob("summary_*.json"), key=lambda path: path.stat().st_mtime_ns)
        assert paths, f"no summary; exit code {self.code}\n{self.out}\n{self.err}"
        found: dict[str, Any] = json.loads(paths[-1].read_text("utf-8"))
        return found

    @property
    def agents(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.summary["agents"]
        return found

    @property
    def verdicts(self) -> list[str]:
        return [agent["verdict"] for agent in self.agents.values()]

    def events(self, agent: str = "*") -> list[dict[str, Any]]:
        """What the agents' own files tell, `agent1` or all of them."""
        paths = sorted(self.logs.glob(f"{agent}_{self.summary['timestamp']}.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]

    def changed(self) -> dict[str, tuple[int, int]]:
        """What git itself says of the difference that the run made on the user's branch."""
        lines = self.place.git("diff", "--numstat", "-z", "--no-renames", self.head_before, "HEAD").split("\0")
        cut = [line.split("\t", 2) for line in lines if line]
        return {path: (int(added), int(removed)) for added, removed, path in cut}


def assert_clean(ran: Ran, *, branches: tuple[str, ...] = ("main",), prd: bool = False) -> None:
    """Nothing is left but what the user had, the new commits, and one line for the PRD where one was written."""
    place = ran.place
    assert len(place.git("worktree", "list").splitlines()) == 1
    assert place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == list(branches)
    assert not list((place.repo / ".git").rglob("*.lock"))
    new = [line for line in place.status() if line not in ran.before]
    assert [line for line in ran.before if line not in place.status()] == []
    assert len(new) == prd and all(line.startswith("?? docs/prd/") for line in new), new
    assert not list(place.tmp.glob("aider-orchestrator-*")), ran.err
    assert place.processes() == {}


def assert_store_tells_the_same(logs: Path) -> None:
    """Of every run that ended: what its files tell, and what is made of it. One that died may have told it less, and
    one that goes on in another terminal is still telling it."""
    if not (logs / "orchestra.db").exists():
        return
    store = open_store(logs / "orchestra.db")

    def same(stamp: str) -> bool:
        kept, told = store.read_events(".", stamp), list(jsonl.read_run_log(logs, stamp).events)
        ended = has_ended(told)
        return kept == (told if ended else told[: len(kept)]) and fold_events(kept) == fold_events(told[: len(kept)])

    for stamp in jsonl.list_run_stamps(logs):
        wait_until(partial(same, stamp), f"the store and the files of {stamp} tell the same")
    store.close()


def has_head(place: Place) -> bool:
    command = ["git", "rev-parse", "--verify", "-q", "HEAD"]
    return not subprocess.run(command, cwd=place.repo, env=place.environment(), capture_output=True).returncode


def read_proc(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def cwd_of(folder: Path) -> bytes:
    try:
        return os.fsencode((folder / "cwd").readlink())
    except OSError:
        return b""


def descendants(pid: int) -> Iterator[int]:
    """The children of a process, and theirs. One that was orphaned is found by no one: use Place.processes for it."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in read_proc(task / "children").split():
            yield int(child)
            yield from descendants(int(child))
