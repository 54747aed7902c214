"""How well files are divided: which share of real later commits would have needed more than one agent.

python -m bench.splitting REPO_GIT_DIR... [--parts 4 8 16]

The evidence is what a repository was at the 80 % point of its history; the score is the share of the commits after it
(2 to 20 of the divided files) whose files fall to more than one agent: the split rate, the lower the better. Each
repository is divided into N shares with its history and without; a cell where one file alone is more than an agent's
share counts for nothing. Beside them stand the plain dealing of one file after the other, and an oracle that is given
the later commits as its history: the first says how bad it can be, the second how hard these repositories are.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra.division.coupling import Coupling, Evidence
from orchestra.division.partition import heap_loads, partition
from orchestra.plan.digest import LANGUAGES, NOISE, file_extension
from orchestra.plan.sizing import tokens_of_size
from orchestra.workspace.evidence import gather_evidence
from orchestra.workspace.git import Git
from orchestra.workspace.repository import LINK, SUBMODULE, Repository

# Chosen, and written down here, before any of them was scored; what was tried out while building was tried on others.
FIXED = (
    *("pytest-dev/pytest", "encode/httpx", "expressjs/express", "trpc/trpc", "gin-gonic/gin"),
    *("gohugoio/hugo", "tokio-rs/tokio", "google/gson", "jekyll/jekyll", "square/retrofit"),
)
OLDER = 0.8
FEWEST, MOST = 2, 20
PARTS = (4, 8, 16)
ROW = "{:<24} {:>6} {:>7} {:>4}  {:>6} {:>6} {:>6}  {:>6} {:>6} {:>6}"


@dataclass(frozen=True)
class Known:
    """A repository at its 80 % point, and what came after."""

    name: str
    tokens: dict[str, int]
    evidence: Evidence
    later: list[tuple[str, ...]]


@dataclass(frozen=True)
class Score:
    method: str
    parts: int
    rate: float
    imbalance: float


def git(place: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=place, check=True, capture_output=True, text=True, errors="surrogateescape"
    ).stdout


def known(place: Path) -> Known:
    commits = git(place, "rev-list", "--no-merges", "--topo-order", "HEAD").split()
    base = commits[int(len(commits) * (1 - OLDER))]
    entries = asyncio.run(Repository(place, Git(place), "", base, False, ()).entries())
    files = {
        path: tokens_of_size(entry.size)
        for path, entry in entries.items()
        if entry.mode not in (LINK, SUBMODULE) and file_extension(path) in LANGUAGES and not NOISE.search(path)
    }
    found = asyncio.run(gather_evidence(Git(place), base, entries, files))
    listed = git(place, "log", "--no-merges", "--format=%x01", "--name-only", "--no-renames", "-z", f"{base}..HEAD")
    later = [
        tuple(sorted({path.strip("\n") for path in commit.split("\0")} & files.keys()))
        for commit in listed.split("\x01")[1:]
    ]
    name = place.parent.name if place.name in ("repo", ".git") else place.name.removesuffix(".git")
    return Known(name, files, found, [paths for paths in later if FEWEST <= len(paths) <= MOST])


# --- the methods ----------------------------------------------------------------------------------------------------


def ours(repo: Known, parts: int, found: Evidence) -> dict[str, int]:
    coupling = Coupling(repo.tokens, found)
    heaps = partition([repo.tokens[path] for path in coupling.paths], coupling.build_graph(), parts)
    return dict(zip(coupling.paths, heaps, strict=True))


def with_history(repo: Known, parts: int) -> dict[str, int]:
    return ours(repo, parts, repo.evidence)


def without_history(repo: Known, parts: int) -> dict[str, int]:
    return ours(repo, parts, Evidence(sources=repo.evidence.sources))


def oracle(repo: Known, parts: int) -> dict[str, int]:
    """What could be reached by somebody who knew the later commits: how hard these repositories are."""
    return ours(repo, parts, Evidence(commits=repo.later))


def round_robin(repo: Known, parts: int) -> dict[str, int]:
    return {path: n % parts for n, path in enumerate(sorted(repo.tokens))}


METHODS: dict[str, Callable[[Known, int], dict[str, int]]] = {
    "with history": with_history,
    "without history": without_history,
    "oracle": oracle,
    "round-robin": round_robin,
}


def score(repo: Known, method: str, parts: int) -> Score | None:
    if max(repo.tokens.values()) > sum(repo.tokens.values()) / parts:
        return None
    owner = METHODS[method](repo, parts)
    split = sum(len({owner[path] for path in paths}) > 1 for paths in repo.later)
    weights = [max(tokens, 1) for tokens in repo.tokens.values()]
    heaviest = max(heap_loads(weights, [owner[path] for path in repo.tokens], parts))
    return Score(method, parts, split / len(repo.later), heaviest * parts / sum(weights))


# --- the table ------------------------------------------------------------------------------------------------------


def line(repo: Known, scores: Sequence[Score]) -> str:
    rates = {(one.method, one.parts): f"{one.rate:.2f}" for one in scores}
    cells = [rates.get((method, parts), "-") for method in ("with history", "without history") for parts in PARTS]
    return ROW.format(repo.name[:24], len(repo.tokens), len(repo.evidence.commits), len(repo.later), *cells)


def means(scores: Sequence[Score]) -> str:
    lines = []
    for method in METHODS:
        of_method = [one for one in scores if one.method == method]
        rates = [[one.rate for one in of_method if one.parts == parts] for parts in PARTS]
        mean = "  ".join(f"N={n}: {statistics.mean(r):.3f}" for n, r in zip(PARTS, rates, strict=True) if r)
        worst = max(one.imbalance for one in of_method)
        lines.append(f"{method:<16} {mean}   worst imbalance {worst:.2f}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.splitting", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repositories", type=Path, nargs="+", metavar="REPO_GIT_DIR")
    asked = parser.parse_args(argv)
    scores: list[Score] = []
    print(ROW.format("split rate", "files", "commits", "newer", *(f"N={n}" for n in PARTS), *(f"N={n}" for n in PARTS)))
    for place in asked.repositories:
        started = time.monotonic()
        repo = known(place)
        cells = [score(repo, method, parts) for method in METHODS for parts in PARTS]
        own = [cell for cell in cells if cell is not None]
        scores += own
        print(line(repo, own), f"  {time.monotonic() - started:.1f} s", flush=True)
    print(means(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
