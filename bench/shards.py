"""What it costs to cut a plan into shards and to combine their archives, and whether that grows with the plan.

python -m bench.shards [--sizes 500:25 5000:256]

The repository, the plan, git, `plan shard` and `combine` are real. The shards are not run: each archive holds what a
host that only sleeps would leave, with the events of a run and commits that git made. It exits with 1 if a task of the
largest plan costs more than twice as much as one of the smallest.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra import events
from orchestra.events import Event, Payload, make_event, to_json_value
from orchestra.journal.run_archive import RunArchive, write_run_archive
from orchestra.model import DivisionBasis, TargetFile, Task, TaskState, Usage, Verdict

PROGRAM = Path(__file__).resolve().parents[1] / "aider_orchestrator.py"
HEAD = ("tasks", "shards", "shard ms/task", "shard MiB", "combine ms/task", "combine MiB")
ROW = "{:>8}{:>8}{:>15}{:>11}{:>17}{:>13}"
TOLERANCE = 2.0
TASK = '\n[[task]]\nid = "t{0}"\nbrief = "Add more to {1}."\nfiles = ["{1}"]\nneeds = {2}\n'
STAMP = "20260101_000000"


@dataclass(frozen=True)
class Cost:
    """CPU seconds and the most memory of a command."""

    seconds: float
    peak: float


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", default=["500:25", "5000:256"])
    rows = [measure_size(*map(int, size.split(":"))) for size in parser.parse_args().sizes]
    print(ROW.format(*HEAD))
    for row in rows:
        print(ROW.format(*row[:2], *(f"{value:.1f}" for value in row[2:])))
    grown = [rows[-1][column] / rows[0][column] for column in (2, 4)]
    return int(max(grown) > TOLERANCE)


def measure_size(tasks: int, shards: int) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repo"
        make_repository(repository, tasks)
        cut = run_program(repository, "plan", "shard", "many", "--into", str(shards))
        archives = write_archives(repository, Path(folder))
        combined = run_program(repository, "combine", "many", *map(str, archives), "--no-detect", "-q")
        done = git(repository, "grep", "-l", "more = True", "HEAD").splitlines()
        assert len(done) == tasks, f"{len(done)} of {tasks} tasks are combined"
    each = [1000 * cut.seconds / tasks, cut.peak, 1000 * combined.seconds / tasks, combined.peak]
    return (tasks, shards, *each)


def make_repository(folder: Path, tasks: int) -> None:
    folder.mkdir()
    plan = ['goal = "Add more"\n']
    for number in range(tasks):
        path = path_of(number)
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(f"value = {number}\n")
        plan.append(TASK.format(number, path, f'["t{number - 1}"]' if number % 4 == 3 else "[]"))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "-m", "Start")
    for name, value in (("user.name", "A"), ("user.email", "a@b")):
        git(folder, "config", name, value)
    plans = folder / ".aider_logs/plans"
    plans.mkdir(parents=True)
    (folder / ".aider_logs/.gitignore").write_text("*\n")
    (plans / "many.toml").write_text("".join(plan))


def path_of(number: int) -> str:
    return f"part{number // 50:03}/file{number:05}.py"


def run_program(folder: Path, *words: str) -> Cost:
    """Run the program, and measure it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "PYTHONPATH": str(PROGRAM.parent)}
    code = "import resource, runpy, sys; sys.argv = sys.argv[1:]"
    command = [sys.executable, "-c", f"{code}\n{RUN}", str(PROGRAM), *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, int(done.stderr.splitlines()[-1]) / 1024)


# The program ends without the interpreter's finalization, so its memory is told before that.
RUN = """
import os
leave = os._exit
def tell(code):
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr, flush=True)
    leave(code)
os._exit = tell
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def write_archives(repository: Path, folder: Path) -> list[Path]:
    """Write an archive for each shard that has tasks."""
    plan = tomllib.loads((repository / ".aider_logs/plans/many.toml").read_text())
    table, base = plan["shards"], git(repository, "rev-parse", "HEAD").strip()
    archives = []
    for number, shard in enumerate(table["shard"], start=1):
        if tasks := sorted(int(name.removeprefix("t")) for name in shard["tasks"]):
            bundle, archive = folder / f"{number}.bundle", folder / f"shard_{number}.tar.gz"
            commits = make_commits(repository, base, tasks, bundle)
            log = list(make_log(table["digest"], f"{number}/{len(table['shard'])}", base, commits))
            branches = {f"aider-orchestrator/{STAMP}/task{task + 1}": commit for task, commit in commits.items()}
            write_run_archive(archive, RunArchive(STAMP, base, branches, log, [], bundle), "bench")
            archives.append(archive)
    return archives


def make_commits(repository: Path, base: str, tasks: Sequence[int], bundle: Path) -> dict[int, str]:
    """Make a commit for each task on the base, or on the task that it needs, and bundle them."""
    lines = []
    for task in tasks:
        text = f"value = {task}\nmore = True\n"
        parent = f"refs/aider-orchestrator/t{task - 1}" if task % 4 == 3 else base
        lines += [
            f"commit refs/aider-orchestrator/t{task}\ncommitter A <a@b> 0 +0000\ndata 4\nMore\n",
            f"from {parent}\n",
        ]
        lines += [f"M 100644 inline {path_of(task)}\ndata {len(text)}\n{text}\n"]
    git(repository, "fast-import", "--quiet", text="".join(lines))
    refs = git(repository, "for-each-ref", "--format=%(refname) %(objectname)", "refs/aider-orchestrator/t*").split()
    git(repository, "bundle", "create", "-q", str(bundle), *refs[::2], f"^{base}")
    git(repository, "update-ref", "--stdin", text="".join(f"delete {ref}\n" for ref in refs[::2]))
    return {int(ref.rpartition("/t")[2]): commit for ref, commit in zip(refs[::2], refs[1::2], strict=True)}


def make_log(digest: str, shard: str, base: str, commits: dict[int, str]) -> Any:
    """Return the events of a shard, as a run writes them."""
    now, seq = time.time_ns() // 1_000_000, 0

    def event(payload: Payload, task: int | None = None, attempt: int | None = None) -> Event:
        nonlocal seq
        seq += 1
        return make_event(STAMP, seq, now + seq, payload.kind, task, attempt, to_json_value(payload))

    tasks = tuple(Task(task + 1, "", (TargetFile(path_of(task), 20),), name=f"t{task}") for task in commits)
    about: dict[str, Any] = {
        "folder": "",
        "pid": 0,
        "namespace": "aider-orchestrator",
        "unborn": False,
        "repository": "",
    }
    about |= {"branch": "main", "base": base, "model": "", "provider": "", "options": {"shard": shard}}
    yield event(events.RunStarted(change="Add more", **about))
    made: dict[str, Any] = {"skipped": (), "aside": (), "named": (), "words": True, "estimate": None, "cut": digest}
    yield event(events.PlanMade(agents=1, basis=DivisionBasis(), tasks=tasks, **made))
    for number, (task, commit) in enumerate(commits.items(), start=1):
        parent = commits[task - 1] if task % 4 == 3 else ""
        yield from (event(events.TaskMoved(state), task + 1) for state in (TaskState.READY, TaskState.ACTIVE))
        yield event(events.AttemptStarted(model="gpt-4o", base=parent or base), task + 1, 1)
        used = Usage(requests=1, replies=1, input=2_000, output=100, dollars=0.01)
        asked: dict[str, Any] = {"provider": "openai", "model": "gpt-4o", "status": 200, "failure": "", "message": ""}
        asked |= {"seconds": 1.0, "identity": f"{task}", "replayed": False, "recalled": False, "drifted": False}
        asked |= {"remark": "", "type": "", "body": "", "digest": ""}
        yield event(events.RequestEnded(role="agent", usage=used, number=number, **asked), task + 1, 1)
        lesson = events.Lesson("", (), "")
        end: dict[str, Any] = {"cause": "", "remedy": "", "seconds": 1.0, "tried": lesson, "changed": (path_of(task),)}
        yield event(events.AttemptEnded(verdict=Verdict.APPLIED, commit=commit, parent=parent, **end), task + 1, 1)
        yield event(events.TaskMoved(TaskState.AWAITING_QA), task + 1)


def git(folder: Path, *words: str, text: str = "") -> str:
    done = subprocess.run(["git", *words], cwd=folder, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {' '.join(words[:2])}: {done.stderr[-500:]}"
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
