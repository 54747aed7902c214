"""Markup that cannot be injected into: every text is escaped unless it was made here."""

import html
from collections.abc import Iterable

from orchestra.report.sanitize import strip_controls


class Html(str):
    """Markup as it is."""

    __slots__ = ()


def escape_html(text: str) -> Html:
    return text if type(text) is Html else Html(html.escape(strip_controls(text)))


def tag(name: str, /, *children: str, **attributes: str | int | bool | None) -> Html:
    """An element. `class_` stands for class, `data_state` for data-state; what is None or False is left out."""
    return Html(f"<{name}{format_attributes(attributes)}>{''.join(map(escape_html, children))}</{name}>")


def void_tag(name: str, /, **attributes: str | int | bool | None) -> Html:
    return Html(f"<{name}{format_attributes(attributes)}>")


def format_attributes(attributes: dict[str, str | int | bool | None]) -> str:
    words = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    given = ((name, value) for name, value in words if value is not None and value is not False)
    return "".join(f" {name}" if value is True else f' {name}="{escape_html(str(value))}"' for name, value in given)


def join_html(parts: Iterable[str], between: str = "") -> Html:
    return Html(escape_html(between).join(map(escape_html, parts)))


def html_section(name: str, title: str, *children: str) -> Html:
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def collapsible(title: str, *children: str, open_: bool = False) -> Html:
    return tag("details", tag("summary", title), *children, open=open_)


def html_table(heads: Iterable[str], rows: Iterable[Iterable[str]], numbers: int = 0, caption: str = "") -> Html:
    """The last so many columns hold numbers."""
    heads = list(heads)
    first = len(heads) - numbers
    kind = ["" if n < first else "number" for n in range(len(heads))]
    head = tag("tr", *(tag("th", head, scope="col", class_=kind[n] or None) for n, head in enumerate(heads)))
    body = join_html(
        tag("tr", *(tag("td", cell, class_=kind[n] or None) for n, cell in enumerate(row))) for row in rows
    )
    made = tag("table", tag("caption", caption) if caption else Html(), tag("thead", head), tag("tbody", body))
    # A wide table scrolls by itself, with the keyboard too; the page never does.
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption or ", ".join(heads))
