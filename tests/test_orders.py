"""What a run sends to a host: each task once, after what it needs, as plain data without places, keys and tokens."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sleeping import KEY, SleepingHost, opened_head, settings_of
from orchestra.agents.base import AttemptOrder
from orchestra.gateway.server import HOST
from orchestra.hosts.base import GatewayAccess
from orchestra.model import Plan, TargetFile, Task
from tests.support.order_json import order_from_json, order_to_json, to_json_value

pytestmark = pytest.mark.thorough

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
OPTIONS: dict[str, Any] = {
    "aider_args": "--map-tokens 512",
    "worktree_copy": (".env.test", "data/sample"),
    "worktree_link": ("node_modules",),
    "setup_cmd": "make deps",
    "retries": 0,
}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tasks = []
    for number in range(1, draw(st.integers(2, 6)) + 1):
        names = draw(st.lists(st.sampled_from(("a.py", "b c.py", "-d.py", "ü/e.py")), min_size=1, unique=True))
        files = tuple(TargetFile(f"part{number}/{name}", 100, new=draw(st.booleans())) for name in names)
        needs = tuple(draw(st.sets(st.integers(1, number - 1), max_size=2))) if number > 1 else ()
        tasks.append(Task(number, draw(TEXTS), files, draw(TEXTS), reads=("README.md",), needs=needs))
    return Plan(tuple(tasks), draw(st.integers(1, 4)))


async def orders_of(plan: Plan, folder: Path) -> list[tuple[AttemptOrder, GatewayAccess]]:
    host = SleepingHost(0.0, seen=[])
    chosen = settings_of(plan.agents, **OPTIONS)
    async with opened_head(folder, plan, host, chosen, lambda event: None) as (_, scheduler):
        await scheduler.work()
    return host.seen or []


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
    elif isinstance(value, str):
        yield value


@settings(max_examples=10)
@given(plans())
def test_orders_come_in_turn_and_are_plain_data(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as name:
        seen = asyncio.run(orders_of(plan, Path(name)))
    came = [order.task for order, _ in seen]
    assert sorted(came) == [task.id for task in plan.tasks]
    assert all(came.index(need) < came.index(task.id) for task in plan.tasks for need in task.needs)
    for order, door in seen:
        assert order_from_json(order_to_json(order)) == order
        texts = list(texts_in(to_json_value(order)))
        secret = (KEY, door.token, door.url, HOST)
        assert not any(word in text for word in (*secret, name, str(Path.home()), str(Path.cwd())) for text in texts)
        assert not any(Path(path).is_absolute() for path in (*order.files, *order.new, *order.reads, *order.arguments))
        assert not any(Path(path).is_absolute() for path in (*order.set_up.copies, *order.set_up.links))
