"""A run as one file: what another clone takes from it, and what it refuses."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell, shell
from tests.support.stories import STAMP, files, logs_of, sentence, story, told

__all__ = ["shell"]


@pytest.fixture
def parcel(shell: Shell) -> Iterator[Path]:
    """An exported run, which is not here any more."""
    target = shell.place.home / "run.tar.gz"
    files(shell, story(shell.place.repo))
    (logs_of(shell) / f"summary_{STAMP}.json").write_text("{}")
    told(shell, "export", "-o", str(target))
    told(shell, "clean", "--yes")
    yield target


def contents(parcel: Path) -> dict[str, bytes]:
    with tarfile.open(parcel) as archive:
        return {about.name: archive.extractfile(about).read() for about in archive}  # type: ignore[union-attr]


def written(parcel: Path, change: Callable[[tarfile.TarFile, dict[str, bytes]], None]) -> None:
    found = contents(parcel)
    with tarfile.open(parcel, "w:gz") as archive:
        change(archive, found)


def add(archive: tarfile.TarFile, name: str, content: bytes, **about: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in about.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(content))


def refused(shell: Shell, parcel: Path) -> str:
    """Nothing came in, and nothing was written anywhere."""
    before = {path for path in shell.place.repo.parent.rglob("*") if "orchestra.db" not in path.name}
    said = shell.run("import", str(parcel))
    assert said.out == ""
    assert {path for path in shell.place.repo.parent.rglob("*") if "orchestra.db" not in path.name} == before
    assert told(shell, "runs") == ""
    return sentence(said)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "files/../../evil.txt",
        "/etc/evil.txt",
        f"files/../run_{STAMP}.jsonl",
        "files/evil.txt",
        f"files/run_{STAMP}_2.txt",
        "files/a/b",
        "evil",
    ],
)
def test_a_file_that_would_come_to_lie_elsewhere(shell: Shell, parcel: Path, name: str) -> None:
    def change(archive: tarfile.TarFile, found: dict[str, bytes]) -> None:
        for each, content in (found | {name: b"evil"}).items():
            add(archive, each, content)

    written(parcel, change)
    assert f"it holds {name!r}, which an exported run does not" in refused(shell, parcel)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices(shell: Shell, parcel: Path, kind: bytes) -> None:
    def change(archive: tarfile.TarFile, found: dict[str, bytes]) -> None:
        for each, content in found.items():
            if each.startswith("files/"):
                add(archive, each, b"", type=kind, linkname="/etc/passwd")
            else:
                add(archive, each, content)

    written(parcel, change)
    assert f"it holds 'files/summary_{STAMP}.json', which an exported run does not" in refused(shell, parcel)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", 2, "it has format 2, and this program knows only 1: use a newer one."),
        ("run", "../../x", "'../../x' is not the name of a run."),
        ("run", f"{STAMP}_2", "which an exported run does not"),
        ("sha256", {}, "its content is not what its manifest says."),
        ("format", None, "is no exported run, or it is damaged"),
        ("branches", 3, "is no exported run, or it is damaged"),
    ],
)
def test_a_manifest_that_does_not_fit(shell: Shell, parcel: Path, key: str, value: object, words: str) -> None:
    def change(archive: tarfile.TarFile, found: dict[str, bytes]) -> None:
        manifest = json.loads(found.pop("manifest.json")) | {key: value}
        for each, content in ({"manifest.json": json.dumps(manifest).encode()} | found).items():
            add(archive, each, content)

    written(parcel, change)
    assert words in refused(shell, parcel)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file(shell: Shell, parcel: Path, seed: int) -> None:
    """Cut anywhere, or with a wrong byte anywhere, also inside of what is compressed."""
    chance, content = random.Random(seed), parcel.read_bytes()
    if seed % 3 == 0:
        damaged = content[: chance.randrange(len(content) - 8)]
    elif seed % 3 == 1:
        at = chance.randrange(10, len(content) - 8)
        damaged = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    else:
        raw = bytearray(gzip.decompress(content))
        at = raw.index(b"Changed a.py") + chance.randrange(12)
        raw[at] ^= 1 << chance.randrange(3)
        damaged = gzip.compress(bytes(raw))
    parcel.write_bytes(damaged)
    assert str(parcel) in refused(shell, parcel)


@pytest.mark.parametrize("content", [b"", b"hello", gzip.compress(b"hello", mtime=0), b"\x1f\x8b"])
def test_a_file_of_another_kind(shell: Shell, parcel: Path, content: bytes) -> None:
    parcel.write_bytes(content)
    assert "is no exported run" in refused(shell, parcel)
    assert "is no exported run" in refused(shell, parcel.parent)


def test_events_that_make_no_sense(shell: Shell, parcel: Path) -> None:
    for spoil in (
        lambda r: r | {"data": {"usage": []}, "seq": 4},
        lambda r: r | {"run": "x"},
        lambda r: r | {"seq": "1"},
        lambda r: r | {"data": [1]},
    ):
        original = parcel.read_bytes()

        def change(archive: tarfile.TarFile, found: dict[str, bytes], spoil: Any = spoil) -> None:
            records = [json.loads(line) for line in found["events.jsonl"].splitlines()]
            records[-1] = spoil(records[-1])
            found["events.jsonl"] = b"".join(json.dumps(record).encode() + b"\n" for record in records)
            manifest = json.loads(found.pop("manifest.json"))
            manifest["sha256"]["events.jsonl"] = hashlib.sha256(found["events.jsonl"]).hexdigest()
            for each, content in ({"manifest.json": json.dumps(manifest).encode()} | found).items():
                add(archive, each, content)

        written(parcel, change)
        assert "run.tar.gz" in refused(shell, parcel)
        parcel.write_bytes(original)
    assert told(shell, "import", str(parcel)) == f"Run {STAMP} was imported: 8 events.\n"


def test_outside_of_any_repository(shell: Shell, parcel: Path) -> None:
    shell.patch.chdir(shell.place.home)
    assert "is not in a git repository." in sentence(shell.run("import", str(parcel)))
    assert not (shell.place.home / ".aider_logs").exists()
