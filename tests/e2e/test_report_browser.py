"""The HTML report as people meet it: in a real browser, in desktop and phone width, light and dark, by keyboard."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.events import Event
from orchestra.report.detail import build_detail
from orchestra.report.fold import fold_events
from orchestra.report.page import html_page
from tests.support.browser import LOOKS, chromium
from tests.support.load import within
from tests.support.reported import PR, cancelled, diffs, handed, printed, story
from tests.support.sample import SOAK

__all__ = ["chromium"]

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
# Elements that stick out of the window, or lie over a sibling that is text as they are.
MISPLACED = """() => {
  const inside = "svg, .scroll, .skip, pre";
  const seen = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest(inside));
  const box = (e) => e.getBoundingClientRect();
  const inline = (e) => getComputedStyle(e).display === "inline";
  const out = seen.filter((e) => box(e).width && (box(e).right > innerWidth + 1 || box(e).left < -1));
  const over = seen.filter((e) => {
    const next = e.nextElementSibling;
    if (!next || !next.checkVisibility() || inline(e) || inline(next)) return false;
    if (!box(e).width || !box(next).width) return false;
    const wide = Math.min(box(e).right, box(next).right) - Math.max(box(e).left, box(next).left);
    const high = Math.min(box(e).bottom, box(next).bottom) - Math.max(box(e).top, box(next).top);
    return wide > 1 && high > 1;
  });
  return [...out, ...over].map((e) => e.outerHTML.slice(0, 120));
}"""
RUNS: dict[str, Callable[[], list[Event]]] = {
    "failed": lambda: handed(story(12, 0.5, ok=False, needs=True, seed=5)),
    "cancelled": cancelled,
    "huge": lambda: story(1000, 0.2),
}


def made(folder: Path, name: str) -> Path:
    events, path = RUNS[name](), folder / f"{name}.html"
    changes = diffs(1000 if name == "huge" else 2)
    path.write_text(html_page(fold_events(events), build_detail(events), changes, printed(events)), "utf-8")
    return path


def demo(folder: Path) -> Path:
    command = [sys.executable, str(ROOT / "aider_orchestrator.py"), "demo", str(folder / "sample")]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=within(), check=True)
    return next((folder / "sample" / ".aider_logs").glob("report_*.html"))


@pytest.fixture(scope="module")
def report(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("reports")
    known: dict[str, Path] = {}

    def get(name: str) -> Path:
        known[name] = known.get(name) or (demo(folder) if name == "demo" else made(folder, name))
        return known[name]

    return get


@pytest.fixture
def show(chromium: Any, report: Callable[[str], Path]) -> Iterator[Callable[..., Any]]:
    """Open a report; at the end nothing may have been complained of, and nothing asked of a network."""
    wrong: list[str] = []
    contexts = []

    def open_(name: str, look: str = "desktop light", place: str = "", **more: Any) -> Any:
        context = chromium.new_context(**LOOKS[look], **more)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda asked: wrong.extend([asked.url] * (not asked.url.startswith("file:"))))
        tab.goto(f"{report(name).as_uri()}{place}")
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


ALL = [(name, look) for name in ("demo", "failed", "cancelled") for look in LOOKS]
SOME = [("demo", "desktop light"), ("demo", "phone dark"), ("failed", "phone light"), ("cancelled", "desktop dark")]


@pytest.mark.parametrize(("name", "look"), ALL if SOAK else SOME)
def test_nothing_overlaps_and_axe_finds_no_serious_fault(name: str, look: str, show: Callable[..., Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="there is no axe: make browser")
    tab = show(name, look)
    assert tab.evaluate(MISPLACED) == []
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.evaluate(MISPLACED) == []
    faults = axe.Axe().run(tab, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [fault for fault in faults if fault["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)[:3000]


@pytest.mark.parametrize("name", ("demo", "failed"))
def test_every_link_and_fold_works_by_keyboard(name: str, show: Callable[..., Any]) -> None:
    tab = show(name, "phone light")
    wanted = tab.evaluate(
        "[...document.querySelectorAll('a, summary, button')].filter((e) => e.checkVisibility()).length"
    )
    folds = links = 0
    reached = []
    tab.keyboard.press("Tab")
    while (what := tab.evaluate(FOCUSED)) and what["at"] not in reached:
        reached.append(what["at"])
        if what["tag"] == "SUMMARY":
            tab.keyboard.press("Enter")
            assert tab.evaluate("document.activeElement.parentElement.open") != what["open"]
            tab.keyboard.press("Enter")
            folds += 1
        elif what["tag"] == "A":
            links += 1
            there = tab.evaluate("(id) => Boolean(document.getElementById(id))", what["href"][1:])
            assert there or what["href"] == PR
        assert what["outline"] != "none"
        tab.keyboard.press("Tab")
    assert folds and links and len(reached) >= wanted


FOCUSED = """() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const all = [...document.querySelectorAll("*")];
  return { at: all.indexOf(e), tag: e.tagName, href: e.getAttribute("href"), open: e.parentElement.open,
    outline: getComputedStyle(e).outlineStyle };
}"""


def test_a_link_to_a_task_opens_it(show: Callable[..., Any]) -> None:
    tab = show("failed", place="#task-7")
    assert tab.evaluate("document.getElementById('task-7').open")
    tab.focus("#timeline a[href='#task-3']")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.getElementById('task-3').open")  # the page hears of its new address a little later


def test_tasks_can_be_narrowed_down(show: Callable[..., Any]) -> None:
    tab = show("huge")
    count = "document.querySelectorAll('#tasks .entries > details:not([hidden])').length"
    assert tab.evaluate(count) == 1000
    tab.fill("#find", "module 99")
    assert tab.evaluate(count) == 11
    tab.fill("#find", "")
    tab.click("button[data-show=bad]")
    assert 0 < tab.evaluate(count) < 1000
    assert tab.evaluate("document.querySelector('[data-show=bad]').getAttribute('aria-pressed')") == "true"


def test_page_of_a_thousand_tasks_opens_and_is_small(show: Callable[..., Any], report: Callable[[str], Path]) -> None:
    """How soon: bench/short.py."""
    assert report("huge").stat().st_size < 5_000_000
    assert show("huge").evaluate("document.readyState") == "complete"


def test_everything_is_there_without_a_script(show: Callable[..., Any]) -> None:
    tab = show("failed", java_script_enabled=False)
    assert tab.locator("#tasks .entries > details").count() == 12
    assert not tab.locator(".tools").is_visible()
    tab.locator("#task-1 > summary").press("Enter")
    assert tab.locator("#task-1 .body").is_visible()


def test_on_paper_all_is_unfolded(show: Callable[..., Any]) -> None:
    tab = show("demo")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details:not([open])").count() == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("#tasks .entries > details[open]").count() == 0
