"""Run one gate on one tree: with a deadline, without keys, in a sandbox, and with a witness."""

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestra.gates.failures import Names, clean_lines
from orchestra.gates.reading import Reading, read_output
from orchestra.gates.recorded_tests import RecordedTests, read_recorded_tests
from orchestra.model import Gate
from orchestra.process import CHILD, NO_SANDBOX, CommandResult, Sandbox, run_command

SKIPPED = {".git", ".aider_logs", "node_modules", ".venv", "venv"}
MOST_WATCHED = 100_000
# What a run of the project's own tools leaves behind is no change of the tree.
BY_PRODUCT = re.compile(
    r"(^|/)(__pycache__|\.[a-z]+_cache|target|dist|build|coverage|\.nyc_output)(/|$)|\.pyc$|(^|/)\.coverage"
)
FileStamps = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class GateContext:
    """Where a gate runs. `checkout` is the user's own, whose code it must not see; `files` are the tree's, `planned`
    those that the run is to change or make."""

    tree: Path
    checkout: Path
    files: Collection[str] = ()
    planned: Collection[str] = ()
    sandbox: Sandbox | None = None

    @property
    def is_isolated(self) -> bool:
        """Whether the tree is what is seen in the place of the checkout."""
        return self.sandbox is not None and self.sandbox.mode == "namespaces"

    @property
    def packages(self) -> list[str]:
        """The Python packages that can be imported from the tree."""
        roots = (re.fullmatch(r"(?:src/)?(\w+)(?:/__init__)?\.py", path) for path in self.files)
        return sorted({hit[1] for hit in roots if hit} - {"setup", "conftest", "noxfile", "tests", "test"})


@dataclass(frozen=True)
class ChosenTests:
    """What of the tests is run: of a pytest `only` these, or only the one that is called `control`. `files` are laid
    over those of the tree before. `bare`: without the plug-ins that are installed, whose loading takes its time."""

    only: Sequence[str] = ()
    control: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    bare: bool = False

    def write(self, tree: Path) -> None:
        for path, content in self.files.items():
            target = tree / path
            if not target.parent.resolve().is_relative_to(tree.resolve()):
                continue  # a link leads out of the tree
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_bytes(content)


ALL_TESTS = ChosenTests()


@dataclass(frozen=True)
class GateOutcome:
    """What a gate said. `remarks` are sentences about what it did beside its task; `spoiled`: the tree is not what it
    was, and no other gate should run in it. `stale` names modules that did not come from the tree: with these, passing
    proves nothing."""

    gate: Gate
    ended: CommandResult
    output: Path
    reading: Reading = field(default_factory=Reading)
    remarks: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    spoiled: bool = False
    roll: RecordedTests = field(default_factory=RecordedTests, repr=False)
    # The tree that was gated, and the files that the gate was asked about one by one.
    about: tuple[str, ...] = ()
    files: Collection[str] = field(default=(), repr=False)

    @property
    def failing(self) -> Names:
        """Empty only when all is well."""
        return self.reading.failing

    @property
    def ran(self) -> int | None:
        return self.reading.counts.ran

    @property
    def passed(self) -> bool:
        return not self.failing


async def run_gate(
    gate: Gate,
    place: GateContext,
    *,
    env: Mapping[str, str],
    output: Path,
    timeout: float,
    scrub: Callable[[str], str],
    paths: Sequence[str] = (),
    choice: ChosenTests = ALL_TESTS,
) -> GateOutcome:
    """`env` must hold no key. `paths` are the files a gate is asked about that can be asked about single ones."""
    before = await asyncio.to_thread(stamp_checkout, place), await asyncio.to_thread(stamp_files, place.tree)
    book, roll = place.tree.parent / "witness", place.tree.parent / "roll"
    for path in (book, roll, place.tree.parent / "only"):
        remove_path(path)
    output.unlink(missing_ok=True)
    asked = shlex.join(path for path in paths if path.endswith(gate.endings)) if gate.endings else ""
    command = ["/bin/sh", "-c", f"{gate.command} {asked}".strip()]
    if gate.endings and paths and not asked:
        command = ["true"]  # it is asked about none of these
    ended = await run_command(
        command,
        cwd=place.tree,
        env=dict(env) | gate_environment(place, book, env) | recording_environment(place, gate, env, roll, choice),
        output=output,
        timeout=timeout,
        scrub=scrub,
        sandbox=place.sandbox.guard_argument(place.tree) if place.sandbox else NO_SANDBOX,
    )
    printed = await asyncio.to_thread(read_if_possible, output)
    spoiled, remarks = await asyncio.to_thread(find_side_effects, gate, place, before)
    # Its temporary folder is another one in each run.
    printed = printed.replace(str(place.tree.parent / "tmp"), "/tmp")
    roots = {str(place.tree), str(place.tree.resolve())}
    reads = partial(read_output, roots=roots, files=[*place.files, *place.planned], timed_out=ended.timed_out)
    reading = await asyncio.to_thread(reads, printed, ended.code)
    tests = (
        read_recorded_tests(read_gate_file(roll), clean_lines(printed, roots))
        if gate.kind == "tests"
        else RecordedTests()
    )
    return GateOutcome(
        gate, ended, output, reading, remarks, read_foreign_modules(book), spoiled, tests, files=place.files
    )


def gate_environment(place: GateContext, book: Path, env: Mapping[str, str]) -> dict[str, str]:
    temporary = place.tree.parent / "tmp"
    if temporary.is_symlink() or not temporary.is_dir():
        remove_path(temporary)
        temporary.mkdir()
    witness = str(CHILD / "witness")
    return {
        "PWD": str(place.tree),
        "TMPDIR": str(temporary),
        "CI": "1",  # test runners that would wait for somebody to watch them do not
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (witness, env.get("PYTHONPATH", "")))),
        "GATE_TREE": str(place.tree),
        "GATE_CHECKOUT": str(place.checkout.resolve()),
        "GATE_WITNESS": str(book),
        "GATE_SAME": "1" if place.is_isolated else "",
        "GATE_PACKAGES": " ".join(place.packages),
    }


def recording_environment(
    place: GateContext, gate: Gate, env: Mapping[str, str], roll: Path, choice: ChosenTests
) -> dict[str, str]:
    """What has the names of the tests written down, and chooses among them."""
    if gate.kind != "tests":
        return {}
    plugins = ",".join(filter(None, (env.get("PYTEST_PLUGINS", ""), "gate_roll")))
    chosen = place.tree.parent / "only"
    if choice.only:
        chosen.write_text("\n".join(choice.only), encoding="utf-8")
    bare = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if choice.bare else {}
    return bare | {
        "PYTEST_PLUGINS": plugins,
        "GATE_ROLL": str(roll),
        "GATE_CONTROL": choice.control,
        "GATE_ONLY": str(chosen) if choice.only else "",
    }


def remove_path(path: Path) -> None:
    """Whatever a gate may have put there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_foreign_modules(book: Path) -> tuple[str, ...]:
    """The modules that some Python of the gate loaded from elsewhere than the tree."""
    lines = read_gate_file(book).splitlines()
    return tuple(sorted({name for line in lines for name in line.split()[1:]}))


# --- what it did beside its task ------------------------------------------------------------------------------------


def find_side_effects(
    gate: Gate, place: GateContext, before: tuple[FileStamps, FileStamps]
) -> tuple[bool, tuple[str, ...]]:
    """Whether the tree is spoiled, and the sentences."""
    remarks, tree = [], stamp_files(place.tree)
    changed = changed_stamps(before[0], stamp_checkout(place))
    if changed:
        remarks.append(
            f"While {gate.name} ran, your checkout changed: {format_some_paths(changed)}."
            " If it was not you, look there."
        )
    if not (place.tree / ".git").exists():
        remarks.append(f"{gate.name} deleted the worktree that it ran in; only that copy is lost.")
        return True, tuple(remarks)
    spoilt = [path for path in changed_stamps(before[1], tree) if path in before[1] and not BY_PRODUCT.search(path)]
    if spoilt:
        remarks.append(
            f"{gate.name} changed {format_some_paths(spoilt)} in the worktree; this is not part of the result."
        )
    return bool(spoilt), tuple(remarks)


def stamp_checkout(place: GateContext) -> FileStamps:
    """In a whole sandbox it cannot be reached."""
    return {} if place.is_isolated else stamp_files(place.checkout)


def stamp_files(root: Path) -> FileStamps:
    """Size and time of every file, but for what only tools write."""
    found: FileStamps = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED]
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - a hundred thousand times
            try:
                status = os.lstat(path)
            except OSError:
                continue
            found[path[len(str(root)) + 1 :]] = (status.st_size, status.st_mtime_ns)
        if len(found) > MOST_WATCHED:
            break
    return found


def changed_stamps(before: FileStamps, after: FileStamps) -> list[str]:
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def format_some_paths(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def read_gate_file(path: Path) -> str:
    """What a gate has left in a folder where it can write: a link would have us tell what it leads to."""
    return read_if_possible(path) if path.is_file() and not path.is_symlink() else ""


def read_if_possible(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
