"""The folder of the user's settings and consents."""

import os
from pathlib import Path


def config_folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path("~/.config").expanduser()) / "aider-orchestrator"
