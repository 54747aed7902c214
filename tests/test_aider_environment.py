"""The environment that is made for aider: which Python it is made with, and that only a whole one counts."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.agents.aider_environment import (
    EnvironmentPlan,
    environment_folder,
    find_made_python,
    installer_environment,
    make_environment,
    plan_environment,
)
from orchestra.agents.seat import check_version
from orchestra.errors import AiderMissing
from tests.support.aider_index import make_empty_path, make_index
from tests.support.load import holds_soon, within

ROOT = Path(__file__).resolve().parents[1]
MAKE = """
import asyncio, os
from orchestra.agents.aider_environment import make_environment, plan_environment
asyncio.run(make_environment(plan_environment(os.environ), os.environ, lambda text: print(text, flush=True)))
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def write_python(path: Path, version: str, has_venv: bool = True) -> Path:
    """Write what answers the question for its version as such a Python does."""
    return write_program(path, f'echo "{version} {has_venv} $0"')


# --- which Python ---------------------------------------------------------------------------------------------------


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine on which the program runs on a Python that aider does not run on."""
    monkeypatch.setattr(sys, "executable", str(write_python(tmp_path / "own/python3", "3 13")))
    return {"HOME": str(tmp_path / "home"), "PATH": make_empty_path(tmp_path / "bin")}


def test_plan_takes_first_python_that_aider_runs_on(tmp_path: Path, newer: dict[str, str]) -> None:
    home, path = Path(newer["HOME"]), Path(newer["PATH"])
    by_uv = write_python(home / ".local/share/uv/python/cpython-3.11.9-linux-x86_64-gnu/bin/python", "3 11")
    assert plan_environment(newer) == EnvironmentPlan(environment_folder(newer), str(by_uv), "")
    write_python(home / ".pyenv/versions/3.13.1/bin/python", "3 13")
    by_pyenv = write_python(home / ".pyenv/versions/3.12.4/bin/python", "3 12")
    assert plan_environment(newer).python == str(by_pyenv)
    elsewhere = write_python(tmp_path / "elsewhere/versions/3.11.2/bin/python", "3 11")
    assert plan_environment(newer | {"PYENV_ROOT": str(tmp_path / "elsewhere")}).python == str(elsewhere)
    usual = write_python(path / "python3", "3 11")
    assert plan_environment(newer).python == str(usual)
    write_program(path / "python3.12", "echo pyenv: python3.12: command not found >&2; exit 127")
    write_python(path / "python3.11", "3 11", has_venv=False)
    assert plan_environment(newer).python == str(usual), "a broken shim, and a Python without its venv module"


def test_plan_needs_no_venv_module_with_uv(newer: dict[str, str]) -> None:
    path = Path(newer["PATH"])
    uv = write_program(path / "uv", "exit 1")
    plan = plan_environment(newer)
    assert (plan.python, plan.uv) == ("3.12", str(uv)) and plan.source == "a Python 3.12 that uv downloads"
    python = write_python(path / "python3.11", "3 11", has_venv=False)
    assert plan_environment(newer) == EnvironmentPlan(environment_folder(newer), str(python), str(uv))


def test_plan_without_a_python_names_what_to_install(newer: dict[str, str]) -> None:
    write_program(Path(newer["PATH"]) / "python3", "echo Python 2.7")
    with pytest.raises(AiderMissing, match=r"none was found\. Install one \(such as python3\.12") as caught:
        plan_environment(newer | {"PATH": f"{newer['PATH']}:relative::"})
    assert caught.value.exit_code == 2


def test_plan_ignores_a_python_in_the_current_folder(
    tmp_path: Path, newer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_python(tmp_path / "python3", "3 12")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AiderMissing):
        plan_environment(newer | {"PATH": f".::{newer['PATH']}"})


def test_folder_is_the_users_own(tmp_path: Path) -> None:
    name = "aider-orchestrator/aider-chat-0.86.2"
    assert environment_folder({"HOME": "/home/ada"}) == Path(f"/home/ada/.local/share/{name}")
    assert environment_folder({"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}) == Path(f"/data/{name}")
    assert environment_folder({"HOME": "/home/ada", "XDG_DATA_HOME": "data"}) == Path(f"/home/ada/.local/share/{name}")


def test_installer_gets_its_settings_and_no_keys() -> None:
    kept = {"PATH": "/bin", "PIP_INDEX_URL": "https://a", "UV_INDEX_OWN_PASSWORD": "p", "HTTPS_PROXY": "http://b"}
    kept |= {"UV_PYTHON_DOWNLOADS": "never"}
    dropped = {"OPENAI_API_KEY": "sk", "PYTHONPATH": "x", "VIRTUAL_ENV": "v", "PIP_TARGET": "t", "PIP_USER": "1"}
    assert installer_environment(kept | dropped | {"UV_PYTHON": "3.13", "PYTHONHOME": "/"}) == kept


def test_set_up_of_a_clone_finds_the_same(tmp_path: Path, newer: dict[str, str]) -> None:
    """What `make demo` uses where the usual Python is a newer one."""
    path, home = Path(newer["PATH"]), Path(newer["HOME"])
    script = ["sh", str(ROOT / "tools/find_python.sh")]

    def find() -> subprocess.CompletedProcess[str]:
        return subprocess.run(script, env=newer, capture_output=True, text=True, check=False)

    write_program(path / "python3", "exit 1")
    assert find().returncode == 1 and find().stderr.startswith("Python 3.11 or 3.12 with its venv module is needed")
    write_program(path / "uv", 'test "$2" = find && echo /uv/python')
    assert find().stdout == "/uv/python\n"
    by_pyenv = write_program(home / ".pyenv/versions/3.12.4/bin/python", "exit 0")
    assert find().stdout == f"{by_pyenv}\n"
    usual = write_program(path / "python3.11", "exit 0")
    assert find().stdout == f"{usual}\n"


# --- making it ------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A machine with this Python and an index of its own."""
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": make_empty_path(tmp_path / "bin"),
        **make_index(tmp_path / "index"),
    }


def make(environ: dict[str, str]) -> list[str]:
    """Make it in this process, and return what was printed."""
    said: list[str] = []
    asyncio.run(make_environment(plan_environment(environ), environ, said.append))
    return said


@pytest.fixture
def making(machine: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that make it, which are killed at the end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start_making(environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKE], cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.thorough
def test_environment_is_made_once_and_made_anew_when_its_python_is_gone(machine: dict[str, str]) -> None:
    folder = environment_folder(machine)
    first, last = make(machine)
    assert first.startswith(f"Making an environment for Aider in {folder}, once") and "later runs use it" in last
    python = find_made_python(machine)
    assert asyncio.run(check_version(python)) == "aider-chat 0.86.2"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, f"{folder.name}.lock"]
    assert make(machine) == [] and find_made_python(machine) == python
    Path(python).unlink()
    Path(python).symlink_to("/nonexistent/python3.12")
    assert find_made_python(machine) == ""
    assert len(make(machine)) == 2 and find_made_python(machine) == python


@pytest.mark.thorough
def test_killed_making_leaves_nothing_that_looks_ready_and_the_next_in_line_makes_it(
    machine: dict[str, str], making: list[subprocess.Popen[str]]
) -> None:
    folder = environment_folder(machine)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that takes the request and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        making.append(start_making(machine | {"PIP_NO_INDEX": "", "PIP_INDEX_URL": address, "PIP_FIND_LINKS": ""}))
        silent.settimeout(within())
        connection, _ = silent.accept()
        making.append(start_making(machine))
        assert making[1].stdout is not None and "Another process is making" in making[1].stdout.readline()
        assert (folder / "bin/python").exists() and find_made_python(machine) == ""
        installers = processes_in(folder)
        making[0].kill()
        making[0].wait()
        assert installers and holds_soon(lambda: not set(installers) & set(processes_in(folder))), "pip ends with it"
        connection.close()
    printed, _ = making[1].communicate(timeout=within())
    assert making[1].returncode == 0 and printed.startswith("Making an environment") and find_made_python(machine)


def processes_in(folder: Path) -> list[str]:
    """The processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if os.fsencode(folder) in path.read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("uv", "sentence"),
    [
        (
            "echo the index is down >&2; exit 2",
            "aider-chat==0.86.2 could not be installed: the index is down. See {log}.",
        ),
        ("exit 0", "aider-chat==0.86.2 was not installed into {folder}. See the settings of pip or uv."),
    ],
)
def test_failure_is_one_sentence_and_leaves_no_folder(tmp_path: Path, uv: str, sentence: str) -> None:
    environ = {"HOME": str(tmp_path / "home"), "PATH": make_empty_path(tmp_path / "bin")}
    folder = environment_folder(environ)
    write_program(tmp_path / "bin/uv", uv)
    (folder / "bin").mkdir(parents=True)  # of an earlier try
    with pytest.raises(AiderMissing) as caught:
        make(environ)
    log = folder.with_name(f"{folder.name}.log")
    assert str(caught.value) == sentence.format(folder=folder, log=log)
    assert not folder.exists() and log.exists()


def test_place_that_cannot_be_written_is_one_sentence(machine: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AiderMissing, match=r"file/aider-orchestrator cannot be written: Not a directory\. Free"):
        make(machine | {"XDG_DATA_HOME": str(tmp_path / "file")})
