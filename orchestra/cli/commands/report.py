"""`report`: the report of a run in one of its formats, made from its events."""

import sys
import webbrowser
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestra.cli.command_io import add_repository_arguments, add_run_argument, print_raw
from orchestra.cli.find import open_run_index, settings_and_root
from orchestra.cli.parser import CommandParser
from orchestra.cli.telemetry import send_spans
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.deliver.artefacts import gather_report_material
from orchestra.errors import UsageError
from orchestra.events import Event
from orchestra.process import replace_file
from orchestra.report.formats import DEFAULT_FORMAT, REPORT_FORMATS, ReportFormat
from orchestra.report.phrases import plural
from orchestra.report.spans import build_spans


def add_report_arguments(parser: CommandParser) -> None:
    add_run_argument(parser)
    add_repository_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="",
        help="the file to write; - is stdout (default: a page goes into .aider_logs, a text to stdout)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--otel",
        metavar="URL",
        default="",
        help="write no report, but send the run as spans to this OTLP/HTTP collector",
    )
    formats = parser.add_mutually_exclusive_group()
    for name, form in REPORT_FORMATS.items():
        text = f"{form.title}{' (the default)' if name == DEFAULT_FORMAT else ''}"
        formats.add_argument(
            f"--{name}", dest="form", action="store_const", const=name, default=DEFAULT_FORMAT, help=text
        )


def cmd_report(arguments: Namespace) -> None:
    """Write the report of a run in one of its formats, made from its events."""
    with open_run_index(arguments) as index:
        run = index.find(arguments.run)
        settings, _ = settings_and_root(arguments)
        scrub = Secrets.from_settings(settings).scrub
        if arguments.otel:
            return send_run(index.read_log(run).events, arguments.otel, scrub)
        material = gather_report_material(index.root, index.read_log(run), scrub)
        form: ReportFormat = REPORT_FORMATS[arguments.form]
    target = arguments.output or (str(index.logs / form.file_name(run.name)) if form.content == "page" else "-")
    if arguments.open and (form.content != "page" or target == "-"):
        raise UsageError("--open needs a page in a file.", hint="Usage: aider-orchestrator report [RUN] --open.")
    text = form.render(material)
    if target == "-":
        print_raw(text)
        return
    try:
        replace_file(Path(target), text.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
    print(target)
    if arguments.open and not webbrowser.open(Path(target).absolute().as_uri()):
        print("No browser was found here: open that file in one.", file=sys.stderr)


def send_run(log: Iterable[Event], address: str, scrub: Callable[[str], str]) -> None:
    spans = build_spans(log)
    send_spans(spans, address, scrub)
    print(f"{plural(len(spans), 'span')} sent to {address}")
