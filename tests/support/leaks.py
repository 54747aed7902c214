"""A scan for planted keys over everything that a run leaves behind, for any test that has a Place.

    assert leaks(ran.place, ran.out, ran.err) == []

Files (also inside of gzip, zlib and base64 as we write them), git's objects, databases with their WAL, the environments
and command lines of whatever still runs, and what was printed. The keys are searched for as they are, escaped, encoded
and cut short.
"""

import base64
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from orchestra.conduct.core.secrets import encoded_forms
from tests.support.runs import KEYS, Place, read_proc

SHAPED = "sk-proj-" + "Zq7" * 15  # nobody's key, and in no environment: only its shape tells
PACKED = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def patterns(keys: tuple[str, ...]) -> re.Pattern[bytes]:
    """Each key in all its forms, and its first two thirds: a cut must not save what stands before it."""
    forms = {form for key in keys for form in (*encoded_forms(key), key[: len(key) * 2 // 3])}
    return re.compile(b"|".join(re.escape(os.fsencode(form)) for form in forms))


def leaks(
    place: Place, *printed: str, keys: tuple[str, ...] = tuple(KEYS.values()), user: tuple[str, ...] = (".env",)
) -> list[str]:
    """Where a key is found. `user` are the files in the repository that are the user's own and may hold one."""
    wanted = patterns(keys)
    found = [str(path) for path in files(place, user) if holds(wanted, read_proc(path))]
    objects = place.git("cat-file", "--batch", "--batch-all-objects", "--unordered")
    found += ["git's objects"] * bool(wanted.search(os.fsencode(objects)))
    found += [f"printed: {text[:60]!r}" for text in printed if wanted.search(text.encode("utf-8", "replace"))]
    return found


def agents_leaks(place: Place, orchestrator: int, keys: tuple[str, ...] = tuple(KEYS.values())) -> list[str]:
    """The same of the processes that are there now, but for the orchestrator itself, to which the keys were given."""
    wanted = patterns(keys)
    traces = ((pid, name, read_proc(Path(f"/proc/{pid}") / name)) for pid in place.processes() for name in TRACES)
    return [f"{name} of {pid}" for pid, name, trace in traces if pid != orchestrator and wanted.search(trace)]


TRACES = ("environ", "cmdline")


def files(place: Place, user: tuple[str, ...]) -> Iterator[Path]:
    own = {place.repo / name for name in user}
    for root in (place.repo, place.home, place.tmp):
        for folder, _, names in os.walk(root):  # passes over a folder that ends meanwhile, where rglob raises
            yield from (path for path in (Path(folder, name) for name in names) if path.is_file() and path not in own)


def holds(wanted: re.Pattern[bytes], content: bytes) -> bool:
    return any(wanted.search(layer) for layer in layers(content))


def layers(content: bytes) -> Iterator[bytes]:
    """The content, and what is packed in it."""
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield unpacked(content)
    for coded in PACKED.findall(content):
        if len(coded) % 4 == 0:
            raw = base64.b64decode(coded)
            yield raw
            if raw[:1] == b"\x78":
                yield inflated(raw)


def unpacked(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return zlib.decompressobj(wbits=31).decompress(content)


def inflated(raw: bytes) -> bytes:
    try:
        return zlib.decompress(raw)
    except zlib.error:
        return b""
