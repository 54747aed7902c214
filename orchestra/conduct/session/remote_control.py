"""What other terminals ask of a run while it is under way."""

import asyncio
import signal

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.errors import RequestRefused, StoreError
from orchestra.journal.store import Command
from orchestra.plan.targets import Targets


def accept_commands(run: Run) -> None:
    """Accept commands from now on. To be called in the story's own task, which `cancel` stops."""
    loop, story = asyncio.get_running_loop(), asyncio.current_task()
    assert story is not None

    def stop_run(command: Command) -> str:
        story.cancel(signal.SIGTERM)
        return "The run is being stopped."

    def lose_ownership() -> None:
        run.services.journal.mute()
        story.cancel(signal.SIGTERM)

    run.services.commands.offer("cancel", stop_run)
    run.services.hold.run = run.context.stamp
    run.services.hold.start_renewing(
        lambda command: loop.call_soon_threadsafe(answer_command, run, command),
        lambda: loop.call_soon_threadsafe(lose_ownership),
    )


def answer_command(run: Run, command: Command) -> None:
    """Carry it out, and leave the answer where the one who asked looks for it."""
    try:
        answer, refused = run.services.commands.carry_out(command), False
    except RequestRefused as why:
        answer, refused = str(why), True
    token = str(command.data.get("token", ""))
    told = events.CommandAnswered(name=command.kind, token=token, answer=answer, refused=refused)
    run.emit(told, command.task)


async def reserve_files(run: Run, targets: Targets | None = None) -> None:
    """Reserve the files that are to be changed, as soon as they are known: no two runs work on one file at once."""
    paths = [file.path for file in targets.files] if targets else list(run.state.plan.owners)
    try:
        await asyncio.to_thread(run.services.hold.lease_files, paths)
    except StoreError as error:
        run.emit(events.Note(f"The files could not be reserved: {error}"))
