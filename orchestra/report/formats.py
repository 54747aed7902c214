"""The table of report formats. A new format is a module that renders it and a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from orchestra.report.detail import RunDetail
from orchestra.report.junit import junit_xml
from orchestra.report.markdown import markdown_report
from orchestra.report.page import html_page
from orchestra.report.state import Report


@dataclass(frozen=True)
class ReportMaterial:
    """A run, and the long texts that its reports quote."""

    report: Report
    detail: RunDetail
    diffs: dict[int, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class ReportFormat:
    title: str  # its name in a sentence
    stem: str  # with the suffix, the file's name in the log folder
    suffix: str
    content: Literal["page", "text"]  # by default a page is written to that file, and a text is printed
    render: Callable[[ReportMaterial], str]

    def file_name(self, stamp: str) -> str:
        return f"{self.stem}_{stamp}.{self.suffix}"


# By name. The first is the default. A run writes them from last to first, because the page takes longest.
REPORT_FORMATS = {
    "html": ReportFormat(
        "HTML", "report", "html", "page", lambda run: html_page(run.report, run.detail, run.diffs, run.outputs)
    ),
    "markdown": ReportFormat("Markdown", "report", "md", "text", lambda run: markdown_report(run.report)),
    "junit": ReportFormat(
        "JUnit XML", "junit", "xml", "text", lambda run: junit_xml(run.report, run.detail.gates, run.outputs)
    ),
}
DEFAULT_FORMAT = next(iter(REPORT_FORMATS))
