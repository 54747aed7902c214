"""What has to come at once: help, secrets, failures and a page of much text, events beside a locked store, an end.

python -m bench.short [--repeat 5]

Tests once asserted these, and failed on a busy machine. CPU seconds are of the process that does the work; the best of
the repetitions counts, and beside it stands the most that is still called soon.
"""

import argparse
import asyncio
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from orchestra.gates.reading import clean_lines, read_failure_names
from orchestra.gateway.billing import ClientPass
from orchestra.gateway.gateway import Gateway
from orchestra.journal.open_store import open_store
from orchestra.journal.writer import StoreWriter
from orchestra.providers.redact import redact
from orchestra.report.detail import build_detail
from orchestra.report.fold import fold_events
from orchestra.report.page import html_page
from tests.support.browser import FLAGS, PROGRAM
from tests.support.load import NEVER
from tests.support.modelserver import ModelServer, Reply
from tests.support.reported import diffs, printed, story
from tests.support.seating import SAY, Listener, client, upstreams
from tests.support.written import event

ROOT = Path(__file__).resolve().parents[1]
ROW = "{:<54} {:>8} {:>8}"


def help_seconds(program: str) -> float:
    """CPU seconds of `PROGRAM --help`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, str(ROOT / program), "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def emit_beside_locked_store() -> float:
    """Wall seconds in which 700 events are given to a writer whose database somebody else has locked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orchestra.db"
        writer = StoreWriter(open_store(path), "here")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        for seq in range(1, 701):
            writer.add_event(event("note", run="r", seq=seq, time=seq, text="x"))
        seconds = time.monotonic() - started
        holder.execute("ROLLBACK")
        writer.close()
    return seconds


async def stop_gateway(server: ModelServer) -> float:
    """Wall seconds until a gateway has stopped while a model thinks for ever."""
    gateway = Gateway(upstreams(server), Listener())
    await gateway.start()
    url = f"{gateway.client_url(gateway.add_client(ClientPass('agent', 1, 1)), 'openai')}/chat/completions"
    async with client() as http:
        asking = asyncio.create_task(http.post(url, json=SAY))
        while not server.count():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        started = time.monotonic()
        await gateway.stop()
        seconds = time.monotonic() - started
        await asyncio.gather(asking, return_exceptions=True)
    return seconds


def stop_seconds() -> float:
    with ModelServer(lambda request: Reply("late", latency=NEVER)) as server:
        return asyncio.run(stop_gateway(server))


def page_seconds() -> float:
    """CPU seconds for the page of a run of a thousand tasks."""
    events = story(1000, 0.2)
    report, detail, changes, outputs = fold_events(events), build_detail(events), diffs(1000), printed(events)
    return cpu_seconds(lambda: html_page(report, detail, changes, outputs))


def open_seconds() -> float:
    """Wall seconds until a browser has loaded that page; 0 without a browser (`make browser`)."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return 0.0
    if not PROGRAM:
        return 0.0
    events = story(1000, 0.2)
    text = html_page(fold_events(events), build_detail(events), diffs(1000), printed(events))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "page.html"
        page.write_text(text, "utf-8")
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(FLAGS))
        tab = browser.new_page()
        tab.goto(page.as_uri())
        loaded: float = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventStart")
        browser.close()
    return loaded / 1000


OUTPUT = "not a failure at all: 12:01 /x/y.py:3 [abc] ERROR\n" * 160_000
WORK: dict[str, tuple[Callable[[], float], float]] = {
    "aider_orchestrator.py --help (CPU)": (lambda: help_seconds("aider_orchestrator.py"), 0.3),
    "gemini_prd_generator.py --help (CPU)": (lambda: help_seconds("gemini_prd_generator.py"), 0.2),
    "secrets in a megabyte made to be slow (CPU)": (
        lambda: cpu_seconds(lambda: redact("sk-a1" * 200_000)),
        1.0,
    ),
    "failures in eight megabytes of output (CPU)": (
        lambda: cpu_seconds(lambda: read_failure_names(clean_lines(OUTPUT, ()))),
        4.0,
    ),
    "the page of a thousand tasks (CPU)": (page_seconds, 4.0),
    "that page in a browser (wall)": (open_seconds, 2.0),
    "700 events emitted beside a locked store (wall)": (emit_beside_locked_store, 0.5),
    "the gateway's end while a model thinks (wall)": (stop_seconds, 2.0),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.short", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    asked = parser.parse_args(argv)
    print(ROW.format("", "s", "soon"))
    late = 0
    for name, (measure, soon) in WORK.items():
        best = min(measure() for _ in range(asked.repeat))
        late += best > soon
        print(ROW.format(name, f"{best:.2f}", f"{soon:.1f}"), "" if best <= soon else " late", flush=True)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
