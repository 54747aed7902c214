"""A run as one .tar.gz: a manifest, the events, the run's other files, and its commits as a git bundle."""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from orchestra.errors import UsageError
from orchestra.events import Event, RunStarted, event_record, parse_event
from orchestra.journal.jsonl import STAMP_PATTERN, stamp_of

ARCHIVE_FORMAT = 1
MANIFEST, EVENTS, BUNDLE, FILES = "manifest.json", "events.jsonl", "commits.bundle", "files/"
MAX_UNPACKED = 4 << 30  # bytes, unpacked
MAX_MANIFEST = 1 << 20
MAX_CLOCK_SKEW = 86_400  # seconds that another machine's clock may be ahead
READ_ERRORS = (tarfile.TarError, EOFError, OSError, zlib.error)
CONTENT_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)  # of JSON in another shape


class ArchiveError(UsageError):
    """The file is no exported run that can be imported."""


@dataclass(frozen=True)
class RunArchive:
    """The content of an archive. `files` and the bundle are in a temporary folder."""

    run: str
    base: str
    branches: dict[str, str]
    events: list[Event]
    files: list[Path] = field(default_factory=list)
    bundle: Path | None = None


def write_run_archive(target: Path, run_archive: RunArchive, version: str) -> None:
    """Write a complete file or none, and never over an existing one."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    lines = (json.dumps(event_record(event)) + "\n" for event in run_archive.events)
    contents: dict[str, bytes | Path] = {EVENTS: "".join(lines).encode()}
    contents |= {BUNDLE: run_archive.bundle} if run_archive.bundle else {}
    contents |= {f"{FILES}{path.name}": path for path in run_archive.files}
    manifest = {
        "format": ARCHIVE_FORMAT,
        "program": f"aider-orchestrator {version}",
        "run": run_archive.run,
        "base": run_archive.base,
        "branches": run_archive.branches,
        "sha256": {name: sha256_of(content) for name, content in contents.items()},
    }
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="") as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
                add_member(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
                for name, content in contents.items():
                    add_member(archive, name, content)
        os.link(part, target)
    except FileExistsError:
        raise UsageError(f"{target} exists already: give another name with -o.") from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def add_member(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    about = tarfile.TarInfo(name)
    about.mode, about.mtime = 0o600, int(time.time())
    about.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        archive.addfile(about, source)


def sha256_of(content: bytes | Path) -> str:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def read_run_archive(source: Path, folder: Path) -> RunArchive:
    """Unpack into an empty folder, and check everything, because the file may be forged."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            manifest, unpacked = unpack_archive(archive, folder)
        return verify_run_archive(manifest, unpacked)
    except ArchiveError as error:
        raise ArchiveError(f"{source}: {error}") from None
    except FileNotFoundError:
        raise ArchiveError(f"{source}: there is no such file.") from None
    except (*READ_ERRORS, *CONTENT_ERRORS) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ArchiveError(f"{source} is no exported run, or it is damaged ({why}).") from None


def unpack_archive(archive: tarfile.TarFile, folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """The manifest, and the unpacked files by name."""
    manifest: dict[str, Any] = {}
    unpacked: dict[str, Path] = {}
    room = MAX_UNPACKED
    for about in archive:
        if not manifest:
            manifest = read_manifest(archive, about)
            continue
        room -= about.size
        if room < 0:
            raise ArchiveError(f"it would be larger than {MAX_UNPACKED >> 30} GB.")
        content = open_member(archive, about, manifest["run"])
        if about.name in unpacked:
            raise ArchiveError(f"it holds {about.name} twice.")
        unpacked[about.name] = folder / Path(about.name).name
        with unpacked[about.name].open("xb") as target:
            shutil.copyfileobj(content, target)
    return manifest, unpacked


def read_manifest(archive: tarfile.TarFile, about: tarfile.TarInfo) -> dict[str, Any]:
    content = archive.extractfile(about) if about.isreg() and about.size < MAX_MANIFEST else None
    if about.name != MANIFEST or content is None:
        raise ArchiveError(f"it does not begin with {MANIFEST}, so it is no exported run.")
    manifest = json.loads(content.read())
    if int(manifest["format"]) > ARCHIVE_FORMAT:
        raise ArchiveError(
            f"it has format {manifest['format']}, and this program knows only {ARCHIVE_FORMAT}: use a newer one."
        )
    if not STAMP_PATTERN.fullmatch(manifest["run"]):
        raise ArchiveError(f"{manifest['run']!r} is not the name of a run.")
    dict(manifest["sha256"]), dict(manifest["branches"])
    return dict(manifest)


def open_member(archive: tarfile.TarFile, about: tarfile.TarInfo, run: str) -> IO[bytes]:
    """The content of a plain file with a name of an export, so that nothing is written elsewhere."""
    name = about.name.removeprefix(FILES)
    known = about.name in (EVENTS, BUNDLE) or (about.name != name and "/" not in name and stamp_of(name) == run)
    content = archive.extractfile(about) if known and about.isreg() else None
    if content is None:
        raise ArchiveError(f"it holds {about.name!r}, which an exported run does not: nothing was imported.")
    return content


def verify_run_archive(manifest: dict[str, Any], unpacked: dict[str, Path]) -> RunArchive:
    if {name: sha256_of(path) for name, path in unpacked.items()} != manifest["sha256"]:
        raise ArchiveError("it is damaged: its content is not what its manifest says.")
    run, lines = manifest["run"], unpacked[EVENTS].read_bytes().splitlines()
    events = [parse_event(json.loads(line)) for line in lines]
    seqs = [event.seq for event in events]
    if not events or events[0].kind != RunStarted.kind or {event.run for event in events} != {run}:
        raise ArchiveError(f"its events are not those of run {run}.")
    if seqs != sorted(set(seqs)):
        raise ArchiveError("its events are not in order.")
    if max(event.time for event in events) > (time.time() + MAX_CLOCK_SKEW) * 1000 or events[0].time < 0:
        raise ArchiveError("its events are not of the past: the clock here or there is wrong.")
    files = [path for name, path in unpacked.items() if name.startswith(FILES)]
    branches = {str(name): str(commit) for name, commit in manifest["branches"].items()}
    return RunArchive(run, str(manifest["base"]), branches, events, files, unpacked.get(BUNDLE))
