"""A Python without aider, and an index of packages on this disk whose aider-chat leads to the real one beside us."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from orchestra.agents.aider_environment import AIDER_VERSION

PACKAGES = Path(sysconfig.get_path("purelib"))


def make_index(folder: Path) -> dict[str, str]:
    """Return the variables with which pip installs from this index alone."""
    folder.mkdir(parents=True)
    info = f"aider_chat-{AIDER_VERSION}.dist-info"
    files = {
        "aider_chat.pth": f"{PACKAGES}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: aider-chat\nVersion: {AIDER_VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"aider_chat-{AIDER_VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(name, text)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


def make_python_without_aider(folder: Path) -> Path:
    """Make an environment with all that we have but aider, and return its interpreter."""
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(folder)], check=True)
    links = folder / "links"
    links.mkdir()
    for path in PACKAGES.iterdir():
        if not path.name.startswith("aider"):
            (links / path.name).symlink_to(path)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "links.pth").write_text(f"{links}\n")
    return folder / "bin/python"


def make_empty_path(folder: Path) -> str:
    """Return a PATH with git and the usual commands, but without any Python or uv."""
    folder.mkdir()
    for name in ("git", "sh", "env", "cat"):
        source = next(path for part in os.get_exec_path() if (path := Path(part) / name).exists())
        (folder / name).symlink_to(source)
    return str(folder)
