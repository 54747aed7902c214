"""What is sent: prompt tokens of a whole run of this program against plain aiders with their repository map.

python -m bench.prompts REPOSITORY [--files 8] [--agents 4] [--seed 1]

Some files of a repository get a line each. This program divides them; then plain aiders, each in a clone of its own,
are given the very same shares and the same change. A model server counts what it is sent. Both must end with the same
contents.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.modes import AIDER, bundled_prices
from bench.program import MODEL, command, environment
from tests.support.edits import appends
from tests.support.modelserver import ModelServer

MARK = "# Measured."
CHANGE = "Add a line at the end of each file that says that this was measured."
LIMIT = 600
ROW = "{:<14} {:>9} {:>14} {:>12}"
Contents = dict[str, bytes]


def clone(origin: Path, place: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(origin), str(place)], check=True)
    return place


def eligible(place: Path) -> list[str]:
    """Sources of a size that people like to edit."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=place, check=True, capture_output=True, text=True)
    names = (name for name in listed.stdout.split("\0") if name)
    return [name for name in names if 600 < (place / name).stat().st_size < 20_000]


def run(words: list[str], place: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        words, cwd=place, env=env, check=False, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{words[:3]}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
    return done.stdout


def contents(place: Path, files: list[str]) -> Contents:
    return {name: (place / name).read_bytes() for name in files}


def ours(place: Path, env: dict[str, str], files: list[str], agents: int) -> list[list[str]]:
    """The shares, as the summary tells them."""
    words = ["--change", CHANGE, "--no-prd", "--model", MODEL, "--agents", str(agents), "--json", "--files", *files]
    summary = json.loads(run(command(*words), place, env))
    return [agent["files"] for agent in summary["agents"].values()]


def plain(place: Path, env: dict[str, str], share: list[str]) -> None:
    run([str(AIDER), "--yes-always", "--no-check-update", "--message", CHANGE, "--model", MODEL, *share], place, env)


def asked_of(server: ModelServer) -> int:
    """Four bytes count as a token, on both sides; a streamed reply brings no count of its own."""
    return sum(len(request.text.encode()) // 4 + 1 for request in server.requests)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.prompts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repository", type=Path, metavar="REPOSITORY")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-prompts-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        first = clone(asked.repository.absolute(), folder / "ours")
        files = sorted(random.Random(asked.seed).sample(eligible(first), asked.files))
        print(ROW.format("", "requests", "prompt tokens", "per agent"))
        with ModelServer(appends(MARK)) as server:
            shares = ours(first, environment(folder / "home", server), files, asked.agents)
            sent = asked_of(server)
            print(ROW.format("this program", server.count(), sent, sent // len(shares)), flush=True)
        with ModelServer(appends(MARK)) as server:
            env = environment(folder / "home", server) | {"AIDER_ANALYTICS_DISABLE": "true"}
            caches = folder / "home" / ".aider" / "caches"
            caches.mkdir(parents=True)
            shutil.copyfile(bundled_prices(), caches / "model_prices_and_context_window.json")
            done: Contents = {}
            for number, share in enumerate(shares):
                place = clone(asked.repository.absolute(), folder / f"plain{number}")
                plain(place, env, share)
                done |= contents(place, share)
            theirs = asked_of(server)
            print(ROW.format("plain aider", server.count(), theirs, theirs // len(shares)))
        same = done == contents(first, files)
        print(f"{sent / theirs:.2f} times as many tokens; the results are {'the same' if same else 'NOT the same'}.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
