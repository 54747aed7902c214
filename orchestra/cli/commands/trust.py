"""`trust`: consent to a settings file that is committed."""

from argparse import Namespace

from orchestra.cli import trusted
from orchestra.cli.command_io import add_repository_arguments, print_plain
from orchestra.cli.consent import describe_consent, repository_root
from orchestra.cli.load import read_settings, read_settings_file
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.workspace.tracked import may_be_tracked


def add_trust_arguments(parser: CommandParser) -> None:
    parser.add_argument("--show", action="store_true", help="list what would be allowed, and change nothing")
    parser.add_argument("--revoke", action="store_true", help="withdraw the consent")
    add_repository_arguments(parser)


def cmd_trust(arguments: Namespace) -> int:
    """Use the whole settings file of this repository although it is committed: also what writes, sends, hands over,
    spends more or chooses another model. The consent is stored in your config folder for the present content of the
    file and of the files that it names; a change of one of them ends it."""
    root = repository_root(arguments.repo)
    file, path = read_settings_file(root)
    if arguments.revoke:
        trusted.write_answer(root, file, None)
        print_plain(f"No settings file of {root} is trusted any more.")
        return 0
    if not file.table:
        raise UsageError(f"{root} has no settings file, so there is nothing to trust.")
    if not may_be_tracked(root, path):
        print_plain(f"{file.origin} is not committed: it is yours, and all of it is used.")
        return 0
    settings = read_settings({"repo": str(root)})
    for line in describe_consent(root, file, settings):
        print_plain(line)
    if not arguments.show:
        trusted.write_answer(root, file, True)
        print_plain(f"From now on all of {file.origin} in {root} is used, until it or a file that it names changes.")
    return 0
