"""The folder of what belongs to the user and to no repository: settings, consents, secrets."""

import os
from pathlib import Path


def config_folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path("~/.config").expanduser()) / "aider-orchestrator"
