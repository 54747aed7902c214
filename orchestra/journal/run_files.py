"""Which files of the log folder belong to which run: their names carry the run's stamp."""

import re
from collections import defaultdict
from pathlib import Path

STAMP_PATTERN = re.compile(r"\d{8}_\d{6}(_\d+)?")
# agent1_STAMP.jsonl, agent1_STAMP_attempt2.patch, setup_task1-2_STAMP.txt. Of two stamps of one second, the second's
# begins with the first's: so all its digits count.
FILE_NAME_PATTERN = re.compile(
    rf"[a-z]+\d*(?:_[a-z0-9-]+)*?_(?P<stamp>{STAMP_PATTERN.pattern})(?![0-9])(?:_[a-z][a-z0-9-]*)*\.[a-z]+"
)


def stamp_of(name: str) -> str:
    """The run that a file belongs to, or nothing."""
    found = FILE_NAME_PATTERN.fullmatch(name)
    return found["stamp"] if found else ""


def files_by_run(folder: Path) -> dict[str, list[Path]]:
    """Of all runs, in one look. The file that makes a run be known comes last: so what is left can be found again."""
    found = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (stamp := stamp_of(path.name)) and (path.is_symlink() or path.is_file()):
            found[stamp].append(path)
    return {stamp: sorted(paths, key=lambda path: path.name.startswith("run_")) for stamp, paths in found.items()}
