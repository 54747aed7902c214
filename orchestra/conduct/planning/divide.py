"""Who gets which files: what the repository tells of them is read, and handed to the rules that divide."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestra.conduct.core.machine import count_machine
from orchestra.conduct.planning.survey import by_mode, contents, is_utf8
from orchestra.division import constraints, nearby
from orchestra.division.coupling import Coupling, Evidence, Graph
from orchestra.division.split import Split, Wanted, assigned, fitting, lumps, split, weight
from orchestra.errors import PlanError
from orchestra.model import Basis, Plan, Prd, TargetFile
from orchestra.plan.brief import make_tasks, tests_by_stem, twins
from orchestra.plan.digest import has_signatures, signature_block
from orchestra.plan.sizing import Machine, bound
from orchestra.plan.targets import Targets
from orchestra.settings import Settings
from orchestra.workspace.evidence import evidence
from orchestra.workspace.repository import Entry, Repository

NEARBY_BYTES = 2_400  # of signatures in each brief: less than the map that Aider would send
HOT_BYTES = 4_000
LARGEST = 400_000
LOOKED_AT = 4_000  # characters of a file, more than there is room for


@dataclass(frozen=True)
class Division:
    """The shares, and what was found out about the files on the way."""

    split: Split
    coupling: Coupling
    graph: Graph
    evidence: Evidence
    notes: tuple[str, ...]

    @property
    def basis(self) -> Basis:
        together, apart = nearby.links(self.coupling, self.graph, self.split.shares)
        notes = tuple(note for note in (*self.notes, self.evidence.lost, *self.split.notes) if note)
        return Basis(self.split.cut, self.split.commits, tuple(map(tuple, together)), tuple(apart), notes)


async def divide(
    settings: Settings,
    repository: Repository,
    entries: Mapping[str, Entry],
    prd: Prd,
    targets: Targets,
    context: int | None,
) -> Plan:
    found = await evidence(repository.git, repository.base, entries, [file.path for file in targets.files])
    division = await asyncio.to_thread(divided, settings, prd, targets.files, found, context)
    reads, briefs = await surroundings(repository, entries, division)
    tasks = make_tasks(settings.change, prd, division.split.shares, briefs)
    with_reads = (replace(task, reads=read) for task, read in zip(tasks, reads, strict=True))
    return Plan(tuple(with_reads), division.split.agents, division.basis)


def divided(
    settings: Settings, prd: Prd, files: Sequence[TargetFile], found: Evidence, context: int | None
) -> Division:
    files, large = (files, []) if settings.assign else fitting(files, context)
    if not files:
        raise PlanError(large[0])
    paths = [file.path for file in files]
    coupling = Coupling(paths, found)
    machine = Machine(*count_machine())
    if settings.assign:
        shares = read_assignment(settings.assign)
        constraints.check_complete(settings.assign, shares, paths)
        result = assigned(files, shares, found, settings.max_agents, context)
        return Division(result, coupling, coupling.graph(), found, ())
    strict = settings.source("together") == "flag"
    groups, notes = constraints.groups(settings.together, prd, paths, strict=strict)
    sizes = {file.path: weight(file) for file in files}
    balls = [sum(sizes[path] for path in group) for group in lumps(paths, groups)]
    want = Wanted(settings.agents, bound(balls, machine, at_most=settings.max_agents), context)
    graph = coupling.graph()
    return Division(split(files, groups, coupling, graph, found, want), coupling, graph, found, (*large, *notes))


def read_assignment(place: str) -> list[list[str]]:
    try:
        return constraints.assignment(place, Path(place).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PlanError(f"--assign {place}: it cannot be read ({error}).") from None


# --- what agents see beside their files -----------------------------------------------------------------------------


async def surroundings(
    repository: Repository, entries: Mapping[str, Entry], division: Division
) -> tuple[list[tuple[str, ...]], list[str]]:
    """For each share the files to read whole, and the signatures of those near to it."""
    shares = division.split.shares
    owned = [{file.path for file in share} for share in shares]
    known = {path: file.size for path, file in by_mode(entries).items() if file.kind == "text"}
    everything = division.coupling
    graph: Graph | None = division.graph
    if known.keys() - everything.number.keys():
        everything, graph = await asyncio.to_thread(Coupling, {*known, *everything.number}, division.evidence), None
    burning = nearby.hot(division.coupling, division.graph, shares)
    taken = set().union(*owned)
    tests = tests_by_stem(path for path in known if path not in taken)
    reads = [
        tuple(dict.fromkeys((*hot_ones(burning, n, known), *twins(sorted(mine), tests, known))))
        for n, mine in enumerate(owned)
    ]
    near = await asyncio.to_thread(lambda: [nearby.neighbours(everything, graph, mine) for mine in owned])
    wanted = {path for paths in near for path in paths if path in known and has_signatures(path)}
    small = [entries[path] for path in sorted(wanted) if known[path] <= LARGEST]
    texts = {path: text.decode() for path, text in (await contents(repository, small)).items() if is_utf8(text)}
    blocks = {path: signature_block(path, text[:LOOKED_AT]) for path, text in texts.items()}
    return reads, [around([p for p in paths if p not in read], blocks) for paths, read in zip(near, reads, strict=True)]


def hot_ones(burning: Mapping[str, set[int]], share: int, sizes: Mapping[str, int]) -> list[str]:
    """The files that most agents need, as far as they are short."""
    left, chosen = HOT_BYTES, []
    for path in sorted(burning, key=lambda path: (-len(burning[path]), path)):
        if share in burning[path] and sizes.get(path, left + 1) <= left:
            chosen.append(path)
            left -= sizes[path]
    return chosen


def around(paths: Sequence[str], blocks: Mapping[str, str]) -> str:
    left = NEARBY_BYTES
    lines: list[str] = []
    for path in paths:
        for line in blocks.get(path, "").splitlines():
            left -= len(line.encode()) + 1
            if left < 0:
                return "\n".join(lines)
            lines.append(line)
    return "\n".join(lines)
