"""The settings: their table, their sources, and the limits of a committed file.
Pure: `cli` reads the files, this package parses their content."""

from orchestra.settings.load import SettingsFile, load_settings
from orchestra.settings.option import check_option, flag_of, key_of
from orchestra.settings.settings import (
    CONFLICTING_OPTIONS,
    KEYS_PIPE,
    LAUNCH,
    REPOSITORY_ENV,
    SCRIPT_ENV,
    SECRET_WORDS,
    CommittedFile,
    Settings,
    mask_value,
    option_fields,
)
from orchestra.settings.values import parse_option
