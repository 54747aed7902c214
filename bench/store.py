"""The store with a long past: what looking at it costs, and whether deleting gives the space back.

    python -m bench.store [--runs 1000] [--agents 8] [--events 60]

On SQLite. The seconds are CPU seconds of a fresh process: the interpreter's start, the imports, and the look.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from orchestra.journal.store import open_store
from orchestra.model import Event

ROOT = Path(__file__).resolve().parent.parent
HERE = "/home/you/projects/lighthouse"
REPEATS = 5
# A process that opens the store and looks; {} is the look.
LOOK = """
import sys
from pathlib import Path
from orchestra.journal.store import open_store
store = open_store(Path(sys.argv[1]))
found = {}
assert len(found) == int(sys.argv[2]), len(found)
store.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--events", type=int, default=60, help="of each agent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        measure(Path(folder) / "orchestra.db", options.runs, options.agents, options.events)


def measure(file: Path, runs: int, agents: int, events: int) -> None:
    started, store = time.process_time(), open_store(file)
    names = [f"20260101_{number:06}" for number in range(runs)]
    for number, name in enumerate(names):
        store.append(HERE, run_events(random.Random(number), name, agents, events))
    total = agents * events + 2
    print(
        f"{runs} runs of {agents} agents, {runs * total:,} events, written in {time.process_time() - started:.1f} CPU s"
    )
    store.close()
    one = f"store.read({HERE!r}, {names[runs // 2]!r}"
    for title, look, count in (
        ("runs", f"store.runs({HERE!r})", runs),
        ("all events of one run", f"{one})", total),
        ("its last events", f"{one}, after={total - 10})", 10),
        ("one kind of its events", f"{one}, kinds=['attempt_ended'])", agents),
    ):
        print(f"{title:<24}{cpu(file, look, count):7.3f} CPU s")
    print(f"{'size':<24}{megabytes(file):7.1f} MB")
    shrink(file, names[: runs * 9 // 10])


def shrink(file: Path, names: list[str]) -> None:
    store = open_store(file)
    started = time.process_time()
    for name in names:
        store.delete(HERE, name)
    store.compact()
    print(f"{f'{len(names)} runs deleted':<24}{time.process_time() - started:7.3f} CPU s")
    print(f"{'size':<24}{megabytes(file):7.1f} MB")
    started = time.process_time()
    problems = store.check()
    print(f"{'check':<24}{time.process_time() - started:7.3f} CPU s, {len(problems)} problems")
    store.close()


def run_events(chance: random.Random, run: str, agents: int, events: int) -> Iterator[Event]:
    """As in a real run: most events are short, a reply now and then is not."""
    yield Event(run, 1, 1_795_197_922_000, "run_started", data={"change": "Teach the lighthouse about fog. " * 8})
    last = agents * events + 2
    for seq in range(2, last):
        step = (seq - 2) // agents
        kind = "attempt_ended" if step == events - 1 else chance.choice(("request", "task_moved", "assistant_response"))
        length = 2000 if kind == "assistant_response" else 300
        words = {"text": "".join(chance.choices("abcdefgh \n", k=chance.randint(50, length)))}
        yield Event(run, seq, 1_795_197_922_000 + seq * 100, kind, (seq - 2) % agents + 1, 1, words)
    yield Event(run, last, 1_795_197_922_000 + last * 100, "run_ended", data={"exit_code": 0, "error": ""})


def cpu(file: Path, look: str, count: int) -> float:
    """The median of a few fresh processes."""
    seconds = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", LOOK.format(look), str(file), str(count)], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return sorted(seconds)[REPEATS // 2]


def megabytes(file: Path) -> float:
    return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*")) / 1e6


if __name__ == "__main__":
    main()
