"""The division itself: what cannot be divided, into how many shares, and how good that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestra.division.coupling import Coupling, Evidence, Graph, commit_weight
from orchestra.division.partition import partition
from orchestra.errors import PlanError
from orchestra.model import TargetFile
from orchestra.plan.sizing import NEW_FILE_TOKENS, AgentBound, tasks_needed, usable_tokens

WORTH = 0.05  # so much better must fewer agents be
ENOUGH_COMMITS = 10
QUICK = 150


@dataclass(frozen=True)
class DividedFiles:
    """Shares of files, how many agents at once they are for, and what is to be said of it."""

    shares: tuple[tuple[TargetFile, ...], ...]
    agents: int
    cut: float | None  # of what usually changes together; None where too little is known of that
    commits: int  # that this rests on
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AgentsWanted:
    """How many agents: exactly so many, or what is best up to a bound."""

    exactly: int
    bound: AgentBound
    context: int | None


def file_weight(file: TargetFile) -> int:
    return max(file.tokens, NEW_FILE_TOKENS if file.new else 1)


def total_weight(ball: Sequence[TargetFile]) -> int:
    return sum(map(file_weight, ball))


def divide_as_assigned(
    files: Sequence[TargetFile], given: Sequence[Sequence[str]], evidence: Evidence, at_most: int, context: int | None
) -> DividedFiles:
    """The user's own division."""
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
    files: Sequence[TargetFile],
    groups: Sequence[Sequence[str]],
    coupling: Coupling,
    graph: Graph,
    evidence: Evidence,
    want: AgentsWanted,
) -> DividedFiles:
    """`groups` are the files that stay together; each other file is one of its own."""
    by_path = {file.path: file for file in files}
    balls = [[by_path[path] for path in group] for group in merge_groups(list(by_path), groups)]
    limit = usable_tokens(want.context)
    alone = [ball for ball in balls if total_weight(ball) > limit]
    for ball in alone:
        check_context(ball, want.context)
        check_together(ball, limit)
    rest = [ball for ball in balls if total_weight(ball) <= limit]
    tried = DivisionSearch(rest, contract_graph(coupling, graph, rest), evidence, limit, alone)
    notes = [oversize_note(ball, limit) for ball in alone]
    best = tried.divide_exactly(want) if want.exactly else tried.choose_best(want)
    return replace(best, notes=(*notes, *best.notes))


def merge_groups(paths: Sequence[str], groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Groups that share a file are one."""
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
    """Without those that only a folder or a glob has named and no prompt can hold; and the sentences about them."""
    large = [file for file in files if context is not None and not file.required and file_weight(file) > context]
    notes = [
        f"{file.path} is left out: it is about {file.tokens:,} tokens, more than the whole context of the model "
        f"({context:,})."
        for file in large
    ]
    return [file for file in files if file not in large], notes


def check_context(ball: Sequence[TargetFile], context: int | None) -> None:
    """What the model cannot even be told is refused; where its context is not known, nobody can say."""
    if context is not None and total_weight(ball) > context:
        raise PlanError(
            f"{format_files(ball)}: about {total_weight(ball):,} tokens,"
            f" more than the whole context of the model ({context:,}).",
            hint="Leave it out, or choose a model with a larger context.",
        )


def check_together(ball: Sequence[TargetFile], limit: int) -> None:
    if len(ball) > 1:
        raise PlanError(
            f"{format_files(ball)} must stay together, but are about {total_weight(ball):,} tokens,"
            f" more than the {limit:,} that one agent works on well with this model.",
            hint="Let fewer stay together, or choose a model with a larger context.",
        )


def oversize_note(ball: Sequence[TargetFile], limit: int) -> str:
    size = f"about {total_weight(ball):,} tokens, more than the {limit:,} that an agent works on well"
    about = f"{format_files(ball)}: {size}"
    return f"{about}; it is sent alone." if len(ball) == 1 else f"{about}."


def format_files(ball: Sequence[TargetFile]) -> str:
    return ", ".join(file.path for file in ball[:3]) + (f" and {len(ball) - 3} more" if len(ball) > 3 else "")


def contract_graph(coupling: Coupling, graph: Graph, balls: Sequence[Sequence[TargetFile]]) -> Graph:
    """The graph between the balls: what binds their files."""
    if len(balls) == len(graph):
        return graph
    ball_of = {coupling.number[file.path]: n for n, ball in enumerate(balls) for file in ball}
    found: Graph = [{} for _ in balls]
    for n, row in enumerate(graph):
        for other, band in row.items():
            a, b = ball_of.get(n), ball_of.get(other)
            if a is not None and b is not None and a != b:
                found[a][b] = found[a].get(b, 0) + band
    return found


def cut_share(evidence: Evidence, owner: dict[str, int]) -> tuple[float | None, int]:
    """The share of what changed together that falls to different agents, and how many commits say so."""
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
    """Divisions into different numbers of shares, and how to choose among them."""

    balls: Sequence[Sequence[TargetFile]]
    graph: Graph
    evidence: Evidence
    limit: int
    alone: Sequence[Sequence[TargetFile]]

    def divide_into(self, parts: int, agents: int, *, roughly: bool = False) -> DividedFiles:
        """At least so many shares; more, where else one would not fit into the context."""
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

    def divide_exactly(self, want: AgentsWanted) -> DividedFiles:
        return self.divide_into(max(want.exactly - len(self.alone), self.least_parts(want), 1), want.exactly)

    def choose_best(self, want: AgentsWanted) -> DividedFiles:
        """As many as are of use, unless fewer lose little time and keep much more together."""
        least = self.least_parts(want)
        most = max(want.bound.agents - len(self.alone), least, 1)
        first = self.divide_into(most, want.bound.agents)
        if first.cut is None:
            return first
        tried = [(division_cost(len(first.shares), first.cut) - WORTH, most)]
        tried += [
            (division_cost(n, self.estimate_division(n, first).cut or 0.0), n) for n in smaller_counts(most, least)
        ]
        _, number = min(tried)
        found = self.divide_into(number, want.bound.agents) if number < most else first
        if len(found.shares) >= len(first.shares):
            return first
        return replace(found, notes=(explain_fewer_agents(first, found),))

    def estimate_division(self, parts: int, first: DividedFiles) -> DividedFiles:
        """Very many files take seconds to divide: then the shares that were found already are put together."""
        if len(self.balls) <= QUICK:
            return self.divide_into(parts, parts, roughly=True)
        owner = {file.path: n for n, share in enumerate(first.shares) for file in share}
        graph: Graph = [{} for _ in first.shares]
        for n, bands in enumerate(self.graph):
            a = owner[self.balls[n][0].path]
            for other, band in bands.items():
                if (b := owner[self.balls[other][0].path]) != a:
                    graph[a][b] = graph[a].get(b, 0) + band
        heaps = partition([total_weight(share) for share in first.shares], graph, parts, roughly=True)
        cut, commits = cut_share(self.evidence, {path: heaps[n] for path, n in owner.items()})
        return DividedFiles(first.shares, parts, cut, commits)


def division_cost(agents: int, cut: float) -> float:
    """More agents take less time, one n-th each, and cut more: what is separated must be agreed on and repaired."""
    return 1 / agents + cut


def smaller_counts(most: int, least: int) -> Iterator[int]:
    """Fewer and fewer: a quarter less each time while they are many, then one by one."""
    while most > least:
        most = max(most - 1 if most <= 8 else most * 3 // 4, least)
        yield most


def explain_fewer_agents(many: DividedFiles, few: DividedFiles) -> str:
    n, fewer = len(many.shares), len(few.shares)
    also = f" ({few.cut:.0%})" if few.cut else ""
    return (
        f"{n} agents would cut {many.cut or 0:.0%} of what usually changes together; {fewer} is better here{also}. "
        f"--agents {n} asks for exactly {n}."
    )
