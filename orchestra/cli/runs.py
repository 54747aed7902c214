"""`runs`: what has been run here, and `status`: one run as far as it came. Read from the store."""

import time
from pathlib import Path

from orchestra.cli.load import settings_of
from orchestra.conduct.run import DATABASE, LOGS, store_key
from orchestra.errors import UsageError
from orchestra.journal.store import Run, Store, open_store
from orchestra.report.fold import fold
from orchestra.report.sentence import money
from orchestra.report.text import closing
from orchestra.settings import Settings
from orchestra.workspace.git import top_level

RUNS_USAGE = """usage: aider-orchestrator runs [--repo PATH] [--store URL]

List the runs of this repository, the latest last: RUN, how it ended, what was to be changed.
"""
STATUS_USAGE = """usage: aider-orchestrator status [RUN] [--repo PATH] [--store URL]

Tell of one run (the latest, or RUN) what its events amount to so far.
"""


def runs(argv: list[str]) -> int:
    if "--help" in argv or "-h" in argv:
        print(RUNS_USAGE, end="")
        return 0
    settings = settings_of(argv)
    store, key, _ = opened(settings)
    for run in store.runs(key):
        change = " ".join(str(run.first.data["change"]).split())
        print(f"{run.name}  {ending(run):<12}  {change[:80]}")
    store.close()
    return 0


def ending(run: Run) -> str:
    return "not ended" if run.last is None else f"exit {run.last.data['exit_code']}"


def status(argv: list[str]) -> int:
    if "--help" in argv or "-h" in argv:
        print(STATUS_USAGE, end="")
        return 0
    name, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    settings = settings_of(flags)
    store, key, root = opened(settings)
    known = [run.name for run in store.runs(key)]
    if not known or (name and name not in known):
        raise UsageError(f"there is no run {name} here." if name else "there are no runs here.")
    report = fold(store.read(key, name or known[-1]))
    store.close()
    if report.exit_code is None:
        ended = sum(bool(task.verdict) for task in report.tasks.values())
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.started / 1000))
        print(
            f"{report.run}: started {started}, {ended} of {len(report.tasks)} tasks ended, {money(report.usage)} so far"
        )
        print(f"To take it up, when nobody is at work on it: aider-orchestrator resume {report.run}")
        return 0
    print(closing(report, str(root / LOGS / f"summary_{report.run}.json")))
    return 0


def opened(settings: Settings) -> tuple[Store, str, Path]:
    root = top_level(Path(settings.repo or ".")) or Path.cwd()
    if not settings.store and not (root / LOGS / DATABASE).exists():
        raise UsageError(f"there are no runs in {root / LOGS}.")
    return open_store(settings.store or root / LOGS / DATABASE), store_key(settings, root), root
