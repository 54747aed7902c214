"""What an agent proposes at the end of its reply: further tasks, which nobody begins without a person's yes."""

import re
from dataclasses import dataclass

from orchestra.answers.shape import Misshapen, read, says

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
class Proposed:
    title: str = says("what it achieves, in one line")
    brief: str = says("what to do and why", default="")
    files: tuple[str, ...] = says("the files that it would change", default=())


@dataclass(frozen=True)
class Proposals:
    propose: tuple[Proposed, ...]


def proposals(reply: str) -> tuple[Proposed, ...]:
    """Those of the last block; Misshapen where that cannot be read."""
    blocks = BLOCK.findall(reply)
    if not blocks:
        return ()
    if not blocks[-1].rstrip().endswith("}"):
        raise Misshapen("it is cut off")
    found = [one for one in read(Proposals, blocks[-1]).propose if one.title.strip()]
    return tuple(
        Proposed(" ".join(one.title.split())[:TITLE], one.brief.strip()[:BRIEF], one.files[:FILES])
        for one in found[:MOST]
    )


def without_proposals(reply: str) -> str:
    return BLOCK.sub("", reply).strip()
