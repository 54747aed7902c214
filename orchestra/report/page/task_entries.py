"""Each task: what it was to do, its attempts, what was said, what it changed, what its gates said."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from orchestra.report.closing import task_notes
from orchestra.report.detail import Attempt, GateRun, RunDetail
from orchestra.report.labels import (
    capitalize_first,
    decision_phrase,
    format_cost,
    format_duration,
    review_phrase,
    task_status,
    task_tone,
)
from orchestra.report.page.highlight import highlight_diff
from orchestra.report.page.markup import Html, collapsible, html_section, html_table, join_html, tag, void_tag
from orchestra.report.page.sections import gate_entry
from orchestra.report.phrases import plural
from orchestra.report.sanitize import cut_middle, safe_line
from orchestra.report.state import Report, Review, TaskReport, is_review

MIN_TASKS_FOR_SEARCH = 8  # from so many tasks on one may want to see some only
MANY_TASKS = 100


class PageTexts(NamedTuple):
    """The long texts of a page, how many characters of each are shown, and whether in colours."""

    diffs: Mapping[int, str]
    outputs: Mapping[str, str]
    limit: int
    colours: bool

    def shorten_text(self, text: str, full: str = "") -> str:
        return cut_middle(text, self.limit, full)


def tasks_section(report: Report, detail: RunDetail, texts: PageTexts) -> Html:
    if not report.tasks:
        return html_section("tasks", "Tasks", tag("p", "Nothing was planned."))
    gates: dict[int | None, list[GateRun]] = {}
    for each in detail.gates:
        gates.setdefault(each.task, []).append(each)
    made = (task_entry(task, detail, texts, gates.get(task.id, [])) for task in report.tasks.values())
    # What is far from the screen is not laid out, where there is so much of it.
    kind = "entries many" if len(report.tasks) > MANY_TASKS else "entries"
    return html_section("tasks", "Tasks", task_toolbar(report), tag("div", *made, class_=kind))


def task_toolbar(report: Report) -> Html:
    """Shown by the script only: without it there is nothing behind them."""
    kinds = {task_tone(task) for task in report.tasks.values()}
    ways = {"": "all"} | {kind: word for kind, word in TONE_LABELS.items() if kind in kinds}
    show = [
        tag("button", word, type="button", data_show=kind, aria_pressed="false" if kind else "true")
        for kind, word in ways.items()
    ]
    find = tag("label", "Find ", void_tag("input", type="search", id="find", autocomplete="off"))
    folds = (("open all", "open"), ("close all", ""))
    both = [tag("button", words, type="button", data_fold=way) for words, way in folds]
    few = [find] if len(report.tasks) >= MIN_TASKS_FOR_SEARCH else []
    narrow = show if len(kinds) > 1 else []
    return tag("div", *few, *narrow, tag("span", class_="grow"), *both, class_="tools", hidden=True)


TONE_LABELS = {"good": "done", "warn": "held", "bad": "failed", "idle": "unfinished"}


def task_entry(task: TaskReport, detail: RunDetail, texts: PageTexts, gates: list[GateRun]) -> Html:
    head = tag("summary", *task_headline(task))
    body = tag("div", *task_contents(task, detail, texts, gates), class_="body")
    return tag("details", head, body, class_="entry", id=f"task-{task.id}", data_tone=task_tone(task))


def task_headline(task: TaskReport) -> Iterator[Html]:
    yield tag("strong", task.agent)
    yield tag("span", safe_line(task.title or ", ".join(task.files), 160), class_="grow")
    yield tag("span", task_status(task), class_=f"pill {task_tone(task)}")
    if task.usage.requests:
        yield tag("span", f"{task.usage.tokens:,} tokens, {format_cost(task.usage)}", class_="figures")


def task_contents(task: TaskReport, detail: RunDetail, texts: PageTexts, gates: list[GateRun]) -> Iterator[Html]:
    log = f".aider_logs/{task.agent}_*.jsonl"
    why = task.held or task.cause
    if why:
        yield tag("p", safe_line(why, 1_000))
    if task.remedy:
        yield tag("p", safe_line(task.remedy, 1_000), class_="remedy")
    yield task_facts(task, detail)
    for words in task_notes(task):
        yield tag("p", f"It {safe_line(words, 1_000)}.", class_="quiet")
    if task.answered:
        yield collapsible("Answer", tag("pre", texts.shorten_text(task.said, log), tabindex=0), open_=True)
    yield from map(review_block, task.reviews)
    yield from decision_blocks(task, texts, log)
    tries = detail.attempts(task.id)
    if len(tries) > 1 or any(attempt.failures for attempt in tries):
        yield attempts_table(tries)
    if brief := detail.briefs.get(task.id, ""):
        yield collapsible("Brief", tag("pre", texts.shorten_text(brief, log), tabindex=0))
    for attempt in tries:
        if attempt.turns:
            again = f" of attempt {attempt.number}" if len(tries) > 1 else ""
            yield collapsible(
                f"Conversation{again}, {plural(len(attempt.turns), 'turn')}", *conversation_blocks(attempt, texts, log)
            )
    if change := texts.diffs.get(task.id, ""):
        kept = f"git show {task.commit[:12]}" if task.commit else task.patch
        yield collapsible(
            "Change" if task.success else "Change that was not taken",
            highlight_diff(texts.shorten_text(change, kept), colours=texts.colours),
            open_=True,
        )
    for each in gates:
        if is_review(each.result) and not each.result.missing:
            continue
        path = each.result.output
        yield gate_entry(each.result, {path: texts.shorten_text(texts.outputs.get(path, ""), path)}, numbered(each))


def decision_blocks(task: TaskReport, texts: PageTexts, log: str) -> Iterator[Html]:
    """What persons decided when it had failed, each with what they were asked and what they said."""
    for each in task.decisions:
        asked, said = each.asked, each.text
        head = tag(
            "p", tag("strong", f"{decision_phrase(each)}."), f" It had failed: {safe_line(asked, 600)}" if asked else ""
        )
        yield tag(
            "div",
            head,
            *([tag("pre", texts.shorten_text(said, log), tabindex=0)] if said.strip() else []),
            class_="word",
        )


def review_block(each: Review) -> Html:
    """A critic's word, with its reasons."""
    who, _, outcome = review_phrase(each).rpartition(": ")
    pill = tag("span", outcome, class_=f"pill {'good' if each.ok else 'bad'}")
    reasons = [*each.reasons, *filter(None, [each.missing])]
    listed = [tag("ul", *(tag("li", safe_line(reason, 1_000)) for reason in reasons))] if reasons else []
    return tag("div", tag("p", tag("strong", capitalize_first(who)), " ", pill), *listed, class_="word")


def numbered(each: GateRun) -> str:
    return f"Attempt {each.attempt}: " if each.attempt else "Gate: "


def task_facts(task: TaskReport, detail: RunDetail) -> Html:
    needs = join_html((tag("a", f"agent{need}", href=f"#task-{need}") for need in detail.needs.get(task.id, ())), ", ")
    rows = {
        "Role": safe_line(task.role),
        "Files": join_html((tag("code", safe_line(path)) for path in task.files[:50]), ", "),
        "Requirements": ", ".join(map(safe_line, task.requirements)),
        "Needs": needs,
        "Replaced by": tag("a", f"agent{task.replaced}", href=f"#task-{task.replaced}") if task.replaced else "",
        "Time": format_duration(task.seconds) if task.seconds else "",
        "Commit": tag("code", task.commit[:12]) if task.commit else "",
        "Branch": tag("code", task.branch) if task.branch else "",
        "Patch": tag("code", task.patch) if task.patch else "",
    }
    pairs = (join_html((tag("dt", name), tag("dd", value))) for name, value in rows.items() if value)
    return tag("dl", *pairs, class_="facts")


def attempts_table(tries: list[Attempt]) -> Html:
    rows = []
    for attempt in tries:
        said = [attempt.cause, *attempt.failures[:5]]
        time = format_duration(attempt.seconds) if attempt.ended else ""
        verdict = attempt.verdict.replace("_", " ") or "not finished"
        why = join_html(tag("div", safe_line(words, 600)) for words in said if words)
        rows.append((str(attempt.number), verdict, why, time, f"{attempt.usage.tokens:,}", format_cost(attempt.usage)))
    return html_table(("attempt", "verdict", "why", "time", "tokens", "cost"), rows, 3)


def conversation_blocks(attempt: Attempt, texts: PageTexts, log: str) -> Iterator[Html]:
    for turn in attempt.turns:
        yield from (message_block(role, text, texts, log) for role, text in turn.asked)
        yield message_block("assistant", turn.said, texts, log)
    if not any(turn.asked for turn in attempt.turns):
        yield tag("p", "Of the requests only the replies were kept.", class_="quiet")


def message_block(role: str, text: str, texts: PageTexts, log: str) -> Html:
    """A system prompt is long and the same everywhere, so it is folded."""
    body = tag("pre", texts.shorten_text(text, log), tabindex=0)
    if role == "system":
        return tag("div", collapsible("system", body), class_="said system")
    who = "assistant" if role == "assistant" else "user"
    return tag("div", tag("div", safe_line(role, 20), class_="role"), body, class_=f"said {who}")
