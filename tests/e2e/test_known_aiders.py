"""The distributions that bring the module `aider`: each is driven by the whole program. `make clis` installs the
second one."""

import sys
from pathlib import Path

import pytest

from orchestra.agents.seat import KNOWN_AIDERS
from tests.support.edits import appends, malformed
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import assert_clean, make_place

pytestmark = pytest.mark.thorough
FORGEPAIR = Path(__file__).resolve().parents[2] / ".tools" / "forgepair" / "bin" / "python"
INTERPRETERS = {"aider-chat": sys.executable, "forgepair": str(FORGEPAIR)}
FILES = {"a.py": "x = 1\n", "b.py": "y = 1\n", "c.py": "z = 1\n"}
JOB = ("--change", "Append", "--no-prd", "--agents", "3", "--files", *FILES)


@pytest.mark.parametrize("name", INTERPRETERS)
def test_known_distribution_is_driven_and_judged(tmp_path: Path, name: str) -> None:
    if not Path(INTERPRETERS[name]).exists():
        pytest.skip("forgepair is not installed: make clis")
    assert name in KNOWN_AIDERS
    place, good = make_place(tmp_path, FILES), appends("# more\n")

    def respond(request: Request) -> Reply:
        if "a.py" in request.files:
            return good(request)
        return Reply("bad", status=400) if "b.py" in request.files else malformed()(request)

    with ModelServer(respond) as server:
        ran = place.run(*JOB, server=server, AIDER_BIN=INTERPRETERS[name])
        used = server.tokens()
    assert ran.verdicts == ["applied", "provider_error", "rejected_edit"], ran.out + ran.err
    assert list(ran.changed()) == ["a.py"] and ran.summary["usage"]["input_tokens"] == used.input
    assert_clean(ran)
