"""The layout of the task graph: columns by what a task needs, few crossings, and very many tasks."""

from hypothesis import given
from hypothesis import strategies as st

from orchestra.report.page.graph_layout import (
    BOX_WIDTH,
    MOST_ROWS,
    count_crossings,
    lay_out_graph,
    order_columns,
)


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    """Tasks that need earlier ones, under numbers in any order."""
    size = draw(st.integers(1, 25))
    numbers = draw(st.permutations(range(1, size + 1)))
    return {
        task: draw(st.lists(st.sampled_from(numbers[:n]), max_size=4, unique=True)) if n else []
        for n, task in enumerate(numbers)
    }


@given(graphs())
def test_each_task_stands_right_of_what_it_needs(needs: dict[int, list[int]]) -> None:
    graph = lay_out_graph(needs)
    assert graph is not None and sorted(task for task, _, _ in graph.boxes) == sorted(needs)
    corner = {task: (x, y) for task, x, y in graph.boxes}
    assert len(set(corner.values())) == len(needs), "no two boxes cover each other"
    for task, needed in needs.items():
        assert all(corner[need][0] + BOX_WIDTH < corner[task][0] for need in needed)
    assert len(graph.edges) == sum(map(len, needs.values()))


@given(graphs())
def test_order_never_has_more_crossings_than_that_of_the_numbers(needs: dict[int, list[int]]) -> None:
    columns = order_columns(needs)
    assert count_crossings(columns, needs) <= count_crossings([sorted(tasks) for tasks in columns], needs)


def test_crossed_pairs_are_put_side_by_side() -> None:
    needs = {1: [], 2: [], 3: [], 4: [3], 5: [2], 6: [1]}
    assert order_columns(needs) == [[1, 2, 3], [6, 5, 4]]
    assert lay_out_graph({}) is None


def test_five_thousand_tasks_have_a_layout() -> None:
    needs = {task: [need for need in (task - 97, task - 101) if need > 0] for task in range(1, 5_001)}
    graph = lay_out_graph(needs)
    assert graph is not None and len(graph.boxes) == 5_000
    chain = lay_out_graph({task: [task - 1] if task > 1 else [] for task in range(1, 5_001)})
    assert chain is not None and len({x for _, x, _ in chain.boxes}) == 5_000
    flat = lay_out_graph({task: [] for task in range(5_000)})
    assert flat is not None and max(y for _, _, y in flat.boxes) < MOST_ROWS * 100
