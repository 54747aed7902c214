"""`trust`: consent to a settings file that is committed; and what a run says of the one that it finds."""

from orchestra.cli import trusted
from orchestra.cli.command_io import CommandParser, print_plain
from orchestra.cli.consent import describe_consent, repository_root
from orchestra.cli.load import read_settings, read_settings_file
from orchestra.errors import UsageError
from orchestra.workspace.tracked import may_be_tracked

USAGE = """usage: aider-orchestrator trust [--show | --revoke] [--repo PATH]

Obey the whole settings file of this repository, though it is committed: also what writes, sends, hands over, spends
more or chooses another model. The answer is kept in your own config folder, for the file and the files that it names as
they are now: when one of them changes, it no longer holds.

  --show     say what would be allowed, and change nothing
  --revoke   take the consent back
"""


def cmd_trust(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("--show", action="store_true")
    words.add_argument("--revoke", action="store_true")
    given = words.parse(argv)
    root = repository_root(given.repo)
    file, path = read_settings_file(root)
    if given.revoke:
        trusted.write_answer(root, file, None)
        print_plain(f"No settings file of {root} is trusted any more.")
        return 0
    if not file.table:
        raise UsageError(f"{root} has no settings file, so there is nothing to trust.")
    if not may_be_tracked(root, path):
        print_plain(f"{file.origin} is not committed: it is yours, and obeyed as it is.")
        return 0
    settings = read_settings(["--repo", str(root)])
    for line in describe_consent(root, file, settings):
        print_plain(line)
    if not given.show:
        trusted.write_answer(root, file, True)
        print_plain(f"From now on {file.origin} is obeyed in {root}, until it or a file that it names changes.")
    return 0
