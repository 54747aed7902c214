"""Divide the files among tasks: read what the repository tells about them, and apply the rules of division."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestra.conduct.core.machine import measure_machine
from orchestra.conduct.planning.survey import classify_by_mode, is_utf8, read_blobs
from orchestra.division.coupling import Coupling, Evidence, Graph, find_hot_files, find_links, find_neighbours
from orchestra.division.shares import (
    AgentsWanted,
    DividedFiles,
    check_complete,
    divide_as_assigned,
    divide_files,
    drop_oversized,
    file_weight,
    merge_groups,
    parse_assignment,
    together_groups,
)
from orchestra.errors import PlanError
from orchestra.model import DivisionBasis, Plan, Prd, TargetFile
from orchestra.plan.brief import find_tests_of, make_tasks, tests_by_stem
from orchestra.plan.digest import has_signatures, signature_block
from orchestra.plan.sizing import Machine, bound_agents
from orchestra.plan.targets import Targets
from orchestra.settings import Settings
from orchestra.workspace.evidence import gather_evidence
from orchestra.workspace.repository import Entry, Repository

NEARBY_BYTES = 2_400  # bytes of signatures in each brief: less than the map that Aider would send
HOT_BYTES = 4_000
LARGEST = 400_000
LOOKED_AT = 4_000  # characters read of a file: more than there is room for


@dataclass(frozen=True)
class Division:
    """The shares, and what was learned about the files on the way."""

    split: DividedFiles
    coupling: Coupling
    graph: Graph
    evidence: Evidence
    notes: tuple[str, ...]

    @property
    def basis(self) -> DivisionBasis:
        together, apart = find_links(self.coupling, self.graph, self.split.shares)
        notes = tuple(note for note in (*self.notes, self.evidence.lost, *self.split.notes) if note)
        return DivisionBasis(self.split.cut, self.split.commits, tuple(map(tuple, together)), tuple(apart), notes)


async def plan_by_division(
    settings: Settings,
    repository: Repository,
    entries: Mapping[str, Entry],
    prd: Prd,
    targets: Targets,
    context: int | None,
) -> Plan:
    found = await gather_evidence(repository.git, repository.base, entries, [file.path for file in targets.files])
    division = await asyncio.to_thread(divide_target_files, settings, prd, targets.files, found, context)
    reads, briefs = await find_context_of_shares(repository, entries, division)
    tasks = make_tasks(settings.change, prd, division.split.shares, briefs)
    with_reads = (replace(task, reads=read) for task, read in zip(tasks, reads, strict=True))
    return Plan(tuple(with_reads), division.split.agents, division.basis)


def divide_target_files(
    settings: Settings, prd: Prd, files: Sequence[TargetFile], found: Evidence, context: int | None
) -> Division:
    files, large = (files, []) if settings.assign else drop_oversized(files, context)
    if not files:
        raise PlanError(large[0])
    paths = [file.path for file in files]
    coupling = Coupling(paths, found)
    machine = Machine(*measure_machine())
    if settings.assign:
        shares = read_assignment(settings.assign)
        check_complete(settings.assign, shares, paths)
        result = divide_as_assigned(files, shares, found, settings.max_agents, context)
        return Division(result, coupling, coupling.build_graph(), found, ())
    strict = settings.source_of("together") == "flag"
    groups, notes = together_groups(settings.together, prd, paths, strict=strict)
    sizes = {file.path: file_weight(file) for file in files}
    balls = [sum(sizes[path] for path in group) for group in merge_groups(paths, groups)]
    want = AgentsWanted(settings.agents, bound_agents(balls, machine, at_most=settings.max_agents), context)
    graph = coupling.build_graph()
    return Division(divide_files(files, groups, coupling, graph, found, want), coupling, graph, found, (*large, *notes))


def read_assignment(file_name: str) -> list[list[str]]:
    try:
        return parse_assignment(file_name, Path(file_name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PlanError(f"--assign {file_name}: it cannot be read ({error}).") from None


# --- what agents see beside their files -----------------------------------------------------------------------------


async def find_context_of_shares(
    repository: Repository, entries: Mapping[str, Entry], division: Division
) -> tuple[list[tuple[str, ...]], list[str]]:
    """For each share, find the files to show whole and the signatures of related files."""
    shares = division.split.shares
    owned = [{file.path for file in share} for share in shares]
    known = {path: file.size for path, file in classify_by_mode(entries).items() if file.kind == "text"}
    everything = division.coupling
    graph: Graph | None = division.graph
    if known.keys() - everything.number.keys():
        everything, graph = await asyncio.to_thread(Coupling, {*known, *everything.number}, division.evidence), None
    burning = find_hot_files(division.coupling, division.graph, shares)
    taken = set().union(*owned)
    tests = tests_by_stem(path for path in known if path not in taken)
    reads = [
        tuple(dict.fromkeys((*hot_files(burning, n, known), *find_tests_of(sorted(mine), tests, known))))
        for n, mine in enumerate(owned)
    ]
    near = await asyncio.to_thread(lambda: [find_neighbours(everything, graph, mine) for mine in owned])
    wanted = {path for paths in near for path in paths if path in known and has_signatures(path)}
    small = [entries[path] for path in sorted(wanted) if known[path] <= LARGEST]
    texts = {path: text.decode() for path, text in (await read_blobs(repository, small)).items() if is_utf8(text)}
    blocks = {path: signature_block(path, text[:LOOKED_AT]) for path, text in texts.items()}
    return reads, [
        join_signatures([p for p in paths if p not in read], blocks) for paths, read in zip(near, reads, strict=True)
    ]


def hot_files(burning: Mapping[str, set[int]], share: int, sizes: Mapping[str, int]) -> list[str]:
    """Return the files that most agents need, if they are short."""
    left, chosen = HOT_BYTES, []
    for path in sorted(burning, key=lambda path: (-len(burning[path]), path)):
        if share in burning[path] and sizes.get(path, left + 1) <= left:
            chosen.append(path)
            left -= sizes[path]
    return chosen


def join_signatures(paths: Sequence[str], blocks: Mapping[str, str]) -> str:
    left = NEARBY_BYTES
    lines: list[str] = []
    for path in paths:
        for line in blocks.get(path, "").splitlines():
            left -= len(line.encode()) + 1
            if left < 0:
                return "\n".join(lines)
            lines.append(line)
    return "\n".join(lines)
