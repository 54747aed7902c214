"""The stored corpus, and the only place where its tests reach into the program.

`events_of`, `states`, `render_all` and `store_events` are the adapter: they follow the program when it changes. What
the expected data were made from, and their form, stays.
"""

import gzip
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aider_orchestrator
from orchestra.conduct.artefacts import gather
from orchestra.events import Event
from orchestra.journal import jsonl
from orchestra.journal.store import Store
from orchestra.report.ci import annotations, outputs
from orchestra.report.fold import fold, step
from orchestra.report.markdown import STEP_SUMMARY, markdown
from orchestra.report.state import Report
from orchestra.report.summary import summary
from orchestra.report.text import closing

FOLDER = Path(__file__).resolve().parents[1] / "corpus"
REPOSITORY = "/tmp/corpus/repo"  # what stands in the outputs in place of the folder that was rendered
LOGS = ".aider_logs"
# The page's own style and script, which are the same on each page, are kept as a digest.
STATIC = re.compile(r"(<(style|script)\b[^>]*>)(.*?)(</\2>)", re.DOTALL)
BUG_REPORT = re.compile(r"\S*/aider-orchestrator-bug-\S+\.txt")

# --- adapter: the program's own functions ---------------------------------------------------------------------------


def events_of(folder: Path, stamp: str) -> list[Event]:
    """All events of a run from its files."""
    return list(jsonl.read(folder, stamp).events)


def states(events: Iterable[Event]) -> Iterator[Report]:
    """The state after each event, as a run under way has it: one and the same object, stepped on."""
    report = Report()
    for event in events:
        step(report, event)
        yield report


def state_after(events: Iterable[Event]) -> Report:
    """The state that a reader makes of these events at once."""
    return fold(events)


def summary_of(state: Report) -> dict[str, Any]:
    """What is told of a state to programs: plain JSON."""
    return summary(state, {task: f"agent{task}.jsonl" for task in state.tasks})


def task_states(state: Report) -> dict[str, str]:
    return {str(task.id): str(task.state) for task in state.tasks.values()}


def store_events(store: Store, repository: str, events: list[Event]) -> list[Event]:
    """The events as they come back from a store."""
    store.append(repository, events)
    return store.read(repository, events[0].run)


def render_texts(root: Path, stamp: str) -> dict[str, str]:
    """The other forms of the report, what a CI system gets, and the last words."""
    material = gather(root, jsonl.read(root / LOGS, stamp), lambda text: text)
    report = material.report
    return {
        "markdown": material.markdown,
        "junit": material.junit,
        "summary": json.dumps(summary_of(report), indent=2, ensure_ascii=False),
        "closing": closing(report, "summary.json", "report.html"),
        "step summary": markdown(report, STEP_SUMMARY),
        "short step summary": markdown(report, 2_000),
        "annotations": "\n".join(annotations(report, material.outputs)),
        "outputs": outputs(report, {"html": "report.html"}, "end"),
    }


def render_all(root: Path, stamp: str) -> dict[str, str]:
    """Every output that the program makes of a run's logs, by the words of its command or its name."""
    found = {" ".join(words): printed(root, *words) for words in commands(stamp, tasks_of(root, stamp))}
    try:
        found |= render_texts(root, stamp)
    except Exception as error:  # a damaged log: what is raised is part of the expectation
        found["texts"] = f"raised {type(error).__name__}"
    return {name: neutral(text, root) for name, text in found.items()}


# --- the same through the command line ------------------------------------------------------------------------------


def commands(stamp: str, tasks: Iterable[int]) -> Iterator[tuple[str, ...]]:
    """Without those that only print a part of what these do, or only in another form."""
    yield from (("report", stamp, "--html", "-o", "-"), ("status", stamp), ("status", stamp, "--json"))
    yield from (("logs", stamp), ("diff", stamp))
    for task in tasks:
        yield from (("show", stamp, str(task)), ("show", stamp, str(task), "--json"))


def listings(root: Path) -> dict[str, str]:
    """What is said of all runs of a folder."""
    return {name: neutral(printed(root, *name.split()), root) for name in ("runs", "runs --json")}


def tasks_of(root: Path, stamp: str) -> list[int]:
    """As the logs say it, whatever a state makes of them."""
    return sorted(int(path.name.split("_")[0][5:]) for path in (root / LOGS).glob(f"agent*_{stamp}.jsonl"))


def printed(root: Path, *words: str) -> str:
    """Exit code, stdout and stderr of a command of this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="\n") for _ in range(2))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        code = aider_orchestrator.main([*words, "--repo", str(root)])
    finally:
        sys.stdout, sys.stderr = before
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "backslashreplace"))
    return f"exit {code}\n{texts[0]}" + (f"--- stderr\n{texts[1]}" if texts[1] else "")


def neutral(text: str, root: Path) -> str:
    text = BUG_REPORT.sub("BUG-REPORT", text.replace(str(root), REPOSITORY))
    return STATIC.sub(lambda found: f"{found[1]}{digest(found[3])}{found[4]}", text)


@contextmanager
def fixed_surroundings(home: Path) -> Iterator[None]:
    """The same time zone, environment and home for everybody."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ |= {"PATH": before["PATH"], "HOME": str(home), "TMPDIR": str(home), "TZ": "UTC", "COLUMNS": "120"}
    time.tzset()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        time.tzset()


# --- the stored form ------------------------------------------------------------------------------------------------


def names() -> list[str]:
    return sorted(path.name.removesuffix(".tar.gz") for path in FOLDER.glob("*.tar.gz"))


def unpack(name: str, root: Path) -> Path:
    """A repository with the objects and logs of a scenario."""
    (root / ".git/refs").mkdir(parents=True)
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (root / ".git/config").write_text("[core]\n\trepositoryformatversion = 0\n")
    for path, content in files_of(name).items():
        target = root / (LOGS if path.startswith("logs/") else ".git/objects/pack") / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


@cache
def files_of(name: str) -> dict[str, bytes]:
    with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {path: content.read() for path, content in found.items() if content is not None}


@cache
def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    return found


def stamps(root: Path) -> list[str]:
    return sorted(path.stem.removeprefix("run_") for path in (root / LOGS).glob("run_*.jsonl"))


def expectation(root: Path) -> dict[str, Any]:
    """Everything that is made of the logs of one scenario."""
    found: dict[str, Any] = {"listings": listings(root), "runs": {}}
    for stamp in stamps(root):
        events = events_of(root / LOGS, stamp)
        found["runs"][stamp] = {
            "exit_code": state_after(events).exit_code,
            "tasks": task_states(state_after(events)),
            "states": [digest(summary_of(state)) for state in states(events)],
            "outputs": render_all(root, stamp),
        }
    return found


def digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """The same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    path.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))


def write_json(path: Path, value: Any) -> None:
    path.write_bytes(gzip.compress((json.dumps(value, indent=1) + "\n").encode(), 9, mtime=0))
