"""Run one gate on one tree: with a deadline, without keys, in a sandbox, and with a test counter."""

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.gates.provision import is_inside
from orchestra.gates.reading import Names, Reading, clean_lines, read_output
from orchestra.gates.recorded_tests import RecordedTests, read_recorded_tests
from orchestra.model import Gate
from orchestra.process import CHILD, NO_SANDBOX, CommandResult, Sandbox, run_command
from orchestra.wording import join_some

SKIPPED = {".git", ".aider_logs", "node_modules", ".venv", "venv"}
MOST_WATCHED = 100_000
# Leftovers of a project's own tools, which are no change of the tree.
BY_PRODUCT = re.compile(
    r"(^|/)(__pycache__|\.[a-z]+_cache|target|dist|build|coverage|\.nyc_output)(/|$)|\.pyc$|(^|/)\.coverage"
)
TOOL_CACHE = re.compile(r"(^|/)(__pycache__|\.[a-z]+_cache|\.nyc_output)/|\.pyc$|(^|/)\.coverage$")
FileStamps = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class GateContext:
    """Where a gate runs.

    `checkout`: the user's own, whose code it must not see. `files`: the tree's. `planned`: those that the run is to
    change or create.
    """

    tree: Path
    checkout: Path
    files: Collection[str] = ()
    planned: Collection[str] = ()
    sandbox: Sandbox | None = None

    @property
    def is_isolated(self) -> bool:
        """Whether the gate sees the tree in the place of the checkout."""
        return self.sandbox is not None and self.sandbox.mode == "namespaces"

    @property
    def packages(self) -> list[str]:
        """Return the Python packages that can be imported from the tree."""
        roots = (re.fullmatch(r"(?:src/)?(\w+)(?:/__init__)?\.py", path) for path in self.files)
        return sorted({hit[1] for hit in roots if hit} - {"setup", "conftest", "noxfile", "tests", "test"})


@dataclass(frozen=True)
class ChosenTests:
    """Which tests run: of pytest only `only`, or only the one named `control`.

    `files` replace those of the tree first. `bare`: without installed plug-ins, whose loading takes time.
    """

    only: Sequence[str] = ()
    control: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    bare: bool = False

    def write(self, tree: Path) -> None:
        for path, content in self.files.items():
            target = tree / path
            if not is_inside(tree, target):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_bytes(content)


ALL_TESTS = ChosenTests()


@dataclass(frozen=True)
class GateOutcome:
    """The outcome of a gate.

    `remarks`: sentences about side effects. `spoiled`: the tree was changed, and no other gate should run in it.
    `stale`: modules that did not come from the tree, so that passing proves nothing. `leaves`: it left files in the
    tree. `in_used_tree`: an earlier gate or the set-up had changed the tree. `host`: the machine, if it is not the
    head. `remembered`: the run that ran it, if the outcome is from memory. `why_run`: why an outcome from memory could
    not be used.
    """

    gate: Gate
    ended: CommandResult
    output: Path
    reading: Reading = field(default_factory=Reading)
    remarks: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    spoiled: bool = False
    leaves: bool = False
    in_used_tree: bool = False
    host: str = ""
    remembered: str = ""
    why_run: str = ""
    roll: RecordedTests = field(default_factory=RecordedTests, repr=False)
    # The gated tree, and the single files that the gate was given.
    about: tuple[str, ...] = ()
    files: Collection[str] = field(default=(), repr=False)

    @property
    def failing(self) -> Names:
        """The failures; empty only if the gate passed."""
        return self.reading.failing

    @property
    def passed(self) -> bool:
        return not self.failing


async def run_gate(
    gate: Gate,
    context: GateContext,
    *,
    env: Mapping[str, str],
    output: Path,
    timeout: float,
    scrub: Callable[[str], str],
    paths: Sequence[str] = (),
    choice: ChosenTests = ALL_TESTS,
) -> GateOutcome:
    """Run a gate. `env` must hold no key. `paths`: the files for a gate that checks single files."""
    stamps = await asyncio.to_thread(stamp_checkout, context), await asyncio.to_thread(stamp_files, context.tree)
    book, roll = context.tree.parent / "witness", context.tree.parent / "roll"
    for path in (book, roll, context.tree.parent / "only"):
        remove_path(path)
    output.unlink(missing_ok=True)
    asked = shlex.join(path for path in paths if path.endswith(gate.endings)) if gate.endings else ""
    command = ["/bin/sh", "-c", f"{gate.command} {asked}".strip()]
    if gate.endings and paths and not asked:
        command = ["true"]  # no file for it
    ended = await run_command(
        command,
        cwd=context.tree,
        env=dict(env) | gate_environment(context, book, env) | recording_environment(context, gate, env, roll, choice),
        output=output,
        timeout=timeout,
        scrub=scrub,
        sandbox=context.sandbox.guard_argument(context.tree) if context.sandbox else NO_SANDBOX,
    )
    printed = await asyncio.to_thread(read_if_possible, output)
    spoiled, leaves, remarks = await asyncio.to_thread(find_side_effects, gate, context, stamps)
    # Its temporary folder differs in each run.
    printed = printed.replace(str(context.tree.parent / "tmp"), "/tmp")
    roots = {str(context.tree), str(context.tree.resolve())}
    known = [*context.files, *context.planned]
    reading = await asyncio.to_thread(
        read_output, printed, ended.code, roots=roots, files=known, timed_out=ended.timed_out
    )
    tests = RecordedTests()
    if gate.kind == "tests":
        tests = read_recorded_tests(read_gate_file(roll), clean_lines(printed, roots))
    stale = read_foreign_modules(book)
    return GateOutcome(gate, ended, output, reading, remarks, stale, spoiled, leaves, roll=tests, files=context.files)


def gate_environment(context: GateContext, book: Path, env: Mapping[str, str]) -> dict[str, str]:
    temporary = context.tree.parent / "tmp"
    if temporary.is_symlink() or not temporary.is_dir():
        remove_path(temporary)
        temporary.mkdir()
    witness = str(CHILD / "witness")
    return {
        "PWD": str(context.tree),
        "TMPDIR": str(temporary),
        "CI": "1",  # makes interactive test runners end by themselves
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (witness, env.get("PYTHONPATH", "")))),
        "GATE_TREE": str(context.tree),
        "GATE_CHECKOUT": str(context.checkout.resolve()),
        "GATE_WITNESS": str(book),
        "GATE_SAME": "1" if context.is_isolated else "",
        "GATE_PACKAGES": " ".join(context.packages),
    }


def recording_environment(
    context: GateContext, gate: Gate, env: Mapping[str, str], roll: Path, choice: ChosenTests
) -> dict[str, str]:
    """Return variables that record test names and select tests."""
    if gate.kind != "tests":
        return {}
    plugins = ",".join(filter(None, (env.get("PYTEST_PLUGINS", ""), "gate_roll")))
    chosen = context.tree.parent / "only"
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
    """Remove a path, whatever a gate has put there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_foreign_modules(book: Path) -> tuple[str, ...]:
    """Read which modules a Python of the gate loaded from outside the tree."""
    lines = read_gate_file(book).splitlines()
    return tuple(sorted({name for line in lines for name in line.split()[1:]}))


def find_side_effects(
    gate: Gate, context: GateContext, stamps: tuple[FileStamps, FileStamps]
) -> tuple[bool, bool, tuple[str, ...]]:
    """Return whether the tree is spoiled, whether there are new files in it, and sentences about side effects."""
    remarks, tree = [], stamp_files(context.tree)
    changed = changed_stamps(stamps[0], stamp_checkout(context))
    if changed:
        remarks.append(
            f"While {gate.name} ran, your checkout changed: {join_some(changed)}. If this was not you, look there."
        )
    if not (context.tree / ".git").exists():
        remarks.append(f"{gate.name} deleted the worktree that it ran in; only that copy is lost.")
        return True, True, tuple(remarks)
    differing = changed_stamps(stamps[1], tree)
    spoilt = [path for path in differing if path in stamps[1] and not BY_PRODUCT.search(path)]
    if spoilt:
        remarks.append(f"{gate.name} changed {join_some(spoilt)} in the worktree; this is not part of the result.")
    return bool(spoilt), any(not TOOL_CACHE.search(path) for path in differing), tuple(remarks)


def stamp_checkout(context: GateContext) -> FileStamps:
    """Stamp the checkout. A complete sandbox makes it unreachable, so there is nothing to do."""
    return {} if context.is_isolated else stamp_files(context.checkout)


def stamp_files(root: Path) -> FileStamps:
    """Return size and time of every file, except what only tools write."""
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


def read_gate_file(path: Path) -> str:
    """Read a file from a folder where gates can write. Links are not followed: they could lead anywhere."""
    return read_if_possible(path) if path.is_file() and not path.is_symlink() else ""


def read_if_possible(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
