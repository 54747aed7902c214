"""How an attempt ends when it is stopped."""

import asyncio

from orchestra.conduct.attempt.attempt import wait_despite_cancellation


def test_waiting_for_unfinished_work_outlasts_every_further_cancellation() -> None:
    """What an agent had changed is kept although the run is stopped a second and a third time meanwhile."""

    async def stop_twice() -> list[str]:
        kept, ended = list[str](), asyncio.Event()

        async def keep() -> None:
            await ended.wait()
            kept.append("patch")

        waiting = asyncio.create_task(wait_despite_cancellation(asyncio.ensure_future(keep())))
        for _ in range(3):
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done() and kept == []
        ended.set()
        await waiting
        return kept

    assert asyncio.run(stop_twice()) == ["patch"]
