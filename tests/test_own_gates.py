"""Which gate binds on one worktree, and which only on all of them together."""

import pytest

from orchestra.judge.task_gates import gates_for_task
from orchestra.model import Gate, Task

GATES = [Gate(kind, kind, "true") for kind in ("syntax", "lint", "types", "tests", "command")]
FILE_BY_FILE, ALL = ["syntax", "lint"], [gate.name for gate in GATES]


def tasks(*requirements: str) -> list[Task]:
    """`"R1 R2", "R1"`: what each task is for."""
    return [Task(n, "", (), requirements=tuple(words.split())) for n, words in enumerate(requirements, 1)]


@pytest.mark.parametrize(
    ("requirements", "needs", "own"),
    [
        (["R1"], {}, [ALL]),
        ([""], {}, [ALL]),
        (["R1", "R2"], {}, [ALL, ALL]),
        (["R1", "R1"], {}, [FILE_BY_FILE, FILE_BY_FILE]),
        (["R1", "R1"], {2: [1]}, [ALL, ALL]),  # one after the other: the second sees the first one's work
        (["R1", "R2", "R1"], {}, [FILE_BY_FILE, ALL, FILE_BY_FILE]),
        (["R1 R2", "R2 R3", "R4"], {}, [FILE_BY_FILE, FILE_BY_FILE, ALL]),
        (["R1", "R2", "R1"], {3: [2], 2: [1]}, [ALL, ALL, ALL]),
        (["R1", "R2", "R1"], {3: [2]}, [FILE_BY_FILE, ALL, FILE_BY_FILE]),
        (["", ""], {}, [FILE_BY_FILE, FILE_BY_FILE]),  # no PRD: all of them are one change
        (["R1", ""], {}, [FILE_BY_FILE, FILE_BY_FILE]),
        (["R1", ""], {2: [1]}, [ALL, ALL]),
    ],
)
def test_own_gates(requirements: list[str], needs: dict[int, list[int]], own: list[list[str]]) -> None:
    planned = tasks(*requirements)
    assert [[gate.name for gate in gates_for_task(task, planned, GATES, needs)] for task in planned] == own


def test_a_role_binds_its_tasks_by_more_gates() -> None:
    planned = tasks("R1", "R1")
    own = gates_for_task(planned[0], planned, GATES, {1: [], 2: []}, ("tests", "no such gate"))
    assert [gate.name for gate in own] == [*FILE_BY_FILE, "tests"]
