"""A run as one file: a .tar.gz with a manifest, the events, the run's other files, and its commits as a git bundle."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from orchestra.errors import UsageError
from orchestra.events import Event, RunStarted, parse, to_record
from orchestra.journal.files import STAMP, stamp_of

FORMAT = 1
MANIFEST, EVENTS, BUNDLE, FILES = "manifest.json", "events.jsonl", "commits.bundle", "files/"
MOST = 4 << 30  # bytes, unpacked
CHUNK = 1 << 20
DAMAGE = (
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


class ParcelError(UsageError):
    """The file is no exported run that could be brought in."""


@dataclass(frozen=True)
class Parcel:
    """What a file holds. `files` and the bundle lie in a temporary folder."""

    run: str
    base: str
    branches: dict[str, str]
    events: list[Event]
    files: list[Path] = field(default_factory=list)
    bundle: Path | None = None


def write(target: Path, parcel: Parcel, version: str) -> None:
    """Whole or not at all, and never over another file."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    lines = (json.dumps(to_record(event)) + "\n" for event in parcel.events)
    contents: dict[str, bytes | Path] = {EVENTS: "".join(lines).encode()}
    contents |= {BUNDLE: parcel.bundle} if parcel.bundle else {}
    contents |= {f"{FILES}{path.name}": path for path in parcel.files}
    manifest = {
        "format": FORMAT,
        "program": f"aider-orchestrator {version}",
        "run": parcel.run,
        "base": parcel.base,
        "branches": parcel.branches,
        "sha256": {name: digest(content) for name, content in contents.items()},
    }
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="") as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
                put(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
                for name, content in contents.items():
                    put(archive, name, content)
        os.link(part, target)
    except FileExistsError:
        raise UsageError(f"{target} exists already: give another name with -o.") from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def put(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    about = tarfile.TarInfo(name)
    about.mode, about.mtime = 0o600, int(time.time())
    about.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        archive.addfile(about, source)


def digest(content: bytes | Path) -> str:
    found = hashlib.sha256()
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        while chunk := source.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


# --- reading, where nothing is trusted ------------------------------------------------------------------------------


def read(source: Path, folder: Path) -> Parcel:
    """Unpack into a fresh folder, and check everything."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            manifest, unpacked = opened(archive, folder)
        return checked(manifest, unpacked)
    except ParcelError as error:
        raise ParcelError(f"{source}: {error}") from None
    except FileNotFoundError:
        raise ParcelError(f"{source}: there is no such file.") from None
    except DAMAGE as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ParcelError(f"{source} is no exported run, or it is damaged ({why}).") from None


def opened(archive: tarfile.TarFile, folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """The manifest, and where its files are now."""
    manifest: dict[str, Any] = {}
    unpacked: dict[str, Path] = {}
    left = MOST
    for about in archive:
        if not manifest:
            manifest = manifest_of(archive, about)
            continue
        left -= about.size
        if left < 0:
            raise ParcelError(f"it would be larger than {MOST >> 30} GB.")
        content = content_of(archive, about, manifest["run"])
        if about.name in unpacked:
            raise ParcelError(f"it holds {about.name} twice.")
        unpacked[about.name] = folder / Path(about.name).name
        with unpacked[about.name].open("xb") as target:
            while chunk := content.read(CHUNK):
                target.write(chunk)
    return manifest, unpacked


def manifest_of(archive: tarfile.TarFile, about: tarfile.TarInfo) -> dict[str, Any]:
    content = archive.extractfile(about) if about.isreg() and about.size < CHUNK else None
    if about.name != MANIFEST or content is None:
        raise ParcelError(f"it does not begin with {MANIFEST}, so it is no exported run.")
    manifest = json.loads(content.read())
    if int(manifest["format"]) > FORMAT:
        raise ParcelError(f"it has format {manifest['format']}, and this program knows only {FORMAT}: use a newer one.")
    if not STAMP.fullmatch(manifest["run"]):
        raise ParcelError(f"{manifest['run']!r} is not the name of a run.")
    dict(manifest["sha256"]), dict(manifest["branches"])
    return dict(manifest)


def content_of(archive: tarfile.TarFile, about: tarfile.TarInfo, run: str) -> IO[bytes]:
    """Only plain files under the names that an export gives: nothing can come to lie anywhere else."""
    name = about.name.removeprefix(FILES)
    known = about.name in (EVENTS, BUNDLE) or (about.name != name and "/" not in name and stamp_of(name) == run)
    content = archive.extractfile(about) if known and about.isreg() else None
    if content is None:
        raise ParcelError(f"it holds {about.name!r}, which an exported run does not: nothing was brought in.")
    return content


def checked(manifest: dict[str, Any], unpacked: dict[str, Path]) -> Parcel:
    if {name: digest(path) for name, path in unpacked.items()} != manifest["sha256"]:
        raise ParcelError("it is damaged: its content is not what its manifest says.")
    run, events = manifest["run"], list(parsed(unpacked[EVENTS]))
    seqs = [event.seq for event in events]
    if not events or events[0].kind != RunStarted.kind or {event.run for event in events} != {run}:
        raise ParcelError(f"its events are not those of run {run}.")
    if seqs != sorted(set(seqs)):
        raise ParcelError("its events are not in order.")
    files = [path for name, path in unpacked.items() if name.startswith(FILES)]
    branches = {str(name): str(commit) for name, commit in manifest["branches"].items()}
    return Parcel(run, str(manifest["base"]), branches, events, files, unpacked.get(BUNDLE))


def parsed(path: Path) -> Iterator[Event]:
    """Strictly: what an export has written is whole."""
    with path.open(encoding="utf-8") as file:
        yield from (parse(json.loads(line)) for line in file)
