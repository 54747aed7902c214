"""Carry out a command; errors become sentences and exit codes here."""

import os
import sys
import traceback
from contextlib import suppress

from orchestra.cli import command_table
from orchestra.cli.launch import Story, prepare_process
from orchestra.errors import OrchestraError, as_machine_trouble

WINDOWS = "aider-orchestrator needs Linux or macOS. On Windows, run it in WSL: `wsl --install`.\n"


def main(argv: list[str], story: Story) -> int:
    if sys.platform == "win32":  # before anything imports termios or fcntl
        sys.stderr.write(WINDOWS)
        return 2
    from orchestra.cli.ci import guard_output

    prepare_process()
    with guard_output(os.environ):
        return run_command(argv, story)


def run_command(argv: list[str], story: Story) -> int:
    try:
        code = dispatch_command(argv, story)
        sys.stdout.flush()
        return code
    except OrchestraError as error:
        from orchestra.cli.ci import announce_error

        print_error(announce_error(error, os.environ), argv)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        if trouble := as_machine_trouble(error):
            with suppress(OSError):  # a terminal that was closed cannot be written to
                print_error(str(trouble), argv)
            return trouble.exit_code
        return report_bug(argv)


def dispatch_command(argv: list[str], story: Story) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(command_table.overview())
        return 0
    name, words = command_table.split_command(argv)
    parser = command_table.build_command_parser(name)
    if not words and (command_table.has_subcommands(name) or name == "submit"):
        parser.print_help()
        return 0
    arguments = parser.parse(words)
    function = command_table.import_function(name, "cmd_{}")
    return (function(arguments, story) if command_table.COMMANDS[name].starts_run else function(arguments)) or 0


def print_error(sentence: str, argv: list[str]) -> None:
    from orchestra.cli.command_io import print_plain
    from orchestra.cli.load import scrub_keys

    print_plain(f"aider-orchestrator: {scrub_keys(sentence, argv)}", stream=sys.stderr)


def report_bug(argv: list[str]) -> int:
    """Write the details of a bug into a file that can be attached to a report, and print where it is."""
    import tempfile

    from orchestra.cli.load import scrub_keys

    # Only the command among the arguments: the others, and the text of a change, may hold a key.
    command = [word for word in argv[:1] if word in command_table.COMMANDS]
    details = scrub_keys(f"{command}\n{traceback.format_exc()}", argv)
    name = "aider-orchestrator"
    try:
        handle, path = tempfile.mkstemp(prefix=f"{name}-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(details)
        text = f"{name}: this is a bug, sorry. The details are in {path}; please report it with them."
    except OSError:
        text = f"{details}\n{name}: this is a bug, sorry; please report what is above."
    print(text, file=sys.stderr)
    return 3
