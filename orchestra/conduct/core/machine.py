"""What this machine has."""

import os
from pathlib import Path


def measure_machine() -> tuple[int, int]:
    """Cores and free memory, as far as this platform tells."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return cores, int(line.split()[1]) * 1024
    except OSError:
        pass
    return cores, 8 << 30
