"""Find or make an environment that has aider, as aider-chat needs Python 3.11 or 3.12, and this one may be newer."""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.errors import AiderMissing
from orchestra.process import base_environment, read_tail, replace_file, run_command

AIDER_VERSION = "0.86.2"
AIDER_PYTHONS = ((3, 12), (3, 11))
REQUIREMENT = f"aider-chat=={AIDER_VERSION}"  # it pins all of its own requirements exactly
HINT = (
    "Give --yes, or run `aider-orchestrator doctor --fix`, to have an environment made for it; or set AIDER_BIN to an"
    " aider command."
)
NO_PYTHON = "Aider needs Python 3.11 or 3.12 with its venv module, and none was found."
INSTALL_PYTHON = "Install one (such as python3.12 and python3.12-venv), or install uv, which brings its own."
READY = "ready"  # written last: a folder without it is incomplete
PROBE = (
    "import sys, importlib.util as u\n"
    "print(*sys.version_info[:2], all(map(u.find_spec, ('venv', 'ensurepip'))), sys.executable)"
)
PROBE_TIMEOUT = 20.0
LOCK_POLL = 0.2
# What would lead pip, venv or uv to another place than the new environment.
STEERING = re.compile(r"PYTHON|__PYVENV|VIRTUAL_ENV|CONDA_|(PIP|UV)_(USER|TARGET|PREFIX|ROOT|PYTHON|PROJECT)$")
INSTALLER = re.compile(r"(PIP|UV)_")  # indexes, proxies and the keys to them


@dataclass(frozen=True)
class EnvironmentPlan:
    """How an environment can be made. `python` is a path, or a version that uv downloads. `uv` is empty without it."""

    folder: Path
    python: str
    uv: str

    @property
    def source(self) -> str:
        return self.python if "/" in self.python else f"a Python {self.python} that uv downloads"

    def commands(self) -> Iterator[list[str]]:
        """Bytecode is compiled now, because no sandbox lets an agent write it."""
        own = str(python_of(self.folder))
        if self.uv:
            yield [self.uv, "venv", "--quiet", "--no-project", "--python", self.python, str(self.folder)]
            yield [self.uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", own, REQUIREMENT]
        else:
            yield [self.python, "-I", "-m", "venv", str(self.folder)]
            yield [own, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]


def is_curable(missing: AiderMissing, environ: Mapping[str, str]) -> bool:
    """Whether a new environment would be used: not if AIDER_BIN names another one, or the program's own is wrong."""
    return missing.hint == HINT and not environ.get("AIDER_BIN")


def explain_missing(missing: AiderMissing) -> str:
    if missing.detail or sys.version_info[:2] in AIDER_PYTHONS:
        return missing.detail or str(missing.__doc__)
    return f"Aider needs Python 3.11 or 3.12, and this is {sys.version_info.major}.{sys.version_info.minor}."


def environment_folder(environ: Mapping[str, str]) -> Path:
    return data_folder(environ) / "aider-orchestrator" / f"aider-chat-{AIDER_VERSION}"


def data_folder(environ: Mapping[str, str]) -> Path:
    data = environ.get("XDG_DATA_HOME", "")
    return Path(data) if data.startswith("/") else home_folder(environ) / ".local/share"


def home_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 (does not raise)


def python_of(folder: Path) -> Path:
    return folder / "bin/python"


def find_made_python(environ: Mapping[str, str]) -> str:
    """Return the interpreter of the environment that was made; empty if there is none, or its Python is gone."""
    folder = environment_folder(environ)
    python = python_of(folder)
    return str(python) if (folder / READY).is_file() and os.access(python, os.X_OK) else ""


def plan_environment(environ: Mapping[str, str]) -> EnvironmentPlan:
    """Choose the interpreter and the installer. Raise AiderMissing if there is no interpreter."""
    uv = shutil.which("uv", path=environ.get("PATH")) or ""
    found = find_base_python(environ, needs_venv=not uv)
    if not found and not uv:
        raise AiderMissing(NO_PYTHON, hint=INSTALL_PYTHON)
    return EnvironmentPlan(environment_folder(environ), found or "3.12", uv)


def find_base_python(environ: Mapping[str, str], *, needs_venv: bool) -> str:
    """Return the first interpreter of a version that aider runs on; empty if there is none."""
    for candidate in list_interpreters(environ):
        version, has_venv, path = probe_interpreter(candidate, environ)
        if version in AIDER_PYTHONS and (has_venv or not needs_venv):
            return path
    return ""


def list_interpreters(environ: Mapping[str, str]) -> Iterator[str]:
    """List what may be a Python: this one, those on PATH, pyenv's and uv's."""
    yield sys.executable
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder.startswith("/")]
    names = [f"python{major}.{minor}" for major, minor in AIDER_PYTHONS] + ["python3", "python"]
    yield from (path for name in names for folder in folders if os.access(path := f"{folder}/{name}", os.X_OK))
    pyenv = Path(environ.get("PYENV_ROOT") or home_folder(environ) / ".pyenv") / "versions"
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data_folder(environ) / "uv/python")
    for root, prefix in ((pyenv, ""), (uv, "cpython-")):
        for major, minor in AIDER_PYTHONS:
            yield from map(str, sorted(root.glob(f"{prefix}{major}.{minor}[.-]*/bin/python"), reverse=True))


def probe_interpreter(path: str, environ: Mapping[str, str]) -> tuple[tuple[int, ...], bool, str]:
    """Return the version, whether it can make environments, and its own path: pyenv's shims start another program."""
    command, env = [path, "-I", "-c", PROBE], base_environment(environ)
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PROBE_TIMEOUT
        )
        major, minor, has_venv, own = done.stdout.rstrip("\n").split(" ", 3)
        return (int(major), int(minor)), has_venv == "True", own
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return (), False, ""


async def make_environment(plan: EnvironmentPlan, environ: Mapping[str, str], notify: Callable[[str], None]) -> None:
    """Make the environment, unless another process has just made it. It counts only when all of it is there."""
    try:
        plan.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with lock_folder(plan.folder, notify):
            if not find_made_python(environ):
                notify(f"Making an environment for Aider in {plan.folder}, once; this may take a few minutes …")
                await fill_folder(plan, environ)
                notify(f"aider-chat {AIDER_VERSION} is in {plan.folder}; later runs use it.")
    except OSError as error:
        raise AiderMissing(
            f"{error.filename or plan.folder} cannot be written: {error.strerror or error}.",
            hint="Free some space there, or set XDG_DATA_HOME to another folder.",
        ) from None


@contextlib.asynccontextmanager
async def lock_folder(folder: Path, notify: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock beside the folder. The system frees it when its holder dies."""
    lock = os.open(beside(folder, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        waits = False
        while not try_lock(lock):
            if not waits:
                notify(f"Another process is making {folder}; waiting for it.")
            waits = True
            await asyncio.sleep(LOCK_POLL)
        yield
    finally:
        os.close(lock)


def beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f"{folder.name}{ending}")


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


async def fill_folder(plan: EnvironmentPlan, environ: Mapping[str, str]) -> None:
    log = beside(plan.folder, ".log")
    for left in (plan.folder, log):
        remove_tree(left)
    try:
        for command in plan.commands():
            ended = await run_command(command, cwd=log.parent, env=installer_environment(environ), output=log)
            if ended.code:
                raise AiderMissing(f"{REQUIREMENT} could not be installed: {last_words(log)}", hint=f"See {log}.")
        if not any(plan.folder.glob(f"lib/python*/site-packages/aider_chat-{AIDER_VERSION}.dist-info")):
            raise AiderMissing(
                f"{REQUIREMENT} was not installed into {plan.folder}.", hint="See the settings of pip or uv."
            )
        replace_file(plan.folder / READY, AIDER_VERSION.encode())
        remove_tree(log)
    except BaseException:
        remove_tree(plan.folder)
        raise


def remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def last_words(log: Path) -> str:
    """Return the last line that an installer has printed, as a sentence."""
    lines = [line.strip() for line in read_tail(log).splitlines() if line.strip()] or ["no reason was given"]
    return f"{lines[-1][:300].rstrip('.')}."


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without keys and without what steers to another place, with the installers' settings."""
    kept = base_environment(environ) | {name: value for name, value in environ.items() if INSTALLER.match(name)}
    return {name: value for name, value in kept.items() if not STEERING.match(name)}
