"""The settings: their table, how they are put together, and what a committed file may not decide.

Pure: the face reads the files, this parses what stands in them.
"""

from orchestra.settings.checks import check_option
from orchestra.settings.load import SettingsFile, load
from orchestra.settings.option import PREFIX, Power, flag, key_of, variables_of
from orchestra.settings.settings import (
    REPOSITORY_ENV,
    RIVALS,
    SCRIPT_ENV,
    SECRET_WORDS,
    Committed,
    Settings,
    masked,
    options,
)
from orchestra.settings.values import parse, parse_bool, split

__all__ = [
    "PREFIX",
    "REPOSITORY_ENV",
    "RIVALS",
    "SCRIPT_ENV",
    "SECRET_WORDS",
    "Committed",
    "Power",
    "Settings",
    "SettingsFile",
    "check_option",
    "flag",
    "key_of",
    "load",
    "masked",
    "options",
    "parse",
    "parse_bool",
    "split",
    "variables_of",
]
