"""The CI system around us: its commands, and what it must not take for one in foreign text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestra.report.safe import line, plain

LONGEST = 3_000  # of the 4,096 bytes that it takes for one
Kind = Literal["github", "gitlab", "plain", ""]
# GitHub's runner takes these for commands, and compares as people read: what cannot be seen between the signs does not
# count. So they are broken up by a space, which does. The second, older form counts anywhere in a line.
COMMAND = re.compile(r"^([^!-~]*:)(?=[^!-~]*:)", re.MULTILINE)
OLD_COMMAND = re.compile(r"#(?=[^!-~]*#[^!-~]*\[)")


@dataclass(frozen=True)
class Ci:
    """The CI system around us; `kind` is empty where there is none."""

    kind: Kind = ""

    def group(self, name: str, now: float) -> str:
        """A line after which what follows is folded under this name."""
        if self.kind == "github":
            return f"::group::{name}\n"
        if self.kind == "gitlab":
            return f"\x1b[0Ksection_start:{now:.0f}:{section(name)}\r\x1b[0K{name}\n"
        return ""

    def end_group(self, name: str, now: float) -> str:
        if self.kind == "github":
            return "::endgroup::\n"
        if self.kind == "gitlab":
            return f"\x1b[0Ksection_end:{now:.0f}:{section(name)}\r\x1b[0K\n"
        return ""

    def harmless(self, text: str) -> str:
        """Text that this system takes for nothing but text."""
        return defused(plain(text)) if self.kind == "github" else plain(text) if self.kind else text


def recognise(env: Mapping[str, str]) -> Ci:
    if env.get("GITHUB_ACTIONS") == "true":
        return Ci("github")
    if env.get("GITLAB_CI") == "true":
        return Ci("gitlab")
    return Ci("plain" if env.get("CI", "").lower() not in ("", "0", "false") else "")


def section(name: str) -> str:
    return "orchestra_" + re.sub(r"\W+", "_", name.lower())


def defused(text: str) -> str:
    return OLD_COMMAND.sub("# ", COMMAND.sub(r"\1 ", text))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that is nothing but JSON, in any encoding and to any CI system."""
    return json.dumps(value, indent=indent).replace("##[", "#\\u0023[")


# --- annotations ----------------------------------------------------------------------------------------------------


def annotation(words: str, title: str, path: str = "", number: int = 0) -> str:
    given = {"file": path, "line": str(number or 1) if path else "", "title": line(title, 100)}
    properties = ",".join(f"{name}={property_(value)}" for name, value in given.items() if value)
    return f"::error {properties}::{data(plain(words)[:LONGEST])}"


def data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_(text: str) -> str:
    return data(plain(text)).replace(":", "%3A").replace(",", "%2C")
