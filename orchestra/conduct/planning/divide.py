"""Divide the files among tasks: read what the repository tells about them, and apply the rules of division."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestra.conduct.core.models import Project
from orchestra.conduct.core.slots import measure_machine
from orchestra.conduct.planning.survey import classify_by_mode, is_utf8, read_blobs
from orchestra.division.coupling import Coupling, Evidence, find_hot_files, find_links, find_neighbours
from orchestra.division.shares import (
    AgentsWanted,
    DividedFiles,
    attach_markers,
    check_complete,
    divide_as_assigned,
    divide_files,
    drop_oversized,
    explain_task_count,
    file_weight,
    is_marker,
    merge_groups,
    parse_assignment,
    together_groups,
)
from orchestra.errors import PlanError
from orchestra.model import DivisionBasis, Plan, Prd, TargetFile
from orchestra.plan.brief import find_tests_of, make_tasks, tests_by_stem
from orchestra.plan.digest import has_signatures, signature_block
from orchestra.plan.sizing import bound_agents
from orchestra.plan.targets import Targets
from orchestra.workspace.evidence import gather_evidence

NEARBY_BYTES = 2_400  # bytes of signatures in each brief: less than the map that Aider would send
HOT_BYTES = 4_000
LARGEST = 400_000
LOOKED_AT = 4_000  # characters read of a file: more than there is room for


@dataclass(frozen=True)
class Division:
    """The shares, and what was learned about the files on the way."""

    split: DividedFiles
    coupling: Coupling
    notes: tuple[str, ...]

    @property
    def basis(self) -> DivisionBasis:
        together, apart = find_links(self.coupling, self.split.shares)
        notes = tuple(note for note in (*self.notes, self.coupling.evidence.lost, *self.split.notes) if note)
        return DivisionBasis(self.split.cut, self.split.commits, tuple(map(tuple, together)), tuple(apart), notes)


async def plan_by_division(project: Project, prd: Prd, targets: Targets) -> Plan:
    repository, paths = project.repository, [file.path for file in targets.files]
    found = await gather_evidence(repository.git, repository.base, project.entries, paths)
    division = await asyncio.to_thread(divide_target_files, project, prd, targets.files, found)
    reads, briefs = await find_context_of_shares(project, division)
    tasks = make_tasks(project.settings.change, prd, division.split.shares, briefs)
    with_reads = (replace(task, reads=read) for task, read in zip(tasks, reads, strict=True))
    return Plan(tuple(with_reads), division.split.agents, division.basis)


def divide_target_files(project: Project, prd: Prd, files: Sequence[TargetFile], found: Evidence) -> Division:
    settings, context = project.settings, project.model.context
    files, large = (files, []) if settings.assign else drop_oversized(files, context)
    if not files:
        raise PlanError(large[0])
    paths = [file.path for file in files]
    coupling = Coupling(paths, found)
    if settings.assign:
        shares = read_assignment(settings.assign)
        check_complete(settings.assign, shares, paths)
        result = divide_as_assigned(files, shares, found, settings.max_agents, context)
        coupling.build_graph()
        return Division(result, coupling, ())
    strict = settings.source_of("together") == "flag"
    groups, notes = together_groups(settings.together, prd, paths, strict=strict)
    grouped = {path for group in groups for path in group}
    markers = [file for file in files if is_marker(file) and file.path not in grouped]
    others = [file for file in files if file not in markers]
    if not others:
        others, markers, groups = list(files), [], [paths]
    sizes = {file.path: file_weight(file) for file in others}
    balls = [sum(sizes[path] for path in group) for group in merge_groups(list(sizes), groups)]
    bound = bound_agents(balls, measure_machine(), at_most=settings.max_agents)
    want = AgentsWanted(settings.agents, bound, context)
    result = attach_markers(divide_files(others, groups, coupling, want), markers)
    count_note = explain_task_count(settings.agents, len(result.shares), context)
    return Division(result, coupling, (*large, *notes, *filter(None, [count_note])))


def read_assignment(file_name: str) -> list[list[str]]:
    try:
        return parse_assignment(file_name, Path(file_name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PlanError(f"--assign {file_name}: it cannot be read ({error}).") from None


async def find_context_of_shares(project: Project, division: Division) -> tuple[list[tuple[str, ...]], list[str]]:
    """For each share, find the files to show whole and the signatures of related files."""
    entries, shares = project.entries, division.split.shares
    owned = [{file.path for file in share} for share in shares]
    known = {path: file.size for path, file in classify_by_mode(entries).items() if file.kind == "text"}
    everything = division.coupling
    if known.keys() - everything.number.keys():
        everything = await asyncio.to_thread(Coupling, {*known, *everything.number}, everything.evidence)
    burning = find_hot_files(division.coupling, shares)
    taken = set().union(*owned)
    tests = tests_by_stem(path for path in known if path not in taken)
    reads = [
        tuple(dict.fromkeys((*hot_files(burning, n, known), *find_tests_of(sorted(mine), tests, known))))
        for n, mine in enumerate(owned)
    ]
    near = await asyncio.to_thread(lambda: [find_neighbours(everything, mine) for mine in owned])
    wanted = {path for paths in near for path in paths if path in known and has_signatures(path)}
    small = [entries[path] for path in sorted(wanted) if known[path] <= LARGEST]
    texts = (await read_blobs(project.repository, small)).items()
    blocks = {path: signature_block(path, text.decode()[:LOOKED_AT]) for path, text in texts if is_utf8(text)}
    shown = zip(near, reads, strict=True)
    return reads, [join_signatures([path for path in paths if path not in read], blocks) for paths, read in shown]


def hot_files(burning: Mapping[str, set[int]], share: int, sizes: Mapping[str, int]) -> list[str]:
    """Return the files that most agents need, if they are short."""
    left, chosen = HOT_BYTES, []
    for path in sorted(burning, key=lambda path: (-len(burning[path]), path)):
        if share in burning[path] and sizes.get(path, left + 1) <= left:
            chosen.append(path)
            left -= sizes[path]
    return chosen


def join_signatures(paths: Sequence[str], blocks: Mapping[str, str]) -> str:
    """Join as many whole lines as there is room for."""
    lines = [line for path in paths for line in blocks.get(path, "").splitlines()]
    ends = itertools.accumulate(len(line.encode()) + 1 for line in lines)
    return "\n".join(line for line, end in zip(lines, ends, strict=True) if end <= NEARBY_BYTES)
