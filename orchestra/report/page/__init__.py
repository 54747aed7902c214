"""The report as one HTML file that needs nothing else: no network, and no script but for comfort."""

import base64
import hashlib
import time
from collections.abc import Mapping
from functools import cache
from importlib.resources import files as resources

from orchestra.model import Verified
from orchestra.report.detail import RunDetail
from orchestra.report.labels import format_duration, run_tone, verification_sentence
from orchestra.report.page import sections
from orchestra.report.page.graph import graph_section
from orchestra.report.page.markup import Html, join_html, tag, void_tag
from orchestra.report.page.task_entries import PageTexts, tasks_section
from orchestra.report.page.timeline import timeline_section
from orchestra.report.phrases import paid_phrase, unreadable_note, verdict_sentence
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.sanitize import safe_line
from orchestra.report.state import Report

MAX_PAGE_BYTES = 4_500_000  # bytes of a page
ALL_TEXTS_LIMIT = 1_500_000  # characters of all long texts together
MAX_TEXT_LENGTH = 60_000  # of one
MIN_TEXT_LENGTH = 120
MAX_COLOURED_TASKS = 200  # with more tasks, colours would only make the page slow


def html_page(report: Report, detail: RunDetail, diffs: Mapping[int, str], outputs: Mapping[str, str]) -> str:
    """Within its size: with very many tasks each text shows less, and names the file that has all of it."""
    limit = fair_text_limit(text_lengths(detail, diffs, outputs))
    while True:
        made = html_document(report, detail, PageTexts(diffs, outputs, limit, len(report.tasks) <= MAX_COLOURED_TASKS))
        if len(made.encode()) <= MAX_PAGE_BYTES or limit <= MIN_TEXT_LENGTH:
            return made
        limit = max(MIN_TEXT_LENGTH, limit // 2)


def text_lengths(detail: RunDetail, diffs: Mapping[int, str], outputs: Mapping[str, str]) -> list[int]:
    turns = [turn for task in detail.attempts_by_task for attempt in detail.attempts(task) for turn in attempt.turns]
    said = [text for turn in turns for text in (turn.said, *(text for _, text in turn.asked))]
    return [len(text) for text in (*detail.briefs.values(), *diffs.values(), *outputs.values(), *said)]


def fair_text_limit(lengths: list[int]) -> int:
    """How long a text may be so that all fit together: the short ones leave their share to the long ones."""
    room = ALL_TEXTS_LIMIT
    for left, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length > room // left:
            return max(MIN_TEXT_LENGTH, min(MAX_TEXT_LENGTH, room // left))
        room -= length
    return MAX_TEXT_LENGTH


def html_document(report: Report, detail: RunDetail, texts: PageTexts) -> str:
    style, script = read_asset("page.css"), read_asset("page.js")
    # Nothing but our own style and script may do anything, whatever a model or a file name says.
    policy = (
        f"default-src 'none'; style-src '{csp_hash(style)}'; script-src '{csp_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        void_tag("meta", charset="utf-8"),
        void_tag("meta", http_equiv="Content-Security-Policy", content=policy),
        void_tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void_tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Run {report.run}: {safe_line(verdict_sentence(report), 100)}"),
        tag("style", Html(style)),
    )
    skip = tag("a", "Skip to the report", href="#main", class_="skip")
    sections = page_sections(report, detail, texts)
    body = (
        skip,
        page_header(report),
        section_links(sections),
        tag("main", *sections.values(), id="main"),
        footer(report),
    )
    whole = tag("html", tag("head", *head), tag("body", *body, tag("script", Html(script))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def page_sections(report: Report, detail: RunDetail, texts: PageTexts) -> dict[str, Html]:
    cut = {path: texts.shorten_text(said, path) for path, said in texts.outputs.items()}
    made = {
        "next": sections.next_steps_section(report),
        "handed": sections.handover_section(report),
        "asked": sections.change_section(report),
        "timeline": timeline_section(report, detail),
        "tasks": tasks_section(report, detail, texts),
        "graph": graph_section(report, detail),
        "requirements": sections.requirements_section(report),
        "checks": sections.checks_section(report, cut),
        "tests": sections.tests_section(report),
        "files": sections.files_section(report),
        "cost": sections.cost_section(report),
        "notes": sections.remarks_section(report, detail),
    }
    return {name: section for name, section in made.items() if section}


SECTION_TITLES = {"next": "What to do", "handed": "Hand-over", "asked": "Request", "graph": "Graph", "notes": "Remarks"}


def section_links(sections: Mapping[str, Html]) -> Html:
    items = (tag("li", tag("a", SECTION_TITLES.get(name, name.capitalize()), href=f"#{name}")) for name in sections)
    return tag("nav", tag("ul", *items), aria_label="Sections")


def page_header(report: Report) -> Html:
    started = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(report.started / 1000)).lstrip("0")
    top = tag("p", f"Aider Orchestrator, run {report.run}, {started}", class_="eyebrow")
    verdict = tag("h1", safe_line(verdict_sentence(report), 600), class_=run_tone(report))
    quiet = [
        tag("p", words, class_="quiet") for words in (comparison_sentence(report), unreadable_note(report)) if words
    ]
    return tag("header", top, verdict, verification_steps(report), run_facts(report), *quiet)


def verification_steps(report: Report) -> Html:
    """How far the result was checked, as a word and as steps that were taken or not."""
    levels = list(Verified)
    reached = levels.index(report.verified)
    steps = join_html(tag("i", class_="taken" if n < reached else None) for n in range(len(levels) - 1))
    label = tag("strong", f"Checked: {report.verified}. ")
    return tag(
        "p",
        tag("span", steps, class_="steps", aria_hidden="true"),
        label,
        verification_sentence(report),
        class_="checked",
    )


def run_facts(report: Report) -> Html:
    done = f"{len(report.succeeded):,} of {len(report.tasks):,}"
    values = {
        "Tasks done": done,
        "Files changed": f"{len(report.files):,}",
        "Time": format_duration(report.seconds),
        "Cost": paid_phrase(report)
        .split(" (")[0]
        .replace("nothing, the replies came from a tape", "nothing (from a tape)"),
        "Tokens": f"{report.usage.tokens:,}",
        "Model": safe_line(report.model, 60),
    }
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items() if value)
    return tag("dl", *pairs, class_="numbers")


def footer(report: Report) -> Html:
    words = f"The same as data: .aider_logs/summary_{report.run}.json, and every event in the .jsonl files beside it."
    return tag("footer", tag("p", words))


@cache
def read_asset(name: str) -> str:
    return resources("orchestra.report.page").joinpath(name).read_text("utf-8")


def csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
