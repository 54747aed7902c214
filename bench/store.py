"""A repository with a long past: what looking at it costs, and whether cleaning gives the space back.

    python -m bench.store [--runs 1000] [--agents 8] [--events 60]

On SQLite, with the log files beside it. The seconds are CPU seconds of a fresh process and of the git commands that it
starts: the interpreter's start, the imports, the look.
"""

import argparse
import base64
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestra.answers.conversation import Turn, pack_turns
from orchestra.events import Event, event_record, make_event, to_json_value
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.journal.open_store import open_store
from orchestra.model import TaskState

PROGRAM = Path(__file__).resolve().parent.parent / "aider_orchestrator.py"
REPEATS = 5
START = 1_795_197_922_000
USED = {"requests": 1, "replies": 1, "input": 2500, "cached": 0, "cache_write": 0, "output": 300, "dollars": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--events", type=int, default=60, help="of each agent, at least 7")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        subprocess.run(["git", "init", "-q", folder], check=True)
        measure(Path(folder), options.runs, options.agents, options.events)


def measure(repo: Path, runs: int, agents: int, events: int) -> None:
    logs = prepare_log_folder(repo / ".aider_logs")
    names = [f"20260101_{number:06}" for number in range(runs)]
    total = fill(logs, names, agents, events)
    print(f"{runs} runs of {agents} agents, {total:,} events")
    middle = names[runs // 2]
    looks = (
        ("runs",),
        ("runs", "--json"),
        ("status",),
        ("status", middle, "--json"),
        ("show", middle, "1"),
        ("logs", middle),
    )
    for words in looks:
        print(f"{' '.join(words):<32}{cpu(repo, *words):7.3f} CPU s")
    print(f"{'store':<32}{megabytes(logs, '*.db*'):7.1f} MB")
    print(f"{'files':<32}{megabytes(logs, '*.jsonl'):7.1f} MB")
    gone = names[: runs * 9 // 10]
    print(f"{f'clean --yes, {len(gone)} runs':<32}{cpu(repo, 'clean', '--yes', *gone, repeats=1):7.3f} CPU s")
    print(f"{'store':<32}{megabytes(logs, '*.db*'):7.1f} MB")
    print(f"{'files':<32}{megabytes(logs, '*.jsonl'):7.1f} MB")
    print(f"{'store check':<32}{cpu(repo, 'store', 'check'):7.3f} CPU s")


def fill(logs: Path, names: list[str], agents: int, events: int) -> int:
    store, total = open_store(logs / "orchestra.db"), 0
    for number, name in enumerate(names):
        made = list(run_events(random.Random(number), name, agents, events))
        store.append_events(".", made)
        files = defaultdict(list)
        for event in made:
            files[event.task].append(json.dumps(event_record(event)) + "\n")
        for task, lines in files.items():
            (logs / (f"agent{task}_{name}.jsonl" if task else f"run_{name}.jsonl")).write_text("".join(lines))
        total += len(made)
    store.close()
    return total


def run_events(chance: random.Random, run: str, agents: int, events: int) -> Iterator[Event]:
    """As a real run tells: most events are short, a reply and what was said are not."""
    begun = {"change": "Teach the lighthouse about fog. " * 8, "repository": "/r", "branch": "main", "base": "0" * 40}
    task = {"files": [{"path": "a.py"}], "requirements": [], "reads": [], "brief": words(chance, 2000)}
    plan = [task | {"id": n, "title": f"part {n}"} for n in range(1, agents + 1)]
    told: list[tuple[str, int | None, dict[str, Any]]] = [
        ("run_started", None, begun | {"model": "openai/gpt-6.1-sol", "provider": "openai"}),
        ("plan_made", None, {"agents": agents, "skipped": [], "tasks": plan}),
    ]
    for step in range(events):
        for agent in range(1, agents + 1):
            what, about = agent_event(chance, step, events - 1 - step)
            told.append((what, agent, about))
    told.append(("run_ended", None, {"exit_code": 0, "error": "", "tasks": agents, "complete": agents, "cost": 0.1}))
    for seq, (kind, number, data) in enumerate(told, 1):
        yield make_event(run, seq, START + seq * 100, kind, number, 1 if number else None, data)


def agent_event(chance: random.Random, done: int, left: int) -> tuple[str, dict[str, Any]]:
    """An agent's life: ready, active, an attempt with many requests, what was said in it, its end, complete."""
    if done < 2 or left < 2:
        states = {0: TaskState.READY, 1: TaskState.ACTIVE}
        return "task_moved", {"state": states.get(done, TaskState.AWAITING_QA if left else TaskState.COMPLETE)}
    if done == 2:
        return "attempt_started", {"model": "openai/gpt-6.1-sol"}
    if left == 2:
        return "attempt_ended", {
            "verdict": "applied",
            "cause": "Changed a.py.",
            "remedy": "",
            "commit": "",
            "seconds": 9.5,
        }
    if left == 3:
        return "conversation", to_json_value(
            pack_turns([Turn((("user", words(chance, 6000)),), words(chance, 3000))], str)
        )
    if chance.random() < 0.5:
        return "assistant_response", {"content": words(chance, chance.randint(50, 2000)), "finish": "stop"}
    asked = {"role": "agent", "provider": "openai", "model": "gpt-6.1-sol", "status": 200, "failure": "", "message": ""}
    body = base64.b64encode(words(chance, chance.randint(50, 1000)).encode()).decode()
    return "request", asked | {"usage": USED, "seconds": 1.5, "identity": "x" * 32, "type": "json", "body": body}


def words(chance: random.Random, length: int) -> str:
    return "".join(chance.choices("abcdefgh \n", k=length))


def cpu(repo: Path, *command: str, repeats: int = REPEATS) -> float:
    """The median of a few fresh processes."""
    seconds = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, str(PROGRAM), *command], cwd=repo, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0 and done.stdout, done.stderr.decode()
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return sorted(seconds)[repeats // 2]


def megabytes(folder: Path, names: str) -> float:
    return sum(path.stat().st_size for path in folder.glob(names)) / 1e6


if __name__ == "__main__":
    main()
