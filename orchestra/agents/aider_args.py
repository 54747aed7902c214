"""The options that `--aider-args` may contain. Pure; a contract test compares the table with Aider's own parser.

A list of forbidden options cannot be complete: Aider has 150 options, accepts abbreviations, short ones and bare file
names, and most of them read, write, run or send something.
"""

import difflib
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestra.errors import SettingsError
from orchestra.plan.roles import EDIT_FORMATS

SEE = "docs/how-to.md lists the allowed ones."
LONGEST_TEXT = 100


@dataclass(frozen=True)
class AllowedOption:
    """An allowed option. Without `wanted` it takes no value; `accepts` checks a value."""

    wanted: str = ""
    accepts: Callable[[str], bool] = lambda value: True
    choices: tuple[str, ...] = ()


def make_number_check(kind: type[int] | type[float]) -> Callable[[str], bool]:
    def accepts(value: str) -> bool:
        try:
            return 0 <= kind(value) < math.inf
        except ValueError:
            return False

    return accepts


def is_text(value: str) -> bool:
    return bool(value.strip()) and value.isprintable() and len(value) <= LONGEST_TEXT


def choice_option(*choices: str) -> AllowedOption:
    return AllowedOption(f"one of {', '.join(choices)}", lambda value: value in choices, choices)


SWITCH, TEXT = AllowedOption(), AllowedOption("a word", is_text)
COUNT = AllowedOption("a whole number", make_number_check(int))
FACTOR = AllowedOption("a number", make_number_check(float))
# Allowed options change how a model is asked, or how a file's text is read from its reply, and nothing else.
ALLOWED: Mapping[str, AllowedOption] = {
    "--cache-prompts": SWITCH,
    "--no-cache-prompts": SWITCH,
    "--chat-language": TEXT,
    "--check-model-accepts-settings": SWITCH,
    "--no-check-model-accepts-settings": SWITCH,
    "--edit-format": choice_option(*EDIT_FORMATS),
    "--line-endings": choice_option("platform", "lf", "crlf"),
    "--map-multiplier-no-files": FACTOR,
    "--map-refresh": choice_option("auto", "always", "files", "manual"),
    "--map-tokens": COUNT,
    "--max-chat-history-tokens": COUNT,
    "--reasoning-effort": TEXT,
    "--stream": SWITCH,
    "--no-stream": SWITCH,
    "--thinking-tokens": TEXT,  # 8192, 8k, 0.5M
    "--verbose": SWITCH,
}


def parse_aider_args(text: str) -> tuple[str, ...]:
    """Return the options as Aider gets them, each value after `=`, so that none is read as an option."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"--aider-args {text!r}: {str(error).lower()}.") from None
    found = []
    while words:
        name, equals, value = words.pop(0).partition("=")
        option = find_allowed_option(name or equals)
        if not option.wanted:
            if equals:
                raise SettingsError(f"--aider-args: {name} takes no value, but was given {value!r}.")
            found.append(name)
            continue
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("-") else ""
        if not option.accepts(value):
            raise SettingsError(f"--aider-args: {name} must be {option.wanted}, not {value!r}.")
        found.append(f"{name}={value}")
    return tuple(found)


def find_allowed_option(word: str) -> AllowedOption:
    """Find an option by its full name. Aider would accept `--edit-f` too, whose meaning may change."""
    if option := ALLOWED.get(word):
        return option
    if not word.startswith("-") or word in ("-", "--"):
        raise SettingsError(f"--aider-args may contain options only; {word!r} is not one.", hint=SEE)
    near = [name for name in ALLOWED if word.startswith("--") and len(word) > 3 and name.startswith(word)]
    near = near or difflib.get_close_matches(word, ALLOWED, 1, 0.85)
    hint = f"Did you mean {near[0]}?" if near else SEE
    raise SettingsError(f"--aider-args may not hold {word!r}.", hint=hint)
