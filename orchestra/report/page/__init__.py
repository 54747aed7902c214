"""The report as one HTML file that needs nothing else: no network, and no script but for comfort."""

import base64
import hashlib
import time
from collections.abc import Mapping
from functools import cache
from importlib.resources import files as resources

from orchestra.model import Verified
from orchestra.report.detail import Detail
from orchestra.report.page import tables
from orchestra.report.page.graph import graph
from orchestra.report.page.markup import Html, join, tag, void
from orchestra.report.page.tasks import Texts, tasks
from orchestra.report.page.timeline import timeline
from orchestra.report.plans.estimate import comparison
from orchestra.report.safe import line
from orchestra.report.sentence import paid, sentence, unreadable
from orchestra.report.state import Report
from orchestra.report.words import checked, duration, mood

LARGEST = 4_500_000  # bytes of a page
ROOM = 1_500_000  # characters of all long texts together
LONGEST = 60_000  # of one
SHORTEST = 120
COLOURED = 200  # with more tasks, colours would only make the page slow


def page(report: Report, detail: Detail, diffs: Mapping[int, str], outputs: Mapping[str, str]) -> str:
    """Within its size: with very many tasks each text shows less, and names the file that has all of it."""
    limit = fair(lengths(detail, diffs, outputs))
    while True:
        made = document(report, detail, Texts(diffs, outputs, limit, len(report.tasks) <= COLOURED))
        if len(made.encode()) <= LARGEST or limit <= SHORTEST:
            return made
        limit = max(SHORTEST, limit // 2)


def lengths(detail: Detail, diffs: Mapping[int, str], outputs: Mapping[str, str]) -> list[int]:
    turns = [turn for task in detail.known for attempt in detail.attempts(task) for turn in attempt.turns]
    said = [text for turn in turns for text in (turn.said, *(text for _, text in turn.asked))]
    return [len(text) for text in (*detail.briefs.values(), *diffs.values(), *outputs.values(), *said)]


def fair(lengths: list[int]) -> int:
    """How long a text may be so that all fit together: the short ones leave their share to the long ones."""
    room = ROOM
    for left, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length > room // left:
            return max(SHORTEST, min(LONGEST, room // left))
        room -= length
    return LONGEST


def document(report: Report, detail: Detail, texts: Texts) -> str:
    style, script = data("page.css"), data("page.js")
    # Nothing but our own style and script may do anything, whatever a model or a file name says.
    policy = (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=policy),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        tag("title", f"Run {report.run}: {line(sentence(report), 100)}"),
        tag("style", Html(style)),
    )
    skip = tag("a", "Skip to the report", href="#main", class_="skip")
    sections = contents(report, detail, texts)
    body = (skip, banner(report), links(sections), tag("main", *sections.values(), id="main"), footer(report))
    whole = tag("html", tag("head", *head), tag("body", *body, tag("script", Html(script))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def contents(report: Report, detail: Detail, texts: Texts) -> dict[str, Html]:
    cut = {path: texts.cut(said, path) for path, said in texts.outputs.items()}
    made = {
        "next": tables.following(report),
        "handed": tables.handed_over(report),
        "asked": tables.asked(report),
        "timeline": timeline(report, detail),
        "tasks": tasks(report, detail, texts),
        "graph": graph(report, detail),
        "requirements": tables.requirements(report),
        "checks": tables.checks(report, cut),
        "tests": tables.tests(report),
        "files": tables.files(report),
        "cost": tables.costs(report),
        "notes": tables.remarks(report, detail),
    }
    return {name: section for name, section in made.items() if section}


NAMES = {"next": "What to do", "handed": "Hand-over", "asked": "Request", "graph": "Graph", "notes": "Remarks"}


def links(sections: Mapping[str, Html]) -> Html:
    items = (tag("li", tag("a", NAMES.get(name, name.capitalize()), href=f"#{name}")) for name in sections)
    return tag("nav", tag("ul", *items), aria_label="Sections")


def banner(report: Report) -> Html:
    started = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(report.started / 1000)).lstrip("0")
    top = tag("p", f"Aider Orchestrator, run {report.run}, {started}", class_="eyebrow")
    verdict = tag("h1", line(sentence(report), 600), class_=mood(report))
    quiet = [tag("p", words, class_="quiet") for words in (comparison(report), unreadable(report)) if words]
    return tag("header", top, verdict, assurance(report), facts(report), *quiet)


def assurance(report: Report) -> Html:
    """How far the result was checked, as a word and as steps that were taken or not."""
    levels = list(Verified)
    reached = levels.index(report.verified)
    steps = join(tag("i", class_="taken" if n < reached else None) for n in range(len(levels) - 1))
    label = tag("strong", f"Checked: {report.verified}. ")
    return tag("p", tag("span", steps, class_="steps", aria_hidden="true"), label, checked(report), class_="checked")


def facts(report: Report) -> Html:
    done = f"{len(report.succeeded):,} of {len(report.tasks):,}"
    values = {
        "Tasks done": done,
        "Files changed": f"{len(report.files):,}",
        "Time": duration(report.seconds),
        "Cost": paid(report).split(" (")[0].replace("nothing, the replies came from a tape", "nothing (from a tape)"),
        "Tokens": f"{report.usage.tokens:,}",
        "Model": line(report.model, 60),
    }
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items() if value)
    return tag("dl", *pairs, class_="numbers")


def footer(report: Report) -> Html:
    words = f"The same as data: .aider_logs/summary_{report.run}.json, and every event in the .jsonl files beside it."
    return tag("footer", tag("p", words))


@cache
def data(name: str) -> str:
    return resources("orchestra.report.page").joinpath(name).read_text("utf-8")


def digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
