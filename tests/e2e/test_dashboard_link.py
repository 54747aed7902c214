"""The live link of the dashboard: it never says live when it is not, and many tabs stay alive."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from bench.web_pages import RUN, open_written_run
from tests.e2e.test_live_changes import FILES, PLAN, WANTED
from tests.e2e.test_screens import Held
from tests.support.browser import chromium
from tests.support.dashboard import has_text, opened, served
from tests.support.edits import knows
from tests.support.modelserver import ModelServer, Reply
from tests.support.runs import Place, make_place

__all__ = ["chromium"]
pytestmark = pytest.mark.thorough
TABS = 8
MARKUP = "<img src=//elsewhere.test/x onerror=window.hurt=1><script>window.hurt=1</script></textarea></pre>"
HOSTILE_TEXT = f"{MARKUP} javascript:window.hurt=1 \u202eevil\u202c =cmd|' /C calc'!A0 ${{window.hurt=1}}\nsecond line"
HOSTILE_REPLY = f"{MARKUP} [link](javascript:window.hurt=1) \x1b[31mred\x1b[0m {'long' * 500}\n"
HOSTILE_NAMES = ("a<b>&\"c'.py", "=cmd.py", "${x}.py")

NOTE_ANNOUNCEMENTS = """() => {
  window.times = [];
  const note = (all) => { if (all.some((each) => each.target.textContent)) window.times.push(Date.now()); };
  new MutationObserver(note).observe(document.querySelector("p.unseen[role=status]"), {
    characterData: true, childList: true, subtree: true });
}"""


class Proxy:
    """Hands bytes on to a port until it `swallows`: then it accepts everything and answers nothing."""

    def __init__(self, port: int) -> None:
        self.port, self.swallows, self.own_port = port, False, 0
        self.loop = asyncio.new_event_loop()
        self.writers: set[asyncio.StreamWriter] = set()

    async def begin(self) -> None:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.own_port = server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self.hand_on(reader, far_writer), self.hand_on(far_reader, writer), return_exceptions=True)

    async def hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if not self.swallows:
                writer.write(data.replace(b":%d" % self.own_port, b":%d" % self.port))
                await writer.drain()
        writer.close()


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.begin(), proxy.loop).result()
    yield proxy
    proxy.loop.call_soon_threadsafe(proxy.loop.stop)
    thread.join()


@contextmanager
def held_run(folder: Any) -> Iterator[tuple[Place, str, Held]]:
    """A run whose first task is held, and the address of its dashboard."""
    place, model = make_place(folder, FILES), Held(knows(WANTED, set()))
    place.write({".aider_logs/plans/three.toml": PLAN, ".aider_logs/.gitignore": "*\n"})
    with ModelServer(model) as provider, served(place) as (_, address):
        running = place.start("execute", "three", server=provider)
        try:
            yield place, address, model
        finally:
            model.release = True
            running.end()


def test_page_says_stale_when_a_proxy_swallows(tmp_path: Any, chromium: Any) -> None:
    """The connection stays open and nothing comes through it: only missing beats tell. The page's clock is moved."""
    with held_run(tmp_path) as (_, address, _model):
        port = int(address.split(":")[2].partition("/")[0])
        with proxied(port) as proxy, opened(chromium, "about:blank") as page:
            page.clock.install()
            page.goto(address.replace(f":{port}/", f":{proxy.own_port}/"))
            page.locator("[data-row]").first.click()
            page.locator("[data-task]").first.wait_for()  # or the pill is that of the list
            page.locator(".pill.live").wait_for()
            proxy.swallows = True
            page.clock.run_for(12_000)
            page.locator(".pill.stale").wait_for()
            figures = page.locator("main.stale .facts").first
            assert figures.evaluate("(element) => getComputedStyle(element).filter") == "grayscale(1)"
            for _ in range(4):  # also while it tries again
                page.clock.run_for(15_000)
                assert "live" not in page.locator(".pill").inner_text()
            proxy.swallows = False
            page.clock.resume()
            page.locator(".pill.live").wait_for()


def test_eight_tabs_stay_alive(tmp_path: Any, chromium: Any) -> None:
    """All in one browser context, which shares its connections: an event stream each would stop the seventh."""
    with held_run(tmp_path) as (_, address, model), ExitStack() as stack:
        context = stack.enter_context(closing_context(chromium))
        pages = [context.new_page() for _ in range(TABS)]
        pages[0].goto(address)
        pages[0].locator("[data-row]").first.click()
        pages[0].locator("[data-task]").first.wait_for()
        for page in pages[1:]:
            page.goto(pages[0].url)
        for page in pages:
            page.locator(".pill.live").wait_for()
        model.release = True
        for page in pages:
            page.locator(".verdict.good").wait_for()


@contextmanager
def closing_context(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context()
    yield context
    context.close()


def test_hostile_texts_do_nothing(tmp_path: Any, chromium: Any) -> None:
    """Texts of people, repositories and models are shown as they are: no dialog, no request elsewhere, no report."""
    place = make_place(tmp_path, dict.fromkeys(HOSTILE_NAMES, "value = 1\n"))
    asked: list[str] = []
    with ModelServer(lambda _: Reply(HOSTILE_REPLY)) as provider, served(place) as (_, address):
        words = ("--change", HOSTILE_TEXT, "--no-prd", "--retries", "0", "--agents", "1", "--files", *HOSTILE_NAMES)
        place.run(*words, server=provider)
        with opened(chromium, "about:blank") as page:
            page.on("request", lambda request: asked.append(request.url))
            page.goto(address)
            page.locator("[data-row]").first.click()
            has_text(page, HOSTILE_TEXT.splitlines()[0])
            page.locator('[data-task="1"] button').click()
            for part in ("Brief", "Attempts", "Diff", "Conversation", "Gates"):
                page.locator("aside").get_by_role("tab", name=part).click()
            page.locator("aside").get_by_role("tab", name="Conversation").click()
            assert HOSTILE_REPLY.strip() in page.locator("aside .reply").first.inner_text()
            for tab in ("Timeline", "Log", "Files", "Gates", "Cost", "Plan", "Settings", "Table"):
                page.get_by_role("tab", name=tab).first.click()
                page.locator("section[aria-label]").first.wait_for()
            assert page.evaluate("window.hurt") is None
            assert page.locator("main img, main script, main iframe").count() == 0
    base = address.partition("#")[0]
    assert [url for url in asked if not url.startswith((base, base.replace("http", "ws"), "data:", "blob:"))] == []


def test_large_run_is_shown_and_followed(tmp_path: Any, chromium: Any) -> None:
    """The graph has all of its 1,000 tasks and the table a part of them; each state is that of the last event."""
    place = make_place(tmp_path, {})
    with open_written_run(place.repo, 1000) as write, served(place) as (_, address):
        with opened(chromium, address) as page:
            page.goto(f"{address.partition('#')[0]}#/runs/{RUN}")
            page.locator('.frame[data-tasks="1000"]').wait_for()
            assert page.locator("[data-task]").count() == 200
            write(0.5, 1000)
            page.locator('html[data-seq="502"]').wait_for(state="attached")
            page.get_by_label("Find a task").fill("agent777")
            page.locator('[data-task="1"]').wait_for(state="detached")
            assert page.locator("[data-task]").count() == 1
            page.get_by_label("Find a task").fill("")
            page.get_by_role("button", name="Show more").click()
            page.locator('[data-task="1000"]').wait_for()


def test_screen_reader_is_told_at_most_every_five_seconds(tmp_path: Any, chromium: Any) -> None:
    place = make_place(tmp_path, {})
    with open_written_run(place.repo, 20) as write, served(place) as (_, address):
        with opened(chromium, "about:blank") as page:
            page.clock.install()
            page.goto(address)
            page.goto(f"{address.partition('#')[0]}#/runs/{RUN}")
            page.locator("[data-task]").first.wait_for()
            page.evaluate(NOTE_ANNOUNCEMENTS)
            seq, times = 2, list[int]()
            for seconds in (0.1, 0.2) * 10:  # each ends in other states
                write(seconds, 100)
                seq += round(seconds * 100)
                page.locator(f'html[data-seq="{seq}"]').wait_for(state="attached")
                page.clock.run_for(2_500)
                times = page.evaluate("window.times")
                if len(times) > 2:
                    break
    assert len(times) > 2
    assert (
        min(after - before for before, after in itertools.pairwise(times)) >= 4_900
    )  # two drawings may differ by a frame
