"""Each task: what it was to do, its attempts, what was said, what it changed, what its gates said."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from orchestra.report.detail import Attempt, Detail, GateRun
from orchestra.report.page.code import diff
from orchestra.report.page.markup import Html, fold, join, section, table, tag, void
from orchestra.report.page.tables import gate
from orchestra.report.safe import cut, line
from orchestra.report.sentence import plural
from orchestra.report.state import Report, Review, TaskReport, is_review
from orchestra.report.text import side_notes
from orchestra.report.words import capital, decided, dollars, duration, reviewed, standing, tone

FILTERED = 8  # from so many tasks on one may want to see some only
MANY = 100


class Texts(NamedTuple):
    """The long texts of a page, how many characters of each are shown, and whether in colours."""

    diffs: Mapping[int, str]
    outputs: Mapping[str, str]
    limit: int
    colours: bool

    def cut(self, text: str, full: str = "") -> str:
        return cut(text, self.limit, full)


def tasks(report: Report, detail: Detail, texts: Texts) -> Html:
    if not report.tasks:
        return section("tasks", "Tasks", tag("p", "Nothing was planned."))
    gates: dict[int | None, list[GateRun]] = {}
    for each in detail.gates:
        gates.setdefault(each.task, []).append(each)
    made = (entry(task, detail, texts, gates.get(task.id, [])) for task in report.tasks.values())
    # What is far from the screen is not laid out, where there is so much of it.
    kind = "entries many" if len(report.tasks) > MANY else "entries"
    return section("tasks", "Tasks", tools(report), tag("div", *made, class_=kind))


def tools(report: Report) -> Html:
    """Shown by the script only: without it there is nothing behind them."""
    kinds = {tone(task) for task in report.tasks.values()}
    ways = {"": "all"} | {kind: word for kind, word in WORDS.items() if kind in kinds}
    show = [
        tag("button", word, type="button", data_show=kind, aria_pressed="false" if kind else "true")
        for kind, word in ways.items()
    ]
    find = tag("label", "Find ", void("input", type="search", id="find", autocomplete="off"))
    folds = (("open all", "open"), ("close all", ""))
    both = [tag("button", words, type="button", data_fold=way) for words, way in folds]
    few = [find] if len(report.tasks) >= FILTERED else []
    narrow = show if len(kinds) > 1 else []
    return tag("div", *few, *narrow, tag("span", class_="grow"), *both, class_="tools", hidden=True)


WORDS = {"good": "done", "warn": "held", "bad": "failed", "idle": "unfinished"}


def entry(task: TaskReport, detail: Detail, texts: Texts, gates: list[GateRun]) -> Html:
    head = tag("summary", *headline(task))
    body = tag("div", *contents(task, detail, texts, gates), class_="body")
    return tag("details", head, body, class_="entry", id=f"task-{task.id}", data_tone=tone(task))


def headline(task: TaskReport) -> Iterator[Html]:
    yield tag("strong", task.agent)
    yield tag("span", line(task.title or ", ".join(task.files), 160), class_="grow")
    yield tag("span", standing(task), class_=f"pill {tone(task)}")
    if task.usage.requests:
        yield tag("span", f"{task.usage.tokens:,} tokens, {dollars(task.usage)}", class_="figures")


def contents(task: TaskReport, detail: Detail, texts: Texts, gates: list[GateRun]) -> Iterator[Html]:
    log = f".aider_logs/{task.agent}_*.jsonl"
    why = task.held or task.cause
    if why:
        yield tag("p", line(why, 1_000))
    if task.remedy:
        yield tag("p", line(task.remedy, 1_000), class_="remedy")
    yield facts(task, detail)
    for words in side_notes(task):
        yield tag("p", f"It {line(words, 1_000)}.", class_="quiet")
    if task.answered:
        yield fold("Answer", tag("pre", texts.cut(task.said, log), tabindex=0), open_=True)
    yield from map(review, task.reviews)
    yield from decisions(task, texts, log)
    tries = detail.attempts(task.id)
    if len(tries) > 1 or any(attempt.failures for attempt in tries):
        yield attempts(tries)
    if brief := detail.briefs.get(task.id, ""):
        yield fold("Brief", tag("pre", texts.cut(brief, log), tabindex=0))
    for attempt in tries:
        if attempt.turns:
            again = f" of attempt {attempt.number}" if len(tries) > 1 else ""
            yield fold(f"Conversation{again}, {plural(len(attempt.turns), 'turn')}", *talk(attempt, texts, log))
    if change := texts.diffs.get(task.id, ""):
        kept = f"git show {task.commit[:12]}" if task.commit else task.patch
        yield fold(
            "Change" if task.success else "Change that was not taken",
            diff(texts.cut(change, kept), colours=texts.colours),
            open_=True,
        )
    for each in gates:
        if is_review(each.result) and not each.result.missing:
            continue
        path = each.result.output
        yield gate(each.result, {path: texts.cut(texts.outputs.get(path, ""), path)}, numbered(each))


def decisions(task: TaskReport, texts: Texts, log: str) -> Iterator[Html]:
    """What persons decided when it had failed, each with what they were asked and what they said."""
    for each in task.decisions:
        asked, said = each.asked, each.text
        head = tag("p", tag("strong", f"{decided(each)}."), f" It had failed: {line(asked, 600)}" if asked else "")
        yield tag("div", head, *([tag("pre", texts.cut(said, log), tabindex=0)] if said.strip() else []), class_="word")


def review(each: Review) -> Html:
    """A critic's word, with its reasons."""
    who, _, outcome = reviewed(each).rpartition(": ")
    pill = tag("span", outcome, class_=f"pill {'good' if each.ok else 'bad'}")
    reasons = [*each.reasons, *filter(None, [each.missing])]
    listed = [tag("ul", *(tag("li", line(reason, 1_000)) for reason in reasons))] if reasons else []
    return tag("div", tag("p", tag("strong", capital(who)), " ", pill), *listed, class_="word")


def numbered(each: GateRun) -> str:
    return f"Attempt {each.attempt}: " if each.attempt else "Gate: "


def facts(task: TaskReport, detail: Detail) -> Html:
    needs = join((tag("a", f"agent{need}", href=f"#task-{need}") for need in detail.needs.get(task.id, ())), ", ")
    rows = {
        "Role": line(task.role),
        "Files": join((tag("code", line(path)) for path in task.files[:50]), ", "),
        "Requirements": ", ".join(map(line, task.requirements)),
        "Needs": needs,
        "Replaced by": tag("a", f"agent{task.replaced}", href=f"#task-{task.replaced}") if task.replaced else "",
        "Time": duration(task.seconds) if task.seconds else "",
        "Commit": tag("code", task.commit[:12]) if task.commit else "",
        "Branch": tag("code", task.branch) if task.branch else "",
        "Patch": tag("code", task.patch) if task.patch else "",
    }
    pairs = (join((tag("dt", name), tag("dd", value))) for name, value in rows.items() if value)
    return tag("dl", *pairs, class_="facts")


def attempts(tries: list[Attempt]) -> Html:
    rows = []
    for attempt in tries:
        said = [attempt.cause, *attempt.failures[:5]]
        time = duration(attempt.seconds) if attempt.ended else ""
        verdict = attempt.verdict.replace("_", " ") or "not finished"
        why = join(tag("div", line(words, 600)) for words in said if words)
        rows.append((str(attempt.number), verdict, why, time, f"{attempt.usage.tokens:,}", dollars(attempt.usage)))
    return table(("attempt", "verdict", "why", "time", "tokens", "cost"), rows, 3)


def talk(attempt: Attempt, texts: Texts, log: str) -> Iterator[Html]:
    for turn in attempt.turns:
        yield from (said(role, text, texts, log) for role, text in turn.asked)
        yield said("assistant", turn.said, texts, log)
    if not any(turn.asked for turn in attempt.turns):
        yield tag("p", "Of the requests only the replies were kept.", class_="quiet")


def said(role: str, text: str, texts: Texts, log: str) -> Html:
    """A system prompt is long and the same everywhere, so it is folded."""
    body = tag("pre", texts.cut(text, log), tabindex=0)
    if role == "system":
        return tag("div", fold("system", body), class_="said system")
    who = "assistant" if role == "assistant" else "user"
    return tag("div", tag("div", line(role, 20), class_="role"), body, class_=f"said {who}")
