"""What an agent proposes at the end of its reply: further tasks, which nobody begins without a person's yes."""

import re
from dataclasses import dataclass

from orchestra.answers.shape import MisshapenAnswer, described_field, parse_answer

MOST, TITLE, BRIEF, FILES = 20, 200, 4_000, 50
BLOCK = re.compile(
    r'^`{3,}[ \t]*(?:json)?[ \t]*\n(\s*\{\s*"propose"\s*:.*?)(?:^`{3,}[ \t]*$|\Z)',
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
ASK = """\
If more must be done that is nobody's part yet, do not do it: propose it. End your reply with one block like this, of \
as many tasks as it takes, and leave it out where there are none:
```json
{"propose": [{"title": "…", "brief": "what to do and why", "files": ["path/to/file"]}]}
```"""


@dataclass(frozen=True)
class TaskProposal:
    title: str = described_field("what it achieves, in one line")
    brief: str = described_field("what to do and why", default="")
    files: tuple[str, ...] = described_field("the files that it would change", default=())


@dataclass(frozen=True)
class Proposals:
    propose: tuple[TaskProposal, ...]


def read_proposals(reply: str) -> tuple[TaskProposal, ...]:
    """Those of the last block; Misshapen where that cannot be read."""
    blocks = BLOCK.findall(reply)
    if not blocks:
        return ()
    if not blocks[-1].rstrip().endswith("}"):
        raise MisshapenAnswer("it is cut off")
    found = [one for one in parse_answer(Proposals, blocks[-1]).propose if one.title.strip()]
    return tuple(
        TaskProposal(" ".join(one.title.split())[:TITLE], one.brief.strip()[:BRIEF], one.files[:FILES])
        for one in found[:MOST]
    )


def strip_proposals(reply: str) -> str:
    return BLOCK.sub("", reply).strip()
