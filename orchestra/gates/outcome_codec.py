"""A gate's outcome as text, so that a later run can use it."""

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestra.gates.readers import Counts
from orchestra.gates.reading import Reading
from orchestra.gates.recorded_tests import RecordedTests
from orchestra.gates.run import GateOutcome
from orchestra.model import Gate
from orchestra.process import CommandResult

LONGEST = 8 << 20  # characters, before they are compressed


def is_memorable(outcome: GateOutcome) -> bool:
    """Whether the outcome tells of tree and environment alone: it ended by itself, in a clean worktree that it did not
    change, and what it loaded came from there."""
    accident = outcome.ended.timed_out or outcome.reading.ending
    return not (accident or outcome.spoiled or outcome.stale or outcome.remarks or outcome.in_used_tree)


def encode_outcome(outcome: GateOutcome, printed: str) -> str:
    """Return the outcome as JSON, with the end of what the gate printed; empty if it is too long."""
    reading = outcome.reading
    record = {
        "code": outcome.ended.code,
        "seconds": outcome.ended.seconds,
        "failing": sorted(reading.failing),
        "by_name": reading.by_name,
        "counts": [reading.counts.ran, reading.counts.passed],
        "complaints": sorted(reading.complaints),
        "cause": reading.cause,
        "begins": reading.begins,
        "silent": reading.silent,
        "missing": sorted(reading.missing),
        "lacking": {file: sorted(names) for file, names in reading.lacking.items()},
        "lacks_own": reading.lacks_own,
        "tests": dict(outcome.roll.tests),
        "runner": outcome.roll.runner,
        "printed": printed,
    }
    text = json.dumps(record)
    return text if len(text) <= LONGEST else ""


def decode_outcome(text: str, gate: Gate, output: Path, files: list[str]) -> tuple[GateOutcome, str]:
    """Return the outcome and what the gate printed. Raise ValueError, LookupError or TypeError for a damaged text."""
    record: Mapping[str, Any] = json.loads(text)
    reading = Reading(
        failing=frozenset(record["failing"]),
        by_name=record["by_name"],
        counts=Counts(*record["counts"]),
        complaints=frozenset(record["complaints"]),
        cause=record["cause"],
        begins=record["begins"],
        silent=record["silent"],
        missing=frozenset(record["missing"]),
        lacking={file: frozenset(names) for file, names in record["lacking"].items()},
        lacks_own=record["lacks_own"],
    )
    roll = RecordedTests(record["tests"], record["runner"])
    ended = CommandResult(record["code"], record["seconds"])
    return GateOutcome(gate, ended, output, reading, roll=roll, files=files), record["printed"]


def pack(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode("ascii")


def unpack(packed: str) -> str:
    """Raise ValueError or zlib.error for a damaged text."""
    return zlib.decompress(base64.b64decode(packed)).decode()
