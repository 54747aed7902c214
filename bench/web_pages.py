"""What the page of a large run costs the browser's main thread: the canvas graph, SVG for comparison, the whole page.

    python -m bench.web_pages [--tasks 1000 5000] [--seconds 20] [--rate 1000]

Milliseconds of main-thread work (Chromium's TaskDuration) for the first picture, an update of 50 tasks, and a frame of
moving the graph; no frame rates, because there is no GPU. Then a server, a run of the first number of tasks, and `rate`
events a second written to its store: the share of the main thread, and the memory before and after.
"""

import argparse
import contextlib
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from orchestra.events import make_event
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.journal.open_store import OWN_REPOSITORY, open_store
from orchestra.model import TaskState
from orchestra.report.page.graph_layout import lay_out_graph
from tests.support.browser import FLAGS
from tests.support.browser import PROGRAM as CHROMIUM

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "orchestra" / "web" / "static"
CHANGED, UPDATES, FRAMES, EDGES = 50, 30, 60, 1.45
RUN = "20261130_120000"
HARNESS = Path(__file__).with_name("web_pages.js")
PAGE = """<!doctype html><link rel="stylesheet" href="/static/style.css"><body><div id="place"></div>
<script type="module" src="/harness.js"></script>"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=1000, help="events a second")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        print(f"{'tasks':>6} {'drawn as':<14}{'first':>9}{'update':>9}{'pan':>9}   main-thread ms")
        for tasks in options.tasks:
            for kind, near in (("svg", False), ("canvas", False), ("canvas", True)):
                print(measure_graph(browser, tasks, kind, near=near), flush=True)
        print(measure_page(browser, options.tasks[0], options.seconds, options.rate))


def make_needs(tasks: int) -> dict[int, list[int]]:
    """Tasks that need some of those before them, about as many edges as in large plans."""
    chance = random.Random(1)
    needs: dict[int, list[int]] = {}
    for task in range(1, tasks + 1):
        wanted = int(EDGES) + (chance.random() < EDGES % 1)
        first = max(1, task - 80)
        needs[task] = sorted({chance.randrange(first, task) for _ in range(wanted)}) if task > 20 else []
    return needs


def measure_graph(browser: Any, tasks: int, kind: str, *, near: bool) -> str:
    needs = make_needs(tasks)
    layout = lay_out_graph(needs)
    assert layout is not None
    rows = [
        {"id": task, "agent": f"agent{task}", "title": f"What task {task} does", "state": "planned", "phase": "queued"}
        | {"needs": needed, "files": []}
        for task, needed in needs.items()
    ]
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.route("**/*", serve_static)
    page.goto("http://bench.test/")
    page.wait_for_function("window.isReady")
    first = cost_of(page, "([given, kind]) => begin(given, kind)", [{"graph": layout._asdict(), "rows": rows}, kind])
    if near:
        page.evaluate("near()")
    update = cost_of(page, "([times, each]) => change(times, each)", [UPDATES, CHANGED]) / UPDATES
    pan = cost_of(page, "(frames) => pan(frames)", FRAMES) / FRAMES
    page.close()
    name = f"{kind}{', near' if near else ''}"
    return f"{tasks:>6} {name:<14}{first:>9.1f}{update:>9.2f}{pan:>9.2f}"


def serve_static(route: Any) -> None:
    path = route.request.url.split("bench.test/", 1)[1]
    if not path:
        route.fulfill(body=PAGE, content_type="text/html")
    elif path == "harness.js":
        route.fulfill(path=str(HARNESS))
    elif (STATIC / Path(path).name).is_file():
        route.fulfill(path=str(STATIC / Path(path).name))
    else:
        route.fulfill(status=404)


def cost_of(page: Page, script: str, given: Any) -> float:
    """Return the main thread's milliseconds for it."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before = read_metrics(session)
    page.evaluate(script, given)
    return 1000 * (read_metrics(session)["TaskDuration"] - before["TaskDuration"])


def read_metrics(session: Any) -> dict[str, float]:
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


def measure_page(browser: Any, tasks: int, seconds: float, rate: int) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-web-") as folder:
        repo = Path(folder)
        subprocess.run(["git", "init", "-q", str(repo)], check=True)
        with open_written_run(repo, tasks) as write, served_at(repo) as address:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address)
            page.goto(f"{address.partition('#')[0]}#/runs/{RUN}")
            page.locator(".frame[data-tasks]").wait_for(timeout=60_000)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            before, heap, began = read_metrics(session), used_heap(session), time.monotonic()
            writer = threading.Thread(target=write, args=(seconds, rate))
            writer.start()
            page.wait_for_timeout(1000 * seconds)
            busy = read_metrics(session)["TaskDuration"] - before["TaskDuration"]
            took = time.monotonic() - began
            writer.join()
            return (
                f"whole page, {tasks} tasks, {rate} events/s for {seconds:.0f} s: main thread "
                f"{100 * busy / took:.0f} %, heap {heap:.1f} MB before, {used_heap(session):.1f} MB after"
            )


def used_heap(session: Any) -> float:
    session.send("HeapProfiler.collectGarbage")
    return read_metrics(session)["JSHeapUsedSize"] / 1e6


@contextlib.contextmanager
def open_written_run(repo: Path, tasks: int) -> Iterator[Any]:
    """A run in the store, and what writes further events of it."""
    logs, numbers = prepare_log_folder(repo / ".aider_logs"), itertools.count(1)
    states = [TaskState.READY, TaskState.ACTIVE, TaskState.AWAITING_QA]

    def event(kind: str, task: int | None = None, **data: Any) -> Any:
        number = next(numbers)
        return make_event(RUN, number, 1_795_000_000_000 + number, kind, task, None, data)

    with contextlib.closing(open_store(logs / "orchestra.db")) as store:
        needs = make_needs(tasks)
        plan = [
            {"id": task, "title": f"What task {task} does", "brief": "Do it.", "needs": needs[task]}
            | {"files": [{"path": f"f{task}.py", "tokens": 1}]}
            for task in needs
        ]
        started = event("run_started", change="A large change", model="openai/m", pid=1, base="0" * 40, options={})
        store.append_events(OWN_REPOSITORY, [started, event("plan_made", tasks=plan, agents=8)])

        def write(seconds: float, rate: int) -> None:
            began, batch = time.monotonic(), rate // 10
            for n in range(int(seconds * 10)):
                moved = [
                    event("task_moved", (n * 31 + k * 17) % tasks + 1, state=states[(n + k) % 3]) for k in range(batch)
                ]
                store.append_events(OWN_REPOSITORY, moved)
                time.sleep(max(0.0, began + (n + 1) / 10 - time.monotonic()))

        yield write


@contextlib.contextmanager
def served_at(repo: Path) -> Iterator[str]:
    command = [sys.executable, str(ROOT / "aider_orchestrator.py"), "serve", "--port", "0"]
    child = subprocess.Popen(
        [*command, "--token-file", str(repo / "token")], cwd=repo, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    main()
