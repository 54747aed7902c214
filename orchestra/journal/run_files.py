"""Find the files of a run in the log folder by the stamp in their names."""

import re
from collections import defaultdict
from pathlib import Path

STAMP_PATTERN = re.compile(r"\d{8}_\d{6}(_\d+)?")
# agent1_STAMP.jsonl, agent1_STAMP_attempt2.patch, setup_task1-2_STAMP.txt. All digits belong to the stamp, because the
# second run of a second has the stamp of the first with a suffix.
FILE_NAME_PATTERN = re.compile(
    rf"[a-z]+\d*(?:_[a-z0-9-]+)*?_(?P<stamp>{STAMP_PATTERN.pattern})(?![0-9])(?:_[a-z][a-z0-9-]*)*\.[a-z]+"
)


def stamp_of(name: str) -> str:
    """The run that a file belongs to; empty if none."""
    match = FILE_NAME_PATTERN.fullmatch(name)
    return match["stamp"] if match else ""


def files_by_run(folder: Path) -> dict[str, list[Path]]:
    """The files of each run. The run log comes last, so that after a deletion that failed the rest is found."""
    files = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (stamp := stamp_of(path.name)) and (path.is_symlink() or path.is_file()):
            files[stamp].append(path)
    return {stamp: sorted(paths, key=lambda path: path.name.startswith("run_")) for stamp, paths in files.items()}
