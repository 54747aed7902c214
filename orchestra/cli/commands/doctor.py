"""`doctor`: what a run needs, line by line, with a remedy for what is missing."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from orchestra.cli.load import current_folder, read_settings
from orchestra.settings import Settings
from orchestra.workspace.git import top_level

if TYPE_CHECKING:
    from orchestra.conduct.session.doctor import Finding

USAGE = """usage: aider-orchestrator doctor [--online] [--json] [--fix] [FLAGS...]

Look at git, aider, Python, disk, memory, the repository, the store, models, keys and addresses. A flag of `run`, say
--model or --repo, is looked at as that run would have it.

  --online   ask every provider that has a key for one word (a few tokens)
  --json     print the findings as JSON
  --fix      write a .env with your keys, which are asked for and not shown

Exit code 0: a run can begin (there may be warnings). 2: it cannot.
"""
OWN = ("--online", "--fix")
FAILED = 2


def cmd_doctor(argv: list[str]) -> int:
    if "--help" in argv or "-h" in argv:
        print(USAGE, end="")
        return 0
    flags = [word for word in argv if word not in OWN]
    settings = read_settings(flags)
    start = Path(settings.repo).absolute() if settings.repo else current_folder()
    folder = top_level(start) or start
    if "--fix" in argv:
        from orchestra.cli.keys import ask_for_keys

        ask_for_keys(settings, folder)
        settings = read_settings(flags)
    return asyncio.run(print_findings(settings, folder, online="--online" in argv))


async def print_findings(settings: Settings, folder: Path, *, online: bool) -> int:
    from orchestra.conduct.session.doctor import run_checkup

    found = []
    async for finding in run_checkup(settings, folder, online=online):
        found.append(finding)
        if not settings.json:
            print(format_finding(finding), flush=True)
    healthy = all(finding.level != "error" for finding in found)
    if settings.json:
        print(json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in found]}, indent=2))
    return 0 if healthy else FAILED


def format_finding(finding: "Finding") -> str:
    words = f"{finding.text.rstrip('.')}. {finding.remedy}" if finding.remedy else finding.text
    return f"{finding.level:<8} {finding.name:<12} {' '.join(words.split())}"
