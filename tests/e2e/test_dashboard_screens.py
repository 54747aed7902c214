"""Every screen of the dashboard on a run at work: by axe, in both themes, on a phone, enlarged; and pictures of them.

`make pictures` (tools/make_pictures.py, PICTURES=docs/images) writes the pictures of docs/dashboard.md anew.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_dashboard_actions import is_in_state, running_story, task_row
from tests.support.browser import chromium
from tests.support.dashboard import opened

__all__ = ["chromium"]
pytestmark = pytest.mark.thorough
ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
# Address, and what is there once the screen is whole.
RUN_TABS = ("timeline", "table", "log", "files", "gates", "cost", "plan", "settings")
TASK_PARTS = ("brief", "attempts", "reviews", "diff", "conversation", "gates")
SCREENS = {
    "runs": ("", "[data-row]"), "queue": ("queue", "article"), "new": ("new", "textarea"),
    "plans": ("plans", "[data-row]"), "plan": ("plans/reset", ".cards"), "agents": ("agents", "[data-row]"),
    "locks": ("locks", "[data-row]"), "stats": ("stats", ".figures"), "health": ("health", ".good"),
    "run": ("runs/latest", "[data-task]"),
} | {tab: (f"runs/latest/{tab}", f"section[aria-label='{tab.title()}']") for tab in RUN_TABS} | {
    f"task-{part}": (f"runs/latest/graph/7/{part}", "aside section, aside pre, aside .hint") for part in TASK_PARTS
}  # fmt: skip
DIALOGS = {"keys": "Keys", "commands": "Commands"}
# By picture: the screen, its width, and the colours.
PICTURES = {
    "runs": ("runs", 1000, "light"), "run": ("run", 1000, "light"), "run-dark": ("run", 1000, "dark"),
    "task": ("task-diff", 1000, "light"), "timeline": ("timeline", 1000, "light"), "log": ("log", 1000, "light"),
    "files": ("files", 1000, "light"), "gates": ("gates", 1000, "light"), "cost": ("cost", 1000, "light"),
    "plan": ("plan", 1000, "light"), "queue": ("queue", 1000, "dark"), "new": ("new", 1000, "light"),
    "agents": ("agents", 1000, "light"), "locks": ("locks", 1000, "light"), "stats": ("stats", 1000, "dark"),
    "health": ("health", 1000, "light"), "phone": ("run", 390, "light"), "phone-task": ("task-diff", 390, "dark"),
}  # fmt: skip
HEIGHTS = {1000: 640, 390: 844}
TASK_HEIGHT = 1100  # down to its diff


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard of a run whose task 6 asks a model and whose task 7 waits for a person, and stays so."""
    with running_story(tmp_path_factory.mktemp("screens")) as (_, _, _, address):
        yield address


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    with opened(chromium, address) as page:
        page.locator("[data-row]").first.click()
        is_in_state(page, 7, "waiting for you")
        is_in_state(page, 6, "asking")
        yield page


def go_to(page: Any, name: str) -> None:
    place, mark = SCREENS[name]
    page.evaluate("(place) => { location.hash = place }", f"#/{place}")
    page.locator(mark).first.wait_for(state="attached")


def test_screens_are_accessible_in_both_themes_and_sizes(page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    axe, found = Axe(), list[tuple[str, int, str, str, str]]()

    def check(name: str) -> None:
        for width in (1280, 640, 390):  # 640: enlarged twice
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
            for scheme in ("light", "dark") if width != 640 else ():
                page.emulate_media(color_scheme=scheme)
                violations = axe.run(page).response["violations"]
                found.extend((name, width, scheme, each["id"], each["nodes"][0]["html"][:200]) for each in violations)

    for name in SCREENS:
        go_to(page, name)
        check(name)
    for name, button in DIALOGS.items():
        page.get_by_role("button", name=button, exact=True).click()
        check(name)
        page.keyboard.press("Escape")
    assert found == [], "\n".join(map(str, found))


def test_an_update_keeps_the_focus(page: Any) -> None:
    """Also the text that is being typed, and where the page is scrolled to."""
    row = task_row(page, 9).get_by_role("button")
    row.focus()
    before = page.evaluate("document.documentElement.dataset.seq")
    page.evaluate(
        "fetch('/api/v1/runs/latest/tasks/9/edit', {method: 'POST', body: '{\"title\": \"Tell all\"}', headers: "
        "{'Content-Type': 'application/json', Authorization: 'Bearer ' + localStorage['aider-orchestrator-token']}})"
    )
    task_row(page, 9).get_by_text("Tell all").wait_for()
    assert page.evaluate("document.documentElement.dataset.seq") != before
    assert row.evaluate("(element) => element === document.activeElement")


def test_graph_is_walked_and_clicked(page: Any) -> None:
    """By keys along what tasks need, and by the mouse at the place that the server's layout has."""
    frame = page.locator(".frame")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    page.get_by_label("Nearer").focus()
    page.keyboard.press("Shift+Tab")
    assert frame.evaluate("(element) => element === document.activeElement")
    for key, words in (("ArrowRight", "agent5"), ("ArrowRight", "agent6"), ("ArrowLeft", "agent5")):
        page.keyboard.press(key)
        assert words in frame.locator("[aria-live]").inner_text()
    page.keyboard.press("Enter")
    page.locator("aside h2", has_text="agent5").wait_for()
    page.keyboard.press("Escape")
    page.locator("aside").wait_for(state="detached")
    layout = page.evaluate(
        "fetch('/api/v1/runs/latest/graph', {headers: {Authorization: 'Bearer ' + "
        "localStorage['aider-orchestrator-token']}}).then((answer) => answer.json())"
    )["data"]["layout"]
    left, top, scale = map(float, frame.get_attribute("data-view").split())
    [(x, y)] = [(x, y) for id, x, y in layout["boxes"] if id == 7]
    frame.click(position={"x": left + (x + 20) * scale, "y": top + (y + 10) * scale})
    page.locator("aside h2", has_text="agent7").wait_for()


def test_newcomer_finds_why_a_task_failed(page: Any) -> None:
    """From the first page: why task 7 failed, what it cost, its diff, and how it is tried again with a hint."""
    page.keyboard.press("Escape")
    page.locator(".waiting a", has_text="OTP mail").click()
    panel = page.locator("aside")
    panel.get_by_text("shop/mail.py: error: does not parse").first.wait_for()
    panel.locator("dd", has_text="$0.00").first.wait_for()
    panel.get_by_text("+def send_code(to, code)").wait_for()
    panel.get_by_role("button", name="Retry with a hint").click()
    page.get_by_label("A hint for the agent").wait_for()


def test_pictures_of_the_screens(page: Any, tmp_path: Path) -> None:
    folder = ROOT / os.environ["PICTURES"] if os.environ.get("PICTURES") else tmp_path
    for name, (screen, width, scheme) in PICTURES.items():
        page.set_viewport_size({"width": width, "height": TASK_HEIGHT if name == "task" else HEIGHTS[width]})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        go_to(page, screen)
        page.locator(".pill.live").wait_for()
        page.locator("text=Reading …").first.wait_for(state="detached")
        for message in page.get_by_role("button", name="Close the message").all():
            message.click()
        page.screenshot(path=folder / f"dashboard-{name}.png")
    made = sorted(path.name for path in folder.glob("dashboard-*.png"))
    assert made == sorted(f"dashboard-{name}.png" for name in PICTURES)
    assert sum((folder / name).stat().st_size for name in made) < 1_600_000
