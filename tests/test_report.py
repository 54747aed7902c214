"""The report's forms: complete, within their limits, and accepted by who reads them."""

import functools
import json
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped
from markdown_it import MarkdownIt

from orchestra.events import Event
from orchestra.journal.jsonl import stamp_of
from orchestra.report.annotations import build_annotations, step_outputs
from orchestra.report.closing import closing_text
from orchestra.report.detail import RunDetail, build_detail
from orchestra.report.fold import fold_events
from orchestra.report.formats import REPORT_FORMATS, ReportMaterial
from orchestra.report.junit import junit_xml
from orchestra.report.markdown import PULL_REQUEST_LIMIT, STEP_SUMMARY_LIMIT, markdown_report
from orchestra.report.page import MAX_PAGE_BYTES, fair_text_limit, html_page
from orchestra.report.page.highlight import LexerBudget, highlight_diff
from orchestra.report.page.timeline import timeline_rows
from orchestra.report.phrases import verdict_sentence
from orchestra.report.state import Report
from orchestra.report.summary import build_summary, requirement_coverage
from tests.support.reported import PR, START, Story, cancelled, checked_by, diffs, handed, printed, story
from tests.support.written import event

RUNS = {
    "good": story(4),
    "bad": story(30, 0.6, ok=False, needs=True),
    "cancelled": cancelled(),
    "empty": [],
    "just begun": cancelled()[:1],
    "held": story(40, 0.3, seed=3),
}


@functools.cache
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(Path(__file__).parent / "support" / "junit.xsd"))


def html(events: list[Event], tasks: int = 0) -> str:
    return html_page(fold_events(events), build_detail(events), diffs(tasks), printed(events))


def xml(events: list[Event]) -> str:
    return junit_xml(fold_events(events), build_detail(events).gates, printed(events))


class Tags(HTMLParser):
    """Ids, links and open elements of a page."""

    VOID = ("meta", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        self.stack += [tag] if tag not in self.VOID else []

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.stack):
            self.words.append(data)


# --- every format ---------------------------------------------------------------------------------------------------


def test_forms_have_names_of_their_own() -> None:
    stamp = "20261129_120000"
    files = [form.file_name(stamp) for form in REPORT_FORMATS.values()]
    assert len(set(files)) == len(files)
    assert {stamp_of(name) for name in files} == {stamp}, "`clean` and `export` must know whose file it is"


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("form", REPORT_FORMATS)
def test_form_renders_every_run(form: str, name: str) -> None:
    events = RUNS[name]
    report = fold_events(events)
    text = REPORT_FORMATS[form].render(
        ReportMaterial(report, build_detail(events), diffs(len(report.tasks)), printed(events))
    )
    assert text.endswith("\n") and report.run in text


# --- how far it was checked -----------------------------------------------------------------------------------------

SYNTAX = {"name": "syntax", "about": "syntax", "verifies": True}
GOOD = {"name": "pytest", "about": "tests", "verifies": True}
OLD = GOOD | {"old": ["a.py::b"] * 3, "old_count": 3}
UNABLE = {
    "name": "npm test",
    "about": "tests",
    "verifies": False,
    "unproven": "npm test could not start: jest: not found",
}
GONE = {"pytest": "pytest is not installed here"}
CHECKS: dict[str, tuple[list[dict[str, Any]], dict[str, str], str]] = {
    "tests": ([GOOD, SYNTAX], {}, "verified by the tests"),
    "old failures": ([OLD, SYNTAX], {}, "verified by the tests, but for 3 that failed before"),
    "very many": ([OLD | {"old_count": 1234}], {}, "verified by the tests, but for 1,234 that failed before"),
    "of an older version": (
        [{"name": "tests", "old": ["a.py::b"], "verifies": True}],
        {},
        ", but for 1 that failed before",
    ),
    "two gates": ([OLD, GOOD | {"name": "unittest", "old_count": 1}], {}, ", but for 4 that failed before"),
    "lint's are no tests": (
        [GOOD, {"name": "ruff", "about": "lint", "verifies": True, "old_count": 2}],
        {},
        "the tests",
    ),
    "one of two": (
        [OLD, UNABLE],
        {},
        "verified by the tests, but for 3 that failed before and not by all of them: npm test could not start: "
        "jest: not found",
    ),
    "none": (
        [SYNTAX, UNABLE],
        {},
        "checked only for syntax, not checked by tests: npm test could not start: jest: not found",
    ),
    "not even syntax": ([UNABLE], {}, "main, not checked by tests: npm test could not start: jest: not found"),
    "not there": ([SYNTAX], GONE, "checked only for syntax, not checked by tests: pytest is not installed here"),
    "not there, and not missed": ([GOOD, SYNTAX], {"pytest": "pytest could not start"}, "verified by the tests"),
    "no tests at all": ([SYNTAX], {}, "checked only for syntax (no tests were run)"),
    "nothing": ([], {}, "checked by nothing but git (no tests were given)"),
    "failed": ([GOOD | {"ok": False, "verifies": False}, UNABLE], {}, "and pytest failed"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_sentence_says_how_far_the_result_was_checked_and_why_no_further(name: str) -> None:
    gates, unusable, words = CHECKS[name]
    events = checked_by(*gates, unusable=unusable, code=int(name == "failed"))
    said = verdict_sentence(fold_events(events))
    assert said.endswith(f"{words}.")
    found = "".join(Tags(html(events)).words)
    assert said in found and said in html_text(markdown_report(fold_events(events)))
    if "failed before" in words:
        assert "The tests passed on the combined result, but for" in found
    if "not checked by tests" in words:
        why = words.partition("tests: ")[2]
        assert f"Not checked by tests: {why}." in found and "passed on the combined" not in found


def html_text(text: str) -> str:
    return "".join(Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(text)).words)


def test_a_gate_that_checked_nothing_is_skipped_and_not_passed() -> None:
    events = checked_by(OLD, UNABLE, SYNTAX)
    text = xml(events)
    junit_schema().validate(text)
    (suite,) = [suite for suite in JUnitXml.fromstring(text.encode()) if suite.name.endswith("gates")]
    skipped = [case for case in suite if any(isinstance(result, Skipped) for result in case.result)]
    assert [case.name.split()[0] for case in skipped] == ["npm"] and suite.skipped == 1
    shown = closing_text(fold_events(events), "")
    assert "pytest passed but for 3 that failed before" in shown and "npm test checked nothing in" in shown
    assert [row["checks"] for row in requirement_coverage(fold_events(events))] == [["pytest", "syntax"]]


# --- HTML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_a_page_for_every_run(name: str) -> None:
    events = RUNS[name]
    found = Tags(html(events, 30))
    assert found.stack == []
    assert len(found.ids) == len(set(found.ids))
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    words = " ".join("".join(found.words).split())
    assert verdict_sentence(fold_events(events)) in words
    assert "http:" not in words and "https:" not in words


@pytest.mark.parametrize("name", [name for name in RUNS if name != "good"])
def test_verified_means_tests(name: str) -> None:
    events = [event for event in RUNS[name] if event.data.get("name") != "tests"]
    texts = "".join(Tags(html(events)).words), markdown_report(fold_events(events)), xml(events)
    assert not [text for text in texts if re.search(r"\b(verified|green)\b", text, re.IGNORECASE)]


def test_every_part_of_a_task_is_on_the_page() -> None:
    words = "".join(Tags(html(RUNS["bad"], 30)).words)
    for part in (
        "Do part 7.",
        "Here it is.",
        "You are an engineer.",
        'return "fog" if visibility < 39',
        "The horn sounds",
    ):
        assert part in words, part
    for part in (
        "The horn is silent at noon.",
        "A person had it retried. It had failed: The horn is silent.",
        "Look at horn.py.",
        "Review by gemini-flash-latest, of attempt 1",
        "AssertionError",
        "What came of part 30",
        "server (503): The server is tired.",
        "aider-orchestrator resume",
    ):
        assert part in words, part


def test_markdown_tells_of_persons_and_critics_in_short() -> None:
    text = markdown_report(fold_events(handed(RUNS["bad"])))
    assert re.search("- agent\\d+: A person had it retried: “Look at horn.py.”", text)
    assert re.search(r"\| agent\d+ \| review by .*, of attempt 1: failed \| The horn is silent at noon\. \|", text)
    assert f"Pull request: <{PR}>" in text


DIFF = """diff --git a/fog.py b/fog.py
index 1..2 100644
--- a/fog.py
+++ b/fog.py
@@ -1,4 +1,4 @@ def horn():
 def horn():
-    return 'a' # "x
+    \'\'\'Sound & fury,
+    for ships.\'\'\'
\\ No newline at end of file
diff --git a/notes.unknown b/notes.unknown
new file mode 100644
@@ -0,0 +1 @@
+return "a" # b
"""


def test_diff_is_highlighted_by_language_and_by_side() -> None:
    markup = highlight_diff(DIFF, LexerBudget())
    assert "<s> <b>def</b> horn():\n</s>" in markup
    assert "<del>-    <b>return</b> <u>'a'</u> <i># \"x</i>\n</del>" in markup
    assert "<ins>+    <u>'''Sound &amp; fury,</u>\n+<u>    for ships.'''</u>\n</ins>" in markup
    assert "<strong>notes.unknown\nnew file mode 100644\n</strong>" in markup
    assert '<ins>+return "a" # b\n</ins>' in markup, "Pygments has no lexer for such a file"
    shown = [line for line in DIFF.split("\n") if not line.startswith(("diff", "index", "---", "+++"))]
    names = ["fog.py", "notes.unknown"]
    for budget in (LexerBudget(), LexerBudget(0)):
        text = "".join(Tags(highlight_diff(DIFF, budget)).words)
        assert [line for line in text.split("\n") if line not in names] == [*shown, ""]


def test_slow_lexer_is_stopped_by_its_budget() -> None:
    budget = LexerBudget(0.05)
    diff = "diff --git a/A.java b/A.java\n@@ -0,0 +1 @@\n" + ("+" + "a " * 400 + "\n") * 10
    assert "".join(Tags(highlight_diff(diff, budget)).words).count("a ") == 4_000 and budget.seconds == 0


@pytest.mark.thorough
def test_thousand_tasks_fit_on_a_page() -> None:
    text = html(story(1000, 0.2, needs=True), 1000)
    assert len(text.encode()) < 5_000_000
    assert text.count('class="entry" id="task-') == 1000
    assert "agent30</a>, and 970 more" in text


@pytest.mark.thorough
def test_long_texts_are_cut_and_say_where_all_of_it_is() -> None:
    told = Story(lambda words: words * (20_000 if words.startswith("Do part") else 1))
    told.begin(300)
    text = html(told.events)
    assert len(text.encode()) <= MAX_PAGE_BYTES
    assert "characters left out; all of it is in .aider_logs/agent300_" in text


@pytest.mark.parametrize(
    ("lengths", "limit"), [([], 60_000), ([10, 20], 60_000), ([9_000_000] * 3, 60_000), ([50] * 9, 60_000)]
)
def test_short_texts_leave_their_share(lengths: list[int], limit: int) -> None:
    assert fair_text_limit(lengths) == limit
    many = fair_text_limit([2_000] * 1_000 + [10] * 1_000)
    assert 1_000 * many + 10_000 <= 1_500_000 < 1_000 * (many + 2) + 10_000


# --- the timeline ---------------------------------------------------------------------------------------------------


def spans(found: RunDetail, task: int | None) -> list[tuple[str, int, int]]:
    return [(span.kind, span.start - START, span.end - START) for span in found.spans if span.task == task]


def test_report_names_agents_and_times() -> None:
    found = build_detail(cancelled(2))
    assert spans(found, None)[0] == ("model", 40, 4040)
    kinds = [kind for kind, _, _ in spans(found, 1)]
    assert kinds == ["waiting", "retry", "model", "edit", "gate", "edit"]
    for (_, _, end), (_, start, _) in zip(spans(found, 1), spans(found, 1)[1:], strict=False):
        assert end <= start
    # The one that was at work when the run was stopped has worked until then.
    assert spans(found, 2)[-1][0] == "edit"
    assert spans(found, 2)[-1][2] == found.ended - START


def test_the_time_between_two_sessions_does_not_count() -> None:
    told = Story()
    told.begin(1)
    told.emit("task_moved", 1, state="ready")
    told.emit("run_resumed", after=3_600_000, folder="", pid=1)
    told.attempt(1, 1, "applied")
    found = build_detail(told.events)
    assert [pause.length for pause in found.breaks] == [3_600_000]
    assert found.working_ms(found.ended) < 60_000
    assert all(span.end - span.start < 60_000 for span in found.spans)
    assert fold_events(told.events).seconds == found.working_ms(found.ended) / 1000


def test_loading_time_counts_for_no_attempt() -> None:
    told = Story()
    told.begin(2)
    for task in (1, 2):
        told.emit("attempt_started", task, 1, model="gpt")
    told.emit("aider_ready", after=5_000)
    told.request(1, 1, 0.5)
    for task in (1, 2):
        told.emit("attempt_ended", task, 1, after=1_000, verdict="applied", cause="", remedy="", commit="", seconds=1.5)
    found = build_detail(told.events)
    assert [(kind, end - start) for kind, start, end in spans(found, 1)] == [
        ("waiting", 5_020),
        ("model", 500),
        ("edit", 1_000),
    ]
    assert fold_events(told.events).worked_ms == 2_500


def test_timeline_of_many_tasks_has_a_row_for_each_slot() -> None:
    events = story(200)
    shown = timeline_rows(fold_events(events), build_detail(events))
    assert [row.name for row in shown] == ["run", *(f"slot {n}" for n in range(1, 9))]
    for row in shown[1:]:
        assert all(one.end <= other.start for one, other in zip(row.spans, row.spans[1:], strict=False))


def test_strange_and_unknown_events_are_passed_over() -> None:
    strange = [
        event("attempt_started", 1, 1),
        event("never_heard_of", 1, 1, x=1),
        event("conversation", 1, 1, packed="?"),
        event("gate_ended", 1, 1),
        event("request", 1, 1, seconds="soon"),
        event("plan_made", tasks=[{"title": "no number"}]),
        event("task_moved", state="ready"),
        event("attempt_ended", 1, 1, verdict="applied", seconds="soon"),
    ]
    report, found = fold_events(strange), build_detail(strange)
    assert not found.attempts(1)[0].turns and found.attempts(1)[0].verdict == "applied"
    assert report.unreadable == 6 and list(report.tasks) == [1]
    words = "6 events in the log could not be read. The report is made from the others."
    assert (
        words in html_page(report, found, {}, {})
        and words in markdown_report(report)
        and words in closing_text(report, "")
    )
    assert build_summary(report, {})["unreadable_events"] == 6 and "unreadable_events" not in build_summary(
        Report(), {}
    )


# --- JUnit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_junit_is_what_its_readers_take(name: str, tmp_path: Path) -> None:
    events = RUNS[name]
    report, text = fold_events(events), xml(events)
    junit_schema().validate(text)
    read = JUnitXml.fromstring(text.encode())
    cases = [case for suite in read for case in suite]
    assert read.tests == len(cases) and read.failures + read.errors == sum(bool(case.result) for case in cases)
    assert sum(case.classname == "aider-orchestrator.tasks" for case in cases) == len(report.tasks)
    assert (report.exit_code == 0) == (read.failures + read.errors == 0)


def test_of_a_gate_that_ran_again_the_last_time_counts() -> None:
    told = Story()
    told.begin(1)
    for attempt, ok in ((1, False), (2, True)):
        told.gate(1, attempt, ok)
    read = JUnitXml.fromstring(xml(told.events).encode())
    gates = [case for suite in read for case in suite if case.classname.endswith("gates")]
    assert [(case.name, case.result) for case in gates] == [("lint of agent1", [])]


def test_what_could_not_be_done_is_an_error_and_what_was_bad_a_failure() -> None:
    for verdict, kind in (("auth", Error), ("rejected_edit", Failure), ("cancelled", Error), ("gates_failed", Failure)):
        told = Story()
        told.begin(1)
        told.attempt(1, 1, verdict)
        case = next(case for suite in JUnitXml.fromstring(xml(told.events).encode()) for case in suite)
        assert [type(result) for result in case.result] == [kind], verdict


# --- Markdown -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_markdown_is_rendered_sensibly(name: str) -> None:
    report = fold_events(RUNS[name])
    shown = Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown_report(report)))
    assert shown.stack == []
    words = "".join(shown.words)
    assert verdict_sentence(report) in words
    assert "|" not in words and "**" not in words


@pytest.mark.parametrize("limit", (STEP_SUMMARY_LIMIT, PULL_REQUEST_LIMIT, 8_000))
def test_markdown_keeps_its_limit_by_whole_rows(limit: int) -> None:
    told = Story()
    told.begin(3_000)
    for n in range(3_000):
        told.emit("task_moved", n + 1, state="ready")
        told.gate(None, None, False, f"gate_{n}")
    told.end([], ok=False, code=1)
    text = markdown_report(fold_events(told.events), limit)
    assert len(text.encode()) <= limit
    assert "more, in the HTML report." in text or limit == STEP_SUMMARY_LIMIT
    assert text.rstrip().endswith("</sub>")


@pytest.mark.thorough
def test_a_thousand_failing_gates_have_room_in_every_form() -> None:
    told = Story()
    told.begin(2)
    for n in range(1_000):
        told.gate(None, None, False, f"gate_{n}")
    told.emit("run_ended", exit_code=1, error="")
    report, found = fold_events(told.events), build_detail(told.events)
    said = dict.fromkeys(printed(told.events), "It failed.\n" * 10_000)
    text = junit_xml(report, found.gates, said)
    junit_schema().validate(text)
    assert JUnitXml.fromstring(text.encode()).failures >= 1_000 and len(text.encode()) < 10_000_000
    made = html_page(report, found, {}, said)
    assert len(made.encode()) < MAX_PAGE_BYTES and "gate_999" in made
    shown = markdown_report(report, PULL_REQUEST_LIMIT)
    assert len(shown.encode()) <= PULL_REQUEST_LIMIT and "gate_0" in shown and "gate_999" in markdown_report(report)
    noted = build_annotations(report, said)
    assert len(noted) == 10 and all(len(each.encode()) < 4_096 for each in noted)


# --- CI -------------------------------------------------------------------------------------------------------------


def test_no_more_annotations_than_are_shown() -> None:
    told = Story()
    told.begin(1_000)
    for n in range(1_000):
        told.gate(None, None, False, f"gate_{n}")
    told.end([], ok=False, code=1)
    report = fold_events(told.events)
    made = build_annotations(report, printed(told.events))
    assert len(made) == 10
    assert made[-1].endswith(f"::And {len(report.gates) + 1_000 - 9} more problems: see the report.")
    assert all(re.fullmatch(r"::error [^\r\n]*", each) and len(each.encode()) < 4_096 for each in made)


def test_an_annotation_stands_where_the_gate_points() -> None:
    report = fold_events(story(2, ok=False))
    said = dict.fromkeys(
        (gate.output for gate in report.gates), "x.py:1: no\nlighthouse/part_2.py:37: AssertionError\n"
    )
    assert build_annotations(report, said)[0].startswith(
        "::error file=lighthouse/part_2.py,line=37,title=tests failed::"
    )


def test_outputs_are_read_back_as_they_were() -> None:
    report = fold_events(RUNS["bad"])
    found = read_outputs(step_outputs(report, {"html": "/a b/r.html"}, "end_x"))
    assert found["verdict"] == verdict_sentence(report) and found["html"] == "/a b/r.html"
    assert (found["exit-code"], found["applied"], found["verified"]) == ("1", "false", "none")
    assert found["branch"] == "aider-orchestrator/run/result"
    assert float(found["cost"]) == pytest.approx(report.usage.dollars)


def read_outputs(text: str) -> dict[str, str]:
    """As GitHub's runner reads the file."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for head in lines:
        name, equals, value = head.partition("=")
        if equals and "<<" not in name:
            found[name] = value
            continue
        name, _, delimiter = head.partition("<<")
        found[name] = "\n".join(iter(partial(next, lines), delimiter))
    return found


def test_json_is_json() -> None:
    from orchestra.report.ci import json_text

    odd = {"text": "##[error]\udcff\x1b[31m\u2028", "more": ["##[", "#", "["]}
    assert json.loads(json_text(odd)) == odd
    assert "##[" not in json_text(odd) and json_text(odd).isascii()


# --- what the tests are worth ---------------------------------------------------------------------------------------

LATER = GOOD | {"judged": False}
FINE: dict[str, Any] = {
    "holds": True,
    "changed": [],
    "wrote": False,
    "lost": {},
    "bent": "",
    "remarks": [],
    "fresh": [],
}
LOST: dict[str, Any] = {
    "missing": ["t.py::a", "t.py::b"],
    "skipped": ["t.py::c"],
    "expected": [],
    "ran": None,
    "of": None,
}
JUDGED: dict[str, tuple[dict[str, Any], str, str]] = {
    "held": (FINE, "verified by the tests", "tests"),
    "changed": (
        FINE | {"holds": False, "changed": ["conftest.py", "tests/test_x.py"]},
        "verified by tests that the agents changed: conftest.py, tests/test_x.py",
        "changed-tests",
    ),
    "changed and lost": (
        FINE | {"holds": False, "changed": ["t.py"], "lost": LOST},
        "agents changed: t.py (of the base's tests, t.py::a, t.py::b are missing; t.py::c is skipped now)",
        "changed-tests",
    ),
    "lost": (
        FINE | {"holds": False, "lost": LOST},
        "verified by fewer tests than the base has (of the base's tests, t.py::a, t.py::b are missing; t.py::c is "
        "skipped now)",
        "changed-tests",
    ),
    "fewer": (
        FINE | {"holds": False, "lost": {"ran": 3, "of": 14}},
        "verified by fewer tests than the base has (of the base's tests, 3 of 14 ran)",
        "changed-tests",
    ),
    "wrote": (FINE | {"holds": False, "wrote": True}, "verified by tests that the agents wrote", "changed-tests"),
    "ran none": (
        FINE | {"holds": False, "lost": {"ran": 0, "of": 14}},
        "checked only for syntax, not checked by tests: pytest ran 0 of the base's 14 tests",
        "syntax",
    ),
    "bent": (
        FINE | {"holds": False, "bent": "did not report a control test that must fail", "changed": ["conftest.py"]},
        "not checked by tests: pytest did not report a control test that must fail; the agents changed conftest.py",
        "syntax",
    ),
}


def with_judgement(judgement: dict[str, Any] | None, **options: bool) -> Report:
    """The report of a run whose tests passed and were judged so; None: it died before."""
    events = checked_by(LATER, SYNTAX)
    at = next(n for n, each in enumerate(events) if each.kind == "delivered")
    said = [] if judgement is None else [event("tests_judged", name="pytest", **judgement)]
    report = fold_events([*events[:at], *said, *events[at:]])
    report.strict, report.require_tests = bool(options.get("strict")), bool(options.get("require_tests"))
    return report


@pytest.mark.parametrize("name", JUDGED)
def test_the_sentence_says_what_the_tests_are_worth(name: str) -> None:
    judgement, words, level = JUDGED[name]
    report = with_judgement(judgement)
    assert verdict_sentence(report).endswith(f"{words}.") and report.verified == level
    assert not report.is_under_verified
    assert with_judgement(judgement, strict=True).is_under_verified is (level != "tests")
    assert with_judgement(judgement, require_tests=True).is_under_verified is (level == "syntax")


def test_a_run_that_died_before_its_tests_were_judged_is_not_verified_by_them() -> None:
    assert "not checked by tests: pytest passed, but the run ended before" in verdict_sentence(with_judgement(None))
