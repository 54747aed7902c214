"""Digest what decides a gate's verdict beside its tree and its command: variables, programs, packages, the machine."""

import hashlib
import os
import re
import resource
import shlex
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.process import CHILD

MOST_FILES = 300_000
PACKAGES_SECONDS = 20.0
LONGEST_LINE = 4_096
# What tools write there themselves, and look at only if it fits what they read anyway.
SKIPPED = frozenset({"__pycache__", ".git", ".cache", ".vite", ".vitest"})
PACKAGES = ("lib*/python3*/site-packages", "lib/python3*/dist-packages", "local/lib/python3*/*-packages")
SHARED_PACKAGES = (*PACKAGES, "lib/node_modules")
# Version managers put one small program on PATH, which starts the version that these files name.
VERSIONS = ("version", "versions/*", "installs/*/*")
INSTALLS = ("versions", "installs/python")
CHOSEN_VERSION = (("version", ".python-version", ".tool-versions"), ("PYENV_VERSION", "ASDF_PYTHON_VERSION"))
# Set-up files of tools, in the home folder.
USER_FILES = (
    *(".gitconfig", ".config/git/config", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pip/pip.conf", ".config/pip/pip.conf"),
    *(".pydistutils.cfg", ".pylintrc", ".mypy.ini", ".config/mypy/config", ".config/ruff/*", ".config/flake8"),
    *(".config/black", ".config/pycodestyle", ".config/pylintrc", ".cargo/config*", ".rustup/settings.toml"),
    *(".rustup/toolchains/*", ".rustup/toolchains/*/bin/*", ".config/go/env", ".tool-versions", ".asdfrc", ".nvmrc"),
    *(".config/mise/*", ".python-version", ".node-version", ".ruby-version", ".m2/settings.xml", ".babelrc"),
    *(".gradle/gradle.properties", ".gradle/init.gradle", ".editorconfig", ".bundle/config", ".gemrc", ".rspec"),
)
# Set-up files for which tools look in the folders above the tree too.
ABOVE = (
    *("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "setup.py", "conftest.py", "mypy.ini"),
    *(".mypy.ini", ".flake8", "ruff.toml", ".ruff.toml", "pyrightconfig.json", "package.json", "tsconfig.json"),
    *(".eslintrc*", "eslint.config.*", ".babelrc*", "babel.config.*", "jest.config.*", ".npmrc", ".editorconfig"),
    *("Cargo.toml", ".cargo/config*", "rust-toolchain*", "go.work", "go.mod", ".tool-versions", ".python-version"),
    *(".node-version", ".nvmrc", ".mise.toml", "mise.toml", ".coveragerc", "node_modules/*"),
)
# What the system's package managers change with each installation, and what else differs between machines.
SYSTEM_FILES = (
    *("/etc/os-release", "/etc/localtime", "/etc/timezone", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.preload"),
    *("/etc/gitconfig", "/etc/npmrc", "/etc/pip.conf", "/var/lib/dpkg/status", "/var/lib/rpm", "/lib/apk/db/installed"),
    *("/var/lib/pacman/local", "/opt/homebrew/Cellar/*", "/usr/local/Cellar/*", "/nix/var/nix/profiles/*"),
)
LIMITS = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")


@dataclass(frozen=True)
class GateEnvironment:
    """`digest`: of what can change a verdict beside tree and command. `why_not`: a clause, if there is no digest."""

    digest: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What stands around a gate's tree on this machine.

    `checkout`: the user's; the gate does not read it. `roots`: untracked files and folders that it can see.
    `trees`: the folder of the worktrees. `facts`: whatever else must be the same.
    """

    variables: Mapping[str, str]
    commands: Sequence[str]
    checkout: Path
    trees: Path
    roots: Sequence[str] = ()
    facts: Sequence[object] = ()


class TooMany(Exception):
    """There are more files than can be looked at."""


def digest_environment(seen: Surroundings, recent: "RecentPackages") -> GateEnvironment:
    """Files are compared by size, mode and times, of which the last (ctime) cannot be set back."""
    ledger = Ledger(seen.checkout)
    try:
        ledger.add_facts(*seen.facts, *machine_facts(), sorted(seen.variables.items()))
        ledger.add_programs(seen.variables.get("PATH", os.defpath))
        home = Path(seen.variables.get("HOME") or "~").expanduser()
        ledger.add_matches(home, USER_FILES)
        for path in SYSTEM_FILES:
            ledger.add_matches(Path("/"), [path[1:]])
        for folder in dict.fromkeys((*seen.checkout.resolve().parents, *seen.trees.resolve().parents)):
            ledger.add_matches(folder, ABOVE)
        programs = list(dict.fromkeys(hop for program in find_programs(seen) for hop in follow_links(program)))
        for prefix in dict.fromkeys(path.parent.parent for path in programs if path.parent.name == "shims"):
            ledger.add_matches(prefix, VERSIONS)
        for root in (*seen.roots, CHILD, Path(__file__).parent):
            ledger.add_tree(str(root))
        ledger.follow_path_files()
        packages = dict.fromkeys(map(str, package_roots(seen, home, programs)))
        elsewhere = tuple(path for path in packages if not any(Path(path).is_relative_to(root) for root in seen.roots))
        ledger.add_facts(elsewhere, recent.digest_packages(elsewhere, seen.checkout))
    except TooMany:
        return GateEnvironment(why_not=f"there are more than {MOST_FILES:,} files around it")
    except OSError as error:
        return GateEnvironment(why_not=f"{error.filename} cannot be read ({error.strerror})")
    return GateEnvironment(ledger.hash.hexdigest())


def machine_facts() -> Iterator[object]:
    yield from os.uname()
    yield from (os.getuid(), os.getgid(), sorted(os.getgroups()), os.cpu_count())
    yield sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()
    yield from (resource.getrlimit(getattr(resource, name)) for name in LIMITS)


class Ledger:
    """Everything that was looked at, as one digest."""

    def __init__(self, checkout: Path) -> None:
        self.hash = hashlib.sha256()
        self.checkout, self.checkout_status = str(checkout.resolve()), checkout.stat()
        self.count = 0
        self.walked = set[tuple[int, int]]()
        self.path_files = list[str]()

    def add_facts(self, *facts: object) -> None:
        for fact in facts:
            self.hash.update(f"{fact!r}\n".encode("utf-8", "surrogateescape"))

    def add_status(self, path: str) -> os.stat_result | None:
        """Add a file's status, or that there is none."""
        self.count += 1
        if self.count > MOST_FILES:
            raise TooMany
        try:
            found = os.stat(path)  # noqa: PTH116 - thousands of times
        except OSError as error:
            self.add_facts(path, error.errno)
            return None
        is_folder = stat.S_ISDIR(found.st_mode)
        # A folder's own times change with every temporary file in it.
        times = () if is_folder else (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        self.add_facts((path, found.st_mode, *times))
        return found

    def add_programs(self, path: str) -> None:
        """Add every program on PATH: a command may call any of them."""
        for folder in dict.fromkeys(path.split(os.pathsep)):
            # One that is relative is in the tree.
            names = sorted(os.listdir(folder)) if folder.startswith("/") and Path(folder).is_dir() else []
            self.add_facts(folder)
            for name in names:
                self.add_status(f"{folder}/{name}")

    def add_matches(self, folder: Path, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)) if "*" in pattern else [folder / pattern]:
                if "*" not in pattern and not os.path.lexists(path):
                    continue
                self.add_status(str(path))

    def add_tree(self, root: str) -> None:
        """Add a file, or a folder with all that is in it, and what its links lead to."""
        pending = [root]
        while pending:
            path = pending.pop()
            found = self.add_status(path)
            if found is None or not stat.S_ISDIR(found.st_mode) or (found.st_dev, found.st_ino) in self.walked:
                continue
            self.walked.add((found.st_dev, found.st_ino))
            # What leads back to the checkout's own files leads to the tree's, or the outcome is not kept.
            pending += self.add_folder(path) if not self.is_checkout(found) else []

    def is_checkout(self, found: os.stat_result) -> bool:
        return os.path.samestat(found, self.checkout_status)

    def add_folder(self, folder: str) -> list[str]:
        """Add the files of a folder, and return its folders and links."""
        rows, deeper = list[tuple[str, *tuple[int, ...]]](), list[str]()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name in SKIPPED:
                    continue
                if name.endswith(".pth") or "__editable__" in name:
                    self.path_files.append(entry.path)
                status = entry.stat(follow_symlinks=False)
                if entry.is_file(follow_symlinks=False):
                    rows.append((name, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
                else:
                    rows.append((name, status.st_mode))
                    deeper.append(entry.path)
                    if entry.is_symlink():
                        self.add_facts(entry.path, str(Path(entry.path).readlink()))
        self.count += len(rows)
        if self.count > MOST_FILES:
            raise TooMany
        self.add_facts(folder, sorted(rows))
        return sorted(deeper)

    def follow_path_files(self) -> None:
        """Add the folders from which packages are taken by name: those in .pth files, and of editable installations."""
        while self.path_files:
            path = Path(self.path_files.pop())
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            lines = text.splitlines() if path.suffix == ".pth" else []
            names = [line.strip() for line in lines if line.startswith("/")]
            for name in [*names, *re.findall(r"['\"](/[^'\"\n]+)['\"]", text)]:
                is_own = os.path.realpath(name).startswith(f"{self.checkout}/")
                if Path(name).is_dir() and not is_own:
                    self.add_tree(name)


@dataclass
class RecentPackages:
    """The digests of installed packages. They are thousands of files, and no part of the repository, so a digest of
    them is used for some seconds, but never by another process."""

    known: dict[tuple[str, ...], tuple[float, str]] = field(default_factory=dict)

    def digest_packages(self, folders: tuple[str, ...], checkout: Path) -> str:
        made, digest = self.known.get(folders, (0.0, ""))
        if not digest or time.monotonic() - made > PACKAGES_SECONDS:
            made, ledger = time.monotonic(), Ledger(checkout)
            for folder in folders:
                ledger.add_tree(folder)
            ledger.follow_path_files()
            digest = ledger.hash.hexdigest()
            self.known[folders] = made, digest
        return digest


def package_roots(seen: Surroundings, home: Path, programs: Iterable[Path]) -> Iterator[Path]:
    """Return the folders of installed packages that programs use."""
    for name in ("PYTHONPATH", "NODE_PATH"):
        yield from (Path(path) for path in seen.variables.get(name, "").split(os.pathsep) if path.startswith("/"))
    yield from Path(seen.variables.get("PYTHONUSERBASE") or home / ".local").glob(PACKAGES[0])
    yield from programs
    for prefix in dict.fromkeys(program.parent.parent for program in programs):
        folders = version_folders(prefix, seen) if (prefix / "shims").is_dir() else [prefix]
        yield from (path for folder in folders for pattern in SHARED_PACKAGES for path in folder.glob(pattern))
        yield from base_packages(prefix / "pyvenv.cfg")


def version_folders(manager: Path, seen: Surroundings) -> list[Path]:
    """Return the installed versions that a version manager may choose: all, if nothing names one."""
    files, variables = CHOSEN_VERSION
    texts = [seen.variables.get(name, "") for name in variables]
    paths = [manager / files[0], *(seen.checkout / name for name in files[1:])]
    texts += [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]
    names = re.findall(r"[\w.+-]+", " ".join(texts)) or [""]
    found = [path for name in names for folder in INSTALLS for path in (manager / folder).glob(f"{name}*")]
    return found or [path for folder in INSTALLS for path in manager.glob(f"{folder}/*")]


def base_packages(settings: Path) -> Iterator[Path]:
    """Return the packages of the Python from which a virtual environment was made."""
    if settings.is_file():
        yield settings
        base = re.search(r"^home\s*=\s*(/.*?)\s*$", settings.read_text(encoding="utf-8", errors="replace"), re.M)
        yield from (path for pattern in PACKAGES for path in Path(base[1]).parent.glob(pattern)) if base else ()


def find_programs(seen: Surroundings) -> Iterator[Path]:
    """Return the programs that the commands name, the interpreters of these that are scripts, and Python's own."""
    path, words = seen.variables.get("PATH", os.defpath), ["python3", "python", "node"]
    for command in seen.commands:
        try:
            words += shlex.split(command)
        except ValueError:
            words += command.split()
    for word in words:
        # A path is relative to the tree, which has the same untracked programs as the checkout.
        found = shutil.which(str(seen.checkout / word) if "/" in word else word, path=path)
        if found:
            yield Path(found)
            yield from find_interpreters(Path(found), path)


def find_interpreters(script: Path, path: str) -> Iterator[Path]:
    """Return the programs in a script's first line."""
    with script.open("rb") as file:
        first = file.readline(LONGEST_LINE)
    for word in os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []:
        if found := shutil.which(word, path=path):
            yield Path(found)


def follow_links(path: Path) -> Iterator[Path]:
    """Return a path and what it leads to, link by link: a virtual environment's Python is a link to another one."""
    for _ in range(40):
        yield path
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent / path.readlink()))
