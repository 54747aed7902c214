"""Return diffs of commits as text for people: many at once, long ones cut."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from orchestra.process import base_environment
from orchestra.workspace.git import ENVIRONMENT, git_command

OPTIONS = ("--stdin", "-p", "-r", "--root", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
LONGEST = 200_000  # bytes of one commit's diff
PATIENCE = 5.0  # seconds: a run that was stopped is about to end
ID = re.compile(rb"[0-9a-f]{40,64}")


def read_commit_diffs(root: Path, commits: Iterable[str]) -> dict[str, str]:
    """Return diffs by commit; missing commits are omitted."""
    wanted = [commit for commit in commits if ID.fullmatch(commit.encode())]
    found: dict[str, list[bytes]] = {}
    sizes: dict[str, int] = {}
    for commit, line in stream_diff_lines(root, wanted) if wanted else ():
        size = sizes[commit] = sizes.get(commit, 0) + len(line)
        if size <= LONGEST:
            found.setdefault(commit, []).append(line)
    return {commit: b"".join(lines).decode("utf-8", "replace") for commit, lines in found.items()}


def stream_diff_lines(root: Path, commits: list[str]) -> Iterator[tuple[str, bytes]]:
    """Run one git for all commits: it prints each commit's name on a line of its own before its diff."""
    names = {commit.encode(): commit for commit in commits}
    deadline, at = time.monotonic() + PATIENCE, ""
    with tempfile.TemporaryFile() as asked:
        asked.write(b"\n".join([*names, b""]))
        asked.seek(0)
        with subprocess.Popen(
            git_command(["diff-tree", *OPTIONS]),
            cwd=root,
            env=base_environment(os.environ) | ENVIRONMENT,
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as child:
            for line in iter(partial(child.stdout.readline, LONGEST), b"") if child.stdout else ():
                name = names.get(line.rstrip(b"\n"))
                if name:
                    at = name
                elif at:
                    yield at, line
                if time.monotonic() > deadline:
                    break
            child.kill()
