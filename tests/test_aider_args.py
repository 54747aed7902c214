"""--aider-args is a list of what is allowed, and each entry of it is an option of the Aider that we run."""

import argparse
import functools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from orchestra.agents.aider_args import ALLOWED, COUNT, FACTOR, SWITCH, parse_aider_args
from orchestra.errors import SettingsError
from tests.support.shell import Shell, shell

__all__ = ["shell"]

ROOT = Path(__file__).parents[1]


@functools.cache
def parser() -> argparse.ArgumentParser:
    """Imported late: Aider takes seconds to import, and every worker collects this module."""
    from aider.args import get_parser

    made: argparse.ArgumentParser = get_parser([], "/root")
    return made


@functools.cache
def actions() -> dict[str, argparse.Action]:
    return {name: action for action in parser()._actions for name in action.option_strings}


@pytest.mark.parametrize("name", ALLOWED)
def test_every_allowed_option_is_one_of_aiders_with_that_arity(name: str) -> None:
    option, action = ALLOWED[name], actions()[name]
    assert (option == SWITCH) == (action.nargs == 0)
    if option != SWITCH:
        assert action.nargs is None  # exactly one value
    types: dict[Any, Any] = {int: COUNT, float: FACTOR}
    assert option == types.get(action.type, option)
    assert not action.choices or set(option.choices) <= set(action.choices)


@pytest.mark.parametrize("name", ALLOWED)
def test_an_allowed_option_changes_that_setting_of_aiders_and_no_other(name: str) -> None:
    option = ALLOWED[name]
    value = option.choices[-1] if option.choices else "7"
    (word,) = parse_aider_args(name if option == SWITCH else f"{name} {value}")
    before, after = vars(parser().parse_args([])), vars(parser().parse_args([word]))
    differing = {key for key in before if before[key] != after[key]}
    assert differing <= {actions()[name].dest}
    assert str(after[actions()[name].dest]) in (value, f"{value}.0", "True", "False")


def test_nothing_that_reads_writes_runs_or_sends_is_allowed() -> None:
    """Held by hand: who adds an option to the table has to take its word out here."""
    words = "file read cmd command key api model env git commit config load apply voice gui browser upgrade update"
    words += " analytics notif yes message editor ssl"
    dangerous = {name for name in ALLOWED for word in words.split() if word in name}
    assert dangerous == {
        "--check-model-accepts-settings",
        "--no-check-model-accepts-settings",
        "--map-multiplier-no-files",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  ", ()),
        ("--map-tokens 1024 --chat-language 'en'", ("--map-tokens=1024", "--chat-language=en")),
        ("--map-tokens=0 --verbose", ("--map-tokens=0", "--verbose")),
        ("--map-tokens 1 --map-tokens 2", ("--map-tokens=1", "--map-tokens=2")),  # as Aider does, the last one counts
        ("--chat-language 'Traditional Chinese'", ("--chat-language=Traditional Chinese",)),
        ("--reasoning-effort=a=b", ("--reasoning-effort=a=b",)),
    ],
)
def test_allowed_options_are_passed_on(text: str, words: tuple[str, ...]) -> None:
    assert parse_aider_args(text) == words


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/etc/passwd", "'/etc/passwd'"),
        ("--map-tokens 5 /etc/passwd", "'/etc/passwd'"),
        ("-f /etc/passwd", "-f"),
        ("-f/etc/passwd", "-f/etc/passwd"),
        ("-m hi", "-m"),
        ("-mhi", "-mhi"),
        ("-v", "-v"),
        ("-c x", "-c"),
        ("-4", "-4"),
        ("-", "'-'"),
        ("--", "'--'"),
        ("-- /etc/passwd", "'--'"),
        ("--file /etc/passwd", "--file"),
        ("--fil=/etc/passwd", "--fil"),
        ("--upgrade", "--upgrade"),
        ("--notifications-command 'touch x'", "--notifications-command"),
        ("--notifications-c=x", "--notifications-c"),
        ("--lint-cmd x", "--lint-cmd"),
        ("--test-cmd=x", "--test-cmd"),
        ("--edit-f whole", "Did you mean --edit-format?"),
        ("--map-token=1", "Did you mean --map-tokens?"),
        ("--MAP-TOKENS=1", "--MAP-TOKENS"),
        ("--map-tokens", "--map-tokens must be a whole number"),
        ("--map-tokens=", "--map-tokens must be a whole number"),
        ("--map-tokens -5", "--map-tokens must be a whole number"),
        ("--map-tokens=1e3", "--map-tokens must be a whole number"),
        ("--map-tokens --verbose", "--map-tokens must be a whole number"),
        ("--map-multiplier-no-files nan", "must be a number"),
        ("--edit-format architect", "--edit-format must be one of"),
        ("--edit-format ask", "--edit-format must be one of"),
        ("--chat-mode architect", "--chat-mode"),
        ("--chat-language 'a\nb'", "--chat-language must be a word"),
        ("--stream=1", "--stream takes no value"),
        ("=x", "'='"),
        ("'' --verbose", "''"),
        ("'--verbose --upgrade'", "--verbose --upgrade"),
        ("'unclosed", "no closing quotation"),
        ("--model openai/other", "--model"),
        ("--openai-api-base=http://x", "--openai-api-base"),
        ("--set-env A=b", "--set-env"),
    ],
)
def test_all_else_is_refused_by_its_name(text: str, named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_aider_args(text)
    said = str(caught.value)
    assert named in said and said.startswith("--aider-args") and "\n" not in said and said.endswith((".", "?"))


def test_the_documentation_lists_what_is_allowed_and_nothing_else() -> None:
    """`--name` in the table of docs/how-to.md."""
    page = (
        (ROOT / "docs/how-to.md").read_text("utf-8").partition("## … give Aider more options")[2].partition("\n## ")[0]
    )
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `--")]
    assert {name for row in rows for name in re.findall(r"`(--[a-z-]+)`", row)} == set(ALLOWED)


def test_every_option_of_aiders_that_is_not_in_the_table_is_refused() -> None:
    for name in actions().keys() - ALLOWED.keys():
        with pytest.raises(SettingsError):
            parse_aider_args(f"{name} x")
        with pytest.raises(SettingsError):
            parse_aider_args(f"{name}=x")


@pytest.mark.parametrize("text", ("/etc/passwd", "-f /etc/passwd", "--upgrade", "--notifications-command=x"))
@pytest.mark.parametrize("more", ((), ("--dry-run",)))
def test_a_run_with_such_options_is_refused_before_it_begins(shell: Shell, text: str, more: tuple[str, ...]) -> None:
    sentence = shell.refused("--change", "x", "--no-prd", "--files", "a.py", f"--aider-args={text}", *more)
    assert shlex.split(text)[0].partition("=")[0] in sentence
