"""The step of action.yml: the action's inputs, which arrive as one JSON object, become flags of the program.

Inputs are data from the first to the last: no shell ever reads them.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from orchestra.errors import SettingsError  # noqa: E402
from orchestra.settings import flag_of, option_fields  # noqa: E402
from orchestra.settings.values import parse_bool, split_words  # noqa: E402


def flags(inputs: Mapping[str, str]) -> list[str]:
    """What is left empty is not said, so that the environment and the settings file keep their say."""
    found = []
    for f in option_fields():
        name, value = flag_of(f), str(inputs.get(flag_of(f).removeprefix("--"), "")).strip()
        if not value:
            continue
        if isinstance(f.default, bool):
            found += [name] if parse_bool(value, name) else []
        else:
            # With the sign between them, a value that begins with a dash is still a value.
            found += [f"{name}={word}" for word in (split_words(value, name) if f.default == () else [value])]
    return found


def main() -> int:
    try:
        words = flags(json.loads(os.environ.pop("INPUTS", "{}")))
    except SettingsError as error:
        sys.stderr.write(f"aider-orchestrator: {error}\n")
        return error.exit_code
    # In this process's place: the runner ends a job by signalling it.
    os.execv(sys.executable, [sys.executable, str(ROOT / "aider_orchestrator.py"), *words])


if __name__ == "__main__":
    sys.exit(main())
