"""The CI system that runs us: its commands, and how foreign text is kept from being read as one."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestra.report.sanitize import safe_line, strip_controls

LONGEST = 3_000  # characters of an annotation, of which GitHub takes 4,096 bytes
Kind = Literal["github", "gitlab", "plain", ""]
# GitHub's runner reads these as commands, and ignores invisible characters between the signs. A space breaks a
# command. The second, older form counts anywhere in a line.
COMMAND_PATTERN = re.compile(r"^([^!-~]*:)(?=[^!-~]*:)", re.MULTILINE)
OLD_COMMAND_PATTERN = re.compile(r"#(?=[^!-~]*#[^!-~]*\[)")


@dataclass(frozen=True)
class CiSystem:
    """The CI system that runs us; `kind` is empty if there is none."""

    kind: Kind = ""

    def group(self, name: str, now: float) -> str:
        """A line that starts a fold of this name."""
        section = f"\x1b[0Ksection_start:{now:.0f}:{gitlab_section(name)}\r\x1b[0K{name}\n"
        return {"github": f"::group::{name}\n", "gitlab": section}.get(self.kind, "")

    def end_group(self, name: str, now: float) -> str:
        section = f"\x1b[0Ksection_end:{now:.0f}:{gitlab_section(name)}\r\x1b[0K\n"
        return {"github": "::endgroup::\n", "gitlab": section}.get(self.kind, "")

    def neutralize(self, text: str) -> str:
        """The text, which this system cannot read as a command."""
        text = strip_controls(text) if self.kind else text
        if self.kind == "github":
            text = OLD_COMMAND_PATTERN.sub("# ", COMMAND_PATTERN.sub(r"\1 ", text))
        return text


def detect_ci_system(env: Mapping[str, str]) -> CiSystem:
    if env.get("GITHUB_ACTIONS") == "true":
        return CiSystem("github")
    if env.get("GITLAB_CI") == "true":
        return CiSystem("gitlab")
    return CiSystem("plain" if env.get("CI", "").lower() not in ("", "0", "false") else "")


def gitlab_section(name: str) -> str:
    return "orchestra_" + re.sub(r"\W+", "_", name.lower())


def json_text(value: Any, indent: int | None = None) -> str:
    """ASCII JSON that no CI system reads as a command."""
    return json.dumps(value, indent=indent).replace("##[", "#\\u0023[")


def error_annotation(words: str, title: str, path: str = "", number: int = 0) -> str:
    properties = {"file": path, "line": str(number or 1) if path else "", "title": safe_line(title, 100)}
    head = ",".join(f"{name}={escape_property(value)}" for name, value in properties.items() if value)
    return f"::error {head}::{escape_data(strip_controls(words)[:LONGEST])}"


def escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    return escape_data(strip_controls(text)).replace(":", "%3A").replace(",", "%2C")
