"""The report as Markdown: for a pull request, and for the page that a CI system shows of a step."""

import re
from collections.abc import Iterable, Sequence

from orchestra.report.plans.estimate import comparison
from orchestra.report.safe import ADDRESS, line, plain
from orchestra.report.sentence import next_steps, paid, plural, sentence, unreadable
from orchestra.report.state import Report
from orchestra.report.summary import coverage
from orchestra.report.text import judged_lines, side_notes
from orchestra.report.words import checked, commands, decided, dollars, duration, gate_outcome, reviewed, standing

STEP_SUMMARY = 1_000_000  # GitHub takes 1 MiB for a step, GitLab as much for a merge request
PULL_REQUEST = 60_000  # GitHub takes 65,536 characters for a body
ROWS = (1_000_000, 1_000, 300, 100, 30, 10, 3)
# What could begin a mark, a tag, a link or a mention is written as a number: in text that is never markup.
ACTIVE = re.compile(r"[&<>`*{}\[\]\\|~^$!#@]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
LINKS = re.compile(r"(?i)(?<=:)/|(?<=www)\.|(?<=GH)-|:(?=\w+:)")
GLUE = "\u2060"  # between @ or # and the name, because hosts look for mentions in what is rendered, too


def markdown(report: Report, limit: int = STEP_SUMMARY) -> str:
    """Within the limit in bytes: long tables are cut, and say so."""
    made = ""
    for rows in ROWS:
        made = "\n\n".join(part for part in parts(report, rows) if part) + "\n"
        if len(made.encode()) <= limit:
            return made
    return made.encode()[:limit].decode("utf-8", "ignore")


def text(words: str, limit: int = 300) -> str:
    """Foreign words in one line that mean nothing but themselves."""
    safe = ACTIVE.sub(lambda found: f"&#{ord(found[0])};" + (GLUE if found[0] in "@#" else ""), line(words, limit))
    return LINKS.sub(lambda found: f"&#{ord(found[0])};", safe)


def code(words: str, limit: int = 300) -> str:
    return f"<code>{text(words, limit)}</code>" if words else ""


def block(words: str) -> str:
    """Several lines as they are, in a fence that is longer than any in them."""
    longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{plain(words)}\n{fence}"


def parts(report: Report, rows: int) -> list[str]:
    return [
        f"### {text(sentence(report), 1_000)}",
        assurance(report),
        asked(report, rows),
        tasks(report, rows),
        people(report, rows),
        reviews(report, rows),
        requirements(report, rows),
        gates(report, rows),
        judged(report, rows),
        files(report, rows),
        following(report, rows),
        handed_over(report),
        notes(report, rows),
        f"<sub>Aider Orchestrator, run {text(report.run)}, {text(report.model)}</sub>",
    ]


def assurance(report: Report) -> str:
    used = f"{plural(report.usage.requests, 'request')}, {report.usage.tokens:,} tokens; {duration(report.seconds)}"
    lines = [f"**Checked: {report.verified}.** {text(checked(report), 1_000)}", f"Cost: {text(paid(report))}; {used}."]
    return "  \n".join(filter(None, [*lines, comparison(report), unreadable(report)]))


def asked(report: Report, rows: int) -> str:
    words = plain(report.change)
    shown = words if len(words) < 5 * min(rows, 1_000) else f"{words[: 5 * min(rows, 1_000)]} …"
    return folded("What was asked", block(shown)) if shown.strip() else ""


def tasks(report: Report, rows: int) -> str:
    """Those that are not done first: they are what one looks for."""
    listed = sorted(report.tasks.values(), key=lambda task: (task.success, task.id))
    made = [
        (
            task.agent,
            text(task.title, 120),
            standing(task),
            text(task.held or task.cause, 300) if not task.success else code(task.commit[:12]),
            f"{task.usage.tokens:,}",
            dollars(task.usage),
        )
        for task in listed[:rows]
    ]
    return table(("agent", "task", "state", "commit, or why", "tokens", "cost"), made, len(listed), "task")


def people(report: Report, rows: int) -> str:
    """What persons decided about tasks that had failed."""
    said = [
        f"- {task.agent}: {text(decided(each))}{quoted(each.text)}"
        for task in report.tasks.values()
        for each in task.decisions
    ]
    return "**What persons decided**\n\n" + "\n".join(said[: min(rows, 50)]) if said else ""


def quoted(words: str) -> str:
    return f": “{text(words, 200)}”" if words.strip() else ""


def reviews(report: Report, rows: int) -> str:
    listed = [(task, each) for task in report.tasks.values() for each in task.reviews]
    made = [
        (task.agent, text(reviewed(each)), text("; ".join(each.reasons) or each.missing))
        for task, each in listed[:rows]
    ]
    return folded("Reviews", table(("agent", "review", "reasons"), made, len(listed), "review")) if made else ""


def requirements(report: Report, rows: int) -> str:
    listed = coverage(report)
    made = [
        (
            f"**{text(str(row['requirement']), 40)}** {text(str(row['text']), 200)}",
            ", ".join(f"agent{task}" for task in row["tasks"][:20]) or "nobody",
            " ".join(code(str(commit)[:10]) for commit in row["commits"][:20]) or "none",
            text(", ".join(map(str, row["checks"]))) or "nothing",
            "yes" if row["covered"] else "no",
        )
        for row in listed[:rows]
    ]
    heads = ("requirement", "tasks", "commits", "checked by", "covered")
    return folded("Requirements", table(heads, made, len(listed), "requirement")) if made else ""


def gates(report: Report, rows: int) -> str:
    made = [
        (
            text(gate.name, 60),
            gate_outcome(gate),
            code(gate.command),
            code(gate.output),
        )
        for gate in report.gates[:rows]
    ]
    return table(("check", "outcome", "command", "output"), made, len(report.gates), "check")


def judged(report: Report, rows: int) -> str:
    """What agents made of the tests."""
    said = [f"- {text(words)}" for words in judged_lines(report)]
    return folded("Tests", "\n".join(said[: min(rows, 100)])) if said else ""


def files(report: Report, rows: int) -> str:
    listed = sorted(report.files.items())
    made = [(code(path), f"+{added}", f"−{removed}") for path, (added, removed) in listed[:rows]]
    head = f"{plural(len(listed), 'file')} changed"
    return folded(head, table(("file", "added", "removed"), made, len(listed), "file")) if made else ""


def following(report: Report, rows: int) -> str:
    steps = [text(step, 600) for step in next_steps(report)]
    shown = [f"- {step}" for step in steps[: min(rows, 50)]]
    shown += [f"- {words}: {code(what)}" for words, what in commands(report)]
    return "**What to do next**\n\n" + "\n".join(shown) if shown else ""


def handed_over(report: Report) -> str:
    """Where others find it. An address comes from a host: what looks like none is no link."""
    pushed, url = report.pushed, report.pr_url
    said = [f"Pushed: {code(pushed.branch)} to {text(pushed.remote)}"] if pushed else []
    said += [f"Pull request: {f'<{url}>' if ADDRESS.fullmatch(url) else text(url)}"] if url else []
    return "  \n".join(said)


def notes(report: Report, rows: int) -> str:
    aside = [f"{task.agent} {words}" for task in report.tasks.values() for words in side_notes(task)]
    shown = "\n".join(f"- {text(note, 600)}" for note in [*report.notes, *aside][: min(rows, 50)])
    return folded("Remarks", shown) if shown else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], total: int, word: str) -> str:
    made = list(rows)
    if not made:
        return ""
    lines = [heads, ["---"] * len(heads), *made]
    rest = f"\n\nAnd {plural(total - len(made), word)} more, in the HTML report." if total > len(made) else ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + rest


def folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
