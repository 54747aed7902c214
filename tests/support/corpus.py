"""The stored corpus, and the only place where its tests reach into the program.

The functions under "adapter" follow the program when it changes. What the expected data were made from, and their form,
stays.
"""

import copy
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import aider_orchestrator
from orchestra.cli.commands.runs import format_log_line
from orchestra.conduct.deliver.artefacts import gather_report_material
from orchestra.events import KINDS, Event
from orchestra.journal import jsonl
from orchestra.journal.store import Store
from orchestra.report import run_status
from orchestra.report import run_status as words
from orchestra.report.annotations import build_annotations, step_outputs
from orchestra.report.closing import closing_text
from orchestra.report.detail import build_detail
from orchestra.report.fold import fold_event, fold_events, report_from_log
from orchestra.report.formats import REPORT_FORMATS
from orchestra.report.markdown import markdown_report
from orchestra.report.state import Report
from orchestra.report.summary import build_summary
from tests.support.damage import DAMAGES, in_event, sweep

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "corpus"
REPOSITORY = "/tmp/corpus/repo"  # what stands in the outputs in place of the folder that was rendered
LOGS = ".aider_logs"
# The page's own style and script, which are the same on each page, are kept as a digest.
STATIC = re.compile(r"(<(style|script)\b[^>]*>)(.*?)(</\2>)", re.DOTALL)
BUG_REPORT = re.compile(r"\S*/aider-orchestrator-bug-\S+\.txt")

# --- adapter: the program's own functions ---------------------------------------------------------------------------


def kinds() -> set[str]:
    """All kinds of events that the program can write."""
    return set(KINDS)


def events_of(folder: Path, stamp: str) -> list[Event]:
    """All events of a run from its files."""
    return list(jsonl.read_run_log(folder, stamp).events)


def states(events: Iterable[Event]) -> Iterator[Report]:
    """The state after each event, as a run under way has it: one and the same object, stepped on."""
    report = Report()
    for event in events:
        fold_event(report, event)
        yield report


def state_after(events: Iterable[Event]) -> Report:
    """The state that a reader makes of these events at once."""
    return fold_events(events)


def summary_of(state: Report) -> dict[str, Any]:
    """What is told of a state to programs: plain JSON."""
    return build_summary(state, {task: f"agent{task}.jsonl" for task in state.tasks})


def unreadable_in(summary: str) -> int:
    """How many events of a log could not be read, as its summary says it."""
    return int(json.loads(summary).get("unreadable_events", 0))


def task_states(state: Report) -> dict[str, str]:
    return {str(task.id): str(task.state) for task in state.tasks.values()}


def store_events(store: Store, repository: str, events: list[Event]) -> list[Event]:
    """The events as they come back from a store."""
    store.append_events(repository, events)
    return store.read_events(repository, events[0].run)


def renderers(root: Path, stamp: str) -> dict[str, Callable[[], str]]:
    """The other forms of the report, what a CI system gets, the last words, and what is told of single tasks."""
    material = gather_report_material(root, jsonl.read_run_log(root / LOGS, stamp), lambda text: text)
    report = material.report
    return {
        **{name: partial(form.render, material) for name, form in REPORT_FORMATS.items()},
        "summary": lambda: json.dumps(summary_of(report), indent=2, ensure_ascii=False),
        "closing": lambda: closing_text(report, "summary.json", "report.html"),
        "short step summary": lambda: markdown_report(report, 2_000),
        "annotations": lambda: "\n".join(build_annotations(report, material.outputs)),
        "outputs": lambda: step_outputs(report, {"html": "report.html"}, "end"),
    }


def sweep_renderers(root: Path, stamp: str) -> dict[str, Callable[[], str]]:
    """What is made of logs with one damaged field, for many of them."""
    log = jsonl.read_run_log(root / LOGS, stamp)
    report, found = report_from_log(log), build_detail(log.events)
    tasks = [(report.tasks[n], found.planned_briefs.get(n, ""), found.all_attempts(n)) for n in report.tasks]
    return renderers(root, stamp) | {
        "logs": lambda: "\n".join(format_log_line(event, verbose=True) for event in log.events),
        "show": lambda: "\n".join(words.task_text(report, *task, {}) for task in tasks),
        "status": lambda: "\n".join(run_status.agent_lines(report)),
    }


def rendered(make: Callable[[], str]) -> str:
    """The text, or that it cannot be made: of a damaged log that is a part of the expectation."""
    try:
        return make()
    except Exception as error:
        return f"raised {type(error).__name__}"


def render_all(root: Path, stamp: str) -> dict[str, str]:
    """Every output that the program makes of a run's logs, by the words of its command or its name."""
    found = {" ".join(each): printed(root, *each) for each in commands(stamp, tasks_of(root, stamp))}
    found |= {name: rendered(make) for name, make in renderers(root, stamp).items() if name != "html"}
    return {name: neutral(text, root) for name, text in found.items()}


def render_damaged(root: Path, stamp: str) -> dict[str, str]:
    """Some commands, and all other outputs, of a run whose logs are damaged."""
    some = (("status", stamp, "--json"), ("logs", stamp), ("show", stamp, "1"))
    found = {" ".join(each): printed(root, *each) for each in some}
    try:
        found |= {name: rendered(make) for name, make in renderers(root, stamp).items()}
    except Exception as error:
        found["reading"] = f"raised {type(error).__name__}"
    return {name: neutral(text, root) for name, text in found.items()}


def sweep_outcomes(root: Path, stamp: str) -> dict[str, str]:
    """Of each output its digest, or what is raised."""
    try:
        makers = sweep_renderers(root, stamp)
    except Exception as error:
        return {"reading": f"raised {type(error).__name__}"}
    texts = {name: rendered(make) for name, make in makers.items()}
    found = {name: text if text.startswith("raised ") else digest(neutral(text, root)) for name, text in texts.items()}
    return found | {"unreadable": str(unreadable_in(texts["summary"]))}


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


def printed(root: Path, *command: str) -> str:
    """Exit code, stdout and stderr of a command of this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="\n") for _ in range(2))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        code = aider_orchestrator.main([*command, "--repo", str(root)])
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
    return lay(files_of(name), root)


@cache
def files_of(name: str) -> dict[str, bytes]:
    with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {path: content.read() for path, content in found.items() if content is not None}


@cache
def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lzma.decompress((FOLDER / f"{name}.json.xz").read_bytes()))
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


# --- damaged logs ---------------------------------------------------------------------------------------------------

DAMAGED = "all_applied"  # the scenario whose logs are damaged as a whole


def lay(files: Mapping[str, bytes], root: Path) -> Path:
    """Like `unpack`, of any files."""
    (root / ".git/refs").mkdir(parents=True)
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (root / ".git/config").write_text("[core]\n\trepositoryformatversion = 0\n")
    for path, content in files.items():
        target = root / (LOGS if path.startswith("logs/") else ".git/objects/pack") / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def outputs_of_damaged(name: str, root: Path) -> dict[str, str]:
    """What is made of the logs with one of the damages."""
    files = DAMAGES[name](dict(files_of(DAMAGED)))
    stamp = next(path for path in files_of(DAMAGED) if path.startswith("logs/run_"))[9:-6]
    return render_damaged(lay(files, root), stamp)


@cache
def samples() -> dict[str, tuple[str, dict[str, Any]]]:
    """Of each kind the event that tells the most, in the smallest scenario, and the name of that."""
    best: dict[str, tuple[int, str, dict[str, Any]]] = {}
    for name in sorted(names(), key=lambda name: (FOLDER / f"{name}.tar.gz").stat().st_size):
        for event in stored_events(name):
            told = sum(map(bool, event["data"].values()))
            if told > best.get(event["event"], (-1,))[0]:
                best[event["event"]] = (told, name, event)
    return {kind: (name, event) for kind, (_, name, event) in sorted(best.items())}


def stored_events(name: str) -> Iterator[dict[str, Any]]:
    """What the files of a scenario hold, as JSON has it."""
    for path, content in sorted(files_of(name).items()):
        for line in content.splitlines() if path.endswith(".jsonl") else ():
            if line.endswith(b"}"):
                yield json.loads(line)


def sweep_of(kind: str, root: Path) -> dict[str, dict[str, str]]:
    """By damage, what is made of a log in which one field of an event of this kind is damaged."""
    name, event = samples()[kind]
    lay({path: content for path, content in files_of(name).items() if path.startswith("logs/")}, root)
    found = {}
    for what, change in sweep(copy.deepcopy(event)):
        files = in_event(kind, change, event["seq"], event["run"])(files_of(name))
        (path,) = [path for path, content in files.items() if content is not files_of(name)[path]]
        log = root / LOGS / Path(path).name
        log.write_bytes(files[path])
        found[what] = sweep_outcomes(root, event["run"])
        log.write_bytes(files_of(name)[path])
    return found


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
    path.write_bytes(lzma.compress((json.dumps(value, indent=1) + "\n").encode(), preset=9))
