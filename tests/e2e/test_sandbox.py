"""Gates and set-up commands of a whole run in their sandbox: what they look for, and whose commands run at all."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import appends
from tests.support.modelserver import ModelServer
from tests.support.runs import KEYS, Ran, assert_clean, make_place

TARGETS = {"a.py": "a = 1\n", "b.py": "b = 1\n", "tests.sh": "echo tested > tested; exit 0\n"}
JOB = ("--change", "Add a line", "--no-prd", "--files", "a.py", "b.py", "--agents", "2")
GOOD = appends("# hi")
# Everything that a text search can reach, except the folders of tests beside this one, which hold the same keys.
LOOK = """
cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'
cat {repo}/.env {repo}/.git/config ~/.netrc ~/.config/gh/hosts.yml ~/.bashrc {repo}/.aider_logs/*.jsonl
env
find {own} -type f -size -100k -exec cat {{}} + 2>/dev/null
find / -xdev -newer {repo}/a.py -type f -size -100k -not -path '/proc/*' -not -path '{others}/*' \\
  -exec cat {{}} + 2>/dev/null
"""
FORK = {"pull_request": {"head": {"repo": {"full_name": "eve/shop"}}, "base": {"repo": {"full_name": "org/shop"}}}}


@pytest.mark.thorough
@pytest.mark.parametrize("which", ["--test-cmd", "--setup-cmd"])
def test_curious_command_finds_no_key(which: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, TARGETS | {".gitignore": ".env\n"})
    place.write({".env": "DEEPSEEK_API_KEY=sk-planted-in-the-file-0123456789\n"})
    place.git("config", "http.https://github.com/.extraheader", "AUTHORIZATION: basic sk-planted-in-git-0123456789")
    (place.home / ".config/gh").mkdir(parents=True)
    for name in (".netrc", ".config/gh/hosts.yml"):
        (place.home / name).write_text("password sk-planted-in-home-0123456789\n")
    (place.home / ".bashrc").write_text(f"export OPENAI_API_KEY={KEYS['OPENAI_API_KEY']}\n")
    script = tmp_path / "look.sh"
    pytest_root = next(path for path in tmp_path.parents if path.name.startswith("pytest-of-"))
    found = tmp_path / "found"
    script.write_text(f"({LOOK.format(repo=place.repo, own=tmp_path, others=pytest_root)}) > {found} 2>&1; true\n")
    with ModelServer(GOOD) as server:
        ran = place.run(*JOB, which, f"sh {script}", server=server)
    assert ran.code == 0, ran.err
    looked = found.read_text(errors="replace")
    assert "HOME=" in looked and len(looked) > 1_000
    for secret in (*KEYS.values(), "sk-planted"):
        assert secret not in looked
    assert_clean(ran)


@pytest.mark.thorough
def test_commands_of_ones_own_repository_need_no_flag(tmp_path: Path) -> None:
    place = make_place(tmp_path, TARGETS)
    with ModelServer(GOOD) as server:
        ran = place.run(*JOB, "--test-cmd", "sh tests.sh", server=server, CI="true", GITHUB_ACTIONS="true")
    assert ran.code == 0, ran.err
    assert ran.summary["verified"] == "tests" and "sandbox" not in ran.err + ran.out


def run_as_fork(tmp_path: Path, *words: str, test: str = "sh tests.sh") -> Ran:
    place = make_place(tmp_path, TARGETS)
    event = tmp_path / "event.json"
    event.write_text(json.dumps(FORK))
    github: dict[str, Any] = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "CI": "true"}
    with ModelServer(GOOD) as server:
        return place.run(*JOB, "--test-cmd", test, *words, server=server, GITHUB_EVENT_PATH=str(event), **github)


@pytest.mark.thorough
def test_forks_tests_run_in_the_sandbox_without_network(tmp_path: Path) -> None:
    test = f"{sys.executable} -c \"import socket; socket.create_connection(('127.0.0.1', 22), 1)\" 2>&1 | grep refused"
    ran = run_as_fork(tmp_path, test=f"test $(ls /sys/class/net | wc -l) -ge 1; {test}")
    assert ran.code == 0, ran.err + ran.out
    assert "in a sandbox without network, because the head of this pull request is a fork's" in ran.err + ran.out


def test_forks_tests_do_not_run_without_a_sandbox(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    ran = run_as_fork(tmp_path, "--sandbox", "off", "--setup-cmd", f"touch {mark}", test=f"touch {mark}")
    assert not mark.exists()
    assert ran.summary["verified"] != "tests"
    assert "no tests: not trusted" in ran.out


@pytest.mark.thorough
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter is x86-64's")
def test_where_namespaces_are_refused_the_weaker_sandbox_holds_and_says_so(tmp_path: Path) -> None:
    place = make_place(tmp_path, TARGETS | {".gitignore": ".env\n"})
    place.write({".env": "DEEPSEEK_API_KEY=sk-planted-in-the-file-0123456789\n"})
    (place.home / ".netrc").write_text("password sk-planted-in-home-0123456789\n")
    found = tmp_path / "out" / "found"
    found.parent.mkdir()
    look = f"(cat {place.repo}/.env ~/.netrc /proc/*/environ; env; touch {place.repo}/x) > {found} 2>&1; true"
    refused = f'exec {sys.executable} {Path(__file__).parents[1]}/support/no_namespaces.py "$@"'
    with ModelServer(GOOD) as server:
        ran = place.start(*JOB, "--test-cmd", look, server=server, shell=refused).end()
        required = place.start(*JOB, "--test-cmd", look, "--sandbox", "require", server=server, shell=refused).end()
    assert ran.code == 0, ran.err
    assert "the sandbox of tests and set-up commands is weaker" in ran.err
    looked = found.read_text(errors="replace")
    assert "HOME=" in looked and "sk-planted" not in looked and not any(key in looked for key in KEYS.values())
    assert not (place.repo / "x").exists()
    assert required.code == 2 and "--sandbox require: this system allows no namespaces." in required.err
