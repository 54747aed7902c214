"""The wheel in clean environments: with the newest Python that is here, and with Aider beside it. Real packages."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from orchestra import __version__
from orchestra.agents.aider_environment import environment_folder, probe_interpreter
from tests.support.load import within
from tests.support.runs import Place, make_place

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "orchestra/web/static"
PACKED = ("pyproject.toml", "README.md", "LICENSE", "aider_orchestrator.py", "gemini_prd_generator.py")


@dataclass(frozen=True)
class Installed:
    """`alone`: the program without Aider. `uv`: the program of that name, with which an environment can be made."""

    wheel: Path
    alone: Path
    uv: Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("install")
    tools, alone = folder / "tools", folder / "alone"
    call(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", tools, "uv")
    uv = tools / "bin/uv"
    wheel = build_wheel(uv, folder)
    call(uv, "venv", "--quiet", "--no-project", "--python", find_newest_python(), alone)
    install = (uv, "pip", "install", "--quiet", "--python", alone / "bin/python")
    call(*install, "--no-deps", wheel)
    call(*install, *requirements_without_aider(wheel))
    return Installed(wheel, alone / "bin/aider-orchestrator", uv)


def call(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def build_wheel(uv: Path, folder: Path) -> Path:
    source = folder / "source"
    shutil.copytree(ROOT / "orchestra", source / "orchestra", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKED:
        shutil.copy(ROOT / name, source)
    call(uv, "build", "--quiet", "--wheel", "--out-dir", folder, source)
    return folder / f"aider_orchestrator-{__version__}-py3-none-any.whl"


def find_newest_python() -> str:
    """Return the newest Python that aider does not run on, or else this one: then only its aider is left out."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*map(str, pyenv.glob("3.1[3-9]*/bin/python")), *(f"python3.{minor}" for minor in range(13, 20))]
    paths = [path for path in map(shutil.which, candidates) if path and probe_interpreter(path, os.environ)[1]]
    return max(paths, key=lambda path: probe_interpreter(path, os.environ)[0], default=sys.executable)


def requirements_without_aider(wheel: Path) -> list[str]:
    with ZipFile(wheel) as file:
        about = file.read(f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info/METADATA").decode()
    required = Parser().parsestr(about).get_all("Requires-Dist", [])
    return [text for text in required if "extra ==" not in text and not text.startswith("aider-chat")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path, {"a.py": "a = 1\n"})


def environment(place: Place, path: Path, **more: str) -> dict[str, str]:
    """A home of its own, and the machine's settings and caches for installers."""
    caches = {"UV_CACHE_DIR": str(Path.home() / ".cache/uv"), "PIP_CACHE_DIR": str(Path.home() / ".cache/pip")}
    own = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_", "PYENV_"))}
    return place.environment(AIDER_BIN="", PATH=f"{path}:{os.environ['PATH']}") | caches | own | more


def test_demo_and_dashboard_run_from_the_wheel(installed: Installed, place: Place, tmp_path: Path) -> None:
    env = environment(place, installed.uv.parent)
    alone = installed.alone
    shown = run_demo((str(alone), "demo", "--yes", str(tmp_path / "first")), place, env)
    made = environment_folder(env)
    assert f"aider-chat 0.86.2 is in {made}" in shown
    check_dashboard(alone, tmp_path / "first", env)
    call(alone.with_name("python"), "-c", "from orchestra.merging.trees import parse_text as p; assert p('a.ts', 'a;')")
    # A clean environment that has Aider beside the program, as on Python 3.11 and 3.12.
    call(installed.uv, "pip", "install", "--quiet", "--python", str(made / "bin/python"), str(installed.wheel))
    beside = made / "bin/aider-orchestrator"
    env = environment(place, beside.parent, XDG_DATA_HOME=str(tmp_path / "unused"))
    run_demo((str(beside), "demo", str(tmp_path / "second")), place, env)
    check_dashboard(beside, tmp_path / "second", env)
    assert not (tmp_path / "unused").exists()


def run_demo(command: Sequence[str], place: Place, env: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=place.repo, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=within()
    )
    assert done.returncode == 0 and "After: 16 passed" in done.stdout, done.stdout + done.stderr
    return done.stderr


def check_dashboard(program: Path, repository: Path, env: dict[str, str]) -> None:
    """The page answers, and every file of it is as in this checkout."""
    words = [str(program), "serve", "--repo", str(repository), "--port", "0"]
    server = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip().partition("#")[0]
        assert "/static/main.js" in fetch(address)
        for path in STATIC.glob("*.[jc]s*"):
            assert fetch(f"{address}static/{path.name}") == path.read_text("utf-8"), path.name
    finally:
        server.terminate()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=within()) as answer:
        assert answer.status == 200
        return str(answer.read().decode())
