"""The figures of the README are those of the pages where they were measured."""

import re

import pytest

from orchestra.workspace.git import OLDEST_GIT
from tests.support.docs import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BENCHMARKS = (ROOT / "docs/benchmarks.md").read_text("utf-8")
FILES = 32


def cells(line: str) -> list[str]:
    return [cell.strip().replace(",", "") for cell in line.strip().strip("|").split("|")]


def rows_of_readme() -> dict[str, list[str]]:
    table = README.partition(f"| {FILES} files |")[2].partition("\n\n")[0].splitlines()[2:]
    return {name: rest for name, *rest in map(cells, table)}


def rows_of_benchmarks() -> list[list[str]]:
    """The two tables of 32 files: rounds, wall, CPU, memory; then requests, tokens, dollars."""
    found = [cells(line) for line in BENCHMARKS.splitlines() if line.startswith(f"| {FILES} |")]
    return [row for row in found if len(row) in (7, 11)]


@pytest.mark.parametrize("name", ["this program", "plain aider, all at once", "one plain aider, all files"])
def test_table_has_the_measured_figures(name: str) -> None:
    plain = name.replace(",", "")
    costs, usage = (row for row in rows_of_benchmarks() if row[1] == plain)
    measured = [*zip(costs[3:9:2], costs[4:10:2], strict=True), (usage[5], usage[6])]
    told = [re.fullmatch(r"([\d.]+)(?: \(([\d.]+x)\))?", cell) for cell in rows_of_readme()[plain]]
    assert [(match[1], match[2] or "") for match in told if match] == [
        (value.split(" ")[0], factor) for value, factor in measured
    ]


def test_what_speaks_against_it_is_not_left_out() -> None:
    assert rows_of_readme()["one plain aider all files"][-1].endswith("(0.24x)")
    assert len(rows_of_readme()) == 3 and "speaks against it" in README


def test_each_promise_has_a_proof() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| **")]
    assert len(rows) >= 6
    for promise, proof in ((*cells(row),) for row in rows):
        assert re.search(r"\]\(docs/|`tests/", proof), promise
        for path in re.findall(r"`(tests/[\w/.]+)`", proof):
            assert (ROOT / path).is_file(), path


def test_figures_of_the_proofs_are_those_of_their_pages() -> None:
    faults = (ROOT / "docs/reference-faults.md").read_text("utf-8")
    [count] = re.findall(r"\[(\d+) faults\]", README)
    assert f"{count} faults" in faults
    security = (ROOT / "docs/security.md").read_text("utf-8")
    [tried, through] = re.findall(r"\[(\d+) ways around it that were tried\]\([^)]*\): (\d+) get through", README)[0]
    assert f"Of {tried} ways that were tried, {through} get through" in security
    [(conflicts, by_form, alike)] = re.findall(
        r"\[(\d+) conflicts that people had solved\]\([^)]*\): (\d+) % are merged by form, (\d+) % of these", README
    )
    assert re.search(rf"\| all \| [\d,]+ \| {conflicts} \|", BENCHMARKS)
    assert "None lost or doubled anything." in BENCHMARKS
    assert f"{by_form} % of git's conflicts are solved by form, and\n{alike} % of these as people did" in BENCHMARKS


def test_replayed_commits_are_those_of_the_table() -> None:
    [said] = re.findall(
        r"\[(\d+) real commits of (\d+) repositories, replayed\]\([^)]*\): (\d+) trees are equal", README
    )
    table = BENCHMARKS.partition("## Real commits, replayed")[2].partition("\n## ")[0]
    rows = [cells(line) for line in table.splitlines() if re.match(r"\| [\w-]+(/[\w-]+)? \| \d", line)]
    *repositories, total = [[int(cell) for cell in row[1:]] for row in rows]
    assert total == [sum(column) for column in zip(*repositories, strict=True)]
    commits, *_, equal, unsayable, different = total
    assert commits == equal + unsayable + different
    assert said == (str(commits), str(len(repositories)), str(equal))
    assert commits >= 60 and len(repositories) >= 8


def test_demo_costs_what_its_picture_says() -> None:
    [(dollars, requests)] = re.findall(r"\$(0\.\d+) for the demo's (\d+) requests", README)
    drawn = re.sub(r"<[^>]+>|&#160;", " ", (ROOT / "docs/images/demo.svg").read_text("utf-8"))
    assert re.search(rf"worth\s+\${dollars}\);\s+{requests}\s+requests", drawn)


def test_oldest_git_is_named() -> None:
    assert f"git {OLDEST_GIT[0]}.{OLDEST_GIT[1]} or newer" in README
