"""What one agent is told: the change, its own part, the names all must agree on, and what the others do."""

from collections.abc import Iterable, Mapping, Sequence

from orchestra.model import Prd, TargetFile, Task

READ_LIMIT = 6_000


def make_tasks(
    change: str, prd: Prd, shares: Sequence[Sequence[TargetFile]], nearby: Sequence[str] = ()
) -> tuple[Task, ...]:
    """`nearby` are the signatures around each share, to stand in its brief."""
    bare = tuple(
        Task(id=n, title=share_title(share), files=tuple(share), requirements=share_requirements(prd, share))
        for n, share in enumerate(shares, start=1)
    )
    around = nearby or [""] * len(bare)
    return tuple(
        Task(t.id, t.title, t.files, make_brief(change, prd, t, bare, near), t.requirements)
        for t, near in zip(bare, around, strict=True)
    )


def share_title(share: Sequence[TargetFile]) -> str:
    names = [file.path for file in share]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def share_requirements(prd: Prd, share: Sequence[TargetFile]) -> tuple[str, ...]:
    mine = {file.path for file in share}
    return tuple(dict.fromkeys(id for work in prd.work if work.file in mine for id in work.requirements))


def make_brief(change: str, prd: Prd, task: Task, all_tasks: Sequence[Task], nearby: str = "", part: str = "") -> str:
    """Written to be the same for the same work, so that a resumed or replayed run asks the same question. `part` is
    what a plan's file says that this task is to do; else it is what the PRD says of its files."""
    parts = [
        "You are one of several engineers who change this repository at the same time. Do your part only.",
        format_section("The change", change.strip()),
        format_section("Your files", format_file_list(task)),
        format_section("Your part", part.strip() or format_own_part(prd, task)),
        format_section("It is done when", "\n".join(f"- {check}" for check in task.acceptance)),
        format_section("Requirements", format_requirements(prd, task)),
        format_section("Names and signatures that all parts rely on; keep them exactly", format_contracts(prd)),
        format_section("The requirements document", "" if prd.structured else prd.prose.strip()),
        format_section("Signatures in files near yours, to know but not to change", nearby),
        format_section("The others do, so do not", format_other_tasks(prd, task, all_tasks)),
        "Edit only your files (and create the new ones among them). "
        "Make the complete change now, without asking questions.",
    ]
    return "\n\n".join(part for part in parts if part)


def format_section(head: str, body: str) -> str:
    return f"## {head}\n{body}" if body else ""


def format_file_list(task: Task) -> str:
    return "\n".join(f"- {file.path}{' (new: create it)' if file.new else ''}" for file in task.files)


def format_own_part(prd: Prd, task: Task) -> str:
    mine = set(task.paths)
    return "\n".join(f"- {work.file}: {work.do}" for work in prd.work if work.file in mine and work.do)


def format_requirements(prd: Prd, task: Task) -> str:
    chosen = [r for r in prd.requirements if r.id in task.requirements]
    lines = [f"- {r.id}: {r.text}" + "".join(f"\n  - {check}" for check in r.acceptance) for r in chosen]
    return "\n".join(lines)


def format_contracts(prd: Prd) -> str:
    return "\n".join(
        f"- {c.signature or c.name}{f' in {c.file}' if c.file else ''}{f': {c.purpose}' if c.purpose else ''}"
        for c in prd.contracts
    )


def format_other_tasks(prd: Prd, task: Task, all_tasks: Sequence[Task]) -> str:
    """Bounded: with 200 tasks the others' titles would drown one's own work."""
    rest = [t for t in all_tasks if t.id != task.id]
    lines = [f"- {t.title}" for t in rest[:20]]
    return "\n".join(lines + ([f"- and {len(rest) - 20} more parts"] if len(rest) > 20 else []))


def tests_by_stem(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(path for path in paths if is_test_name(path)):
        found.setdefault(name_stem(path), []).append(path)
    return found


def find_tests_of(
    paths: Sequence[str], tests: Mapping[str, Sequence[str]], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Tests that belong to these files by name and that nobody edits in this run: worth reading, within bounds."""
    found, room = [], READ_LIMIT
    for name in sorted({name_stem(path) for path in paths}):
        for path in tests.get(name, ()):
            if sizes[path] <= room:
                found.append(path)
                room -= sizes[path]
    return tuple(found)


def is_test_name(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return name.startswith("test_") or any(mark in name for mark in ("_test.", ".test.", ".spec.", "_spec."))


def name_stem(path: str) -> str:
    name = path.rsplit("/", 1)[-1].split(".", 1)[0].lower()
    return name.removeprefix("test_").removesuffix("_test").removesuffix("_spec")
