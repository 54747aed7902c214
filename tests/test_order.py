"""In which order tasks are begun and put together, and who gets a place next."""

import asyncio

import pytest

from orchestra.conduct.core.slots import Slots
from orchestra.model import TargetFile, Task
from orchestra.plan.task_order import dependency_depths, order_tasks, rank_tasks
from tests.support.load import within


def task(id: int, needs: tuple[int, ...] = (), priority: int = 0, tokens: int = 10, risk: str = "") -> Task:
    return Task(id, f"t{id}", (TargetFile(f"f{id}", tokens),), needs=needs, priority=priority, risk=risk)


@pytest.mark.parametrize(
    ("tasks", "wanted"),
    [
        ([task(1), task(2), task(3)], [1, 2, 3]),
        ([task(1, (2,)), task(2, (3,)), task(3)], [3, 2, 1]),
        ([task(1, risk="high"), task(2, risk="low"), task(3)], [2, 3, 1]),
        ([task(1, (9,)), task(2)], [1, 2]),  # what it needs was never planned
        ([task(1, (2,)), task(2, (1,)), task(3)], [3, 1, 2]),  # a ring comes last, and ends
    ],
)
def test_what_is_needed_comes_first_then_what_risks_least(tasks: list[Task], wanted: list[int]) -> None:
    assert [each.id for each in order_tasks(tasks)] == wanted


def test_rank_is_priority_then_longest_chain() -> None:
    tasks = [task(1), task(2, tokens=5), task(3, (2,), tokens=50), task(4, priority=1), task(5, tokens=40)]
    rank = rank_tasks(tasks)
    assert sorted(rank, key=rank.__getitem__) == [4, 2, 3, 5, 1]
    assert dependency_depths({1: (), 2: (1,), 3: (2, 1)}) == {1: 0, 2: 1, 3: 2}


def test_next_slot_goes_to_the_most_urgent() -> None:
    async def play() -> list[int]:
        places, came = Slots(1), list[int]()

        async def sit(number: int, stay: asyncio.Event) -> None:
            async with places.take_slot((-number, 0, number)):
                came.append(number)
                await stay.wait()

        stay, gone = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(sit(0, stay))
        await asyncio.sleep(0)
        others = [asyncio.create_task(sit(number, stay)) for number in (1, 3, 2)]
        given_up = asyncio.create_task(sit(9, gone))
        await asyncio.sleep(0)
        given_up.cancel()
        stay.set()
        await asyncio.gather(first, *others)
        async with asyncio.timeout(within()), places.take_slot((0, 0, 0)):
            return came

    assert asyncio.run(play()) == [0, 3, 2, 1]


def test_cancelled_waiter_passes_its_slot_on() -> None:
    places = Slots(1)

    async def take(number: int) -> None:
        async with places.take_slot((0, 0, number)):
            pass

    async def play() -> None:
        async with places.take_slot((0, 0, 1)):
            called = asyncio.create_task(take(2))
            await asyncio.sleep(0)
        called.cancel()  # woken, but it has not run since
        with pytest.raises(asyncio.CancelledError):
            await called
        async with asyncio.timeout(within()):
            await take(3)

    asyncio.run(play())
