"""From the folder of finished scenarios to the stored corpus with its expected outputs."""

import getpass
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from orchestra.answers.conversation import unpack_turns as said_in
from orchestra.events import Conversation, read_record
from tests.support import corpus
from tests.support.damage import DAMAGES
from tools.corpus.stage import ROOT

OUTPUTS = ("summary_", "report_", "junit_")  # made anew from the logs
CHECKOUT = Path(__file__).resolve().parents[2]


def store(finished: Path) -> int:
    """Pack each scenario, and write down what today's program makes of it."""
    corpus.FOLDER.mkdir(exist_ok=True)
    for folder in sorted(path for path in finished.iterdir() if path.is_dir()):
        files = stored_files(folder)
        for name, content in files.items():
            refuse_traces(name, content)
        corpus.write_archive(corpus.FOLDER / f"{folder.name}.tar.gz", files)
        commands = json.loads((folder / "commands.json").read_text("utf-8"))
        write_expected(folder.name, [[command["words"], command["code"]] for command in commands])
        print(folder.name)
    write_damaged()
    return 0


def renew_expected() -> int:
    """Render the stored scenarios again, after a change of texts that is meant."""
    for name in corpus.names():
        write_expected(name, corpus.expected(name)["commands"])
        print(name, flush=True)
    write_damaged()
    return 0


def write_damaged() -> None:
    """What today's program makes of damaged logs."""
    found: dict[str, dict[str, Any]] = {"damages": {}, "sweep": {}}
    with tempfile.TemporaryDirectory() as scratch, corpus.fixed_surroundings(Path(scratch)):
        for number, name in enumerate(DAMAGES):
            found["damages"][name] = corpus.outputs_of_damaged(name, Path(scratch) / str(number))
        for kind in sorted(corpus.samples()):
            found["sweep"][kind] = corpus.sweep_of(kind, Path(scratch) / kind)
    corpus.write_json(corpus.FOLDER / "damaged.json.xz", found)


def stored_files(folder: Path) -> dict[str, bytes]:
    logs = [path for path in (folder / "logs").iterdir() if not path.name.startswith(OUTPUTS)]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in [*logs, *(folder / "pack").iterdir()]}


def write_expected(name: str, commands: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as scratch, corpus.fixed_surroundings(Path(scratch)):
        found = corpus.expectation(corpus.unpack(name, Path(scratch) / "repo"))
    corpus.write_json(corpus.FOLDER / f"{name}.json.xz", {"commands": commands} | found)


def refuse_traces(name: str, content: bytes) -> None:
    """Nothing of this machine is stored."""
    if name.startswith("pack/"):
        return
    text = content.decode("utf-8", "replace")
    if name.endswith(".jsonl"):
        packed = [json.loads(line)["data"] for line in text.splitlines() if '"packed"' in line]
        text += "".join(repr(said_in(read_record(Conversation, data))) for data in packed)
    for trace in traces():
        assert trace not in text, f"{name} tells {trace!r}: {text[text.index(trace) - 200 :][:400]}"


def traces() -> list[str]:
    own = (sys.prefix, str(CHECKOUT), f"{CHECKOUT.parent}/", f"{Path.home()}/", f"/{platform.node()}/")
    return [trace for trace in own if trace not in ("/", str(ROOT))] + [f"/home/{getpass.getuser()}"]
