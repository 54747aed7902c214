"""`trust`: consent to a settings file that is committed; and what a run says of the one that it finds."""

from orchestra.cli import trusted
from orchestra.cli.consent import allowed, repository_of
from orchestra.cli.load import settings_file, settings_of
from orchestra.cli.words import Words, say
from orchestra.errors import UsageError
from orchestra.workspace.tracked import may_be_anyones

USAGE = """usage: aider-orchestrator trust [--show | --revoke] [--repo PATH]

Obey the whole settings file of this repository, though it is committed: also what writes, sends, hands over, spends
more or chooses another model. The answer is kept in your own config folder, for the file and the files that it names as
they are now: when one of them changes, it no longer holds.

  --show     say what would be allowed, and change nothing
  --revoke   take the consent back
"""


def trust(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("--show", action="store_true")
    words.add_argument("--revoke", action="store_true")
    given = words.read(argv)
    root = repository_of(given.repo)
    file, path = settings_file(root)
    if given.revoke:
        trusted.remember(root, file, None)
        say(f"No settings file of {root} is trusted any more.")
        return 0
    if not file.table:
        raise UsageError(f"{root} has no settings file, so there is nothing to trust.")
    if not may_be_anyones(root, path):
        say(f"{file.place} is not committed: it is yours, and obeyed as it is.")
        return 0
    settings = settings_of(["--repo", str(root)])
    for line in allowed(root, file, settings):
        say(line)
    if not given.show:
        trusted.remember(root, file, True)
        say(f"From now on {file.place} is obeyed in {root}, until it or a file that it names changes.")
    return 0
