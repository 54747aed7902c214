"""Hostile words wherever words come from outside: in no form of the report do they become anything but words."""

import io
import json
import random
import re
import string
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from orchestra.cli.ci import GuardedStream, guard_output, send_ci_command
from orchestra.console import JsonStream
from orchestra.events import Event
from orchestra.report.annotations import build_annotations, step_outputs
from orchestra.report.ci import CiSystem, escape_data, escape_property
from orchestra.report.closing import closing_text
from orchestra.report.detail import build_detail
from orchestra.report.event_lines import describe_event
from orchestra.report.fold import fold_events
from orchestra.report.junit import junit_xml
from orchestra.report.markdown import markdown_report
from orchestra.report.page import html_page
from orchestra.report.phrases import verdict_sentence
from orchestra.report.sanitize import strip_controls
from tests.support.reported import PR, checked_by, diffs, handed, printed, story
from tests.test_report import junit_schema, read_outputs

HOSTILE = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "out of everything": "</pre></code></details></style></script></title>--><h1>owned</h1>",
    "attribute": "\" onclick='alert(1)' x=\"",
    "data": ']]></failure></testcase><testcase name="owned"/>',
    "entity": "&lt;script&gt; &#60;b&#62; &amp; &owned;",
    "command": "fine\n::error file=x::owned\n  ::add-mask::a\r::set-output name=x::y\n##[error]owned",
    "hidden command": "\u200b:\u00ad:warning::owned\n\u2060\ufeff::debug::owned\n#\u200b#[error]owned",
    "output": "x\nEOF\nverdict<<EOF\nowned\nEOF\n",
    "section": "section_start:1:owned\r\x1b[0KOwned\nsection_end:1:owned\r\x1b[0K",
    "terminal": "\x1b[31mred\x1b[0m\x1b]0;owned\x07\x1b]8;;http://owned\x1b\\link\x1b[2J\x9b5m\x08\x07\x00",
    "markdown": "# Owned\n\n* [owned](http://owned) ![owned](http://owned/x) `code` **bold** | cell |\n---\n> q\n```",
    "links": "http://owned www.owned.com @owned #1 GH-1 owned@owned.com <http://owned> [owned]\n\n[owned]: http://owned",
    "table": "a | b\n|---|---|\n| owned | owned |",
    "xml": "\x00\x01\x0b\x1f\x7f\x85\ufffe\uffff",
    "halves": "\ud800 \udcff \udfff\ud800",
    "other way": "\u202eowned\u2066\u2069\u200f",
    "math": "$\\href{http://owned}{x}$ $$x$$ ~~gone~~ ^up^ :smile:",
    "diff": "diff --git a/<b>x</b> b/<b>x</b>\n+++ <script>\n@@ <i>\n+<b>&lt;\n-'\"#//\n",
}
ACTIVE = {"script", "img", "a", "iframe", "object", "embed", "form", "link", "meta", "base", "svg", "style", "h1"}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def run(words: str) -> list[Event]:
    """These words in every place that takes words from outside, before and after those that were there."""

    def say(said: str) -> str:
        return f"{words}{said}{words}"

    return handed(story(3, 0.5, say=say, ok=False, seed=SEED), say)


# One of the three tasks fails, is reviewed, and a person decides about it.
SEED = 2
HARMLESS = run("")


def skeleton(text: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements of a page, without the words in their attributes and without what colours code."""
    kept = [(tag, dict(attributes)) for tag, attributes in Elements(text).found if tag not in "biu"]
    for _, attributes in kept:
        for name in ("aria-label", "content"):
            attributes.pop(name, None)
    return kept


def strange_text() -> st.SearchStrategy[str]:
    pieces = st.sampled_from([*HOSTILE.values(), "::", "##[", "\n", "\r", "<", "`", "|", "&", "]]>", "\x1b[", "\ud83d"])
    return st.lists(st.one_of(pieces, st.text(st.characters(), max_size=5)), max_size=5).map("".join)


# --- HTML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_page_has_the_same_elements_for_any_text(name: str) -> None:
    events, words = run(HOSTILE[name]), HOSTILE[name]
    text = html_page(fold_events(events), build_detail(events), {}, printed(events, lambda said: words + said))
    assert skeleton(text) == skeleton(html_page(fold_events(HARMLESS), build_detail(HARMLESS), {}, printed(HARMLESS)))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    text.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_diff_is_only_ever_shown(name: str) -> None:
    changes = diffs(3, lambda said: HOSTILE[name] + said + HOSTILE[name])
    elements = Elements(html_page(fold_events(HARMLESS), build_detail(HARMLESS), changes, {})).found
    inside = {"pre", "code", "strong", "em", "ins", "del", "s", "b", "i", "u", "details", "summary"}
    before = Elements(html_page(fold_events(HARMLESS), build_detail(HARMLESS), {}, {})).found
    assert {tag for tag, _ in elements} - {tag for tag, _ in before} <= inside
    assert all(not attributes for tag, attributes in elements if tag in ("b", "i", "u", "s", "ins", "del"))


ADDRESSES = (
    "javascript:alert(1)",
    "https://a.example/<b>",
    'https://a.example/" onclick="x',
    "https://a.example/)[x](y",
)


@pytest.mark.parametrize("url", ADDRESSES)
def test_only_what_looks_like_an_address_is_a_link(url: str) -> None:
    for address, links in ((PR, 1), (url, 0)):
        events = handed(story(1), url=address)
        found = [
            tag
            for tag, about in Elements(html_page(fold_events(events), build_detail(events), {}, {})).found
            if about.get("rel")
        ]
        shown = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown_report(fold_events(events)))
        assert len(found) == [tag for tag, _ in Elements(shown).found].count("a") == links


def unchecked(words: str) -> list[Event]:
    """A result that tests did not check, with these words in what the runner printed."""
    why = {"about": "tests", "verifies": False, "unproven": f"pytest could not start: {words}"}
    return checked_by(why | {"name": "pytest"}, why | {"name": "tests"}, unusable={"npm test": words})


@pytest.mark.parametrize("name", HOSTILE)
def test_why_nothing_was_checked_stays_words(name: str) -> None:
    events, usual = unchecked(HOSTILE[name]), unchecked("x")
    shown = html_page(fold_events(events), build_detail(events), {}, {})
    assert skeleton(shown) == skeleton(html_page(fold_events(usual), build_detail(usual), {}, {}))
    assert_harmless_markdown(events)
    junit_schema().validate(junit_xml(fold_events(events), build_detail(events).gates, {}))
    assert (
        "\x1b" not in closing_text(fold_events(events), "")
        and len(verdict_sentence(fold_events(events)).splitlines()) == 1
    )


# --- Markdown -------------------------------------------------------------------------------------------------------


def assert_harmless_markdown(events: list[Event]) -> None:
    text = markdown_report(fold_events(events))
    shown = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)
    tags = [tag for tag, about in Elements(shown).found if about.get("href") != PR]
    assert not set(tags) & ACTIVE
    assert tags.count("h3") == 1 and not {"h2", "h4", "blockquote", "hr"} & set(tags)
    assert not re.search(r"[@#]\w", re.sub(r"(?s)<pre>.*?</pre>|<code>.*?</code>|&#\w+;", "", shown)), "a mention"
    assert not any(
        attributes
        for _, attributes in Elements(shown).found
        if set(attributes) - {"class", "style"} and PR not in attributes.values()
    )
    text.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_stays_what_it_is(name: str) -> None:
    assert_harmless_markdown(run(HOSTILE[name]))


# --- JUnit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_junit_has_the_same_cases(name: str) -> None:
    events = run(HOSTILE[name])
    text = junit_xml(
        fold_events(events), build_detail(events).gates, printed(events, lambda said: HOSTILE[name] + said)
    )
    junit_schema().validate(text)
    usual = junit_xml(fold_events(HARMLESS), build_detail(HARMLESS).gates, printed(HARMLESS))
    counts = [(read.tests, read.failures, read.errors) for read in map(parsed, (text, usual))]
    assert counts[0] == counts[1]


def parsed(text: str) -> JUnitXml:
    return JUnitXml.fromstring(text.encode())


# --- CI -------------------------------------------------------------------------------------------------------------


def commands(text: str) -> list[str]:
    """What GitHub's runner takes for commands: it cuts at every kind of line end, and compares without what cannot be
    seen, so that zero-width signs are as if they were not there."""
    unseen = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff\ufe00-\ufe0f\x00-\x08\x0e-\x1f\x7f-\x9f]")
    lines = [unseen.sub("", each).strip() for each in re.split(r"[\r\n\x0b\x0c\x85\u2028\u2029]", text)]
    return [each for each in lines if each.startswith("::") or "##[" in each]


def through(text: str, kind: str, rng: random.Random) -> str:
    """Printed in pieces of any length."""
    sink = io.StringIO()
    guard = GuardedStream(sink, CiSystem(kind))  # type: ignore[arg-type]
    while text:
        cut = rng.randint(1, len(text))
        guard.write(text[:cut])
        text = text[cut:]
    guard.close()
    return sink.getvalue()


@given(strange_text(), st.integers())
def test_nothing_printed_is_a_command(text: str, seed: int) -> None:
    shown = through(text, "github", random.Random(seed))
    assert commands(shown) == []
    assert "\x1b" not in through(text, "gitlab", random.Random(seed)) and "\r" not in through(
        text, "gitlab", random.Random(seed)
    )


def test_the_guard_lets_only_orders_through(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with guard_output({"GITHUB_ACTIONS": "true"}):
        print("one", end="", file=sys.stderr)
        send_ci_command("::error::ours\n")
        print("::error::theirs", file=sys.stderr)
    assert commands(said.getvalue()) == []  # what was begun before stands in the same line
    assert said.getvalue() == "one::error::ours\n: :error::theirs\n"
    assert sys.stderr is said


@pytest.mark.parametrize("name", HOSTILE)
def test_annotations_say_one_thing_each(name: str) -> None:
    events = run(HOSTILE[name])
    for each in build_annotations(fold_events(events), printed(events, lambda said: HOSTILE[name] + said)):
        assert re.fullmatch(r"::error (?:\w+=[^,:\r\n]*,?)+::[^\r\n]*", each)
        assert "owned" not in re.findall(r"(\w+)=", each.split("::")[1])
        each.encode()


@given(st.text(st.characters()))
def test_annotations_can_be_read_back(text: str) -> None:
    back = {"%0A": "\n", "%0D": "\r", "%3A": ":", "%2C": ",", "%25": "%"}
    for escaped in (escape_data(text), escape_property(text)):
        assert "\n" not in escaped and "\r" not in escaped
    assert re.sub("%0A|%0D|%25", lambda found: back[found[0]], escape_data(text)) == text
    assert re.sub("%..", lambda found: back[found[0]], escape_property(text)) == strip_controls(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_outputs_have_the_same_names(name: str) -> None:
    report = fold_events(run(HOSTILE[name]))
    assert (
        read_outputs(step_outputs(report, {}, "end_x")).keys()
        == read_outputs(step_outputs(fold_events(HARMLESS), {}, "end_x")).keys()
    )


# --- the terminal and the streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_terminal_gets_no_control_sequences(name: str) -> None:
    events = run(HOSTILE[name])
    last = closing_text(fold_events(events), "summary.json", "report.html")
    for text in (last, *map(describe_event, events)):
        assert not set(text) - {"\n"} & {chr(n) for n in (*range(32), *range(127, 160))}
        text.encode()
    # No word from outside begins a line of its own.
    heads = (
        "Pushed:",
        "Patch:",
        "Pull request:",
        "Agents:",
        "Changed:",
        "Not done:",
        "Checks:",
        "Also:",
        "Cost:",
        "Requirements:",
        "Report:",
        "Data:",
        "Look:",
        "Undo:",
        "Go on:",
        "Next:",
        "  ",
    )
    assert all(not each or each.startswith(heads) for each in last.split("\n")[1:])


@pytest.mark.parametrize("name", HOSTILE)
def test_events_are_lines_of_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    events = run(HOSTILE[name])
    for event in events:
        JsonStream().show_event(event)
    said = capsys.readouterr().out
    assert said.isascii() and commands(said) == []
    records = [json.loads(each) for each in said.splitlines()]
    assert [(record["seq"], record["event"]) for record in records] == [(event.seq, event.kind) for event in events]
    assert records[0]["data"]["change"] == events[0].data["change"]


@given(strange_text())
def test_plain_text_stays(text: str) -> None:
    shown = strip_controls(text)
    assert strip_controls(shown) == shown
    shown.encode()
    assert (
        strip_controls(string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""))
        == string.printable[:-3]
    )
