"""The smaller sections: what was asked, what to do next, files, cost, requirements, checks, remarks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestra.events import GateEnded
from orchestra.model import Usage
from orchestra.report.detail import Detail
from orchestra.report.page.markup import Html, fold, join, section, table, tag
from orchestra.report.safe import ADDRESS, cut, line
from orchestra.report.sentence import NOT_DONE, by_hand, other_steps, paid, plural
from orchestra.report.state import Report
from orchestra.report.summary import coverage
from orchestra.report.text import handed_over as told
from orchestra.report.text import judged_lines
from orchestra.report.words import PHASES, capital, commands, dollars, duration, gate_outcome

MOST_ROWS = 500
MOST_SPENDERS = 12
MOST_STEPS = 8
MOST_IN_CELL = 30
COMMAND = re.compile(r"(?<=: )(?:git|gh|glab) .+$")


def asked(report: Report) -> Html:
    if not report.change:
        return Html()
    return section("asked", "What was asked", tag("blockquote", cut(report.change, 4_000)))


def following(report: Report) -> Html:
    """What to do next, each step with its exact command where there is one."""
    said = other_steps(report)
    steps = [tag("li", line(words, 1_000), command(line(what, 1_000))) for words, what in by_hand(report)]
    steps += [step(text) for text in said[:MOST_STEPS]]
    if len(said) > MOST_STEPS:
        steps.append(tag("li", f"And {len(said) - MOST_STEPS:,} more, with the tasks below."))
    steps += [tag("li", words, command(what)) for words, what in commands(report)]
    if not steps:
        return section("next", "What to do next", tag("p", "Nothing."))
    return section("next", "What to do next", tag("ul", *steps, class_="steps"))


def handed_over(report: Report) -> Html:
    """Where others find the result, and where they do not."""
    places = [tag("li", f"{what}: ", link(words)) for what, words in told(report)]
    places += [
        tag("li", f"{capital(NOT_DONE.get(what, what))}: {line(each.why, 1_000)}")
        for what, each in report.refused.items()
    ]
    return section("handed", "Hand-over", tag("ul", *places)) if places else Html()


def link(words: str) -> Html:
    """An address comes from a host: what looks like none is no link."""
    words = line(words, 1_000)
    return tag("a", words, href=words, rel="noreferrer") if ADDRESS.fullmatch(words) else tag("code", words)


def step(text: str) -> Html:
    found = COMMAND.search(text)
    return tag("li", text[: found.start()], command(found[0])) if found else tag("li", text)


def command(text: str) -> Html:
    return tag("div", tag("code", text, tabindex=0), class_="command")


def files(report: Report) -> Html:
    if not report.files:
        return Html()
    rows = [
        (tag("code", line(path)), f"+{added}", f"−{removed}")
        for path, (added, removed) in sorted(report.files.items())[:MOST_ROWS]
    ]
    return section("files", "Files", table(("file", "added", "removed"), rows, 2), more(len(report.files), "file"))


def more(total: int, word: str, shown: int = MOST_ROWS) -> Html:
    return tag("p", f"And {plural(total - shown, word)} more.", class_="quiet") if total > shown else Html()


def costs(report: Report) -> Html:
    used = report.usage
    said = tag("p", f"{capital(paid(report))}; {plural(used.requests, 'request')}, {used.tokens:,} tokens.")
    phases = [spent(PHASES.get(role, role), part, used) for role, part in report.roles.items()]
    tasks = sorted(report.tasks.values(), key=lambda task: (task.usage.dollars or 0, task.usage.tokens), reverse=True)
    agents = [
        spent(tag("a", task.agent, href=f"#task-{task.id}"), task.usage, used)
        for task in tasks[:MOST_SPENDERS]
        if task.usage.requests
    ]
    heads = ("", "", "requests", "tokens in", "from cache", "tokens out", "cost")
    parts = [table(("phase", *heads[1:]), phases, 5, "By phase")] if phases else []
    parts += [table(("agent", *heads[1:]), agents, 5, "By agent")] if agents else []
    rest = more(len(tasks), "agent", MOST_SPENDERS) if agents else Html()
    return section("cost", "Cost and tokens", said, *parts, rest)


def spent(name: str, part: Usage, whole: Usage) -> tuple[str, ...]:
    share = part.dollars / whole.dollars if part.dollars and whole.dollars else part.tokens / max(1, whole.tokens)
    numbers = (part.requests, part.input, part.cached, part.output)
    return (name, bar(share), *(f"{number:,}" for number in numbers), dollars(part))


def bar(share: float) -> Html:
    filled = tag("rect", width=f"{100 * min(1.0, share):.1f}", height=6)
    label = f"{100 * min(1.0, share):.0f} %"
    return tag(
        "svg", filled, viewBox="0 0 100 6", preserveAspectRatio="none", class_="bar", role="img", aria_label=label
    )


def requirements(report: Report) -> Html:
    if not report.prd:
        return section("requirements", "Requirements", tag("p", "The run had no PRD, so there is nothing to trace."))
    if not report.requirements:
        words = "The PRD lists no requirements in its block for the program, so they cannot be traced."
        return section("requirements", "Requirements", tag("p", words))
    rows = [covered(row) for row in coverage(report)[:MOST_ROWS]]
    heads = ("requirement", "tasks", "commits", "checked by", "covered")
    where = tag("p", "From ", tag("code", line(report.prd_path)), class_="quiet")
    return section("requirements", "Requirements", where, table(heads, rows))


def covered(row: Mapping[str, Any]) -> tuple[str, ...]:
    tasks = several([tag("a", f"agent{task}", href=f"#task-{task}") for task in row["tasks"]])
    commits = several([tag("code", str(commit)[:10]) for commit in row["commits"]])
    what = join((tag("strong", line(str(row["requirement"]))), " ", line(str(row["text"]), 600)))
    state = tag("span", "yes", class_="pill good") if row["covered"] else tag("span", "no", class_="pill bad")
    return (what, tasks or "nobody", commits or "none", ", ".join(map(line, row["checks"])) or "nothing", state)


def several(items: Sequence[Html]) -> Html:
    rest = [f"and {len(items) - MOST_IN_CELL:,} more"] if len(items) > MOST_IN_CELL else []
    return join([*items[:MOST_IN_CELL], *rest], ", ")


def checks(report: Report, outputs: Mapping[str, str]) -> Html:
    """The gates on the combined result; those of single tasks stand with their tasks."""
    made = [gate(each, outputs) for each in report.gates]
    words = "No gate ran on the combined result." if not made else ""
    return section("checks", "Checks", *([tag("p", words)] if words else []), *made)


def gate(each: GateEnded, outputs: Mapping[str, str], title: str = "") -> Html:
    name = f"{title}{line(each.name)}"
    mood = "bad" if not each.ok else "warn" if each.unproven else "good"
    pill = tag("span", gate_outcome(each), class_=f"pill {mood}")
    head = join((tag("span", name, class_="grow"), pill, tag("span", duration(each.seconds))))
    path, said = each.output, outputs.get(each.output, "")
    body = [tag("p", tag("code", line(each.command, 2_000)))]
    body += [tag("p", line(each.unproven, 1_000))] if each.unproven else []
    silent = line(each.missing or "It printed nothing.", 1_000)
    body += [tag("pre", tag("code", said), tabindex=0)] if said else [tag("p", silent, class_="quiet")]
    body += [tag("p", "Whole output: ", tag("code", line(path)), class_="quiet")] if path else []
    return tag("div", fold(head, *body, open_=not each.ok and not title), class_="entry")


def tests(report: Report) -> Html:
    """What agents made of the tests, and what these are worth."""
    items = [tag("li", line(words, 1_000)) for words in judged_lines(report)][:100]
    return section("tests", "Tests", tag("ul", *items)) if items else Html()


def remarks(report: Report, detail: Detail) -> Html:
    notes: Iterable[str] = [*report.notes, *(f"Left out, Aider cannot edit it: {path}" for path in report.skipped)]
    items = [tag("li", line(note, 1_000)) for note in notes][:100]
    return section("notes", "Remarks", tag("ul", *items)) if items else Html()
