"""The report as Markdown, for pull requests and for the summary page of a CI step."""

import re
from collections.abc import Sequence

from orchestra.report import phrases
from orchestra.report.closing import handover_rows, task_notes, tests_judged_lines
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.sanitize import ADDRESS, safe_line, strip_controls
from orchestra.report.state import Report
from orchestra.report.summary import requirement_coverage

STEP_SUMMARY_LIMIT = 1_000_000  # GitHub takes 1 MiB for a step, GitLab as much for a merge request
PULL_REQUEST_LIMIT = 60_000  # GitHub takes 65,536 characters for a body
ROW_LIMITS = (1_000_000, 1_000, 300, 100, 30, 10, 3)
# Characters that could begin markup, a tag, a link or a mention are written as numbers, which are only text.
ACTIVE_MARKUP = re.compile(r"[&<>`*{}\[\]\\|~^$!#@]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
LINK_MARKUP = re.compile(r"(?i)(?<=:)/|(?<=www)\.|(?<=GH)-|:(?=\w+:)")
GLUE = "\u2060"  # between @ or # and the name, because hosts find mentions in rendered text too


def markdown_report(report: Report, limit: int = STEP_SUMMARY_LIMIT) -> str:
    """The report in at most `limit` bytes: long tables are cut, and count the missing rows."""
    text = ""
    for rows in ROW_LIMITS:
        text = "\n\n".join(filter(None, markdown_parts(report, rows))) + "\n"
        if len(text.encode()) <= limit:
            return text
    return text.encode()[:limit].decode("utf-8", "ignore")


def escape_markdown(words: str, limit: int = 300) -> str:
    """The text in one line without active markup."""
    text = ACTIVE_MARKUP.sub(
        lambda sign: f"&#{ord(sign[0])};{GLUE if sign[0] in '@#' else ''}", safe_line(words, limit)
    )
    return LINK_MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)


def inline_code(words: str, limit: int = 300) -> str:
    return f"<code>{escape_markdown(words, limit)}</code>" if words else ""


def markdown_parts(report: Report, rows: int) -> list[str]:
    tests = [f"- {escape_markdown(words)}" for words in tests_judged_lines(report)]
    notes = [*report.notes, *(f"{task.agent} {words}" for task in report.tasks.values() for words in task_notes(task))]
    remarks = [f"- {escape_markdown(note, 600)}" for note in notes[: min(rows, 50)]]
    return [
        f"### {escape_markdown(phrases.verdict_sentence(report), 1_000)}",
        markdown_verification(report),
        markdown_change(report, rows),
        markdown_tasks(report, rows),
        markdown_decisions(report, rows),
        markdown_reviews(report, rows),
        markdown_requirements(report, rows),
        markdown_gates(report, rows),
        details_block("Tests", "\n".join(tests[: min(rows, 100)])),
        markdown_files(report, rows),
        markdown_next_steps(report, rows),
        markdown_handover(report),
        details_block("Remarks", "\n".join(remarks)),
        f"<sub>Aider Orchestrator, run {escape_markdown(report.run)}, {escape_markdown(report.model)}</sub>",
    ]


def markdown_verification(report: Report) -> str:
    traffic = f"{phrases.plural(report.usage.requests, 'request')}, {report.usage.tokens:,} tokens"
    lines = [
        f"**Checked: {report.verified}.** {escape_markdown(phrases.verification_sentence(report), 1_000)}",
        f"Cost: {escape_markdown(phrases.paid_phrase(report))}; {traffic}; {phrases.format_duration(report.seconds)}.",
    ]
    return "  \n".join(filter(None, [*lines, comparison_sentence(report), phrases.unreadable_note(report)]))


def markdown_change(report: Report, rows: int) -> str:
    """The change in a code block whose fence is longer than any in the text."""
    text, limit = strip_controls(report.change), 5 * min(rows, 1_000)
    text = text if len(text) < limit else f"{text[:limit]} …"
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return details_block("What was asked", f"{fence}text\n{text}\n{fence}") if text.strip() else ""


def markdown_tasks(report: Report, rows: int) -> str:
    """The tasks, failed ones first."""
    tasks = sorted(report.tasks.values(), key=lambda task: (task.success, task.id))
    cells = [
        (
            task.agent,
            escape_markdown(task.title, 120),
            phrases.task_status(task),
            escape_markdown(task.held or task.cause, 300) if not task.success else inline_code(task.commit[:12]),
            f"{task.usage.tokens:,}",
            phrases.format_cost(task.usage),
        )
        for task in tasks[:rows]
    ]
    return markdown_table(("agent", "task", "state", "commit, or why", "tokens", "cost"), cells, len(tasks), "task")


def markdown_decisions(report: Report, rows: int) -> str:
    lines = [
        f"- {task.agent}: {escape_markdown(phrases.decision_phrase(decision))}"
        + (f": “{escape_markdown(decision.text, 200)}”" if decision.text.strip() else "")
        for task in report.tasks.values()
        for decision in task.decisions
    ]
    return "**Decisions by people**\n\n" + "\n".join(lines[: min(rows, 50)]) if lines else ""


def markdown_reviews(report: Report, rows: int) -> str:
    reviews = [(task, review) for task in report.tasks.values() for review in task.reviews]
    cells = []
    for task, review in reviews[:rows]:
        reasons = "; ".join(review.reasons) or review.missing
        cells.append((task.agent, *map(escape_markdown, (phrases.review_phrase(review), reasons))))
    return details_block("Reviews", markdown_table(("agent", "review", "reasons"), cells, len(reviews), "review"))


def markdown_requirements(report: Report, rows: int) -> str:
    coverage = requirement_coverage(report)
    cells = [
        (
            f"**{escape_markdown(str(row['requirement']), 40)}** {escape_markdown(str(row['text']), 200)}",
            ", ".join(f"agent{task}" for task in row["tasks"][:20]) or "none",
            " ".join(inline_code(str(commit)[:10]) for commit in row["commits"][:20]) or "none",
            escape_markdown(", ".join(map(str, row["checks"]))) or "nothing",
            "yes" if row["covered"] else "no",
        )
        for row in coverage[:rows]
    ]
    heads = ("requirement", "tasks", "commits", "checked by", "covered")
    return details_block("Requirements", markdown_table(heads, cells, len(coverage), "requirement"))


def markdown_gates(report: Report, rows: int) -> str:
    cells = [
        (escape_markdown(gate.name, 60), outcome, inline_code(gate.command), inline_code(gate.output))
        for gate, outcome in ((gate, phrases.gate_outcome(gate)) for gate in report.gates[:rows])
    ]
    return markdown_table(("check", "outcome", "command", "output"), cells, len(report.gates), "check")


def markdown_files(report: Report, rows: int) -> str:
    files = sorted(report.files.items())
    cells = [(inline_code(path), f"+{added}", f"−{removed}") for path, (added, removed) in files[:rows]]
    table = markdown_table(("file", "added", "removed"), cells, len(files), "file")
    return details_block(f"{phrases.plural(len(files), 'file')} changed", table)


def markdown_next_steps(report: Report, rows: int) -> str:
    lines = [f"- {escape_markdown(step, 600)}" for step in phrases.next_steps(report)][: min(rows, 50)]
    lines += [f"- {words}: {inline_code(command)}" for words, command in phrases.suggested_commands(report)]
    return "**What to do next**\n\n" + "\n".join(lines) if lines else ""


def markdown_handover(report: Report) -> str:
    """Where the result was handed over to. Text of a host that is no plain address does not become a link."""
    return "  \n".join(
        f"{what}: {f'<{words}>' if ADDRESS.fullmatch(words) else inline_code(words)}"
        for what, words in handover_rows(report)
    )


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], total: int, word: str) -> str:
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    rest = f"\n\nAnd {phrases.plural(total - len(rows), word)} more, in the HTML report." if total > len(rows) else ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + rest


def details_block(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if body else ""
