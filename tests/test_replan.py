from hypothesis import given
from hypothesis import strategies as st

from orchestra.division.imports import Source, scan_source
from orchestra.model import TargetFile, Task
from orchestra.plan.replan import rebuild_needs
from orchestra.plan.task_order import find_path


def make_task(number: int, *needs: int) -> Task:
    return Task(number, f"Task {number}", (TargetFile(f"m{number}.py", 10),), needs=needs)


def sources_of(**imports: str) -> dict[str, Source]:
    return {f"{path}.py": scan_source(text.encode()) for path, text in imports.items()}


def test_task_needs_those_whose_files_it_imports() -> None:
    tasks = [make_task(1), make_task(2), make_task(3, 1)]
    assert rebuild_needs(tasks, {2, 3}, (), sources_of(m2="import m1", m3="import m2, os")) == {2: (1,), 3: (1, 2)}


def test_needs_of_an_abandoned_task_take_its_place() -> None:
    tasks = [make_task(1), make_task(2, 1), make_task(3, 2), make_task(4, 3)]
    assert rebuild_needs(tasks, {4}, {2, 3}, sources_of(m4="import m3")) == {4: (1,)}


def test_tasks_that_have_begun_keep_their_needs() -> None:
    assert rebuild_needs([make_task(1), make_task(2)], {1}, (), sources_of(m2="import m1")) == {}


def test_of_two_that_import_each_other_the_later_waits() -> None:
    both = sources_of(m1="import m2", m2="import m1")
    assert rebuild_needs([make_task(1), make_task(2)], {1, 2}, (), both) == {2: (1,)}


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), max_size=30), st.sets(st.integers(1, 7)))
def test_rebuilt_needs_have_no_circle_and_do_not_change_again(pairs: list[tuple[int, int]], gone: set[int]) -> None:
    lines = {n: "\n".join(f"import m{other}" for one, other in pairs if one == n) for n in range(1, 8)}
    given_needs = {n: tuple({one for one, other in pairs if other == n and one < n}) for n in range(1, 8)}
    tasks = [make_task(n, *given_needs[n]) for n in range(1, 8)]
    sources = sources_of(**{f"m{n}": text for n, text in lines.items()})
    unbegun = {1, 2, 3, 4, 5, 6, 7} - gone
    needs = given_needs | rebuild_needs(tasks, unbegun, gone, sources)
    assert not any(find_path(needs, need, task) for task in needs for need in needs[task])
    again = [make_task(n, *needs[n]) for n in range(1, 8)]
    assert rebuild_needs(again, unbegun, gone, sources) == {}
