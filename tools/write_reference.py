"""Write docs/reference-settings.md from the program's own table of settings and its list of providers.

usage: python -m tools.write_reference
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

from orchestra.cli.load import FILE, TABLE, USER_FILE
from orchestra.cli.parser import GROUPS, SHORT_FLAGS
from orchestra.providers import catalogue
from orchestra.settings import CONFLICTING_OPTIONS, flag_of, key_of, option_fields
from orchestra.settings.option import Power, variables_of

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference-settings.md"
HEAD = f"""\
# Settings

<!-- Written by `python -m tools.write_reference` from the program's own table: do not edit. -->

Every setting is a flag, a variable and a line of a settings file. The strongest place counts:

1. flags,
2. the environment,
3. `.env` in the root of the repository (only if it is not committed), then `.env` beside `aider_orchestrator.py`,
4. `{FILE}` in the root of the repository, or else the table `[tool.{TABLE}]` of its `pyproject.toml`
   (if git tracks that file and you have not trusted it, it comes after 5, and
   [not all of it counts](#a-settings-file-that-is-committed)),
5. `{USER_FILE}` in your own config folder, `$XDG_CONFIG_HOME/aider-orchestrator` or `~/.config/aider-orchestrator`,
6. defaults.

Within one place, `ORCHESTRA_…` counts before the other variables of a setting. `aider-orchestrator config show` prints
every value with the place it came from; keys are masked. An unknown setting is an error.
"""
FILES = f"""\
## A settings file

```toml
# {FILE}
model = "anthropic/claude-sonnet-5-5"
max-agents = 8
test-cmd = "pytest -q"
worktree-copy = [".env.test"]
worktree-link = ["node_modules"]
```

Yes and no are `true` and `false` there, and `1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off` in a variable.
Several paths are a list there; in a variable they are split as a shell would split them. Times are seconds, or words
like `90s`, `30m`, `1h30m`.

Prices of models that `aider-orchestrator models` does not know, or that cost you something else, stand in a table of
their own, in dollars per million tokens in and out (`--price` says the same for one run):

```toml
[prices]
"openai/my-model" = [1.25, 10]
```

Roles for the tasks of a plan, of your own or changed, are tables too
([how to](how-to.md#-have-specialists-do-the-tasks)):

```toml
[roles.tester]
model = "openai/gpt-6-luna"
edit-format = "whole"
gates = ["tests"]

[roles.security]
prompt-file = "docs/security-engineer.md"
```
"""
COMMITTED = """\
## A settings file that is committed

Whoever can commit may have written it. So of a settings file that git tracks, only this is taken without your consent:

- what is harmless, and commands that check or set up (they can do no more than the repository's own tests);
- a file to read, if it is a regular file that git tracks in this repository;
- what decides how much is spent, if it is less than the default, and where you have said nothing;
- a price that is higher than the known one;
- a model of the same provider that costs no more than the one that would be asked anyway.

What is taken is said, a line each; what is not taken is said once, and the run goes on without it. Where that was the
choice of a model, the run ends with exit code 2 before anything is paid: a run with another model than the team's is
worse than none. `aider-orchestrator trust` shows the file and uses all of it from then on, until it or a file that it
names changes; `--trust-repo` does so for one run. Give `--trust-repo` in CI only where every commit that is run was
reviewed: on the default branch, never on the head of a pull request.

"""
PROVIDERS = """\
## Providers

The key and the address of a provider are read from the environment and the `.env` files only. An address that stands in
the repository's `.env` counts only beside a key from that same file, or when there is no key at all: a file that came
with a repository shall not be able to send your key elsewhere. Any other server that speaks OpenAI's dialect works as
`openai/NAME` with its address in `OPENAI_API_BASE`.
"""
OTHERS = """\
## Other variables

A researcher's tasks search the web if `SEARCH_URL` names a server that answers like Tavily's, or `TAVILY_API_KEY` (or
`SEARCH_API_KEY`) is set; both may stand in `.env`.

From the environment only: `AIDER_BIN` names the `aider` command, or the Python, that has aider-chat, where it is
neither this program's own nor in [the environment made for it](how-to.md#-install-it); `NO_COLOR` and `TERM=dumb` do
without colours and the live board, and so does `CI`; `PAGER` is what `show` opens on a terminal (default: less);
`RATE_LIMIT_ENABLED` (`false`) lifts the limit of requests a minute that `serve` has.
"""


def text() -> str:
    parts = [HEAD]
    for group, title in GROUPS.items():
        rows = [row(f) for f in option_fields() if f.metadata["group"] == group]
        parts.append(f"## {title.capitalize()}\n\n" + table(("Flag", "Variable", "In a file", "Default", ""), rows))
    parts += [rivals(), FILES, COMMITTED + powers(), PROVIDERS + "\n" + providers(), OTHERS]
    return "\n".join(parts)


def row(f: Field[Any]) -> tuple[str, ...]:
    metavar = f" {f.metadata['metavar']}{'…' if isinstance(f.default, tuple) else ''}" if f.metadata["metavar"] else ""
    flags = ", ".join(f"`{name}{metavar}`" for name in (flag_of(f), *SHORT_FLAGS.get(f.name, ())))
    meaning = f"`false`: {f.metadata['help']}" if f.metadata["off"] else f.metadata["help"]
    return flags, coded(variables_of(f)), f"`{key_of(f)}`", default(f), meaning


def powers() -> str:
    """Each option under what it is able to do."""
    rows = []
    for power in Power:
        keys = [key_of(f) for f in option_fields() if f.metadata["power"] == power]
        rows.append((str(power), coded(keys)))
    return table(("A setting that …", ""), rows)


def default(f: Field[Any]) -> str:
    if isinstance(f.default, bool):
        return f"`{str(f.default).lower()}`"
    return f"`{f.default:g}`" if isinstance(f.default, float) else f"`{f.default}`" if f.default else ""


def rivals() -> str:
    by_name = {f.name: f for f in option_fields()}
    pairs = " ".join(
        f"`{flag_of(by_name[one])}` and `{flag_of(by_name[other])}` exclude each other."
        for one, other in CONFLICTING_OPTIONS
    )
    return f"{pairs} Of such a pair the one from the stronger place counts.\n"


def providers() -> str:
    rows = [
        (f"`{p.name}/…`", coded(p.key_vars), coded(p.base_vars), f"`{p.default_base}`")
        for p in catalogue.PROVIDERS.values()
    ]
    return table(("Models", "Key", "Address", "Default address"), rows)


def coded(words: Iterable[str]) -> str:
    return " ".join(f"`{word}`" for word in words)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(option_fields())} settings\n")
