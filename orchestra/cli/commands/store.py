"""`store check` and `store migrate`."""

from argparse import Namespace
from pathlib import Path

from orchestra.cli.command_io import CommandParser, print_plain
from orchestra.cli.find import open_any_store, settings_and_root
from orchestra.conduct.core.locations import DATABASE, LOGS
from orchestra.errors import UsageError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.journal.open_store import open_store
from orchestra.journal.store_repair import find_damage

USAGE = """usage: aider-orchestrator store check [--repo PATH] [--store URL]
       aider-orchestrator store migrate [--repo PATH] [--store URL]

check     say what is wrong with the store, a sentence each; exit 1 if anything is
migrate   bring a database on a server up to date, or set it up beside other tables; SQLite does so by itself
"""


def cmd_store(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("what", nargs="?", default="")
    given = words.parse(argv)
    if given.what == "check":
        return check_store(given)
    if given.what == "migrate":
        return migrate_store(given)
    raise UsageError("store has two commands: store check and store migrate.")


def check_store(given: Namespace) -> int:
    where = store_location(given)
    if isinstance(where, Path) and not where.exists():
        raise UsageError(f"there is no store in {where.parent}.")
    damage = find_damage(where, whole=True) if isinstance(where, Path) else ""
    if damage:
        remedy = "`store migrate`, or the next run, makes it anew from the logs"
        print_plain(f"The store {where} cannot be used ({damage}); {remedy}.")
        return 1
    checked = open_store(where)
    problems = checked.find_problems()
    checked.close()
    print_plain("\n".join(problems) or "The store is sound.")
    return 1 if problems else 0


def migrate_store(given: Namespace) -> int:
    where = store_location(given)
    if isinstance(where, Path):
        prepare_log_folder(where.parent)
        open_any_store(where, whole=True).close()
    else:
        open_store(where, migrate=True).close()
    print_plain("The store is up to date.")
    return 0


def store_location(given: Namespace) -> Path | str:
    settings, root = settings_and_root(given)
    return settings.store or root / LOGS / DATABASE
