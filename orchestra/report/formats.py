"""The table of report formats. A new format is a module that renders it and a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from orchestra.report.detail import Detail
from orchestra.report.junit import junit
from orchestra.report.markdown import markdown
from orchestra.report.page import page
from orchestra.report.state import Report


@dataclass(frozen=True)
class Material:
    """A run with the long texts that its reports quote."""

    report: Report
    detail: Detail
    diffs: dict[int, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Form:
    """A format of reports.

    `title`: its name in a sentence. `stem` and `suffix` make the file's name in the log folder.
    `content`: a page is written to that file, a text is printed, unless the user says otherwise.
    """

    name: str
    title: str
    stem: str
    suffix: str
    content: Literal["page", "text"]
    render: Callable[[Material], str]

    def file_name(self, stamp: str) -> str:
        return f"{self.stem}_{stamp}.{self.suffix}"


def render_html(material: Material) -> str:
    return page(material.report, material.detail, material.diffs, material.outputs)


def render_markdown(material: Material) -> str:
    return markdown(material.report)


def render_junit(material: Material) -> str:
    return junit(material.report, material.detail.gates, material.outputs)


# The first is the default. A run writes them from the last to the first, because the page takes longest.
_ALL_FORMS = (
    Form("html", "HTML", "report", "html", "page", render_html),
    Form("markdown", "Markdown", "report", "md", "text", render_markdown),
    Form("junit", "JUnit XML", "junit", "xml", "text", render_junit),
)
FORMS: dict[str, Form] = {form.name: form for form in _ALL_FORMS}
DEFAULT = next(iter(FORMS))
