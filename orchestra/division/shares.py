"""Divide files into shares: what stays together, what cannot be divided, how many shares, and how good they are."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestra.division.coupling import Coupling, Evidence, Graph, commit_weight
from orchestra.division.imports import shared_prefix
from orchestra.division.partition import contract_graph, partition
from orchestra.errors import PlanError
from orchestra.model import Prd, TargetFile
from orchestra.plan.sizing import NEW_FILE_TOKENS, AgentBound, tasks_needed, usable_tokens
from orchestra.plan.targets import match_paths
from orchestra.wording import join_some

MARKERS = ("__init__.py", "py.typed", ".gitkeep", ".keep")
MARKER_TOKENS = 60
WORTH = 0.05  # fewer agents must be better by this much
ENOUGH_COMMITS = 10
QUICK = 150


@dataclass(frozen=True)
class DividedFiles:
    """Shares of files, the number of agents at once, and notes."""

    shares: tuple[tuple[TargetFile, ...], ...]
    agents: int
    cut: float | None  # the share of what usually changes together; None if too little is known
    commits: int  # on which that is based
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AgentsWanted:
    """How many agents: exactly this many, or the best number up to a bound."""

    exactly: int
    bound: AgentBound
    context: int | None


def file_weight(file: TargetFile) -> int:
    return max(file.tokens, NEW_FILE_TOKENS if file.new else 1)


def total_weight(ball: Sequence[TargetFile]) -> int:
    return sum(map(file_weight, ball))


def is_marker(file: TargetFile) -> bool:
    """Whether a file that was only found is empty, or a short one that marks a folder: no work for an agent alone."""
    is_short_marker = file.path.rpartition("/")[2] in MARKERS and file.tokens <= MARKER_TOKENS
    return not (file.required or file.new) and (file.tokens == 0 or is_short_marker)


def attach_markers(divided: DividedFiles, markers: Sequence[TargetFile]) -> DividedFiles:
    """Give each marker to the share that has the most of its folder."""
    shares = [list(share) for share in divided.shares]
    for marker in markers:
        folder = marker.path.split("/")[:-1]
        folders = [[file.path.split("/")[:-1] for file in share] for share in divided.shares]
        near = [(max(shared_prefix(folder, one) for one in each), each.count(folder)) for each in folders]
        shares[near.index(max(near))].append(marker)
    return replace(divided, shares=tuple(map(tuple, shares)))


def explain_task_count(wanted: int, made: int, context: int | None) -> str:
    """Explain why --agents makes another number of tasks; empty if it does not."""
    if not wanted or made == wanted:
        return ""
    if made < wanted:
        tasks = "1 task" if made == 1 else f"{made} tasks"
        return f"--agents {wanted} makes {tasks}: there is nothing more to divide."
    limit = f"the {usable_tokens(context):,} tokens that one agent works on well with this model"
    return f"--agents {wanted} makes {made} tasks, {wanted} at once: in fewer, one would exceed {limit}."


def divide_as_assigned(
    files: Sequence[TargetFile], given: Sequence[Sequence[str]], evidence: Evidence, at_most: int, context: int | None
) -> DividedFiles:
    """Return the user's own division."""
    by_path = {file.path: file for file in files}
    shares = tuple(tuple(by_path[path] for path in sorted(share)) for share in given)
    for share in shares:
        check_context(share, context)
    cut, commits = cut_share(evidence, {path: n for n, share in enumerate(given) for path in share})
    notes = tuple(
        oversize_note(share, usable_tokens(context)) for share in shares if total_weight(share) > usable_tokens(context)
    )
    return DividedFiles(shares, min(at_most or len(shares), len(shares)), cut, commits, notes)


def divide_files(
    files: Sequence[TargetFile], groups: Sequence[Sequence[str]], coupling: Coupling, want: AgentsWanted
) -> DividedFiles:
    """Divide files. `groups` stay together; every other file is one of its own."""
    by_path = {file.path: file for file in files}
    balls = [[by_path[path] for path in group] for group in merge_groups(list(by_path), groups)]
    limit = usable_tokens(want.context)
    alone = [ball for ball in balls if total_weight(ball) > limit]
    for ball in alone:
        check_context(ball, want.context)
        if len(ball) > 1:
            raise PlanError(
                f"{format_files(ball)} must stay together, but are about {total_weight(ball):,} tokens,"
                f" more than the {limit:,} that one agent works on well with this model.",
                hint="Keep fewer together, or choose a model with a larger context.",
            )
    rest, graph = [ball for ball in balls if total_weight(ball) <= limit], coupling.build_graph()
    if len(rest) < len(graph):
        ball_of = {file.path: n for n, ball in enumerate(rest) for file in ball}
        graph = contract_graph(graph, [ball_of.get(path, -1) for path in coupling.paths], len(rest))
    tried = DivisionSearch(rest, graph, coupling.evidence, limit, alone)
    notes = [oversize_note(ball, limit) for ball in alone]
    if want.exactly:
        best = tried.divide_into(max(want.exactly - len(alone), tried.least_parts(want), 1), want.exactly)
    else:
        best = tried.choose_best(want)
    return replace(best, notes=(*notes, *best.notes))


def merge_groups(paths: Sequence[str], groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Merge groups that share a file."""
    group_of = {path: [path] for path in paths}
    for group in groups:
        mine = group_of[group[0]]
        for path in group[1:]:
            other = group_of[path]
            if other is not mine:
                mine += other
                group_of.update(dict.fromkeys(other, mine))
    return sorted((sorted(one) for one in {id(one): one for one in group_of.values()}.values()), key=lambda one: one[0])


def drop_oversized(files: Sequence[TargetFile], context: int | None) -> tuple[list[TargetFile], list[str]]:
    """Drop files that only a folder or glob named and that no prompt can hold. Return the rest and notes on them."""
    large = [file for file in files if context is not None and not file.required and file_weight(file) > context]
    notes = [
        f"{file.path} is left out: it is about {file.tokens:,} tokens, more than the whole context of the model "
        f"({context:,})."
        for file in large
    ]
    return [file for file in files if file not in large], notes


def check_context(ball: Sequence[TargetFile], context: int | None) -> None:
    """Refuse what exceeds the model's context, if that is known."""
    if context is not None and total_weight(ball) > context:
        raise PlanError(
            f"{format_files(ball)}: about {total_weight(ball):,} tokens,"
            f" more than the whole context of the model ({context:,}).",
            hint="Leave it out, or choose a model with a larger context.",
        )


def oversize_note(ball: Sequence[TargetFile], limit: int) -> str:
    size = f"about {total_weight(ball):,} tokens, more than the {limit:,} that an agent works on well"
    about = f"{format_files(ball)}: {size}"
    return f"{about}; it is sent alone." if len(ball) == 1 else f"{about}."


def format_files(ball: Sequence[TargetFile]) -> str:
    return join_some([file.path for file in ball])


def cut_share(evidence: Evidence, owner: dict[str, int]) -> tuple[float | None, int]:
    """Return which share of what changed together goes to different agents, and how many commits show it."""
    whole = apart = 0.0
    commits = 0
    for back, paths in enumerate(evidence.commits):
        owners = [owner[path] for path in set(paths) if path in owner]
        if not 2 <= len(owners) <= 30:
            continue
        counts = [owners.count(one) for one in set(owners)]
        pairs = len(owners) * (len(owners) - 1)
        within = sum(count * (count - 1) for count in counts)
        mine = commit_weight(back) / (len(owners) - 1)
        whole, apart, commits = whole + mine * pairs, apart + mine * (pairs - within), commits + 1
    return (apart / whole if commits >= ENOUGH_COMMITS else None), commits


@dataclass
class DivisionSearch:
    """Divisions into different numbers of shares, and the choice among them."""

    balls: Sequence[Sequence[TargetFile]]
    graph: Graph
    evidence: Evidence
    limit: int
    alone: Sequence[Sequence[TargetFile]]

    def divide_into(self, parts: int, agents: int, *, roughly: bool = False) -> DividedFiles:
        """Divide into at least this many shares; more, if one would exceed the context."""
        weights = [total_weight(ball) for ball in self.balls]
        shares: list[list[TargetFile]] = []
        while self.balls:
            heaps = partition(weights, self.graph, parts, roughly=roughly)
            shares = [[] for _ in range(max(heaps) + 1)]
            for heap, ball in zip(heaps, self.balls, strict=True):
                shares[heap] += ball
            if parts >= len(self.balls) or max(total_weight(share) for share in shares) <= self.limit:
                break
            parts += 1
        shares += [list(ball) for ball in self.alone]
        ordered = sorted((tuple(sorted(share, key=lambda f: f.path)) for share in shares), key=lambda s: s[0].path)
        cut, commits = cut_share(self.evidence, {file.path: n for n, share in enumerate(ordered) for file in share})
        return DividedFiles(tuple(ordered), min(agents, len(ordered)), cut, commits)

    def least_parts(self, want: AgentsWanted) -> int:
        return tasks_needed(sum(file_weight(file) for ball in self.balls for file in ball), want.context)

    def choose_best(self, want: AgentsWanted) -> DividedFiles:
        """Choose the most shares that are of use, unless fewer cost little time and keep much more together."""
        least = self.least_parts(want)
        most = max(want.bound.agents - len(self.alone), least, 1)
        first = self.divide_into(most, want.bound.agents)
        if first.cut is None:
            return first
        tried, number = [(division_cost(len(first.shares), first.cut) - WORTH, most)], most
        while number > least:  # a quarter less each time while large, then one by one
            number = max(number - 1 if number <= 8 else number * 3 // 4, least)
            tried.append((division_cost(number, self.estimate_division(number, first).cut or 0.0), number))
        _, number = min(tried)
        found = self.divide_into(number, want.bound.agents) if number < most else first
        if len(found.shares) >= len(first.shares):
            return first
        return replace(found, notes=(explain_fewer_agents(first, found),))

    def estimate_division(self, parts: int, first: DividedFiles) -> DividedFiles:
        """Estimate a division. Very many files take seconds to divide, so for them the shares of `first` are joined."""
        if len(self.balls) <= QUICK:
            return self.divide_into(parts, parts, roughly=True)
        owner = {file.path: n for n, share in enumerate(first.shares) for file in share}
        graph = contract_graph(self.graph, [owner[ball[0].path] for ball in self.balls], len(first.shares))
        heaps = partition([total_weight(share) for share in first.shares], graph, parts, roughly=True)
        cut, commits = cut_share(self.evidence, {path: heaps[n] for path, n in owner.items()})
        return DividedFiles(first.shares, parts, cut, commits)


def division_cost(agents: int, cut: float) -> float:
    """Cost: more agents take less time, one n-th each, and cut more, which must be agreed on and repaired."""
    return 1 / agents + cut


def explain_fewer_agents(many: DividedFiles, few: DividedFiles) -> str:
    n, fewer = len(many.shares), len(few.shares)
    also = f" ({few.cut:.0%})" if few.cut else ""
    return (
        f"{n} agents would cut {many.cut or 0:.0%} of what usually changes together; {fewer} is better here{also}. "
        f"--agents {n} asks for exactly {n}."
    )


def together_groups(
    together: Sequence[str], prd: Prd, paths: Sequence[str], *, strict: bool = True
) -> tuple[list[list[str]], list[str]]:
    """Return groups of files that stay together, and notes. `strict`: a pattern without a match is an error; in a
    settings file, which is for all runs, it is not."""
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
