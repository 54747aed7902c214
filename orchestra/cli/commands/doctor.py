"""`doctor`: check what a run needs, with a remedy for what is missing."""

import asyncio
import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from orchestra.cli.load import current_folder, read_settings
from orchestra.cli.parser import CommandParser, run_options
from orchestra.settings import Settings
from orchestra.workspace.git import top_level

FAILED = 2


def add_doctor_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--online", action="store_true", help="request one word from every provider that has a key (a few tokens)"
    )
    parser.add_argument("--fix", action="store_true", help="write a .env with your keys; asks for them, hides them")
    parser.add_run_options()


def cmd_doctor(arguments: Namespace) -> int:
    """Check git, Aider, Python, disk, memory, the repository, the store, models, keys and addresses. Options of a run,
    such as --model and --repo, are checked as that run would use them. --json prints JSON. Exit code 0: a run can
    start, perhaps with warnings. 2: it cannot."""
    settings = read_settings(run_options(arguments))
    start = Path(settings.repo).absolute() if settings.repo else current_folder()
    folder = top_level(start) or start
    if arguments.fix:
        from orchestra.cli.keys import ask_for_keys

        ask_for_keys(settings, folder)
        settings = read_settings(run_options(arguments))
    return asyncio.run(print_findings(settings, folder, online=arguments.online))


async def print_findings(settings: Settings, folder: Path, *, online: bool) -> int:
    from orchestra.conduct.session.doctor import run_checkup

    findings = []
    async for finding in run_checkup(settings, folder, online=online):
        findings.append(finding)
        if not settings.json:
            words = f"{finding.text.rstrip('.')}. {finding.remedy}" if finding.remedy else finding.text
            print(f"{finding.level:<8} {finding.name:<12} {' '.join(words.split())}", flush=True)
    healthy = all(finding.level != "error" for finding in findings)
    if settings.json:
        print(json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 0 if healthy else FAILED
