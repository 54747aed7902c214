"""The smaller sections: what was asked, what to do next, files, cost, requirements, checks, remarks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestra.events import GateEnded
from orchestra.model import Usage
from orchestra.report.closing import handover_rows as told
from orchestra.report.closing import tests_judged_lines
from orchestra.report.detail import RunDetail
from orchestra.report.labels import (
    PHASE_NAMES,
    capitalize_first,
    format_cost,
    format_duration,
    gate_outcome,
    suggested_commands,
)
from orchestra.report.page.markup import Html, collapsible, html_section, html_table, join_html, tag
from orchestra.report.phrases import NOT_DONE_PHRASES, handover_commands, other_steps, paid_phrase, plural
from orchestra.report.sanitize import ADDRESS, cut_middle, safe_line
from orchestra.report.state import Report
from orchestra.report.summary import requirement_coverage

MOST_ROWS = 500
MOST_SPENDERS = 12
MOST_STEPS = 8
MOST_IN_CELL = 30
STEP_COMMAND = re.compile(r"(?<=: )(?:git|gh|glab) .+$")


def change_section(report: Report) -> Html:
    if not report.change:
        return Html()
    return html_section("asked", "What was asked", tag("blockquote", cut_middle(report.change, 4_000)))


def next_steps_section(report: Report) -> Html:
    """What to do next, each step with its exact command where there is one."""
    said = other_steps(report)
    steps = [
        tag("li", safe_line(words, 1_000), command_box(safe_line(what, 1_000)))
        for words, what in handover_commands(report)
    ]
    steps += [step_item(text) for text in said[:MOST_STEPS]]
    if len(said) > MOST_STEPS:
        steps.append(tag("li", f"And {len(said) - MOST_STEPS:,} more, with the tasks below."))
    steps += [tag("li", words, command_box(what)) for words, what in suggested_commands(report)]
    if not steps:
        return html_section("next", "What to do next", tag("p", "Nothing."))
    return html_section("next", "What to do next", tag("ul", *steps, class_="steps"))


def handover_section(report: Report) -> Html:
    """Where others find the result, and where they do not."""
    places = [tag("li", f"{what}: ", link_or_code(words)) for what, words in told(report)]
    places += [
        tag("li", f"{capitalize_first(NOT_DONE_PHRASES.get(what, what))}: {safe_line(each.why, 1_000)}")
        for what, each in report.refused.items()
    ]
    return html_section("handed", "Hand-over", tag("ul", *places)) if places else Html()


def link_or_code(words: str) -> Html:
    """An address comes from a host: what looks like none is no link."""
    words = safe_line(words, 1_000)
    return tag("a", words, href=words, rel="noreferrer") if ADDRESS.fullmatch(words) else tag("code", words)


def step_item(text: str) -> Html:
    found = STEP_COMMAND.search(text)
    return tag("li", text[: found.start()], command_box(found[0])) if found else tag("li", text)


def command_box(text: str) -> Html:
    return tag("div", tag("code", text, tabindex=0), class_="command")


def files_section(report: Report) -> Html:
    if not report.files:
        return Html()
    rows = [
        (tag("code", safe_line(path)), f"+{added}", f"−{removed}")
        for path, (added, removed) in sorted(report.files.items())[:MOST_ROWS]
    ]
    return html_section(
        "files", "Files", html_table(("file", "added", "removed"), rows, 2), more_note(len(report.files), "file")
    )


def more_note(total: int, word: str, shown: int = MOST_ROWS) -> Html:
    return tag("p", f"And {plural(total - shown, word)} more.", class_="quiet") if total > shown else Html()


def cost_section(report: Report) -> Html:
    used = report.usage
    said = tag(
        "p", f"{capitalize_first(paid_phrase(report))}; {plural(used.requests, 'request')}, {used.tokens:,} tokens."
    )
    phases = [usage_row(PHASE_NAMES.get(role, role), part, used) for role, part in report.roles.items()]
    tasks = sorted(report.tasks.values(), key=lambda task: (task.usage.dollars or 0, task.usage.tokens), reverse=True)
    agents = [
        usage_row(tag("a", task.agent, href=f"#task-{task.id}"), task.usage, used)
        for task in tasks[:MOST_SPENDERS]
        if task.usage.requests
    ]
    heads = ("", "", "requests", "tokens in", "from cache", "tokens out", "cost")
    parts = [html_table(("phase", *heads[1:]), phases, 5, "By phase")] if phases else []
    parts += [html_table(("agent", *heads[1:]), agents, 5, "By agent")] if agents else []
    rest = more_note(len(tasks), "agent", MOST_SPENDERS) if agents else Html()
    return html_section("cost", "Cost and tokens", said, *parts, rest)


def usage_row(name: str, part: Usage, whole: Usage) -> tuple[str, ...]:
    share = part.dollars / whole.dollars if part.dollars and whole.dollars else part.tokens / max(1, whole.tokens)
    numbers = (part.requests, part.input, part.cached, part.output)
    return (name, share_bar(share), *(f"{number:,}" for number in numbers), format_cost(part))


def share_bar(share: float) -> Html:
    filled = tag("rect", width=f"{100 * min(1.0, share):.1f}", height=6)
    label = f"{100 * min(1.0, share):.0f} %"
    return tag(
        "svg", filled, viewBox="0 0 100 6", preserveAspectRatio="none", class_="bar", role="img", aria_label=label
    )


def requirements_section(report: Report) -> Html:
    if not report.prd:
        return html_section(
            "requirements", "Requirements", tag("p", "The run had no PRD, so there is nothing to trace.")
        )
    if not report.requirements:
        words = "The PRD lists no requirements in its block for the program, so they cannot be traced."
        return html_section("requirements", "Requirements", tag("p", words))
    rows = [requirement_row(row) for row in requirement_coverage(report)[:MOST_ROWS]]
    heads = ("requirement", "tasks", "commits", "checked by", "covered")
    where = tag("p", "From ", tag("code", safe_line(report.prd_path)), class_="quiet")
    return html_section("requirements", "Requirements", where, html_table(heads, rows))


def requirement_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    tasks = join_cell([tag("a", f"agent{task}", href=f"#task-{task}") for task in row["tasks"]])
    commits = join_cell([tag("code", str(commit)[:10]) for commit in row["commits"]])
    what = join_html((tag("strong", safe_line(str(row["requirement"]))), " ", safe_line(str(row["text"]), 600)))
    state = tag("span", "yes", class_="pill good") if row["covered"] else tag("span", "no", class_="pill bad")
    return (what, tasks or "nobody", commits or "none", ", ".join(map(safe_line, row["checks"])) or "nothing", state)


def join_cell(items: Sequence[Html]) -> Html:
    rest = [f"and {len(items) - MOST_IN_CELL:,} more"] if len(items) > MOST_IN_CELL else []
    return join_html([*items[:MOST_IN_CELL], *rest], ", ")


def checks_section(report: Report, outputs: Mapping[str, str]) -> Html:
    """The gates on the combined result; those of single tasks stand with their tasks."""
    made = [gate_entry(each, outputs) for each in report.gates]
    words = "No gate ran on the combined result." if not made else ""
    return html_section("checks", "Checks", *([tag("p", words)] if words else []), *made)


def gate_entry(each: GateEnded, outputs: Mapping[str, str], title: str = "") -> Html:
    name = f"{title}{safe_line(each.name)}"
    mood = "bad" if not each.ok else "warn" if each.unproven else "good"
    pill = tag("span", gate_outcome(each), class_=f"pill {mood}")
    head = join_html((tag("span", name, class_="grow"), pill, tag("span", format_duration(each.seconds))))
    path, said = each.output, outputs.get(each.output, "")
    body = [tag("p", tag("code", safe_line(each.command, 2_000)))]
    body += [tag("p", safe_line(each.unproven, 1_000))] if each.unproven else []
    silent = safe_line(each.missing or "It printed nothing.", 1_000)
    body += [tag("pre", tag("code", said), tabindex=0)] if said else [tag("p", silent, class_="quiet")]
    body += [tag("p", "Whole output: ", tag("code", safe_line(path)), class_="quiet")] if path else []
    return tag("div", collapsible(head, *body, open_=not each.ok and not title), class_="entry")


def tests_section(report: Report) -> Html:
    """What agents made of the tests, and what these are worth."""
    items = [tag("li", safe_line(words, 1_000)) for words in tests_judged_lines(report)][:100]
    return html_section("tests", "Tests", tag("ul", *items)) if items else Html()


def remarks_section(report: Report, detail: RunDetail) -> Html:
    notes: Iterable[str] = [*report.notes, *(f"Left out, Aider cannot edit it: {path}" for path in report.skipped)]
    items = [tag("li", safe_line(note, 1_000)) for note in notes][:100]
    return html_section("notes", "Remarks", tag("ul", *items)) if items else Html()
