"""The dashboard in a real browser, beside a real run: what it shows, and what is done with it."""

import re
from typing import Any

import httpx
import pytest

from tests.e2e.test_live_changes import FILES, PLAN, WANTED
from tests.e2e.test_screens import Held
from tests.support.browser import chromium
from tests.support.dashboard import has_text, opened, served
from tests.support.edits import knows
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import make_place

__all__ = ["chromium"]
pytestmark = pytest.mark.thorough
TOKEN = re.compile(r"t=[\w-]{20}")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>"


def test_run_is_seen_and_steered_in_the_browser(tmp_path: Any, chromium: Any) -> None:
    place, model = make_place(tmp_path, FILES), Held(knows(WANTED, set()))
    place.write({".aider_logs/plans/three.toml": PLAN, ".aider_logs/.gitignore": "*\n"})
    with served(place) as (server, address), opened(chromium, address) as page, ModelServer(model) as provider:
        has_text(page, "There are no runs here yet.")
        assert TOKEN.search(page.url) is None
        running = place.start("execute", "three", server=provider)
        page.locator("[data-row]").first.wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        # What the run does is seen without a reload.
        page.locator("tr", has_text="agent1").get_by_text("asking").wait_for()
        page.locator(".pill.live").wait_for()
        page.locator('.frame[data-tasks="3"]').wait_for()

        page.get_by_role("button", name="Pause").click()
        has_text(page, "The run is paused: no attempt begins until `unpause`; 1 still running.")
        check_what_the_interface_tells(address)
        page.get_by_role("button", name="Add a task").click()
        page.get_by_label("What it is to do").fill("Add more to part4")
        page.get_by_label("Its files, with blanks between them").fill("part4.py")
        page.get_by_role("button", name="OK").click()
        page.locator("tr", has_text="agent4").wait_for()
        # Link mode: task 4 waits for task 1; a circle is refused with its reason.
        page.keyboard.press("l")
        page.get_by_role("button", name="agent4").click()
        page.get_by_role("button", name="agent1").click()
        page.locator("tr", has_text="agent4").get_by_text("needs 1").wait_for()
        page.get_by_role("button", name="Link (l)").click()
        page.get_by_role("button", name="agent2").click()
        page.get_by_role("button", name="agent3").click()
        has_text(page, "Task 2 cannot need task 3, because that is a circle: 2 needs 3 needs 2.")
        page.get_by_role("button", name="agent3").click()
        page.locator("aside").get_by_role("button", name="Abandon").click()
        page.get_by_role("button", name="OK").click()
        page.locator("tr", has_text="agent3").get_by_text("abandoned").wait_for()

        # The server is killed: the page says so, and goes on by itself when a new one is there.
        port = int(re.search(r":(\d+)/", address)[1])  # type: ignore[index]
        server.kill()
        server.wait()
        page.locator(".pill.stale").wait_for()
        with served(place, port):
            page.locator(".pill.live").wait_for()
            page.get_by_role("button", name="Unpause").click()
            model.release = True
            ran = running.end()
            page.get_by_text(ran.summary["verdict"]).first.wait_for()
            shown = page.locator(".facts").first.inner_text()
            assert f"{ran.summary['usage']['total_tokens']:,}" in shown
            page.get_by_role("button", name="agent1").click()
            page.get_by_role("tab", name="Diff").click()
            has_text(page, "+more = True")
            with page.expect_popup() as opening:
                page.get_by_role("button", name="Report").click()
            opening.value.get_by_text(ran.summary["verdict"]).first.wait_for()
            assert opening.value.evaluate("getComputedStyle(document.body).margin") != "8px", "its own styles count"
            page.get_by_role("tab", name="Log").click()
            has_text(page, "changed by a person: agent4")
    assert ran.code == 1 and [agent["state"] for agent in ran.agents.values()].count("complete") == 3


def check_what_the_interface_tells(address: str) -> None:
    """Of a run at work on task 1, while it is paused."""
    base, _, token = address.partition("/#t=")
    with httpx.Client(base_url=f"{base}/api/v1", headers={"Authorization": f"Bearer {token}"}) as client:

        def read(path: str) -> Any:
            return client.get(path).raise_for_status().json()["data"]

        [agent] = read("/agents")
        assert (agent["task"], agent["attempt"], agent["phase"]) == (1, 1, "asking")
        assert read(f"/agents/{agent['id']}")["ended"] == 0 and len(read(f"/agents/{agent['id']}/logs")) > 0
        assert read("/dashboard/stats")["agents"] == {"working": 1}
        locks = read("/locks")
        assert [lock["path"] for lock in locks] == ["part1.py", "part2.py", "part3.py"] and locks[0]["run"] == agent[
            "run"
        ]
        checked = client.post("/locks/check", json={"paths": ["part1.py", "free.py"]}).json()["data"]
        assert (checked["available"], [lock["path"] for lock in checked["conflicts"]]) == (False, ["part1.py"])
        # A dependency is removed and added again, and a circle is refused.
        task = f"/runs/{agent['run']}/tasks/3"
        for change, status in (({"remove_dependency": 2}, 200), ({"add_dependency": [2]}, 200), ({"brief": 3}, 409)):
            assert client.patch(task, json=change).status_code == status, change
        circle = client.patch(f"/runs/{agent['run']}/tasks/2", json={"add_dependency": 3})
        assert circle.json()["error"]["code"] == "CYCLE"
        assert client.delete(f"/runs/{agent['run']}/tasks/2?dry_run=true").json()["data"]["needed_by"] == [3]


def helpless(request: Request) -> Reply:
    return (
        knows(WANTED, set())(request)
        if "magic" in request.text
        else Reply("I cannot do that. <img src=x onerror=alert(1)>")
    )


def test_waiting_task_is_decided_in_the_queue(tmp_path: Any, chromium: Any) -> None:
    """The run waits for a person; text of a model is shown and does nothing."""
    place = make_place(tmp_path, {"part1.py": FILES["part1.py"], "part2.py": FILES["part2.py"]})
    good = knows(WANTED, set())
    slow = Held(lambda request: good(request) if "part2.py" in request.files else helpless(request), holds="part2.py")
    with ModelServer(slow) as provider, served(place) as (_, address), opened(chromium, address) as page:
        words = ("--change", HOSTILE, "--agents", "2", "--no-prd", "--ask", "always", "--retries", "0")
        running = place.start(*words, "--files", "part1.py", "part2.py", server=provider)
        page.locator("nav .badge").wait_for()
        page.keyboard.press("g")
        page.keyboard.press("q")
        page.get_by_role("button", name="Retry with a hint").click()
        page.get_by_label("A hint for the agent").fill("the magic word")
        page.get_by_role("button", name="OK").click()
        has_text(page, "Task 1 is tried again.")
        has_text(page, "No task waits for a decision.")
        page.keyboard.press("Escape")
        has_text(page, HOSTILE)
        slow.release = True
        ran = running.end()
    assert ran.code == 0, ran.out + ran.err


def test_run_is_started_in_the_browser_and_needs_no_server(tmp_path: Any, chromium: Any) -> None:
    """It is estimated and started by the form, goes on without the server, and its failed task is tried again."""
    place = make_place(tmp_path, {"part1.py": FILES["part1.py"], "part2.py": FILES["part2.py"]})
    good = knows(WANTED, set())
    slow = Held(lambda request: good(request) if "part2.py" in request.files else helpless(request), holds="part2.py")
    with ModelServer(slow) as provider, served(place, 0, provider) as (server, address):
        with opened(chromium, address) as page:
            page.get_by_text("Start one").click()
            page.get_by_label("What to change").fill(HOSTILE)
            page.get_by_label("Files, directories").fill("part1.py  part2.py")
            page.get_by_label("Model").fill("openai/gpt-6.1-sol")
            page.get_by_role("button", name="Estimate").click()
            has_text(page, "2 tasks, 2 agents at once: $")
            page.get_by_role("button", name="Start").click()
            page.locator("tr", has_text="agent2").get_by_text("asking").wait_for()
            assert HOSTILE in page.locator("h1").inner_text() and "/#/runs/" in page.url

            port = int(re.search(r":(\d+)/", address)[1])  # type: ignore[index]
            server.kill()
            server.wait()
            page.locator(".pill.stale").wait_for()
            slow.release = True
            with served(place, port, provider):
                page.locator(".pill.live").wait_for()
                page.locator(".verdict.bad").wait_for()
                page.get_by_role("button", name="agent1").click()
                page.get_by_role("button", name="Retry with a hint").click()
                page.get_by_label("A hint for the agent").fill("the magic word")
                page.get_by_role("button", name="OK").click()
                has_text(page, "No process works on run")
                page.get_by_role("button", name="OK").click()
                has_text(page, "The run is resumed with your decision.")
                page.locator(".verdict.good").wait_for()
                # The form tells why a run did not start.
                page.keyboard.press("Escape")
                page.keyboard.press("n")
                page.get_by_label("What to change").fill("Improve it")
                page.get_by_label("Files, directories").fill("no/such.py")
                page.get_by_role("button", name="Start").click()
                page.locator("pre", has_text="no/such.py").wait_for()
    assert "+more = True" in place.git("log", "-p", "--format=%s", "-2")
