"""Write the brief of an agent: the change, its part, the names that all must agree on, and what others do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from orchestra.model import Prd, TargetFile, Task
from orchestra.wording import join_some

READ_LIMIT = 6_000


def make_tasks(
    change: str, prd: Prd, shares: Sequence[Sequence[TargetFile]], nearby: Sequence[str] = ()
) -> tuple[Task, ...]:
    """Make the tasks. `nearby`: signatures of related files for each share's brief."""
    bare = []
    for n, share in enumerate(shares, start=1):
        paths = {file.path: None for file in share}
        requirements = tuple(dict.fromkeys(id for work in prd.work if work.file in paths for id in work.requirements))
        bare.append(Task(id=n, title=join_some(list(paths)), files=tuple(share), requirements=requirements))
    around = nearby or [""] * len(bare)
    return tuple(
        replace(task, brief=make_brief(change, prd, task, bare, near)) for task, near in zip(bare, around, strict=True)
    )


def make_brief(change: str, prd: Prd, task: Task, all_tasks: Sequence[Task], nearby: str = "", part: str = "") -> str:
    """The same work gives the same text, so that a resumed or replayed run asks the same question. `part`: the task's
    text in a plan's file; by default what the PRD asks of its files."""
    own_paths, others = set(task.paths), [other for other in all_tasks if other.id != task.id]
    files = [f"- {file.path}{' (new: create it)' if file.new else ''}" for file in task.files]
    own_part = [f"- {work.file}: {work.do}" for work in prd.work if work.file in own_paths and work.do]
    requirements = [
        f"- {each.id}: {each.text}" + "".join(f"\n  - {check}" for check in each.acceptance)
        for each in prd.requirements
        if each.id in task.requirements
    ]
    # In bounded space: 200 titles would bury the task's own work.
    titles = [f"- {other.title}" for other in others[:20]]
    titles += [f"- and {len(others) - 20} more parts"] if len(others) > 20 else []
    parts = [
        "You are one of several engineers who change this repository at the same time. Do your part only.",
        format_section("The change", change.strip()),
        format_section("Your files", "\n".join(files)),
        format_section("Your part", part.strip() or "\n".join(own_part)),
        format_section("It is done when", "\n".join(f"- {check}" for check in task.acceptance)),
        format_section("Requirements", "\n".join(requirements)),
        format_section("Names and signatures that all parts rely on; keep them exactly", format_contracts(prd)),
        format_section("The requirements document", "" if prd.structured else prd.prose.strip()),
        format_section("Signatures in files near yours, to know but not to change", nearby),
        format_section("The others do, so do not", "\n".join(titles)),
        "Edit only your files (and create the new ones among them). "
        "Make the complete change now, without asking questions.",
    ]
    return "\n\n".join(part for part in parts if part)


def format_section(head: str, body: str) -> str:
    return f"## {head}\n{body}" if body else ""


def task_part(brief: str) -> str:
    """Return what a brief asks of its own task: for another agent, which knows the rest."""
    heads = ("Your part\n", "It is done when\n")
    found = [section.partition("\n") for section in brief.split("\n\n## ") if section.startswith(heads)]
    return "\n".join(f"{head.replace('Your part', 'Its part')}: {body}" for head, _, body in found)


def format_contracts(prd: Prd) -> str:
    return "\n".join(
        f"- {c.signature or c.name}{f' in {c.file}' if c.file else ''}{f': {c.purpose}' if c.purpose else ''}"
        for c in prd.contracts
    )


def tests_by_stem(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        name = path.rsplit("/", 1)[-1].lower()
        if name.startswith("test_") or any(mark in name for mark in ("_test.", ".test.", ".spec.", "_spec.")):
            found.setdefault(name_stem(path), []).append(path)
    return found


def find_tests_of(
    paths: Sequence[str], tests: Mapping[str, Sequence[str]], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """Find tests for these files by name that no agent edits in this run: worth reading, in bounds."""
    found, room = [], READ_LIMIT
    for name in sorted({name_stem(path) for path in paths}):
        for path in tests.get(name, ()):
            if sizes[path] <= room:
                found.append(path)
                room -= sizes[path]
    return tuple(found)


def name_stem(path: str) -> str:
    name = path.rsplit("/", 1)[-1].split(".", 1)[0].lower()
    return name.removeprefix("test_").removesuffix("_test").removesuffix("_spec")
