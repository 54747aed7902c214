"""What a newcomer types from the README and the tutorial works, and the documentation names what there is."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

import aider_orchestrator
from orchestra.agents.aider_args import ALLOWED
from orchestra.cli.command_table import COMMANDS
from orchestra.handover.host_client import SIGNATURE, sign_content
from orchestra.settings import flag_of, option_fields
from tests.support.ci_runner import bash
from tests.support.docs import HOW_TO, PAGES, ROOT, blocks, commands, fenced, named_flags
from tests.support.edits import appends, knows
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, make_place

README, TUTORIAL = ROOT / "README.md", ROOT / "docs/tutorial.md"
PROJECT = ROOT / "orchestra/demo_project"


def shims(folder: Path) -> str:
    """The commands of an installed program, in front of the PATH."""
    folder.mkdir()
    for name, what in {
        "aider-orchestrator": f"{sys.executable} {ROOT}/aider_orchestrator.py",
        **dict.fromkeys(("python", "python3"), sys.executable),
    }.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {what} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


# --- the tutorial ---------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_the_tutorial_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    before = (PROJECT / "after/lighthouse/kettle.py").read_text("utf-8")
    after = f'{before}\n\ndef whistle() -> str:\n    return "Tüüüt"\n'
    place = make_place(tmp_path, {})
    with ModelServer(knows({"lighthouse/kettle.py": after}, set())) as server:
        env = place.environment(server, PATH=shims(tmp_path / "bin"), OPENAI_API_KEY="", GOOGLE_API_KEY="")
        done = bash("\n".join(blocks(TUTORIAL)), place.repo, env)
        assert done.code == 0, done.said
        assert server.count() == 1
    sample = Place(place.repo / "lighthouse", place.home, place.tmp)
    assert sample.git("show", "main:lighthouse/kettle.py") == after
    assert sample.git("rev-parse", "main") == sample.git("rev-parse", "whistle")
    said = done.said
    assert (
        "All 4 tasks are complete" in said
        and "The task is complete" in said
        and said.count("verified by the tests") == 3
    )
    assert re.search(r"\.aider_logs/report_\w+\.html", said) and "+def whistle() -> str:" in said
    assert "agent2 of run" in said and "Fast-forward" in said


# --- the README -----------------------------------------------------------------------------------------------------


def test_readmes_two_commands() -> None:
    """The demo and the tests themselves are what the others here run: of make only that it would do so."""
    assert [words for words in commands(README) if words.startswith("make ")] == ["make demo", "make test"]
    planned = subprocess.run(
        ["make", "-n", "demo", "test", "change"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "aider_orchestrator.py demo" in planned.stdout and "-m pytest" in planned.stdout


@pytest.mark.thorough
def test_run_is_undone_by_its_last_lines(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n", "b.py": "b = 1\n"})
    with ModelServer(appends("# hi")) as server:
        ran = place.run("--change", "Say hi", "--files", "a.py", "b.py", "--agents", "2", "--no-prd", server=server)
    [undo] = re.findall(r"^Undo: (.+)$", ran.out, re.MULTILINE)
    assert ran.code == 0 and ran.changed() == {"a.py": (1, 0), "b.py": (1, 0)}
    assert re.sub(r"[0-9a-f]{12}", "…", undo) == "git revert --no-edit …..…"
    assert "git revert --no-edit BASE..RESULT" in commands(README)
    subprocess.run(undo.split(), cwd=place.repo, env=place.environment(), check=True)
    assert ran.changed() == {} and place.status() == ran.before


# --- flags ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> Iterator[set[str]]:
    """Every flag that any command's help names."""
    told = "".join(help_of(*name.split()) for name in COMMANDS)
    yield set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", told))


def help_of(*command: str) -> str:
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        aider_orchestrator.main([*command, "--help"])
    return said.getvalue()


# That one names the benches' own.
@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "benchmarks"], ids=lambda page: str(page.stem))
def test_the_docs_name_only_flags_that_there_are(page: Path, known: set[str]) -> None:
    of_the_prd_generator = {"--prompt", "--filename", "--model", "--api-key"}
    assert set(named_flags(page)) - known - of_the_prd_generator - ALLOWED.keys() == set()  # --aider-args lists Aider's


def test_every_flag_of_the_help_is_in_the_reference() -> None:
    reference = (ROOT / "docs/reference-settings.md").read_text("utf-8")
    listed = set(re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", help_of("run")))
    assert len(listed) > 50 and {name for name in listed if f"`{name}" not in reference} == {"--help", "--version"}
    assert {flag_of(f) for f in option_fields()} <= listed


def test_a_signature_is_verified_as_the_how_to_says() -> None:
    (code,) = fenced(HOW_TO, "python")
    said: dict[str, object] = {}
    exec(code, said)
    verified, body = said["verified"], json.dumps({"sent": int(time.time())}).encode()
    assert callable(verified)
    assert verified(body, sign_content(body, "secret"), "secret")["sent"] > 0
    assert SIGNATURE == "x-orchestra-signature" and "`X-Orchestra-Signature`" in HOW_TO.read_text("utf-8")
    for wrong in (sign_content(body, "other"), "", "sha256="):
        with pytest.raises(ValueError, match="not signed"):
            verified(body, wrong, "secret")
    with pytest.raises(ValueError, match="too old"):
        verified(b'{"sent": 1}', sign_content(b'{"sent": 1}', "secret"), "secret")


def test_the_snippets_are_the_examples() -> None:
    (snippet,) = fenced(HOW_TO, "make")
    assert (ROOT / "examples/change.mk").read_text("utf-8").partition("\n")[2] == snippet
