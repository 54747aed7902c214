"""Write docs/reference-faults.md from the table of faults that the program is held to.

usage: python -m tools.write_faults
"""

import sys
from pathlib import Path

from tests.support.faults import FAULTS, GROUPS, Fault
from tools.write_reference import table

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference-faults.md"
HEAD = f"""\
# Faults

<!-- Written by `make reference` from tests/support/faults.py: do not edit. -->

What goes wrong, and what the program makes of it: {len(FAULTS)} faults. Each is injected into real Aider runs, alone
and in a run of three agents whose other two must succeed (`make soak`; a part of it with `make test`).

- **Cause**: words that stand in the sentence which the report gives as the cause, always beside the files concerned.
- **Exit**: the exit code of a run whose only agent meets the fault, and of one with two agents that do not. *All*:
  it meets every agent of a run alike.
- **Tree**: what becomes of the file of the agent that meets it. The work of the other agents is always kept.
- **Requests**: how many the provider sees of this agent. It is what the report counts.
- **Money**: *counted*: as the provider told it; *nothing*: it billed nothing; *assumed*: a reply was lost or told no
  usage, so the most that it may cost counts as paid, and the report says so.
- **Left over**: nothing, in each of them: no process, no worktree, no lock, no key in any file, no branch that is not
  named; unfinished work is kept as a patch where the table says so.

Each agent has one attempt here (`ORCHESTRA_RETRIES=0`).
"""
COLUMNS = ("Fault", "Verdict", "Cause", "Exit alone", "Exit beside", "Tree", "Requests", "Money")


def text() -> str:
    parts = [HEAD]
    for title, group in GROUPS.items():
        parts.append(f"## {title}\n\n" + table(COLUMNS, (row(name, fault) for name, fault in group.items())))
    return "\n".join(parts)


def row(name: str, fault: Fault) -> tuple[str, ...]:
    beside = "–" if fault.beside is None else f"{fault.beside} (all)" if fault.common else str(fault.beside)
    return (
        name,
        fault.verdict or "–",
        ", ".join(f"“{word}”" for word in fault.words) or "–",
        "–" if fault.alone is None else str(fault.alone),
        beside,
        fault.tree + (", the rest in a patch" if fault.patch else ""),
        "all counted" if fault.requests is None else str(fault.requests),
        fault.money,
    )


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(FAULTS)} faults\n")
