"""The report as Markdown, for pull requests and the summary page of a CI step. Its markup is page/report.md.jinja."""

import re
from functools import cache
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from orchestra.report import phrases
from orchestra.report.closing import handover_rows, task_notes, tests_judged_lines
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.sanitize import ADDRESS, safe_line, strip_controls
from orchestra.report.state import Report
from orchestra.report.summary import requirement_coverage

if TYPE_CHECKING:
    from jinja2 import Template

STEP_SUMMARY_LIMIT = 1_000_000  # GitHub takes 1 MiB for a step, GitLab as much for a merge request
PULL_REQUEST_LIMIT = 60_000  # GitHub takes 65,536 characters for a body
ROW_LIMITS = (1_000_000, 1_000, 300, 100, 30, 10, 3)
# Characters that could begin markup, a tag, a link or a mention are written as numbers, which are only text.
ACTIVE_MARKUP = re.compile(r"[&<>`*{}\[\]\\|~^$!#@]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
LINK_MARKUP = re.compile(r"(?i)(?<=:)/|(?<=www)\.|(?<=GH)-|:(?=\w+:)")
PART = "\f"  # between parts; no foreign text has one
GLUE = "\u2060"  # between @ or # and the name, because hosts find mentions in rendered text too


def markdown_report(report: Report, limit: int = STEP_SUMMARY_LIMIT) -> str:
    """The report in at most `limit` bytes: long tables are cut, and count the missing rows."""
    template, values, text = load_template(), markdown_values(report), ""
    for rows in ROW_LIMITS:
        parts = template.render(values, rows=rows, **quoted_change(report, rows)).split(PART)
        text = "\n\n".join(filter(None, (part.strip("\n") for part in parts))) + "\n"
        if len(text.encode()) <= limit:
            return text
    return text.encode()[:limit].decode("utf-8", "ignore")


@cache
def load_template() -> "Template":
    """The template of the whole report. Empty parts vanish. What is foreign passes `md` or `code` there."""
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"md": escape_markdown, "code": inline_code}
    environment.globals |= {"part": PART, "phrases": phrases, "tests_judged_lines": tests_judged_lines}
    return environment.from_string(resources("orchestra.report.page").joinpath("report.md.jinja").read_text("utf-8"))


def markdown_values(report: Report) -> dict[str, Any]:
    """What the template shows, beside what its functions derive from the report."""
    tasks = report.tasks.values()
    traffic = f"{phrases.plural(report.usage.requests, 'request')}, {report.usage.tokens:,} tokens"
    verification = [
        f"**Checked: {report.verified}.** {escape_markdown(phrases.verification_sentence(report), 1_000)}",
        f"Cost: {escape_markdown(phrases.paid_phrase(report))}; {traffic}; {phrases.time_phrase(report)}.",
        *filter(None, (comparison_sentence(report), phrases.unreadable_note(report))),
    ]
    # Text of a host that is no plain address does not become a link.
    handover = [
        f"{what}: {f'<{words}>' if ADDRESS.fullmatch(words) else inline_code(words)}"
        for what, words in handover_rows(report)
    ]
    return {
        "report": report,
        "verification": verification,
        "tasks": sorted(tasks, key=lambda task: (task.success, task.id)),  # failed ones first
        "decisions": [(task, decision) for task in tasks for decision in task.decisions],
        "conflicts": [(task, conflict) for task in tasks for conflict in task.conflicts],
        "reviews": [(task, review) for task in tasks for review in task.reviews],
        "coverage": requirement_coverage(report),
        "files": sorted(report.files.items()),
        "handover": handover,
        "next_rows": phrases.step_rows(report),
        "suggested_rows": [(words, command) for _, words, command in phrases.suggested_commands(report)],
        "notes": [*report.notes, *(f"{task.agent} {words}" for task in tasks for words in task_notes(task))],
    }


def quoted_change(report: Report, rows: int) -> dict[str, str]:
    """The change, and the fence of a code block that is longer than any in the text."""
    text, limit = strip_controls(report.change), 5 * min(rows, 1_000)
    text = text if len(text) < limit else f"{text[:limit]} …"
    return {"change": text, "fence": "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))}


def escape_markdown(words: str, limit: int = 300) -> str:
    """The text in one line without active markup."""
    text = ACTIVE_MARKUP.sub(
        lambda sign: f"&#{ord(sign[0])};{GLUE if sign[0] in '@#' else ''}", safe_line(words, limit)
    )
    return LINK_MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)


def inline_code(words: str, limit: int = 300) -> str:
    return f"<code>{escape_markdown(words, limit)}</code>" if words else ""
