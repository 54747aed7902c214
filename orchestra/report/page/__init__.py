"""The report as one HTML file without network access; its script adds comfort only. The markup is in page.html, a
Jinja2 template. jinja2 and pygments are imported when the first page is made."""

import base64
import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, partial
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from orchestra.model import Usage, Verified
from orchestra.report import closing, phrases
from orchestra.report.detail import GateRun, RunDetail
from orchestra.report.page import highlight, timeline
from orchestra.report.page.graph_layout import lay_out_graph
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.sanitize import ADDRESS, cut_middle, safe_line, strip_controls
from orchestra.report.state import Report
from orchestra.report.summary import requirement_coverage

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_PAGE_BYTES = 4_500_000
ALL_TEXTS_LIMIT = 1_500_000  # characters of all long texts together
MAX_TEXT_LENGTH = 60_000  # characters of each
MIN_TEXT_LENGTH = 120
MAX_COLOURED_LENGTH = 100_000  # characters of all diffs: Pygments takes about half a second for them
MAX_BOXES = 60  # of the graph
MAX_STEPS = 8
MAX_SPENDERS = 12
TONE_LABELS = {"good": "done", "warn": "to look at", "bad": "failed", "idle": "unfinished"}


def html_page(report: Report, detail: RunDetail, diffs: Mapping[int, str], outputs: Mapping[str, str]) -> str:
    """The page within its size: the more texts there are, the less each shows, with the file that has all of it."""
    template = template_environment().get_template("page.html")
    values = page_values(report, detail, diffs, outputs)
    limit = fair_text_limit(text_lengths(report, detail, diffs, outputs))
    while True:
        page = template.render(values, text_limit=limit)
        if len(page.encode()) <= MAX_PAGE_BYTES or limit <= MIN_TEXT_LENGTH:
            return page
        limit = max(MIN_TEXT_LENGTH, limit // 2)


def text_lengths(report: Report, detail: RunDetail, diffs: Mapping[int, str], outputs: Mapping[str, str]) -> list[int]:
    briefs = [task.brief for task in report.tasks.values()]
    turns = [turn for task in detail.attempts_by_task for attempt in detail.attempts(task) for turn in attempt.turns]
    messages = [text for turn in turns for text in (turn.said, *(text for _, text in turn.asked))]
    return [len(text) for text in (*briefs, *diffs.values(), *outputs.values(), *messages)]


def fair_text_limit(lengths: list[int]) -> int:
    """How long a text may be so that all fit together: short texts leave their unused share to the long ones."""
    room = ALL_TEXTS_LIMIT
    for pending, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length > room // pending:
            return max(MIN_TEXT_LENGTH, min(MAX_TEXT_LENGTH, room // pending))
        room -= length
    return MAX_TEXT_LENGTH


@cache
def template_environment() -> "Environment":
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: strip_controls(value) if type(value) is str else value,
    )
    environment.filters |= {"line": lambda value, limit=300: safe_line(str(value), limit), "cut": cut_middle}
    environment.tests["address"] = ADDRESS.fullmatch
    style, script = read_asset("page.css"), read_asset("page.js")
    # Only our own style and script may run, whatever a model or a file name contains.
    policy = (
        f"default-src 'none'; style-src '{csp_hash(style)}'; script-src '{csp_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    environment.globals |= {"style": Markup(style), "script": Markup(script), "policy": policy}
    environment.globals |= {"closing": closing, "phrases": phrases}
    environment.globals |= {"comparison_sentence": comparison_sentence, "requirement_coverage": requirement_coverage}
    return environment


def read_template(name: str) -> str:
    """The template without the line breaks and indentation between tags, which would be a tenth of a large page."""
    return re.sub(r"(?<=[>}])\s+(?=[<{])", lambda space: "" if "\n" in space[0] else space[0], read_asset(name)) + "\n"


def read_asset(name: str) -> str:
    return resources("orchestra.report.page").joinpath(name).read_text("utf-8")


def csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def page_values(
    report: Report, detail: RunDetail, diffs: Mapping[int, str], outputs: Mapping[str, str]
) -> dict[str, Any]:
    """What the template shows, beside what its functions derive from the report and the detail."""
    needs = {number: [need for need in task.needs if need in report.tasks] for number, task in report.tasks.items()}
    gates_by_task: dict[int | None, list[GateRun]] = defaultdict(list)
    for run in detail.gates:
        if run.result.missing or not run.result.is_review:
            gates_by_task[run.task].append(run)
    is_coloured = sum(map(len, diffs.values())) <= MAX_COLOURED_LENGTH
    budget = highlight.LexerBudget() if is_coloured else highlight.LexerBudget(0)
    tones = {phrases.task_tone(task) for task in report.tasks.values()}
    spenders = sorted(
        report.tasks.values(), key=lambda task: (task.usage.dollars or 0, task.usage.tokens), reverse=True
    )
    return {
        "report": report,
        "detail": detail,
        "diffs": diffs,
        "outputs": outputs,
        "verdict": phrases.verdict_sentence(report),
        "started": time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(report.started / 1000)).lstrip("0"),
        "checked_steps": [level < list(Verified).index(report.verified) for level in range(len(Verified) - 1)],
        "facts": run_facts(report),
        "next_steps": next_step_rows(report),
        "handover_rows": [(what, safe_line(words, 1_000)) for what, words in closing.handover_rows(report)],
        "timeline": timeline.build_timeline(report, detail),
        "needs": needs,
        "graph": lay_out_graph(needs) if any(needs.values()) and len(needs) <= MAX_BOXES else None,
        "tones": [("", "all"), *((tone, word) for tone, word in TONE_LABELS.items() if tone in tones)],
        "gates_by_task": gates_by_task,
        "highlight_diff": partial(highlight.highlight_diff, budget=budget),
        "cost_by_phase": [
            (phrases.PHASE_NAMES.get(role, role), "", usage, usage_share(usage, report.usage))
            for role, usage in report.roles.items()
        ],
        "cost_by_agent": [
            (task.agent, f"#task-{task.id}", task.usage, usage_share(task.usage, report.usage))
            for task in spenders[:MAX_SPENDERS]
            if task.usage.requests
        ],
        "remarks": [*report.notes, *(f"Left out, Aider cannot edit it: {path}" for path in report.skipped)],
    }


def run_facts(report: Report) -> list[tuple[str, str]]:
    cost = phrases.paid_phrase(report).split(" (")[0]
    return [
        ("Tasks done", f"{len(report.succeeded):,} of {len(report.tasks):,}"),
        ("Files changed", f"{len(report.files):,}"),
        ("Time", phrases.time_phrase(report)),
        ("Cost", "nothing (replayed)" if report.replayed else cost),
        ("Tokens", f"{report.usage.tokens:,}"),
        ("Model", safe_line(report.model, 60)),
    ]


def next_step_rows(report: Report) -> list[tuple[str, str]]:
    """What to do next, each step with its exact command or an empty text."""
    steps = phrases.other_steps(report)
    rows = [*phrases.handover_commands(report), *steps[:MAX_STEPS]]
    if len(steps) > MAX_STEPS:
        rows.append((f"And {len(steps) - MAX_STEPS:,} more, with the tasks below.", ""))
    rows += [(words, command) for _, words, command in phrases.suggested_commands(report)]
    return [(safe_line(words, 1_000), safe_line(command, 1_000)) for words, command in rows]


def usage_share(part: Usage, whole: Usage) -> float:
    """By cost if it is known, otherwise by tokens."""
    share = part.dollars / whole.dollars if part.dollars and whole.dollars else part.tokens / max(1, whole.tokens)
    return min(1.0, share)
