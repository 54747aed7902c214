"""What people merged by hand, and what our rules propose for the same files.

python -m bench.merges REPO_GIT_DIR... [--merges 2000] [--show]

Every merge commit of two sides is replayed: the files that both sides changed. Where git merges, our rules must give
git's text. Where git reports a conflict, the proposals stand beside the text that people committed: the same by bytes,
by syntax tree (comments and white space aside), by lines in another order, with further lines by people, or different.
Different is not always wrong, for people also edit while they merge; `--show` prints the places.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.commits import REGULAR, git
from orchestra.merging.candidates import Candidate, Trust, propose_merges, why_too_large
from orchestra.merging.trees import Source, parse_text

SUMS = ("files", "git merges", "git's text", "conflicts")
RESULTS = ("same bytes", "same tree", "same lines", "people added lines", "different")
ROWS = (*SUMS, "by format", "by structure", "by tests", "refused", "too large")


@dataclass(frozen=True)
class Merge:
    """A file that both sides changed, and what people made of it."""

    commit: str
    path: str
    base: str
    ours: str
    theirs: str
    people: str


def find_merges(repository: Path, most: int) -> Iterator[Merge]:
    lines = git(repository, "rev-list", "--min-parents=2", "--max-parents=2", "--parents", "-n", str(most), "--all")
    for commit, ours, theirs in (line.split() for line in lines.decode().splitlines()):
        with suppress(subprocess.CalledProcessError):
            bases = git(repository, "merge-base", "--all", ours, theirs).decode().split()
            if len(bases) == 1:
                yield from changed_files(repository, commit, bases[0], ours, theirs)


def changed_files(repository: Path, commit: str, base: str, ours: str, theirs: str) -> Iterator[Merge]:
    mine, yours = (changed_paths(repository, base, side) for side in (ours, theirs))
    for path in sorted(mine & yours):
        with suppress(UnicodeDecodeError, subprocess.CalledProcessError):
            sides = (base, ours, theirs, commit)
            texts = [git(repository, "cat-file", "blob", f"{side}:{path}").decode() for side in sides]
            if texts[1] != texts[2]:
                yield Merge(commit, path, *texts)


def changed_paths(repository: Path, base: str, side: str) -> set[str]:
    words = git(repository, "diff-tree", "-r", "-z", "--no-renames", "--diff-filter=M", base, side).decode().split("\0")
    pairs = zip(words[::2], words[1::2], strict=False)
    return {path for about, path in pairs if set(about[1:].split()[:2]) <= set(REGULAR)}


def merge_by_git(merge: Merge) -> str | None:
    """Return git's merge. None for a conflict, or for what git calls binary."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (merge.ours, merge.base, merge.theirs), strict=True):
            path.write_bytes(text.encode())
        done = subprocess.run(["git", "merge-file", "-p", "-q", *map(str, paths)], capture_output=True, check=False)
    return None if done.returncode else done.stdout.decode()


def compare(merge: Merge, candidate: Candidate) -> str:
    if candidate.text == merge.people:
        return "same bytes"
    sources = [parse_text(merge.path, text) for text in (candidate.text, merge.people)]
    trees = [list_leaves(source) for source in sources if source]
    if len(trees) == 2 and trees[0] == trees[1]:
        return "same tree"
    lines = [sorted(line for line in text.splitlines() if line.strip()) for text in (candidate.text, merge.people)]
    if lines[0] == lines[1]:
        return "same lines"
    return "different" if Counter(lines[0]) - Counter(lines[1]) else "people added lines"


def list_leaves(source: Source) -> list[bytes]:
    """Return the words of a text without comments: the same list is the same tree."""
    leaves, work = [], [source.root]
    while work:
        node = work.pop()
        if not node.child_count and not source.is_comment(node):
            leaves.append(source.data[node.start_byte : node.end_byte])
        work.extend(reversed(node.children))
    return leaves


def measure(repository: Path, most: int, *, show: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for merge in find_merges(repository, most):
        counts["files"] += 1
        by_git = merge_by_git(merge)
        candidates = propose_merges(merge.path, merge.base, merge.ours, merge.theirs)
        if by_git is not None:
            counts["git merges"] += 1
            counts["git's text"] += any(candidate.text == by_git for candidate in candidates[:1])
            continue
        counts["conflicts"] += 1
        if not candidates:
            counts["too large" if why_too_large(merge.base, merge.ours, merge.theirs) else "refused"] += 1
            continue
        row = candidates[0].trust.name.lower().replace("_", " ")
        tried = candidates if candidates[0].trust is Trust.BY_TESTS else candidates[:1]
        results = [compare(merge, candidate) for candidate in tried]
        result = min(results, key=RESULTS.index)
        counts[row] += 1
        counts[f"{row}: {result}"] += 1
        counts[f"{row}: candidates"] += len(tried)
        if show:
            print(merge.commit[:12], merge.path, result, ", ".join(candidate.name for candidate in tried))
    return counts


def describe(counts: Counter[str]) -> str:
    parts = []
    for row in ROWS:
        inner = ", ".join(f"{counts[key]} {key.partition(': ')[2]}" for key in counts if key.startswith(f"{row}: "))
        parts.append(f"{row} {counts[row]}" + (f" ({inner})" if inner else ""))
    return "; ".join(parts)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Replay merge commits beside our own rules.")
    parser.add_argument("repositories", nargs="+", type=Path, metavar="REPO_GIT_DIR")
    parser.add_argument("--merges", type=int, default=2000, help="at most so many merge commits each (default: 2000)")
    parser.add_argument("--show", action="store_true", help="print every conflict that has a proposal")
    args = parser.parse_args(words)
    total: Counter[str] = Counter()
    for repository in args.repositories:
        counts = measure(repository, args.merges, show=args.show)
        print(f"{repository}: {describe(counts)}", flush=True)
        total += counts
    print(f"all: {describe(total)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
