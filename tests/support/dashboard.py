"""The dashboard for tests: its server, pages in a real Chromium, and two ways to use them: the mouse, or only keys."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support.load import within
from tests.support.modelserver import ModelServer
from tests.support.runs import PROGRAM, Place

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
MOST_TABS = 200


@contextmanager
def served(
    place: Place, port: int = 0, provider: ModelServer | None = None, options: Sequence[str] = (), **env: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server for the runs of this place, and its address with the token. Runs that it starts ask the provider."""
    command = [sys.executable, str(PROGRAM), "serve", "--port", str(port), "--token-file", str(place.home / "token")]
    command += options
    child = subprocess.Popen(
        command, cwd=place.repo, env=place.environment(provider, **env), stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait()


@contextmanager
def opened(chromium: Any, address: str, **looks: Any) -> Iterator[Any]:
    """A page in which nothing goes wrong."""
    troubles: list[str] = []
    page = chromium.new_page(**(looks or DESKTOP))
    page.set_default_timeout(within(30) * 1000)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    page.goto(address)
    yield page
    page.close()
    # The browser tells of a refusal and of a killed server too, and of a link that is left before it is open.
    told = ("Failed to load resource", "WebSocket connection to")
    wrong = [each for each in troubles if not each.startswith(told)]
    assert not wrong, wrong


def has_text(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


class Mouse:
    """Uses a page by clicking. Only text is typed."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def press(self, name: str, where: Any = None) -> None:
        """Press the button or tab of this name."""
        (where or self.page).locator("button, [role=tab], a").get_by_text(name, exact=True).first.click()

    def confirm(self) -> None:
        """Press OK, and wait until the dialog has gone."""
        self.press("OK")
        self.page.locator("[role=dialog]").wait_for(state="detached")

    def use(self, target: Any) -> None:
        target.click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label).fill(text)


class Keyboard(Mouse):
    """Uses a page without a mouse: what is meant must be reached with Tab."""

    def press(self, name: str, where: Any = None) -> None:
        scope = where or self.page
        self.use(scope.locator("button, [role=tab], a").filter(has_text=name).first)

    def use(self, target: Any) -> None:
        self.reach(target)
        self.page.keyboard.press("Enter")

    def fill(self, label: str, text: str) -> None:
        self.reach(self.page.get_by_label(label))
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)

    def reach(self, target: Any) -> None:
        """Press Tab until the target has the focus. The chosen tab of a tab list is left with an arrow key."""
        target.wait_for()
        self.page.wait_for_function("(element) => !element.disabled", arg=target.element_handle())
        for _ in range(MOST_TABS):
            if target.evaluate("(element) => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {target}")
