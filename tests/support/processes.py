"""Looking at processes from outside."""

from contextlib import suppress
from pathlib import Path

from tests.support.load import holds_soon


def gone(pid: int) -> bool:
    """A zombie that nobody has buried yet is gone too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def written_pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def all_gone(pids: list[int]) -> bool:
    """A signal that kills takes a moment to arrive."""
    return holds_soon(lambda: all(map(gone, pids)))


def gate_processes(tree: Path) -> list[int]:
    """Those of a gate on this tree. Inside its sandbox they have other numbers."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and f"GATE_TREE={tree}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
