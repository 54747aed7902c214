"""Recognise faults of the machine in messages of git, Aider or the system: another attempt would not help."""

import re

ROOM = "Free some space in {place}, or set TMPDIR to a larger disk; then `resume`."
RIGHTS = "Make {place} writable; then `resume`."
LIMITS = "Use a smaller --max-agents, or raise the limits (`ulimit -n`, `ulimit -u`, memory); then `resume`."
OBJECTS = "git has lost objects of {place}: `git fsck` lists them, and a fresh clone has them. Then `resume`."
TROUBLES = (
    (r"No space left on device|Disk quota exceeded|File too large|\[Errno (?:28|122|27)\]", ROOM),
    (r"Read-only file system|Permission denied|Operation not permitted|\[Errno (?:30|13|1)\]", RIGHTS),
    (r"Too many open files|Resource temporarily unavailable|Cannot allocate memory|[Cc]annot fork|MemoryError", LIMITS),
    (
        r"unable to read (?:sha1 file|tree|[0-9a-f]{40})|missing blob|bad object|object file \S+ is empty|corrupt"
        r"|failed to read object|git has lost the content",
        OBJECTS,
    ),
)


def machine_remedy(message: str) -> str:
    """Return the remedy, with {place} for the location; empty if the machine is not at fault."""
    return next((remedy for pattern, remedy in TROUBLES if re.search(pattern, message)), "")
