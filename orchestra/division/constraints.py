"""What the user and the PRD say of the division: files that stay together, or the whole of it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from orchestra.errors import PlanError
from orchestra.model import Prd
from orchestra.plan.targets import match_paths


def together_groups(
    together: Sequence[str], prd: Prd, paths: Sequence[str], *, strict: bool = True
) -> tuple[list[list[str]], list[str]]:
    """Groups of two and more files, and what is to be said of them. `strict`: a pattern without a match is a slip. In a
    settings file it is none, since that is for all runs."""
    found = [match_together(pattern, paths, strict=strict) for pattern in together]
    found += [agreed(contract.name, contract.together, paths) for contract in prd.contracts if contract.together]
    same = case_twins(paths)
    notes = [f"{' and '.join(twins)} differ only in case: one agent gets them." for twins in same]
    return [group for group in [*found, *same] if len(group) > 1], notes


def match_together(pattern: str, paths: Sequence[str], *, strict: bool) -> list[str]:
    found = match_paths(pattern.removeprefix("./").rstrip("/") or ".", paths)
    if strict and not found:
        raise PlanError(f"--together {pattern}: none of the {len(paths)} files to change matches.")
    return found


def agreed(name: str, wanted: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The PRD may name files that are not changed after all: only the others can be kept together."""
    return [path for path in wanted if path in paths]


def case_twins(paths: Sequence[str]) -> list[list[str]]:
    """Where case does not count, as on macOS, such files are one: two agents would overwrite each other."""
    by_fold: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_fold[path.casefold()].append(path)
    return [sorted(twins) for _, twins in sorted(by_fold.items()) if len(twins) > 1]


# --- a division by the user -----------------------------------------------------------------------------------------


def parse_assignment(place: str, text: str) -> list[list[str]]:
    """The lists of a file such as {"agent1": ["a.py", "b.py"], "agent2": ["c.py"]} or [["a.py", "b.py"], ["c.py"]]."""
    try:
        record: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PlanError(f"--assign {place}: this is not JSON ({error}).") from None
    lists = list(record.values()) if isinstance(record, dict) else record
    good = isinstance(lists, list) and all(
        isinstance(one, list) and one and all(isinstance(path, str) for path in one) for one in lists
    )
    if not (good and lists):
        raise PlanError(
            f"--assign {place}: it must hold a list of files for each agent, none of them empty, "
            'such as {"agent1": ["a.py", "b.py"], "agent2": ["c.py"]}.'
        )
    check_repeated(place, lists)
    return lists


def check_repeated(place: str, lists: Sequence[Sequence[str]]) -> None:
    seen: set[str] = set()
    for path in (path for one in lists for path in one):
        if path in seen:
            raise PlanError(f"--assign {place}: {path} stands there twice; a file has one owner.")
        seen.add(path)


def check_complete(place: str, lists: Sequence[Sequence[str]], paths: Sequence[str]) -> None:
    given = {path for one in lists for path in one}
    if missing := [path for path in paths if path not in given]:
        raise PlanError(f"--assign {place}: nobody gets {format_first_paths(missing)}, which the change is about.")
    if unknown := sorted(given - set(paths)):
        raise PlanError(f"--assign {place}: {format_first_paths(unknown)} is not among the files to change.")


def format_first_paths(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" (and {len(paths) - 3} more)" if len(paths) > 3 else "")
