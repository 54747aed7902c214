"""`store check` and `store migrate`."""

from argparse import Namespace
from pathlib import Path

from orchestra.cli.find import opened, place_of
from orchestra.cli.words import Words, say
from orchestra.conduct.core.where import DATABASE, LOGS
from orchestra.errors import UsageError
from orchestra.journal.heal import damage_of
from orchestra.journal.jsonl import prepare
from orchestra.journal.open_store import open_store

USAGE = """usage: aider-orchestrator store check [--repo PATH] [--store URL]
       aider-orchestrator store migrate [--repo PATH] [--store URL]

check     say what is wrong with the store, a sentence each; exit 1 if anything is
migrate   bring a database on a server up to date, or set it up beside other tables; SQLite does so by itself
"""


def store(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("what", nargs="?", default="")
    given = words.read(argv)
    if given.what == "check":
        return check(given)
    if given.what == "migrate":
        return migrate(given)
    raise UsageError("store has two commands: store check and store migrate.")


def check(given: Namespace) -> int:
    where = place(given)
    if isinstance(where, Path) and not where.exists():
        raise UsageError(f"there is no store in {where.parent}.")
    damage = damage_of(where, whole=True) if isinstance(where, Path) else ""
    if damage:
        remedy = "`store migrate`, or the next run, makes it anew from the logs"
        say(f"The store {where} cannot be used ({damage}); {remedy}.")
        return 1
    checked = open_store(where)
    problems = checked.check()
    checked.close()
    say("\n".join(problems) or "The store is sound.")
    return 1 if problems else 0


def migrate(given: Namespace) -> int:
    where = place(given)
    if isinstance(where, Path):
        prepare(where.parent)
        opened(where, whole=True).close()
    else:
        open_store(where, migrate=True).close()
    say("The store is up to date.")
    return 0


def place(given: Namespace) -> Path | str:
    settings, root = place_of(given)
    return settings.store or root / LOGS / DATABASE
