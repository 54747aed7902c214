"""action.yml says what the program says: its inputs are the flags, and no word of an input becomes anything else."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestra.report.annotations import step_outputs
from orchestra.report.formats import REPORT_FORMATS
from orchestra.report.state import Report
from orchestra.settings import flag_of, option_fields
from tests.support.shell import parse_flags
from tests.test_report import read_outputs
from tools import write_action

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").iterdir())
# What tools/step.py makes of inputs, without the program that it becomes.
FLAGS = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from tools.step import flags
sys.stdout.write(json.dumps(flags(json.load(sys.stdin))))
"""


def flags(inputs: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FLAGS], input=json.dumps(inputs), capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


@functools.cache
def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(write_action.TARGET.read_text("utf-8"))
    return found


def test_the_action_is_fresh() -> None:
    assert write_action.TARGET.read_text("utf-8") == write_action.text(), "`make reference` was not run"


def test_the_inputs_are_the_flags_and_the_outputs_are_the_runs() -> None:
    flags = [flag_of(f) for f in option_fields() if f.name not in write_action.NO_INPUTS]
    assert sorted(f"--{name}" for name in action()["inputs"]) == sorted([*flags, "--command"])
    assert tuple(action()["inputs"])[: len(write_action.COMMON)] == write_action.COMMON
    names = read_outputs(step_outputs(Report(), dict.fromkeys(("summary", *REPORT_FORMATS), ""), "end"))
    assert action()["outputs"].keys() == {*names, "matrix"}
    assert all(each["value"] == f"${{{{ steps.run.outputs.{name} }}}}" for name, each in action()["outputs"].items())


def test_no_expression_stands_in_a_script() -> None:
    steps = action()["runs"]["steps"]
    *scripts, restore, save = sorted(steps, key=lambda step: "uses" in step)
    assert [step["shell"] for step in scripts] == ["bash", "bash", "bash"]
    assert restore["with"] == save["with"] and steps.index(save) < steps.index(scripts[-1])
    assert not [step for step in scripts if "${{" in step["run"] or set(step) - {"name", "id", "shell", "env", "run"}]
    assert [step["env"] for step in steps if "env" in step] == [{"INPUTS": "${{ toJSON(inputs) }}"}]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_the_examples_know_the_flags(path: Path) -> None:
    text = path.read_text("utf-8")
    known = {flag_of(f) for f in option_fields()}
    commands = "\n".join(line for line in text.splitlines() if "aider-orchestrator --" in line)
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", commands)) <= known
    assert path.suffix == ".mk" or yaml.safe_load(text)


def test_every_input_reaches_its_setting() -> None:
    """As text, as `true`, as several words; what is left empty is not said."""
    inputs = {flag_of(f).removeprefix("--"): value_of(f) for f in option_fields()}
    found = parse_flags(flags(inputs))
    assert {name for name, value in found.items() if value is None} == set()
    assert found["files"] == ["a b", "--c", "d"] and found["use_prd"] is False and found["push"] is True
    assert flags(dict.fromkeys(inputs, "")) == []
    assert flags({"push": "false", "unknown": "x"}) == []


def value_of(f: Any) -> str:
    if isinstance(f.default, bool):
        return "true"
    return "'a b' --c\n d" if f.default == () else "-1"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_action_passes_the_change_as_plain_text(words: str) -> None:
    from tools import step

    told = step.flags({"change": words})
    assert len(told) == bool(words.strip())
    assert (parse_flags(told)["change"] or "") == words.strip()


def test_a_bad_input_is_one_sentence() -> None:
    env = {"PATH": os.environ["PATH"], "INPUTS": json.dumps({"push": "perhaps", "change": "x"})}
    command = [sys.executable, str(ROOT / "tools/step.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "aider-orchestrator: --push: 'perhaps' is neither true nor false.\n"
