"""`store`: check the store of events, or migrate it."""

from argparse import Namespace
from pathlib import Path

from orchestra.cli.command_io import add_repository_arguments, print_plain
from orchestra.cli.find import open_any_store, settings_and_root
from orchestra.cli.parser import CommandParser
from orchestra.conduct.core.locations import DATABASE, LOGS
from orchestra.errors import UsageError
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.journal.open_store import find_damage, open_store


def add_store_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "action",
        metavar="check|migrate",
        choices=["check", "migrate"],
        help="check: print each problem of the store; exit code 1 if there is one. migrate: update a database on a"
        " server, or create the tables in it; SQLite needs no migration",
    )
    add_repository_arguments(parser)


def cmd_store(arguments: Namespace) -> int:
    """Check or migrate the store of events."""
    settings, root = settings_and_root(arguments)
    location = settings.store or root / LOGS / DATABASE
    if arguments.action == "check":
        return check_store(location)
    if isinstance(location, Path):
        prepare_log_folder(location.parent)
        open_any_store(location, whole=True).close()
    else:
        open_store(location, migrate=True).close()
    print_plain("The store is up to date.")
    return 0


def check_store(location: Path | str) -> int:
    if isinstance(location, Path):
        if not location.exists():
            raise UsageError(f"there is no store in {location.parent}.")
        if damage := find_damage(location, whole=True):
            remedy = "`store migrate`, or the next run, creates it again from the logs"
            print_plain(f"The store {location} cannot be used ({damage}); {remedy}.")
            return 1
    store = open_store(location)
    problems = store.find_problems()
    store.close()
    print_plain("\n".join(problems) or "The store is sound.")
    return 1 if problems else 0
