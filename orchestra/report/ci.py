"""The CI system around us: its commands, and what it must not take for one in foreign text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestra.report.sanitize import safe_line, strip_controls

LONGEST = 3_000  # of the 4,096 bytes that it takes for one
Kind = Literal["github", "gitlab", "plain", ""]
# GitHub's runner takes these for commands, and compares as people read: what cannot be seen between the signs does not
# count. So they are broken up by a space, which does. The second, older form counts anywhere in a line.
COMMAND_PATTERN = re.compile(r"^([^!-~]*:)(?=[^!-~]*:)", re.MULTILINE)
OLD_COMMAND_PATTERN = re.compile(r"#(?=[^!-~]*#[^!-~]*\[)")


@dataclass(frozen=True)
class CiSystem:
    """The CI system around us; `kind` is empty where there is none."""

    kind: Kind = ""

    def group(self, name: str, now: float) -> str:
        """A line after which what follows is folded under this name."""
        if self.kind == "github":
            return f"::group::{name}\n"
        if self.kind == "gitlab":
            return f"\x1b[0Ksection_start:{now:.0f}:{gitlab_section(name)}\r\x1b[0K{name}\n"
        return ""

    def end_group(self, name: str, now: float) -> str:
        if self.kind == "github":
            return "::endgroup::\n"
        if self.kind == "gitlab":
            return f"\x1b[0Ksection_end:{now:.0f}:{gitlab_section(name)}\r\x1b[0K\n"
        return ""

    def neutralize(self, text: str) -> str:
        """Text that this system takes for nothing but text."""
        return defused(strip_controls(text)) if self.kind == "github" else strip_controls(text) if self.kind else text


def detect_ci_system(env: Mapping[str, str]) -> CiSystem:
    if env.get("GITHUB_ACTIONS") == "true":
        return CiSystem("github")
    if env.get("GITLAB_CI") == "true":
        return CiSystem("gitlab")
    return CiSystem("plain" if env.get("CI", "").lower() not in ("", "0", "false") else "")


def gitlab_section(name: str) -> str:
    return "orchestra_" + re.sub(r"\W+", "_", name.lower())


def defused(text: str) -> str:
    return OLD_COMMAND_PATTERN.sub("# ", COMMAND_PATTERN.sub(r"\1 ", text))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that is nothing but JSON, in any encoding and to any CI system."""
    return json.dumps(value, indent=indent).replace("##[", "#\\u0023[")


# --- annotations ----------------------------------------------------------------------------------------------------


def error_annotation(words: str, title: str, path: str = "", number: int = 0) -> str:
    given = {"file": path, "line": str(number or 1) if path else "", "title": safe_line(title, 100)}
    properties = ",".join(f"{name}={escape_property(value)}" for name, value in given.items() if value)
    return f"::error {properties}::{escape_data(strip_controls(words)[:LONGEST])}"


def escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    return escape_data(strip_controls(text)).replace(":", "%3A").replace(",", "%2C")
