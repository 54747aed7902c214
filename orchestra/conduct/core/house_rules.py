"""Read the repository's house rules for a task: text for its agents, from the commit where the run began."""

from collections.abc import Sequence

from orchestra.conduct.core.context import Context
from orchestra.conduct.core.models import Project
from orchestra.model import Task
from orchestra.plan.house_rules import pick_distinct_rules, possible_rule_paths, quote_house_rules
from orchestra.report.sanitize import strip_controls
from orchestra.workspace.base_files import FileListing, read_files

LARGEST = 1 << 20  # bytes: what is larger was not written for an agent


async def read_house_rules(project: Project, paths: Sequence[str]) -> dict[str, str]:
    """Return the texts of the rule files for these files, the nearest first. They are regular files that git tracks."""
    if not project.settings.conventions:
        return {}
    entries = project.entries
    tracked = [path for path in possible_rule_paths(paths) if path in entries and entries[path].size <= LARGEST]
    listing = FileListing({path: (entries[path].mode, entries[path].blob) for path in tracked})
    found = await read_files(project.git, listing, tracked)
    return pick_distinct_rules({path: read_rule_text(raw) for path, raw in found.items()})


async def house_rules_of(context: Context, task: Task) -> str:
    """Return the house rules for a task, quoted, without our keys."""
    texts = await read_house_rules(context, task.paths)
    return quote_house_rules({path: context.secrets.scrub(text) for path, text in texts.items()})


def read_rule_text(raw: bytes) -> str:
    """Return a rule file's text without control characters; empty if it is not text."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else strip_controls(text)
