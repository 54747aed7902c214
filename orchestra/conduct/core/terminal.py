"""A terminal that was closed: whatever is printed there fails, and must not change how a run ends."""

import errno
import os
import termios


def is_terminal_closed(descriptor: int) -> bool:
    """Whether this was a terminal, and its other end is closed."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    except OSError:
        return False
    return False


def detach_closed_terminal() -> bool:
    """From here on what is printed goes nowhere, where the terminal is gone. Whether it is."""
    gone = [descriptor for descriptor in (0, 1, 2) if is_terminal_closed(descriptor)]
    for descriptor in gone:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(gone)
