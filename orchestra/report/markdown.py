"""The report as Markdown: for a pull request, and for the page that a CI system shows of a step."""

import re
from collections.abc import Iterable, Sequence

from orchestra.report.closing import task_notes, tests_judged_lines
from orchestra.report.labels import (
    decision_phrase,
    format_cost,
    format_duration,
    gate_outcome,
    review_phrase,
    suggested_commands,
    task_status,
    verification_sentence,
)
from orchestra.report.phrases import next_steps, paid_phrase, plural, unreadable_note, verdict_sentence
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.sanitize import ADDRESS, safe_line, strip_controls
from orchestra.report.state import Report
from orchestra.report.summary import requirement_coverage

STEP_SUMMARY_LIMIT = 1_000_000  # GitHub takes 1 MiB for a step, GitLab as much for a merge request
PULL_REQUEST_LIMIT = 60_000  # GitHub takes 65,536 characters for a body
ROW_LIMITS = (1_000_000, 1_000, 300, 100, 30, 10, 3)
# What could begin a mark, a tag, a link or a mention is written as a number: in text that is never markup.
ACTIVE_MARKUP = re.compile(r"[&<>`*{}\[\]\\|~^$!#@]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
LINK_MARKUP = re.compile(r"(?i)(?<=:)/|(?<=www)\.|(?<=GH)-|:(?=\w+:)")
GLUE = "\u2060"  # between @ or # and the name, because hosts look for mentions in what is rendered, too


def markdown_report(report: Report, limit: int = STEP_SUMMARY_LIMIT) -> str:
    """Within the limit in bytes: long tables are cut, and say so."""
    made = ""
    for rows in ROW_LIMITS:
        made = "\n\n".join(part for part in markdown_parts(report, rows) if part) + "\n"
        if len(made.encode()) <= limit:
            return made
    return made.encode()[:limit].decode("utf-8", "ignore")


def escape_markdown(words: str, limit: int = 300) -> str:
    """Foreign words in one line that mean nothing but themselves."""
    safe = ACTIVE_MARKUP.sub(
        lambda found: f"&#{ord(found[0])};" + (GLUE if found[0] in "@#" else ""), safe_line(words, limit)
    )
    return LINK_MARKUP.sub(lambda found: f"&#{ord(found[0])};", safe)


def inline_code(words: str, limit: int = 300) -> str:
    return f"<code>{escape_markdown(words, limit)}</code>" if words else ""


def fenced_block(words: str) -> str:
    """Several lines as they are, in a fence that is longer than any in them."""
    longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{strip_controls(words)}\n{fence}"


def markdown_parts(report: Report, rows: int) -> list[str]:
    return [
        f"### {escape_markdown(verdict_sentence(report), 1_000)}",
        markdown_verification(report),
        markdown_change(report, rows),
        markdown_tasks(report, rows),
        markdown_decisions(report, rows),
        markdown_reviews(report, rows),
        markdown_requirements(report, rows),
        markdown_gates(report, rows),
        markdown_tests(report, rows),
        markdown_files(report, rows),
        markdown_next_steps(report, rows),
        markdown_handover(report),
        markdown_notes(report, rows),
        f"<sub>Aider Orchestrator, run {escape_markdown(report.run)}, {escape_markdown(report.model)}</sub>",
    ]


def markdown_verification(report: Report) -> str:
    used = (
        f"{plural(report.usage.requests, 'request')}, {report.usage.tokens:,} tokens; {format_duration(report.seconds)}"
    )
    lines = [
        f"**Checked: {report.verified}.** {escape_markdown(verification_sentence(report), 1_000)}",
        f"Cost: {escape_markdown(paid_phrase(report))}; {used}.",
    ]
    return "  \n".join(filter(None, [*lines, comparison_sentence(report), unreadable_note(report)]))


def markdown_change(report: Report, rows: int) -> str:
    words = strip_controls(report.change)
    shown = words if len(words) < 5 * min(rows, 1_000) else f"{words[: 5 * min(rows, 1_000)]} …"
    return details_block("What was asked", fenced_block(shown)) if shown.strip() else ""


def markdown_tasks(report: Report, rows: int) -> str:
    """Those that are not done first: they are what one looks for."""
    listed = sorted(report.tasks.values(), key=lambda task: (task.success, task.id))
    made = [
        (
            task.agent,
            escape_markdown(task.title, 120),
            task_status(task),
            escape_markdown(task.held or task.cause, 300) if not task.success else inline_code(task.commit[:12]),
            f"{task.usage.tokens:,}",
            format_cost(task.usage),
        )
        for task in listed[:rows]
    ]
    return markdown_table(("agent", "task", "state", "commit, or why", "tokens", "cost"), made, len(listed), "task")


def markdown_decisions(report: Report, rows: int) -> str:
    """What persons decided about tasks that had failed."""
    said = [
        f"- {task.agent}: {escape_markdown(decision_phrase(each))}{quoted(each.text)}"
        for task in report.tasks.values()
        for each in task.decisions
    ]
    return "**What persons decided**\n\n" + "\n".join(said[: min(rows, 50)]) if said else ""


def quoted(words: str) -> str:
    return f": “{escape_markdown(words, 200)}”" if words.strip() else ""


def markdown_reviews(report: Report, rows: int) -> str:
    listed = [(task, each) for task in report.tasks.values() for each in task.reviews]
    made = [
        (task.agent, escape_markdown(review_phrase(each)), escape_markdown("; ".join(each.reasons) or each.missing))
        for task, each in listed[:rows]
    ]
    return (
        details_block("Reviews", markdown_table(("agent", "review", "reasons"), made, len(listed), "review"))
        if made
        else ""
    )


def markdown_requirements(report: Report, rows: int) -> str:
    listed = requirement_coverage(report)
    made = [
        (
            f"**{escape_markdown(str(row['requirement']), 40)}** {escape_markdown(str(row['text']), 200)}",
            ", ".join(f"agent{task}" for task in row["tasks"][:20]) or "nobody",
            " ".join(inline_code(str(commit)[:10]) for commit in row["commits"][:20]) or "none",
            escape_markdown(", ".join(map(str, row["checks"]))) or "nothing",
            "yes" if row["covered"] else "no",
        )
        for row in listed[:rows]
    ]
    heads = ("requirement", "tasks", "commits", "checked by", "covered")
    return details_block("Requirements", markdown_table(heads, made, len(listed), "requirement")) if made else ""


def markdown_gates(report: Report, rows: int) -> str:
    made = [
        (
            escape_markdown(gate.name, 60),
            gate_outcome(gate),
            inline_code(gate.command),
            inline_code(gate.output),
        )
        for gate in report.gates[:rows]
    ]
    return markdown_table(("check", "outcome", "command", "output"), made, len(report.gates), "check")


def markdown_tests(report: Report, rows: int) -> str:
    """What agents made of the tests."""
    said = [f"- {escape_markdown(words)}" for words in tests_judged_lines(report)]
    return details_block("Tests", "\n".join(said[: min(rows, 100)])) if said else ""


def markdown_files(report: Report, rows: int) -> str:
    listed = sorted(report.files.items())
    made = [(inline_code(path), f"+{added}", f"−{removed}") for path, (added, removed) in listed[:rows]]
    head = f"{plural(len(listed), 'file')} changed"
    return details_block(head, markdown_table(("file", "added", "removed"), made, len(listed), "file")) if made else ""


def markdown_next_steps(report: Report, rows: int) -> str:
    steps = [escape_markdown(step, 600) for step in next_steps(report)]
    shown = [f"- {step}" for step in steps[: min(rows, 50)]]
    shown += [f"- {words}: {inline_code(what)}" for words, what in suggested_commands(report)]
    return "**What to do next**\n\n" + "\n".join(shown) if shown else ""


def markdown_handover(report: Report) -> str:
    """Where others find it. An address comes from a host: what looks like none is no link."""
    pushed, url = report.pushed, report.pr_url
    said = [f"Pushed: {inline_code(pushed.branch)} to {escape_markdown(pushed.remote)}"] if pushed else []
    said += [f"Pull request: {f'<{url}>' if ADDRESS.fullmatch(url) else escape_markdown(url)}"] if url else []
    return "  \n".join(said)


def markdown_notes(report: Report, rows: int) -> str:
    aside = [f"{task.agent} {words}" for task in report.tasks.values() for words in task_notes(task)]
    shown = "\n".join(f"- {escape_markdown(note, 600)}" for note in [*report.notes, *aside][: min(rows, 50)])
    return details_block("Remarks", shown) if shown else ""


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], total: int, word: str) -> str:
    made = list(rows)
    if not made:
        return ""
    lines = [heads, ["---"] * len(heads), *made]
    rest = f"\n\nAnd {plural(total - len(made), word)} more, in the HTML report." if total > len(made) else ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + rest


def details_block(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
