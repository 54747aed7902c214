"""Write action.yml: an input for each flag, an output for each value that a run hands to later steps.

usage: python -m tools.write_action
"""

import json
import sys
from dataclasses import Field
from pathlib import Path
from typing import Any

from orchestra.model import Verified
from orchestra.report.formats import REPORT_FORMATS
from orchestra.settings import flag_of, option_fields

TARGET = Path(__file__).resolve().parents[1] / "action.yml"
HEAD = """\
# Written by `python -m tools.write_action` from the program's own table of flags: do not edit.
name: Aider Orchestrator
description: Divide a change among several Aider agents, combine their work, and run your tests on it.
branding:
  icon: git-merge
  color: green
"""
NO_INPUTS = ("yes",)  # nothing is asked in a workflow, and YAML 1.1 reads this name as a boolean
# What most workflows set; the other inputs follow in the order of the help.
COMMON = ("change", "files", "model", "max-agents", "test-cmd", "budget", "deadline", "pr")
COMMAND = (
    "another command than a run: `plan new --name NAME`, `plan shard NAME --into 8 --matrix github`, `execute NAME`, "
    "`combine NAME shard_*.tar.gz`; split as a shell would"
)
MATRIX = "the jobs of `plan shard NAME --into N --matrix github`, for fromJSON"
OUTPUTS = {
    "run": "the run's name",
    "verdict": "what came of it, in one sentence",
    "verified": f"how far it was checked: {', '.join(list(Verified)[:-1])} or {list(Verified)[-1]}",
    "exit-code": "the verdict as a number; a failed step has it too",
    "branch": "the branch that has the result",
    "applied": "true when that is the branch of the checkout",
    "commit": "the result's commit",
    "pr-url": "the pull request",
    "cost": "dollars; empty where no price is known",
    "tokens": "tokens in and out",
    "summary": "path of the summary (JSON)",
    **{name: f"path of the {form.title} report" for name, form in REPORT_FORMATS.items()},
}
# Nothing of the checkout is imported or run on the way: it may be somebody else's pull request. What was installed is
# saved for other jobs before anything else runs, so that no later step can change it.
STEPS = """\
runs:
  using: composite
  steps:
    - name: Name what is to be installed
      id: wanted
      shell: bash
      run: |
        cd "$RUNNER_TEMP"
        python=$(sh "$GITHUB_ACTION_PATH/tools/find_python.sh")
        digest='import hashlib, sys
        print(hashlib.sha256(sys.version.encode() + open(sys.argv[1], "rb").read()).hexdigest())'
        printf 'key=%s\\n' "$("$python" -I -c "$digest" "$GITHUB_ACTION_PATH/requirements.lock")" >> "$GITHUB_OUTPUT"
    - name: Restore what an earlier job installed
      id: cached
      uses: actions/cache/restore@v4
      with:
        path: ${{ runner.temp }}/aider-orchestrator
        key: aider-orchestrator-${{ runner.os }}-${{ runner.arch }}-${{ steps.wanted.outputs.key }}
    - name: Set up Aider Orchestrator
      shell: bash
      run: |
        cd "$RUNNER_TEMP"
        home="$RUNNER_TEMP/aider-orchestrator"
        if [ -e "$home/ready" ]; then exit 0; fi
        python=$(sh "$GITHUB_ACTION_PATH/tools/find_python.sh")
        "$python" -m venv "$home"
        "$home/bin/pip" install --quiet --disable-pip-version-check -r "$GITHUB_ACTION_PATH/requirements.lock"
        touch "$home/ready"
    - name: Save it for later jobs
      if: steps.cached.outputs.cache-hit != 'true'
      uses: actions/cache/save@v4
      with:
        path: ${{ runner.temp }}/aider-orchestrator
        key: aider-orchestrator-${{ runner.os }}-${{ runner.arch }}-${{ steps.wanted.outputs.key }}
    - name: Run Aider Orchestrator
      id: run
      shell: bash
      env:
        INPUTS: ${{ toJSON(inputs) }}
      run: exec "$RUNNER_TEMP/aider-orchestrator/bin/python" "$GITHUB_ACTION_PATH/tools/step.py"
"""


def text() -> str:
    meanings = {flag_of(f).removeprefix("--"): meaning(f) for f in option_fields() if f.name not in NO_INPUTS}
    inputs = [described(name, meanings[name]) for name in dict.fromkeys((*COMMON, *meanings))]
    inputs.append(described("command", COMMAND))
    outputs = [
        described(name, words) + f"    value: ${{{{ steps.run.outputs.{name} }}}}\n"
        for name, words in (OUTPUTS | {"matrix": MATRIX}).items()
    ]
    return "".join([HEAD, "inputs:\n", *inputs, "outputs:\n", *outputs, STEPS])


def described(name: str, words: str) -> str:
    return f"  {name}:\n    description: {json.dumps(words, ensure_ascii=False)}\n"


def meaning(f: Field[Any]) -> str:
    """The flag's own help, and how its value is written where that is not plain."""
    if isinstance(f.default, bool):
        return f"true: {f.metadata['help']}"
    return f"{f.metadata['help']}{'; several are split as a shell would' if f.default == () else ''}"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(option_fields()) - len(NO_INPUTS)} inputs, {len(OUTPUTS)} outputs\n")
