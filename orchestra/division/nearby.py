"""Find what an agent should see beside its own files: the files most coupled with them, and why they are together."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from orchestra.division.coupling import (
    COCHANGE,
    IMPORTS,
    KINDS,
    NAME,
    PATH,
    SYMBOLS,
    Coupling,
    Graph,
    strongest_entries,
)
from orchestra.model import FileLink, TargetFile

NEIGHBOURS = 6
LINKS = 3
HOT_SHARES = 3
WHY = {
    IMPORTS: "one imports the other",
    NAME: "one name",
    SYMBOLS: "share rare identifiers",
    PATH: "lie side by side",
}


WEAK = (WHY[PATH], "")  # reasons that count little if there are others


def find_links(
    coupling: Coupling, graph: Graph, shares: Sequence[Sequence[TargetFile]]
) -> tuple[list[list[FileLink]], list[FileLink]]:
    """Find the strongest links within each share, and the strongest that are cut."""
    owner = {coupling.number[file.path]: n for n, share in enumerate(shares) for file in share}
    inside: list[list[tuple[int, int, int]]] = [[] for _ in shares]
    between: list[tuple[int, int, int]] = []
    for a, bands in enumerate(graph):
        for b, band in bands.items():
            if a < b and a in owner and b in owner:
                pairs = inside[owner[a]] if owner[a] == owner[b] else between
                pairs.append((-band, a, b))
    links = [[make_link(coupling, *one) for one in sorted(found)[:LINKS]] for found in inside]
    return links, [make_link(coupling, *one) for one in sorted(between)[:LINKS]]


def make_link(coupling: Coupling, minus: int, a: int, b: int) -> FileLink:
    together = len(set(coupling.commits_of.get(a, ())) & set(coupling.commits_of.get(b, ())))
    rows = coupling.rows_by_kind(a)
    reasons = [f"changed together {'once' if together == 1 else f'{together} times'}"] if together else []
    kinds = [kind for kind in KINDS if kind != COCHANGE and kind in WHY and rows[kind].get(b)]
    reasons += [WHY[kind] for kind in kinds if kind != PATH or not (reasons or len(kinds) > 1)]
    return FileLink(coupling.paths[a], coupling.paths[b], -minus, ", ".join(reasons))


def find_neighbours(coupling: Coupling, graph: Graph | None, share: Collection[str]) -> list[str]:
    """Find the files outside a share that are most coupled with it.

    `coupling` knows the whole repository; if all its files are to be changed, their graph is reused.
    """
    pull: dict[int, float] = defaultdict(float)
    for path in sorted(share):
        n = coupling.number[path]
        row = coupling.row(n) if graph is None else graph[n]
        for other, weight in strongest_entries(row, NEIGHBOURS):
            if coupling.paths[other] not in share:
                pull[other] += weight
    return [coupling.paths[n] for n, _ in strongest_entries(pull, NEIGHBOURS)]


def find_hot_files(coupling: Coupling, graph: Graph, shares: Sequence[Sequence[TargetFile]]) -> dict[str, set[int]]:
    """Find files that most shares depend on: each has one owner, and the shares named here should read it."""
    owner = {coupling.number[file.path]: n for n, share in enumerate(shares) for file in share}
    if len(shares) < HOT_SHARES:
        return {}
    found = {}
    for n, bands in enumerate(graph):
        if n in owner:
            others = {owner[other] for other in bands if other in owner} - {owner[n]}
            imported = sum(1 for other in coupling.importing.get(n, {}) if owner.get(other, owner[n]) != owner[n])
            if imported >= HOT_SHARES - 1 and 2 * len(others) >= len(shares):
                found[coupling.paths[n]] = others
    return found
