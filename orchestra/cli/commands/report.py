"""`report`: a run's report in one of its forms, made anew from its events."""

from pathlib import Path

from orchestra.cli.find import looking, place_of
from orchestra.cli.words import Words, put
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.artefacts import gather, replace
from orchestra.errors import UsageError
from orchestra.report.formats import DEFAULT, FORMS, Form

FLAGS = "|".join(f"--{name}" for name in FORMS)
FIRST, *OTHERS = (form.title for form in FORMS.values())
USAGE = f"""usage: aider-orchestrator report [RUN] [{FLAGS}] [-o FILE] [--repo PATH] [--store URL]

Write the report of a run (the latest, or RUN) as one {FIRST} file, or as {" or ".join(OTHERS)}.
-o names the file, - is stdout. Without it the {FIRST} goes into .aider_logs, the others to stdout.
"""


def report(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("-o", "--output", default="")
    forms = words.add_mutually_exclusive_group()
    for name in FORMS:
        forms.add_argument(f"--{name}", dest="form", action="store_const", const=name, default=DEFAULT)
    given = words.read(argv)
    with looking(given) as here:
        known = here.find(given.run)
        material = gather(here.root, here.log(known), Secrets.of(place_of(given)[0]).scrub)
        form: Form = FORMS[given.form]
    target = given.output or (str(here.logs / form.file_name(known.name)) if form.content == "page" else "-")
    text = form.render(material)
    if target == "-":
        put(text)
        return 0
    try:
        replace(Path(target), text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
    print(target)
    return 0
