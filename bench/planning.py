"""What planning costs: seconds and memory of a whole dry run, for so many files to divide.

python -m bench.planning [--files 300 4000 10000] [--commits 4000] [--repeat 3] [REPOSITORY...]

The repositories are made up: packages of modules that import one another and share names, about 6 KB each, with a
history in which mostly one package at a time changes. Those given as arguments (work trees) are measured beside them.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Command, Cost, Process, cost, settle
from bench.program import MODEL, command, environment
from tests.support.edits import appends
from tests.support.modelserver import ModelServer

PACKAGE = 12  # modules
LIMIT = 300.0
ROW = "{:<28} {:>7} {:>7} {:>8} {:>8} {:>10} {:>14}"


def path_of(number: int) -> str:
    package = number // PACKAGE
    return f"src/area{package // 20:02}/package{package:03}/module{number:05}.py"


def text_of(number: int, dice: random.Random) -> str:
    """Names of its own, names that its package shares, and imports from its package."""
    package = number // PACKAGE
    friends = [package * PACKAGE + dice.randrange(PACKAGE) for _ in range(2)]
    imports = [f"from area{package // 20:02}.package{package:03} import module{friend:05}" for friend in friends]
    functions = [
        f"def step_{number}_{n}(value_{number}: int, area_{package * 8 + dice.randrange(8)}: int) -> int:\n"
        f'    """Step {n} of part {number}."""\n    return value_{number} + module{dice.choice(friends):05}.step_{n}\n'
        for n in range(40)
    ]
    return "\n".join([*imports, "", *functions])


def fast_import(files: int, commits: int) -> Iterator[str]:
    """The whole history in git's own words, since committing one by one would take minutes."""
    dice = random.Random(files)
    who = "committer Bench <bench@example.org>"
    packages = -(-files // PACKAGE)
    for n in range(commits):
        package = dice.randrange(packages)
        inside = range(package * PACKAGE, min((package + 1) * PACKAGE, files))
        touched = range(files) if n == 0 else {dice.choice(inside) for _ in range(4)} | {dice.randrange(files)}
        yield f"commit refs/heads/main\n{who} {1_500_000_000 + n * 3_600} +0000\ndata 1\nx\n"
        for number in touched:
            content = f"# {n}\n{text_of(number, random.Random(number))}"
            yield f"M 100644 inline {path_of(number)}\ndata {len(content)}\n{content}\n"


def make(folder: Path, files: int, commits: int) -> Path:
    place = folder / f"made{files}"
    subprocess.run(["git", "init", "-q", "-b", "main", str(place)], check=True)
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=place, stdin=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        child.stdin.writelines(fast_import(files, commits))
    assert child.returncode == 0, "git fast-import failed"
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=place, check=True)
    return place


def measure(folder: Path, place: Path, env: dict[str, str]) -> tuple[Cost, int, int]:
    output = folder / "plan.json"
    words = ["--change", "x", "--no-prd", "--dry-run", "--json", "--model", MODEL, "--files", "."]
    found = cost([Command(command(*words), place, env, output)], LIMIT, nobody)
    told = output.read_text(encoding="utf-8")
    assert found.codes == (0,), told[-1500:]
    plan = json.loads(told)
    return found, sum(len(task["files"]) for task in plan["tasks"]), len(plan["tasks"])


def nobody(process: Process, everything: dict[int, Process]) -> bool:
    return False


def row(name: str, measured: list[tuple[Cost, int, int]]) -> str:
    costs = [one for one, _, _ in measured]
    wall, cpu, peak, others = (
        statistics.median(getattr(one, name) for one in costs) for name in ("wall", "cpu", "peak", "others")
    )
    return ROW.format(
        name[:28], measured[0][1], measured[0][2], f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", f"{others:.1f}"
    )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.planning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repositories", type=Path, nargs="*", metavar="REPOSITORY")
    parser.add_argument("--files", type=int, nargs="*", default=[300, 4_000, 10_000], metavar="N")
    parser.add_argument("--commits", type=int, default=4_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for a quiet machine before each")
    asked = parser.parse_args(argv)
    print(ROW.format("repository", "files", "tasks", "wall s", "cpu s", "peak MiB", "others' load"), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-planning-") as name, ModelServer(appends("")) as server:
        folder = Path(name)
        env = environment(folder / "home", server)
        places = [make(folder, files, asked.commits) for files in asked.files]
        for place in [*places, *asked.repositories]:
            measured = []
            for _ in range(asked.repeat):
                settle(asked.patience)
                measured.append(measure(folder, place.absolute(), env))
            print(row(place.name, measured), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
