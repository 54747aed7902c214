"""How strongly each pair of files is coupled, from their history and their contents, and what is near a share of them.

Five kinds of evidence are added up for each pair: changed in the same commits, one imports the other, one name (a file
and its test), rare identifiers in both, neighbours in the tree. Measured on many repositories, no single kind is as
good. Without history, large files count as often changed: couplings between two of them get more weight. The arithmetic
gives the same numbers on every platform: + - * / and square roots, never powers.
"""

import math
import re
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestra.division.imports import ModuleIndex, Source, shared_prefix
from orchestra.model import FileLink, TargetFile

COCHANGE, IMPORTS, NAME, SYMBOLS, PATH = "cochange", "imports", "name", "symbols", "path"
KINDS = {COCHANGE: 12.0, IMPORTS: 1.0, NAME: 4.0, SYMBOLS: 1.5, PATH: 0.2}
STRONGEST = 24
HALF_LIFE = 1_000  # commits
MOST_TOGETHER = 30  # a commit of more files says nothing about any two of them
MOST_ALIKE = 8
RARE = 12
RARITY = [0.0, 0.0, *(1 / math.sqrt(files - 1) for files in range(2, RARE + 1))]  # by the number of files with the word
NEAR = 6
UNIT = 1_000_000  # weights are stored as whole numbers
TEST_WORDS = re.compile(r"^tests?[_.-]|[_.-](?:tests?|specs?)$|(?<=[a-z0-9])(?:Tests?|Specs?|IT)$")

NEIGHBOURS = 6
LINKS = 3
LOOKED_AT = 12  # pairs, of which some may have no telling reason
HOT_SHARES = 3
TELLING_WORDS = 4  # rare identifiers that two files must share, so that this is given as a reason
WHY = {
    IMPORTS: "one imports the other",
    NAME: "one name",
    SYMBOLS: "share rare identifiers",
    PATH: "lie side by side",
}
WEAK = (WHY[PATH], "")  # reasons that files of every repository have

Row = dict[int, float]
Graph = list[dict[int, int]]


@dataclass(frozen=True)
class Evidence:
    """What the repository shows: its commits, newest first, with present paths, and its sources."""

    commits: Sequence[tuple[str, ...]] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    lost: str = ""  # what could not be read, and how to get it


class Coupling:
    """Computes a file's row of weights on demand: all rows at once would fill the memory."""

    def __init__(self, paths: Iterable[str], evidence: Evidence) -> None:
        self.evidence, self.paths = evidence, sorted(paths)
        self.graph: Graph = []  # if it was built, each file's strongest couplings in whole numbers, in both directions
        self.number = {path: n for n, path in enumerate(self.paths)}
        self.folders = [path.split("/")[:-1] for path in self.paths]
        self.commits: list[tuple[float, tuple[int, ...]]] = []
        self.commits_of: dict[int, list[int]] = defaultdict(list)
        self.remember_commits(evidence.commits)
        self.importing: dict[int, Row] = defaultdict(dict)
        self.remember_imports(evidence.sources)
        self.alike: dict[str, list[int]] = defaultdict(list)
        for path, n in self.number.items():
            self.alike[subject_stem(path)].append(n)
        self.holders: dict[int, list[int]] = {}
        self.words: dict[int, list[int]] = defaultdict(list)
        self.remember_words(evidence.sources)
        self.size_factors = [] if self.commits else factors_by_size([evidence.sources.get(path) for path in self.paths])

    def remember_commits(self, commits: Iterable[tuple[str, ...]]) -> None:
        for back, paths in enumerate(commits):
            together = tuple(sorted({self.number[path] for path in paths if path in self.number}))
            if 2 <= len(together) <= MOST_TOGETHER:
                for n in together:
                    self.commits_of[n].append(len(self.commits))
                self.commits.append((commit_weight(back) / (len(together) - 1), together))

    def remember_imports(self, sources: Mapping[str, Source]) -> None:
        modules = ModuleIndex(self.paths)
        importers: dict[int, set[int]] = defaultdict(set)
        for path in self.paths:
            for name in sources[path].imports if path in sources else ():
                for meant in modules.resolve(name, path):
                    importers[self.number[meant]].add(self.number[path])
        for meant_n, those in sorted(importers.items()):
            # What every file imports couples no two of them.
            weight = 1 / math.sqrt(len(those))
            for n in sorted(those):
                self.importing[n][meant_n] = self.importing[n].get(meant_n, 0.0) + weight
                self.importing[meant_n][n] = self.importing[meant_n].get(n, 0.0) + weight

    def remember_words(self, sources: Mapping[str, Source]) -> None:
        """Keep words that occur in several files. Counting all takes memory, so it is done an eighth at a time."""
        spoken = [sources[path].words if path in sources else array("I") for path in self.paths]
        for first in range(0, 1 << 32, 1 << 29):
            parts = [words[bisect_left(words, first) : bisect_left(words, first + (1 << 29))] for words in spoken]
            counts: Counter[int] = Counter()
            for part in parts:
                counts.update(part)
            rare: dict[int, list[int]] = {word: [] for word, count in counts.items() if 2 <= count <= RARE}
            for n, part in enumerate(parts):
                for word in filter(rare.__contains__, part):
                    rare[word].append(n)
                    self.words[n].append(word)
            self.holders |= rare

    def rows_by_kind(self, n: int) -> dict[str, Row]:
        alike = self.alike[subject_stem(self.paths[n])]
        return {
            COCHANGE: self.cochange_row(n),
            IMPORTS: self.importing.get(n, {}),
            NAME: dict.fromkeys(alike, 1.0) if 2 <= len(alike) <= MOST_ALIKE else {},
            SYMBOLS: self.symbols_row(n),
            PATH: self.path_row(n),
        }

    def row(self, n: int) -> Row:
        total: Row = defaultdict(float)
        for kind, row in self.rows_by_kind(n).items():
            for other, weight in row.items():
                total[other] += KINDS[kind] * weight
        total.pop(n, None)
        if self.size_factors:
            return {other: weight * self.size_factors[n] * self.size_factors[other] for other, weight in total.items()}
        return total

    def cochange_row(self, n: int) -> Row:
        row: Row = defaultdict(float)
        for commit in self.commits_of.get(n, ()):
            weight, together = self.commits[commit]
            for other in together:
                row[other] += weight
        return row

    def symbols_row(self, n: int) -> Row:
        row: Row = defaultdict(float)
        for word in self.words.get(n, ()):
            those = self.holders[word]
            weight = RARITY[len(those)]
            for other in those:
                row[other] += weight
        mine = len(self.words.get(n, ()))
        # Files with many words share more of them by chance, but are also coupled more.
        return {other: weight / math.sqrt(math.sqrt(mine * len(self.words[other]))) for other, weight in row.items()}

    def path_row(self, n: int) -> Row:
        row: Row = {}
        here = self.folders[n]
        for other in range(max(0, n - NEAR), min(len(self.paths), n + NEAR + 1)):
            if other != n:
                there = self.folders[other]
                # The root counts as a folder that all share.
                share = 1.0 if here == there else (1 + shared_prefix(here, there)) / (1 + max(len(here), len(there)))
                row[other] = share * share / abs(other - n)
        return row

    def build_graph(self) -> Graph:
        graph: Graph = [{} for _ in self.paths]
        for n in range(len(self.paths)):
            for other, weight in strongest_entries(self.row(n), STRONGEST):
                whole = max(round(weight * UNIT), 1)
                graph[n][other] = graph[other][n] = max(whole, graph[n].get(other, 0))
        self.graph = graph
        return graph


def strongest_entries(row: Mapping[int, float], many: int) -> list[tuple[int, float]]:
    return sorted(row.items(), key=lambda item: (-item[1], item[0]))[:many]


def factors_by_size(sources: Sequence[Source | None]) -> list[float]:
    """Return how often files probably change for their size, by which couplings are multiplied: 1 for average ones."""
    sizes = [source.size for source in sources if source]
    mean = max(sum(sizes), 1) / max(len(sizes), 1)
    return [math.sqrt(math.sqrt(max(source.size, 1) / mean)) if source else 1.0 for source in sources]


def commit_weight(back: int) -> float:
    """Weigh a commit by age: 1 for the newest, half for the thousandth, a quarter for the 2000th, linear between."""
    halvings, rest = divmod(back, HALF_LIFE)
    return (1 - rest / (2 * HALF_LIFE)) / (1 << halvings)


def subject_stem(path: str) -> str:
    """Return a file's name without its extension and test marker: a test belongs to what it tests."""
    name = path.rsplit("/", 1)[-1]
    whole = name.split(".", 1)[0] or name
    return (TEST_WORDS.sub("", whole) or whole).lower()


def find_links(
    coupling: Coupling, shares: Sequence[Sequence[TargetFile]]
) -> tuple[list[list[FileLink]], list[FileLink]]:
    """Find the strongest links within each share, and the strongest that are cut."""
    owner = {coupling.number[file.path]: n for n, share in enumerate(shares) for file in share}
    inside: list[list[tuple[int, int, int]]] = [[] for _ in shares]
    between: list[tuple[int, int, int]] = []
    for a, bands in enumerate(coupling.graph):
        for b, band in bands.items():
            if a < b and a in owner and b in owner:
                pairs = inside[owner[a]] if owner[a] == owner[b] else between
                pairs.append((-band, a, b))
    return [make_links(coupling, pairs) for pairs in inside], make_links(coupling, between)


def make_links(coupling: Coupling, pairs: Sequence[tuple[int, int, int]]) -> list[FileLink]:
    """Make the links of the strongest pairs, without those that have no telling reason."""
    links = [make_link(coupling, *one) for one in sorted(pairs)[:LOOKED_AT]]
    return [link for link in links if link.why not in WEAK][:LINKS]


def make_link(coupling: Coupling, minus: int, a: int, b: int) -> FileLink:
    together = len(set(coupling.commits_of.get(a, ())) & set(coupling.commits_of.get(b, ())))
    rows = coupling.rows_by_kind(a)
    reasons = [f"changed together {'once' if together == 1 else f'{together} times'}"] if together else []
    kinds = [kind for kind in KINDS if kind != COCHANGE and kind in WHY and rows[kind].get(b)]
    if SYMBOLS in kinds and count_telling_words(coupling, a, b) < TELLING_WORDS:
        kinds.remove(SYMBOLS)
    reasons += [WHY[kind] for kind in kinds if kind != PATH or not (reasons or len(kinds) > 1)]
    return FileLink(coupling.paths[a], coupling.paths[b], -minus, ", ".join(reasons))


def count_telling_words(coupling: Coupling, a: int, b: int) -> int:
    """Count the words of both files that few others have. Among a handful of files nearly every word is rare."""
    few = max(2, len(coupling.paths) // RARE)
    return sum(len(coupling.holders[word]) <= few for word in {*coupling.words[a]} & {*coupling.words[b]})


def find_neighbours(coupling: Coupling, share: Collection[str]) -> list[str]:
    """Find the files outside a share that are most coupled with it. `coupling` knows the whole repository; its graph is
    used if it was built, because all files are to be changed."""
    pull: dict[int, float] = defaultdict(float)
    for path in sorted(share):
        n = coupling.number[path]
        row = coupling.graph[n] if coupling.graph else coupling.row(n)
        for other, weight in strongest_entries(row, NEIGHBOURS):
            if coupling.paths[other] not in share:
                pull[other] += weight
    return [coupling.paths[n] for n, _ in strongest_entries(pull, NEIGHBOURS)]


def find_hot_files(coupling: Coupling, shares: Sequence[Sequence[TargetFile]]) -> dict[str, set[int]]:
    """Find files that most shares depend on: each has one owner, and the shares named here should read it."""
    owner = {coupling.number[file.path]: n for n, share in enumerate(shares) for file in share}
    if len(shares) < HOT_SHARES:
        return {}
    found = {}
    for n, bands in enumerate(coupling.graph):
        if n in owner:
            others = {owner[other] for other in bands if other in owner} - {owner[n]}
            imported = sum(1 for other in coupling.importing.get(n, {}) if owner.get(other, owner[n]) != owner[n])
            if imported >= HOT_SHARES - 1 and 2 * len(others) >= len(shares):
                found[coupling.paths[n]] = others
    return found
