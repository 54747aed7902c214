"""What commits changed, as text for people: many at once, each cut where it is long."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from orchestra.process import base_environment
from orchestra.workspace.git import ENVIRONMENT, git_command

OPTIONS = ("--stdin", "-p", "-r", "--root", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
LONGEST = 200_000  # bytes of one commit's diff
PATIENCE = 5.0  # seconds: the end of a run that was stopped is near
ID = re.compile(rb"[0-9a-f]{40,64}")


def read_commit_diffs(root: Path, commits: Iterable[str]) -> dict[str, str]:
    """By commit. One that is not there any more has none."""
    wanted = [commit for commit in commits if ID.fullmatch(commit.encode())]
    found: dict[str, list[bytes]] = {}
    sizes: dict[str, int] = {}
    for commit, line in stream_diff_lines(root, wanted) if wanted else ():
        size = sizes[commit] = sizes.get(commit, 0) + len(line)
        if size <= LONGEST:
            found.setdefault(commit, []).append(line)
    return {commit: b"".join(said).decode("utf-8", "replace") for commit, said in found.items()}


def stream_diff_lines(root: Path, commits: list[str]) -> Iterator[tuple[str, bytes]]:
    """One git for all of them: it repeats each commit's name, alone in a line, before its diff."""
    names = {commit.encode(): commit for commit in commits}
    deadline, at = time.monotonic() + PATIENCE, ""
    with tempfile.TemporaryFile() as asked:
        asked.write(b"\n".join([*names, b""]))
        asked.seek(0)
        with start_diff_tree(root, asked) as child:
            for line in iter(partial(child.stdout.readline, LONGEST), b"") if child.stdout else ():
                name = names.get(line.rstrip(b"\n"))
                if name:
                    at = name
                elif at:
                    yield at, line
                if time.monotonic() > deadline:
                    break
            child.kill()


def start_diff_tree(root: Path, asked: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        git_command(["diff-tree", *OPTIONS]),
        cwd=root,
        env=base_environment(os.environ) | ENVIRONMENT,
        stdin=asked,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
