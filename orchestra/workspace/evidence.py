"""Gather evidence of which files belong together: one `git log`, and the sources in a few batches."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestra.division.coupling import Evidence
from orchestra.division.imports import SCANNED, Source, scan_source
from orchestra.workspace.git import Git, split_contents
from orchestra.workspace.repository import Entry

COMMITS = 6_000
MARK = b"\x01\x02"
OWN_RUN = re.compile(rb"\d{8}_\d{6}")  # in the trailer of a commit that a run of ours made
LOG_FORMAT = "--format=%x01%x02%P%x03%(trailers:key=Run,valueonly,separator=%x20)"
MOST_PATHS = 90  # a commit that touches more is a sweeping change: it couples nothing
LARGEST = 1 << 20
SCANNED_AT_ALL = 48 << 20
BATCH = 4 << 20
LEAST_SCANNED = 4 << 10
# From the most telling query to one that needs only trees, for clones that lack old contents.
WAYS = (("-M60%", "-l400"), ("-M100%",), ("--no-renames",))
# A partial clone must not fetch old contents one by one: that would take hours.
NO_FETCHING = {"GIT_NO_LAZY_FETCH": "1"}
SHALLOW = (
    "This is a shallow clone: what usually changes together is not known, and the files are divided by imports, names "
    "and shared identifiers alone, which separates more. `git fetch --unshallow` (in CI: fetch-depth: 0) gets the rest."
)
PARTIAL = (
    "This clone lacks the trees of its history: what usually changes together is not known. "
    "`git fetch --refetch --filter=blob:none` gets them."
)


async def gather_evidence(git: Git, base: str, entries: Mapping[str, Entry], files: Collection[str]) -> Evidence:
    """Gather the history of all files, and the sources of the target files. `entries`: tracked files of the base."""
    commits, lost = await read_history(git, base, entries)
    sources = await read_sources(git, [entries[path] for path in sorted(files) if path in entries])
    return Evidence(commits, sources, lost)


async def read_history(git: Git, base: str, known: Collection[str]) -> tuple[list[tuple[str, ...]], str]:
    """Read the commits, newest first, with paths as at the base; and describe in a sentence what is missing."""
    shallow = await git.maybe("rev-parse", "--is-shallow-repository") == "true"
    partial = bool(await git.maybe("config", "--get-regexp", r"^remote\..*\.partialclonefilter$"))
    for way in WAYS[1:] if partial else WAYS:
        code, out, _ = await git.with_env(**NO_FETCHING).attempt(
            *("log", "-z", "--no-merges", "--name-status", LOG_FORMAT, f"-n{COMMITS}", *way, base, "--")
        )
        if code == 0:
            return list(parse_commits(out, known)), SHALLOW if shallow else ""
    return [], SHALLOW if shallow else PARTIAL


def parse_commits(out: bytes, known: Collection[str]) -> Iterable[tuple[str, ...]]:
    """Parse the log. Renames are followed backwards: a file's old name stands for its present one. Commits of earlier
    runs only show how these divided the files, so they do not count."""
    now: dict[str, str] = {}
    for commit in out.split(MARK)[1:]:
        about, _, changes = commit.partition(b"\0")
        parents, _, run = about.partition(b"\x03")
        touched = [] if not parents.strip() else list(parse_renames(changes))
        if len(touched) <= MOST_PATHS and not OWN_RUN.match(run):
            paths = (now.get(new, new) for _, new in touched)
            yield tuple(path for path in paths if path in known)
        for old, new in touched:
            if old != new:
                now[old] = now.get(new, new)


def parse_renames(output: bytes) -> Iterable[tuple[str, str]]:
    """Return each file of a commit as (before, after); they differ if it was renamed."""
    words = iter(os.fsdecode(output).split("\0"))
    for status in words:
        if status.strip("\n"):
            old = next(words, "")
            yield (old, next(words, old) if status.strip("\n")[0] in "RC" else old)


async def read_sources(git: Git, entries: Sequence[Entry]) -> dict[str, Source]:
    """Read sources in batches, so that they are never all in memory; of very many only the beginnings."""
    small = [entry for entry in entries if 0 < entry.size <= LARGEST]
    limit = min(SCANNED, max(LEAST_SCANNED, SCANNED_AT_ALL // max(len(small), 1)))
    found: dict[str, Source] = {}
    for batch in batch_entries(small):
        asked = "".join(f"{entry.blob}\n" for entry in batch).encode()
        raw = await git.raw("cat-file", "--batch", "--buffer", input=asked)
        contents = split_contents(raw, [entry.path for entry in batch])
        found |= {entry.path: scan_source(content, limit) for entry, content in zip(batch, contents, strict=True)}
    return found


def batch_entries(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
