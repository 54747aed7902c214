"""`report`: a run's report in one of its forms, made anew from its events."""

from pathlib import Path

from orchestra.cli.command_io import CommandParser, print_raw
from orchestra.cli.find import open_run_index, settings_and_root
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.artefacts import gather_report_material, replace_file
from orchestra.errors import UsageError
from orchestra.report.formats import DEFAULT_FORMAT, REPORT_FORMATS, ReportFormat

FLAGS = "|".join(f"--{name}" for name in REPORT_FORMATS)
FIRST, *OTHERS = (form.title for form in REPORT_FORMATS.values())
USAGE = f"""usage: aider-orchestrator report [RUN] [{FLAGS}] [-o FILE] [--repo PATH] [--store URL]

Write the report of a run (the latest, or RUN) as one {FIRST} file, or as {" or ".join(OTHERS)}.
-o names the file, - is stdout. Without it the {FIRST} goes into .aider_logs, the others to stdout.
"""


def cmd_report(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("-o", "--output", default="")
    forms = words.add_mutually_exclusive_group()
    for name in REPORT_FORMATS:
        forms.add_argument(f"--{name}", dest="form", action="store_const", const=name, default=DEFAULT_FORMAT)
    given = words.parse(argv)
    with open_run_index(given) as here:
        known = here.find(given.run)
        material = gather_report_material(
            here.root, here.read_log(known), Secrets.from_settings(settings_and_root(given)[0]).scrub
        )
        form: ReportFormat = REPORT_FORMATS[given.form]
    target = given.output or (str(here.logs / form.file_name(known.name)) if form.content == "page" else "-")
    text = form.render(material)
    if target == "-":
        print_raw(text)
        return 0
    try:
        replace_file(Path(target), text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
    print(target)
    return 0
