"""`report`: a run's report in one of its forms, made anew from its events."""

from pathlib import Path

from orchestra.cli.find import looking, place_of
from orchestra.cli.words import Words, put
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.artefacts import gather, replace
from orchestra.errors import UsageError

USAGE = """usage: aider-orchestrator report [RUN] [--html|--markdown|--junit] [-o FILE] [--repo PATH] [--store URL]

Write the report of a run (the latest, or RUN) as one HTML file, or as Markdown or JUnit XML.
-o names the file, - is stdout. Without it the HTML goes into .aider_logs, the others to stdout.
"""
FORMS = ("html", "markdown", "junit")


def report(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("-o", "--output", default="")
    forms = words.add_mutually_exclusive_group()
    for form in FORMS:
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, default="html")
    given = words.read(argv)
    with looking(given) as here:
        known = here.find(given.run)
        material = gather(here.root, here.log(known), Secrets.of(place_of(given)[0]).scrub)
        target = given.output or ("-" if given.form != "html" else str(here.logs / f"report_{known.name}.html"))
    text: str = getattr(material, given.form)
    if target == "-":
        put(text)
        return 0
    try:
        replace(Path(target), text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
    print(target)
    return 0
