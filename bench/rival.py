"""The nearest rival, bernstein (on PyPI), with its own adapter for aider, doing the same work."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command, Cost, cost
from bench.modes import AIDER, CHANGE, LIMIT, Bench, check, files_of, nobody
from bench.program import MODEL


@dataclass(frozen=True)
class Bernstein:
    """The nearest program that runs many aiders on one repository, with every help that its configuration allows.

    A plan gives it the tasks, so that no model has to divide them; its clone has a branch that it may merge into, and
    no remote that it would push to. Its aider is a script that sets again what its filter of the environment takes
    away, keeps aider from opening the addresses which stand in its prompts, and has its version and its help at hand,
    for which it is asked before every agent.
    """

    program: Path

    def __call__(self, bench: Bench, agents: int) -> Cost:
        place, output = bench.clone("rival"), bench.output("rival")
        for words in (["checkout", "-q", "-b", "work"], ["remote", "remove", "origin"]):
            subprocess.run(["git", *words], cwd=place, check=True)
        (place / "plan.yaml").write_text(json.dumps(self.plan(agents)), encoding="utf-8")
        (place / "bernstein.yaml").write_text(json.dumps(self.settings(agents)), encoding="utf-8")
        env = bench.env()
        env["PATH"] = f"{self.helper(bench)}:{self.program.parent}:{env['PATH']}"
        env["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        words = [str(self.program), "run", "plan.yaml", "--cli", "aider", "--model", MODEL, "--auto-approve"]
        wait = ["--wait", str(int(LIMIT - 60))]
        keeper = [sys.executable, "-m", "bench.keeper", str(LIMIT - 30)]
        found = cost([Command([*keeper, *words, *wait], place, env, output)], LIMIT, nobody)
        check(place, files_of(agents), found, output)
        return found

    def plan(self, agents: int) -> dict[str, object]:
        steps = [
            {
                "title": f"Mark {name}",
                "description": CHANGE,
                "files": [name],
                "role": "backend",
                "scope": "small",
                "complexity": "low",
                "cli": "aider",
                "model": MODEL,
            }
            for name in files_of(agents)
        ]
        return {"name": "bench", "description": CHANGE, "stages": [{"name": "all", "steps": steps}]}

    def settings(self, agents: int) -> dict[str, object]:
        return {
            "goal": CHANGE,
            "cli": "aider",
            "model": MODEL,
            "max_agents": agents,
            "team": ["backend"],
            "catalogs": [],
            "internal_llm_provider": "none",
            "evolution_enabled": False,
            "orchestration": {"test_followup": False},
            "tuning": {"orchestrator": {"tick_interval_s": 1}},
        }

    def helper(self, bench: Bench) -> Path:
        folder = bench.folder / "help"
        folder.mkdir(exist_ok=True)
        env = bench.env() | {"AIDER_ANALYTICS_DISABLE": "true"}
        lines = ["#!/bin/sh"]
        for option in ("--version", "--help"):
            said = folder / f"aider{option}"
            said.write_bytes(subprocess.run([AIDER, option], env=env, check=True, capture_output=True).stdout)
            lines.append(f'[ "$*" != {option} ] || exec cat {said}')
        lines += [f"export {name}='{env[name]}'" for name in env if name not in ("PATH", "HOME", "TMPDIR")]
        lines += [f'exec {AIDER} --no-check-update --no-detect-urls "$@"', ""]
        script = folder / "aider"
        script.write_text("\n".join(lines), encoding="utf-8")
        script.chmod(0o755)
        return folder
