"""Check whether a plan can be carried out, and restrict it to what agents may be given. Small errors are corrected and
noted; others stop it.

The corrections, in this order; docs/how-to.md lists them for users: missing, repeated or invalid ids; paths as git
writes them; a path that only one file fits; `new` as it really is; files named twice; files to read; unknown roles,
priorities and risks; requirements and needs that do not exist; two tasks that would change one file at the same time
run one after the other.
"""

import dataclasses
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestra.division.shares import file_weight
from orchestra.judge.manifests import manifest_reader
from orchestra.judge.permit import Permit
from orchestra.judge.protected import is_own_file, protection_of
from orchestra.model import TargetFile
from orchestra.plan.draft import PRIORITIES, RISKS, Draft, PlanItem, all_needs_by_id, needs_by_id, unused_name
from orchestra.plan.roles import CODER, KINDS, canonical_role, role_for_files
from orchestra.plan.sizing import tokens_of_size, usable_tokens
from orchestra.plan.targets import TrackedFile
from orchestra.plan.task_order import dependency_depths

MOST = 8  # paths or names in one sentence


@dataclass(frozen=True)
class PlanContext:
    """What a plan is checked against. `reading`: the roles that change no files."""

    tracked: Mapping[str, TrackedFile]
    roles: Collection[str] = ()
    reading: Collection[str] = ()
    requirements: Collection[str] = ()
    context: int | None = None


@dataclass(frozen=True)
class CheckedDraft:
    """The plan as it can be carried out, what was corrected, and what cannot be."""

    draft: Draft
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def problem_text(self) -> str:
        return "; ".join(self.problems[:MOST]) + ("; and more" if len(self.problems) > MOST else "")


@dataclass
class Findings:
    repairs: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_draft(draft: Draft, world: PlanContext) -> CheckedDraft:
    """Check a draft. Completed tasks are not checked any more, and proposed ones not yet."""
    findings = Findings()
    aside = [item for item in draft.task if item.done or item.proposed]
    items = name_items(draft.unfinished, [item.id for item in aside], findings)
    items = [resolve_files(item, world, findings) for item in items]
    items = [normalise_words(item, world, findings) for item in items]
    items = drop_unknown_needs(items, {item.id for item in aside}, findings)
    if not items:
        findings.problems.append("it has no unfinished tasks" if aside else "it has no tasks")
    if circle := find_cycle(items):
        findings.problems.append(f"it goes in a circle: {' needs '.join(circle)}")
    else:
        shared = find_shared(draft, world, findings)
        items = order_tasks_of_file(items, shared, findings)
        items = resolve_reads(items, world, findings)
        findings.problems += find_too_large(items, world)
    return CheckedDraft(draft.with_items([*aside, *items]), tuple(findings.repairs), tuple(findings.problems))


def name_items(given: Sequence[PlanItem], taken: Sequence[str], findings: Findings) -> list[PlanItem]:
    """Give every task a unique id, a title and a brief."""
    found: list[PlanItem] = []
    for n, item in enumerate(given, start=1):
        lines = (line.strip()[:80] for line in item.brief.splitlines() if line.strip())
        words = item.title.strip() or next(lines, "") or item.id.strip()
        if not words:
            findings.problems.append(f"task {n} does not say what is to be done")
            words = f"task {n}"
        id = unused_name(item.id.strip() or words, [*taken, *(one.id for one in found)])
        if id != item.id:
            findings.repairs.append(f"task {n} is called {id}" + (f", not {item.id!r}" if item.id else ""))
        found.append(dataclasses.replace(item, id=id, title=item.title.strip() or words, brief=item.brief or words))
    return resolve_needs(given, found)


def resolve_needs(given: Sequence[PlanItem], found: Sequence[PlanItem]) -> list[PlanItem]:
    """Resolve needs, which may be given by the id as written, or by a title."""
    ids = {item.id for item in found}
    meant: dict[str, str] = {}
    for old, new in zip(given, found, strict=True):
        meant.setdefault(old.id.strip(), new.id)
        meant.setdefault(old.title.strip().casefold(), new.id)

    def find_id(need: str) -> str:
        return need if need in ids else meant.get(need.strip()) or meant.get(need.strip().casefold()) or need

    return [dataclasses.replace(item, needs=tuple(map(find_id, item.needs))) for item in found]


def resolve_files(item: PlanItem, world: PlanContext, findings: Findings) -> PlanItem:
    """Resolve the files to git's names, each once."""
    paths = [found for path in item.files if (found := resolve_file(item.id, path, world, findings))]
    files = tuple(dict.fromkeys(paths))
    findings.repairs += [f"{item.id}: {path} stood there twice" for path in files if paths.count(path) > 1]
    if not files and item.role not in world.reading:
        findings.problems.append(f"{item.id} names no file to change")
    return dataclasses.replace(item, files=files)


def resolve_file(id: str, given: str, world: PlanContext, findings: Findings) -> str:
    """Return the path that is meant; or empty, with a problem."""
    path = clean_path(given)
    if not path:
        findings.problems.append(f"{id} names {given!r}, which is outside the repository")
        return ""
    if any(name.startswith(f"{path}/") for name in world.tracked):
        findings.problems.append(f"{id} names {path}, which is a folder: name its files")
        return ""
    if path not in world.tracked and (fits := find_similar_path(path, world.tracked)):
        findings.repairs.append(f"{id}: {fits} is meant by {path}")
        return fits
    if path in world.tracked and (why_not := world.tracked[path].why_not_editable):
        findings.problems.append(f"{id} names {path}, which {why_not}")
        return ""
    parts = path.split("/")
    above = ("/".join(parts[:n]) for n in range(1, len(parts)))
    if file := next((folder for folder in above if folder in world.tracked), ""):
        findings.problems.append(f"{id} names {path}, but {file} is a file, not a folder")
        return ""
    if path != given:
        findings.repairs.append(f"{id}: {given!r} is {path}")
    return path


def clean_path(given: str) -> str:
    """Return a path as git writes it; empty if it is outside, git's own, or no file name."""
    path = posixpath.normpath(given.strip().replace("\\", "/")) if given.strip() else ""
    parts = path.split("/")
    outside = path in ("", ".") or path.startswith("/") or ".." in parts or ".git" in parts
    return "" if outside or re.match("[A-Za-z]:", path) or len(path.splitlines()) != 1 else path


def find_similar_path(path: str, tracked: Mapping[str, TrackedFile]) -> str:
    """Return the only file whose path ends so, or has the same letters; empty if there are several."""
    ends = [name for name in tracked if name.endswith(f"/{path}") or path.endswith(f"/{name}")]
    found = ends or [name for name in tracked if name.casefold() == path.casefold()]
    return found[0] if len(found) == 1 else ""


def normalise_words(item: PlanItem, world: PlanContext, findings: Findings) -> PlanItem:
    """Correct role, priority, risk and requirements to known ones."""
    role = canonical_role(item.role.strip().lower(), world.roles) or role_for_files(item.files)
    if role and world.roles and role not in world.roles:
        findings.repairs.append(f"{item.id}: unknown role {item.role!r}, so it is {CODER}")
        role = CODER
    unknown = [id for id in item.requirements if world.requirements and id not in world.requirements]
    findings.repairs += [f"{item.id}: there is no requirement {id}" for id in unknown]
    return dataclasses.replace(
        item,
        role=role,
        priority=choose_known_word(item.id, "priority", item.priority, PRIORITIES, findings),
        risk=choose_known_word(item.id, "risk", item.risk, RISKS, findings),
        kind=check_kind(item, findings),
        requirements=tuple(dict.fromkeys(id for id in item.requirements if id not in unknown)),
    )


def choose_known_word(id: str, what: str, given: str, known: Collection[str], findings: Findings) -> str:
    if given.strip().lower() in known:
        return given.strip().lower()
    findings.repairs.append(f"{id}: the {what} {given!r} is unknown, so it is normal")
    return "normal"


def check_kind(item: PlanItem, findings: Findings) -> str:
    kind = item.kind.strip().lower()
    if kind and kind not in KINDS:
        findings.problems.append(f"{item.id} names the kind of agent {item.kind!r}, but there are {', '.join(KINDS)}")
    return kind


def drop_unknown_needs(items: Sequence[PlanItem], done: Collection[str], findings: Findings) -> list[PlanItem]:
    """Drop needs that do not exist, and needs of a task for itself."""
    ids, found = {item.id for item in items}.union(done), []
    for item in items:
        findings.repairs += [f"{item.id} does not need itself"] if item.id in item.needs else []
        findings.repairs += [
            f"{item.id} does not need {need}, which is no task" for need in item.needs if need not in ids
        ]
        kept = dict.fromkeys(need for need in item.needs if need in ids and need != item.id)
        found.append(dataclasses.replace(item, needs=tuple(kept)))
    return found


def find_cycle(items: Sequence[PlanItem]) -> list[str]:
    """Return a cycle such as a, b, a (a needs b, b needs a); empty if there is none."""
    direct = needs_by_id(items)
    rest = {id for id, depth in dependency_depths(direct).items() if depth == len(direct)} if direct else set()
    if not rest:
        return []
    way = [min(rest)]
    while True:
        following = [need for need in direct[way[-1]] if need in rest]
        if not following:  # it only needs a task of the cycle: begin from there
            rest.discard(way[-1])
            way = [min(rest)]
        elif following[0] in way:
            return [*way[way.index(following[0]) :], following[0]]
        else:
            way.append(following[0])


def find_shared(draft: Draft, world: PlanContext, findings: Findings) -> set[str]:
    """Find the files whose edits can be merged. A file that two tasks create has no common base."""
    shared = {path for given in draft.shared if (path := clean_path(given))}
    missing = sorted(shared - world.tracked.keys())
    findings.repairs += [f"{path} is not shared, because it does not exist yet" for path in missing]
    return shared & world.tracked.keys()


def order_tasks_of_file(items: Sequence[PlanItem], shared: Collection[str], findings: Findings) -> list[PlanItem]:
    """Order two tasks that change one file and might run together, unless it is shared: the later one waits."""
    found = {item.id: item for item in items}
    needs = all_needs_by_id(items)
    owners: dict[str, list[str]] = {}
    for item in items:
        for path in [path for path in item.files if path not in shared]:
            for other in owners.get(path, []):
                if other not in needs[item.id] and item.id not in needs[other]:
                    findings.repairs.append(f"{item.id} waits for {other}: both change {path}")
                    found[item.id] = dataclasses.replace(found[item.id], needs=(*found[item.id].needs, other))
                    needs = all_needs_by_id(list(found.values()))
            owners.setdefault(path, []).append(item.id)
    return list(found.values())


def resolve_reads(items: Sequence[PlanItem], world: PlanContext, findings: Findings) -> list[PlanItem]:
    """Resolve files to read. What an earlier task creates is not new for its dependents, and they can read it."""
    needs, by_id = all_needs_by_id(items), {item.id: item for item in items}
    found = []
    for item in items:
        earlier = {path for id in needs[item.id] for path in by_id[id].files}
        reads = dict.fromkeys(path for given in item.reads if (path := clean_path(given)) and path not in item.files)
        readable = {path for path in reads if path in world.tracked and not world.tracked[path].why_not_editable}
        missing = [path for path in reads if not (path in readable or path in earlier)]
        findings.repairs += [f"{item.id} does not read {path}, which is no text file here" for path in missing]
        claimed = {clean_path(path) for path in item.new}
        new = tuple(path for path in item.files if path not in world.tracked and path not in earlier)
        findings.repairs += [f"{item.id}: {path} is new" for path in new if path not in claimed]
        findings.repairs += [f"{item.id}: {path} is there already" for path in sorted(claimed & world.tracked.keys())]
        found.append(dataclasses.replace(item, new=new, reads=tuple(path for path in reads if path not in missing)))
    return found


def find_too_large(items: Sequence[PlanItem], world: PlanContext) -> Iterator[str]:
    most = usable_tokens(world.context)
    for item in items:
        files = item_targets(item, world.tracked)
        tokens = sum(file_weight(file) for file in files)
        if tokens > most and len(files) > 1:
            half = ", ".join(item.files[: len(item.files) // 2][:3])
            yield (
                f"{item.id} has files of about {tokens:,} tokens, more than the {most:,} that an agent works on well: "
                f"split it ({half} … could be a task of its own)"
            )
        elif world.context is not None and tokens > world.context:
            yield f"{item.id} has a file of about {tokens:,} tokens, more than the model's whole context"


def item_targets(item: PlanItem, tracked: Mapping[str, TrackedFile]) -> tuple[TargetFile, ...]:
    """Return the files of a task with their sizes; each must be changed."""
    tokens = {path: tokens_of_size(tracked[path].size) if path in tracked else 0 for path in item.files}
    return tuple(TargetFile(path, tokens[path], new=path in item.new, required=True) for path in item.files)


@dataclass(frozen=True)
class AllowedDraft:
    """The draft without what was left out, and its protected files that a person has named or approved."""

    draft: Draft
    left_out: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def restrict_draft(draft: Draft, permit: Permit, by_person: bool) -> AllowedDraft:
    """Leave out what agents may not be given: only a person can permit a change of a file that acts by itself. A task
    without changes is left out too, and its dependents get its dependencies."""
    approved = {path for item in draft.unfinished for path in (item.files if draft.approved else item.named)}
    named = {path for path in approved if by_person and not is_own_file(path)}
    permit = dataclasses.replace(permit, paths=permit.paths | named)
    left_out = {path for item in draft.unfinished for path in item.files if permit.refusal_for(path)}
    kept = []
    for item in draft.task:
        if not (item.done or item.proposed):
            files = tuple(path for path in item.files if path not in left_out)
            item = dataclasses.replace(item, files=files, new=tuple(path for path in item.new if path in files))
        kept.append(item)
    gone = {old.id: old.needs for old, new in zip(draft.task, kept, strict=True) if old.files and not new.files}
    items = [dataclasses.replace(item, needs=bypass_needs(item.needs, gone)) for item in kept if item.id not in gone]
    counted = sorted(path for path in named if protection_of(path) or manifest_reader(path))
    return AllowedDraft(draft.with_items(items), tuple(sorted(left_out)), tuple(counted))


def bypass_needs(needs: Iterable[str], gone: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Replace each missing task in the needs by its own needs."""
    found: dict[str, None] = {}
    for need in needs:
        found |= dict.fromkeys(bypass_needs(gone[need], gone) if need in gone else (need,))
    return tuple(found)
