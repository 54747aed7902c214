"""What other terminals may ask of a run while it is under way."""

from collections.abc import Callable

from orchestra.errors import RequestRefused
from orchestra.journal.store import Command

CommandHandler = Callable[[Command], str]


class Commands:
    """The commands that the run accepts now. Each is carried out by the part of the run that offers it."""

    def __init__(self) -> None:
        self.offered: dict[str, CommandHandler] = {}

    def offer(self, name: str, carry_out: CommandHandler) -> None:
        """Accept a command from now on. `name` is its kind, followed by " task" if it is about one."""
        self.offered[name] = carry_out

    def carry_out(self, command: Command) -> str:
        """Return the answer, or raise Refused."""
        name = command.kind if command.task is None else f"{command.kind} task"
        if name not in self.offered:
            raise RequestRefused(f"The run cannot {name} now.")
        return self.offered[name](command)
