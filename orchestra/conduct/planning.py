"""From a change to a plan: the repository surveyed, the PRD obtained, the files divided."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from orchestra import catalogue, gemini
from orchestra import prd as prd_format
from orchestra.conduct.run import Run, count_machine
from orchestra.digest import digest
from orchestra.errors import PlanError, ProviderError, SettingsError, UsageError
from orchestra.gateway.ledger import Pass
from orchestra.model import Plan, Prd, Task
from orchestra.plan.brief import make_tasks, twins
from orchestra.plan.partition import partition
from orchestra.plan.sizing import Machine, agents_at_once, tasks_needed
from orchestra.plan.targets import GLOB, Targets, Tracked, from_prd, named
from orchestra.settings import Settings
from orchestra.workspace.repository import LINK, SUBMODULE, Entry, Repository

BINARY_LOOK = 8_000
DIGEST_FILE = 200_000
NO_KEY = "There is no Google key for writing the PRD: set GOOGLE_API_KEY (or --api-key), give a PRD with --prd FILE, or go without one with --no-prd."


# --- what the user named --------------------------------------------------------------------------------------------


def relative_patterns(settings: Settings, root: Path, cwd: Path) -> list[str]:
    """--files as the repository sees them: from its root, with slashes."""
    patterns = []
    for given in settings.files:
        path = Path(os.path.normpath(cwd / given))
        try:
            patterns.append(PurePosixPath(path.relative_to(root)).as_posix())
        except ValueError:
            try:
                patterns.append(PurePosixPath(path.resolve().relative_to(root.resolve())).as_posix())
            except ValueError:
                raise PlanError(f"--files {given}: it lies outside the repository {root}.") from None
    return patterns


async def survey(repository: Repository, entries: Mapping[str, Entry], patterns: list[str]) -> dict[str, Tracked]:
    """The tracked files by kind; only those that the patterns may mean are opened to see whether they are text."""
    kinds = {LINK: "link", SUBMODULE: "submodule"}
    tracked = {e.path: Tracked(e.path, e.size, kinds.get(e.mode, "text")) for e in entries.values()}
    candidates = [path for path, file in tracked.items() if file.kind == "text"]
    blobs = await contents(
        repository, [entries[path] for path in candidates if not patterns or may_match(path, patterns)]
    )
    for path, content in blobs.items():
        if not is_utf8(content):
            tracked[path] = Tracked(path, tracked[path].size, "binary")
    return tracked


def may_match(path: str, patterns: list[str]) -> bool:
    return any(
        pattern in ("", ".")
        or path == pattern
        or path.startswith(pattern.rstrip("/") + "/")
        or any(s in pattern for s in GLOB)
        for pattern in patterns
    )


async def contents(repository: Repository, entries: list[Entry]) -> dict[str, bytes]:
    """Many blobs by one git process."""
    raw = (
        await repository.git.raw("cat-file", "--batch", input="".join(f"{e.blob}\n" for e in entries).encode())
        if entries
        else b""
    )
    found, at = {}, 0
    for entry in entries:
        start = raw.index(b"\n", at) + 1
        size = int(raw[at : start - 1].split()[-1])
        found[entry.path] = raw[start : start + size]
        at = start + size + 1
    return found


def is_utf8(content: bytes) -> bool:
    if b"\0" in content[:BINARY_LOOK]:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


async def why_not(repository: Repository, patterns: list[str], tracked: Mapping[str, Tracked]) -> dict[str, str]:
    """For each name that is no tracked file: what it is instead."""
    reasons = {}
    for pattern in patterns:
        path = repository.root / pattern
        if pattern in tracked or path.is_dir() and not path.is_symlink():
            continue
        if await repository.ignored(pattern):
            reasons[pattern] = f"--files {pattern}: git ignores it, so its change could not be committed."
        elif path.is_symlink():
            reasons[pattern] = f"--files {pattern}: it is a symbolic link; name the file it points to."
        elif path.exists():
            reasons[pattern] = f"--files {pattern}: it is not committed yet, and agents work on HEAD. Commit it first."
        elif not any(sign in pattern for sign in GLOB):
            reasons[pattern] = f"--files {pattern}: there is no such file in the repository."
    return reasons


async def chosen_targets(
    settings: Settings, repository: Repository, entries: Mapping[str, Entry], cwd: Path
) -> Targets | None:
    """What --files means, or None where the PRD is to decide. Raises before anything is paid."""
    if not settings.files:
        return None
    patterns = relative_patterns(settings, repository.root, cwd)
    tracked = await survey(repository, entries, patterns)
    return named(patterns, tracked, await why_not(repository, patterns, tracked))


def explicitly_named(settings: Settings, root: Path, cwd: Path, targets: Targets) -> frozenset[str]:
    """The files that were asked for one by one: each of them must change, where a folder only says where to look."""
    literal = set(relative_patterns(settings, root, cwd))
    return frozenset(file.path for file in targets.files if file.path in literal)


# --- the PRD --------------------------------------------------------------------------------------------------------


def check_prd_source(settings: Settings, *, replayed: bool) -> None:
    """Whether a PRD can be had, before anything is started."""
    gemini_provider = catalogue.PROVIDERS["gemini"]
    key, _ = settings.key(gemini_provider.key_vars)
    if settings.prd and not Path(settings.prd).is_file():
        raise SettingsError(f"--prd {settings.prd}: there is no such file.")
    if settings.use_prd and not settings.prd and not (key or settings.api_key or replayed):
        raise SettingsError(NO_KEY)
    if not settings.use_prd and not settings.files:
        raise PlanError("With --no-prd somebody must say which files to change: give --files.")


def read_prd(path: Path) -> Prd:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prd {path}: {error}.") from None
    return prd_format.parse(text)


async def obtain_prd(run: Run) -> Prd:
    settings = run.settings
    if not settings.use_prd:
        return Prd("")
    if settings.prd:
        prd, path = read_prd(Path(settings.prd)), settings.prd
    else:
        text = await ask_gemini(run)
        prd, path = prd_format.parse(text), prd_format.file_name(settings.change, run.stamp)
        path = write_prd_file(run, path, text)
    run.emit(
        "prd_written",
        path=path,
        structured=prd.structured,
        requirements=[asdict(requirement) for requirement in prd.requirements],
        work=[asdict(work) for work in prd.work],
    )
    if not prd.structured:
        run.emit(
            "note", text="The PRD has no block for the program: it is used as prose, and requirements cannot be traced."
        )
    return prd


def write_prd_file(run: Run, name: str, text: str) -> str:
    """Into docs/prd/ of the user's checkout; with --commit-prd it comes there by the result's own commit."""
    folder = run.folder / "prd" if run.settings.commit_prd else run.repository.root / "docs" / "prd"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(run.secrets.scrub(text), encoding="utf-8")
    return f"docs/prd/{name}"


async def ask_gemini(run: Run) -> str:
    settings = run.settings
    ticket = run.gateway.admit(Pass("prd"))
    run.emit("prd_asked", model=settings.gemini_model or catalogue.DEFAULT_GEMINI_MODEL)
    try:
        return await gemini.write_prd(
            settings.change,
            await repository_digest(run),
            model=settings.gemini_model or catalogue.DEFAULT_GEMINI_MODEL,
            key=ticket.token,
            base=run.gateway.url(ticket, "gemini"),
            client=settings.gemini_client,
        )
    except ProviderError:
        # The gateway answers neutrally; what the provider really said is in its record.
        last = ticket.exchanges[-1] if ticket.exchanges else None
        if last is None or not last.failure:
            raise
        status = f" ({last.status})" if last.status else ""
        raise ProviderError(
            f"Gemini could not write the PRD: {last.failure}{status}, {last.message}.",
            hint="A PRD can also be given with --prd FILE, or left out with --no-prd.",
        ) from None
    finally:
        run.gateway.dismiss(ticket)


async def repository_digest(run: Run) -> str:
    """Names and sizes of all files, and the text of those small enough to read signatures from."""
    regular = [e for e in run.entries.values() if e.mode not in (LINK, SUBMODULE)]
    texts = await contents(run.repository, [e for e in regular if e.size <= DIGEST_FILE][:3000])
    listed = [
        (e.path, e.size, texts[e.path].decode() if e.path in texts and is_utf8(texts[e.path]) else None)
        for e in regular
    ]
    return await asyncio.to_thread(digest, listed)


# --- the plan -------------------------------------------------------------------------------------------------------


def prose_targets(prd: Prd, tracked: Mapping[str, Tracked]) -> Targets:
    """A PRD without a block decides by the files that its prose names."""
    found = [path for path in prd_format.named_files(prd.prose, tracked) if tracked[path].kind == "text"]
    return named(found, tracked, {}) if found else from_prd(prd, tracked)


def divide(settings: Settings, prd: Prd, targets: Targets, entries: Mapping[str, Entry], context: int | None) -> Plan:
    files = targets.files
    agents = agents_at_once(len(files), Machine(*count_machine()), exactly=settings.agents, at_most=settings.max_agents)
    wanted = tasks_needed(sum(file.tokens for file in files), agents, context)
    tasks = make_tasks(settings.change, prd, partition(files, wanted))
    taken = {file.path for file in files}
    sizes = {e.path: e.size for e in entries.values() if e.mode not in (LINK, SUBMODULE)}
    return Plan(tuple(with_reads(task, sizes, taken) for task in tasks), agents)


def with_reads(task: Task, sizes: dict[str, int], taken: set[str]) -> Task:
    return Task(task.id, task.title, task.files, task.brief, task.requirements, twins(task.paths, sizes, taken))


async def make_plan(run: Run, prd: Prd, targets: Targets | None) -> Plan:
    if targets is None:
        tracked = await survey(run.repository, run.entries, [])
        targets = from_prd(prd, tracked) if prd.structured else prose_targets(prd, tracked)
    plan = divide(run.settings, prd, targets, run.entries, run.model.context)
    run.plan = plan
    run.emit(
        "plan_made",
        agents=plan.agents,
        skipped=list(targets.skipped),
        tasks=[
            {
                "id": t.id,
                "title": t.title,
                "files": [asdict(file) for file in t.files],
                "requirements": list(t.requirements),
                "reads": list(t.reads),
            }
            for t in plan.tasks
        ],
    )
    return plan
