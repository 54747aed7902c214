"""The step of action.yml: the action's inputs, which arrive as one JSON object, become flags of the program.

Inputs are data from the first to the last: no shell ever reads them.
"""

import glob
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


def command_words(inputs: Mapping[str, str]) -> list[str]:
    """The words of another command than `run`; a pattern stands for the files that it matches."""
    words = split_words(str(inputs.get("command", "")).strip(), "command")
    return [found for word in words for found in (sorted(glob.glob(word)) or [word])]  # noqa: PTH207 (patterns may be absolute)


def main() -> int:
    try:
        inputs = json.loads(os.environ.pop("INPUTS", "{}"))
        words = [*command_words(inputs), *flags(inputs)]
    except SettingsError as error:
        sys.stderr.write(f"aider-orchestrator: {error}\n")
        return error.exit_code
    # In this process's place: the runner ends a job by signalling it.
    os.execv(sys.executable, [sys.executable, str(ROOT / "aider_orchestrator.py"), *words])


if __name__ == "__main__":
    sys.exit(main())
