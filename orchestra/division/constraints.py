"""Constraints on the division by the user and the PRD: files that stay together, or the whole division."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from orchestra.errors import PlanError
from orchestra.model import Prd
from orchestra.plan.targets import match_paths
from orchestra.wording import join_some


def together_groups(
    together: Sequence[str], prd: Prd, paths: Sequence[str], *, strict: bool = True
) -> tuple[list[list[str]], list[str]]:
    """Return groups of files that stay together, and notes.

    `strict`: a pattern without a match is an error; in a settings file, which is for all runs, it is not.
    """
    found = []
    for pattern in together:
        found.append(match_paths(pattern.removeprefix("./").rstrip("/") or ".", paths))
        if strict and not found[-1]:
            raise PlanError(f"--together {pattern}: none of the {len(paths)} files to change matches.")
    # Only files that are changed: the PRD may name others.
    found += [[path for path in contract.together if path in paths] for contract in prd.contracts]
    same = case_twins(paths)
    notes = [f"{' and '.join(twins)} differ only in case: one agent gets them." for twins in same]
    return [group for group in [*found, *same] if len(group) > 1], notes


def case_twins(paths: Sequence[str]) -> list[list[str]]:
    """Find names that differ only in case. On macOS they are one file, and two agents would overwrite each other."""
    by_fold: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_fold[path.casefold()].append(path)
    return [sorted(twins) for _, twins in sorted(by_fold.items()) if len(twins) > 1]


def parse_assignment(source: str, text: str) -> list[list[str]]:
    """Parse a file such as {"agent1": ["a.py", "b.py"], "agent2": ["c.py"]} or [["a.py", "b.py"], ["c.py"]]."""
    try:
        record: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PlanError(f"--assign {source}: this is not JSON ({error}).") from None
    lists = list(record.values()) if isinstance(record, dict) else record
    good = isinstance(lists, list) and all(
        isinstance(one, list) and one and all(isinstance(path, str) for path in one) for one in lists
    )
    if not (good and lists):
        raise PlanError(
            f"--assign {source}: it must hold a list of files for each agent, none of them empty, "
            'such as {"agent1": ["a.py", "b.py"], "agent2": ["c.py"]}.'
        )
    seen: set[str] = set()
    for path in (path for one in lists for path in one):
        if path in seen:
            raise PlanError(f"--assign {source}: {path} is there twice; a file has one owner.")
        seen.add(path)
    return lists


def check_complete(source: str, lists: Sequence[Sequence[str]], paths: Sequence[str]) -> None:
    given = {path for one in lists for path in one}
    if missing := [path for path in paths if path not in given]:
        raise PlanError(f"--assign {source}: no agent gets {join_some(missing)}, which the change is about.")
    if unknown := sorted(given - set(paths)):
        raise PlanError(f"--assign {source}: {join_some(unknown)} is not among the files to change.")
