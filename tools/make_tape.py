"""Record the demo's tape anew: the demo against a scripted model server that knows the finished files.

It is written unpacked, so that its changes can be read, and without what differs from one recording to the next.

usage: python -m tools.make_tape [TAPE]
"""

import gzip
import json
import os
import sys
import tempfile
from pathlib import Path

from aider_orchestrator import story
from orchestra.cli.commands.demo import PROJECT, TAPE, make_sample, sample_settings
from orchestra.cli.launch import run_until_done
from tests.support.edits import gemini_prd, knows
from tests.support.modelserver import ModelServer, Reply, Request


def finished() -> dict[str, str]:
    after = PROJECT / "after"
    files = (path for path in after.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(after).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}


def make_tape(tape: Path) -> int:
    after, prd = finished(), (PROJECT / "prd.md").read_text(encoding="utf-8")

    def author(request: Request) -> Reply:
        """Creates a new file only for the agent that is told to."""
        return knows(after, {path for path in after if f"- {path} (new: create it)" in request.brief})(request)

    folder = Path(tempfile.mkdtemp()) / "sample"
    make_sample(folder)
    os.chdir(folder)
    with ModelServer(gemini_prd(prd, author)) as server:
        variables = {
            "OPENAI_API_BASE": (server.openai_base, "tape"),
            "GEMINI_API_BASE": (server.gemini_base, "tape"),
            "GOOGLE_API_KEY": ("only-for-this-tape", "tape"),
        }
        settings = sample_settings().with_values(variables=variables, record=str(folder.parent / "packed.tape"))
        code = run_until_done(story(settings))
    tape.write_text(unpacked(folder.parent / "packed.tape"), encoding="utf-8")
    return code


def unpacked(packed: Path) -> str:
    records = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
    records[0] = {"tape": records[0]["tape"], "change": records[0]["change"]}
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


if __name__ == "__main__":
    sys.exit(make_tape(Path(sys.argv[1]).absolute() if sys.argv[1:] else TAPE))
