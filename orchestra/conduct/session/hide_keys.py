"""Hide keys from other processes once they have been read (Linux)."""

import os
import sys

from orchestra.conduct.core.secrets import Secrets

DUMPABLE = 4


def hide_keys(secrets: Secrets) -> None:
    """Remove our keys from the environment, and close environment, memory and descriptors to other processes of this
    user."""
    names = [name for name, value in os.environ.items() if any(key in value for key in secrets.values)]
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        for name in names:
            # /proc shows the environment that the process was started with, whatever is deleted from it later.
            address = libc.getenv(os.fsencode(name))
            if address:
                ctypes.memset(address, ord("x"), len(os.fsencode(os.environ[name])))
        libc.prctl(DUMPABLE, 0, 0, 0, 0)
    for name in names:
        del os.environ[name]
