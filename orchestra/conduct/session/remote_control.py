"""Commands of other terminals for a running run."""

import asyncio
import signal

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.errors import RequestRefused, StoreError
from orchestra.journal.store import Command
from orchestra.plan.targets import Targets


def accept_commands(run: Run) -> None:
    """Accept commands from now on. Call it in the story's own task, which `cancel` stops."""
    loop, story = asyncio.get_running_loop(), asyncio.current_task()
    assert story is not None

    def stop_run(command: Command) -> str:
        story.cancel(signal.SIGTERM)
        return "The run is being stopped."

    def lose_ownership() -> None:
        run.services.journal.mute()
        story.cancel(signal.SIGTERM)

    run.services.commands["cancel"] = stop_run
    run.services.hold.run = run.context.stamp
    run.services.hold.start_renewing(
        lambda command: loop.call_soon_threadsafe(answer_command, run, command),
        lambda: loop.call_soon_threadsafe(lose_ownership),
    )


def answer_command(run: Run, command: Command) -> None:
    """Carry out a command if that is possible now, and emit the answer where its sender looks for it."""
    name = command.kind if command.task is None else f"{command.kind} task"
    carry_out, refused = run.services.commands.get(name), False
    try:
        if carry_out is None:
            raise RequestRefused(f"The run cannot {name} now.")
        answer = carry_out(command)
    except RequestRefused as why:
        answer, refused = str(why), True
    token = str(command.data.get("token", ""))
    payload = events.CommandAnswered(name=command.kind, token=token, answer=answer, refused=refused)
    run.emit(payload, command.task)


async def reserve_files(run: Run, targets: Targets | None = None) -> None:
    """Reserve the target files as soon as they are known: no two runs change one file at once."""
    paths = [file.path for file in targets.files] if targets else list(run.state.plan.owners)
    try:
        await asyncio.to_thread(run.services.hold.lease_files, paths)
    except StoreError as error:
        run.emit(events.Note(f"The files could not be reserved: {error}"))
