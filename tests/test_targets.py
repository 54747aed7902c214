"""What --files and the PRD mean, and the sentence for everything that cannot be changed."""

import pytest

from orchestra.agents.base import NOT_EDITABLE
from orchestra.errors import PlanError
from orchestra.model import Prd, WorkItem
from orchestra.plan.targets import (
    NO_SUCH_FILE,
    TrackedFile,
    match_paths,
    select_targets,
    suggest_path,
    targets_from_prd,
)

PATHS = [
    "README.md",
    "a.py",
    "b.py",
    "app/[slug]/edit/page.tsx",
    "app/[slug]/page.tsx",
    "app/s/page.tsx",
    "src/a.py",
    "src/deep/er/a.py",
    "src/deep/b.txt",
    "srcs/a.py",
    "with space/a b.py",
    "-x.py",
    "*.py",
    "[ab].py",
]
TRACKED = {path: TrackedFile(path, 30) for path in PATHS}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.py", ["a.py"]),
        ("src", ["src/a.py", "src/deep/er/a.py", "src/deep/b.txt"]),
        ("src/deep", ["src/deep/er/a.py", "src/deep/b.txt"]),
        ("with space", ["with space/a b.py"]),
        (".", PATHS),
        ("src/*.py", ["src/a.py"]),
        ("src/**/*.py", ["src/a.py", "src/deep/er/a.py"]),
        ("**/a.py", ["a.py", "src/a.py", "src/deep/er/a.py", "srcs/a.py"]),
        ("src/**", ["src/a.py", "src/deep/er/a.py", "src/deep/b.txt"]),
        ("**", PATHS),
        ("src*/a.py", ["src/a.py", "srcs/a.py"]),
        ("?.py", ["a.py", "b.py", "*.py"]),
        ("app/[slug]", ["app/[slug]/edit/page.tsx", "app/[slug]/page.tsx"]),
        ("app/[slug]/page.tsx", ["app/[slug]/page.tsx"]),
        ("app/[slug]/*.tsx", ["app/[slug]/page.tsx"]),
        ("app/[slug]/**/*.tsx", ["app/[slug]/edit/page.tsx", "app/[slug]/page.tsx"]),
        ("app/[rst]/*.tsx", ["app/s/page.tsx"]),
        ("*.py", ["*.py"]),  # the file of that very name
        ("[ab].py", ["[ab].py"]),
        ("[a-b].py", ["a.py", "b.py"]),
        ("-x.py", ["-x.py"]),
        ("sr", []),
        ("A.py", []),
        ("*.rs", []),
        ("src/a.py/x", []),
    ],
)
def test_what_a_pattern_means(pattern: str, found: list[str]) -> None:
    assert match_paths(pattern, TRACKED) == found


def test_given_twice_is_chosen_once_and_in_order() -> None:
    targets = select_targets(["src", "src/a.py", "src/*.py", "a.py", "a.py"], TRACKED, {})
    assert [file.path for file in targets.files] == ["a.py", "src/a.py", "src/deep/b.txt", "src/deep/er/a.py"]
    assert all(file.tokens == 10 and not file.new for file in targets.files)


def test_one_name_that_means_nothing_stops_all() -> None:
    with pytest.raises(PlanError, match=r"^--files \*\.rs: no tracked file matches\.$"):
        select_targets(["a.py", "*.rs"], TRACKED, {})
    with pytest.raises(PlanError, match=r"^--files gone: it left\.$"):
        select_targets(["a.py", "gone"], TRACKED, {"gone": "it left"})


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("src/aa.py", "Did you mean src/a.py?"),
        ("page.tsx", "Did you mean app/[slug]/edit/page.tsx?"),
        ("src/dep", "Did you mean src/deep?"),
        ("readme.md", "Did you mean README.md?"),
        ("raedme.md", "Did you mean README.md?"),
        ("nothing/like/it.rs", ""),
        ("sr*/b.py", ""),
    ],
)
def test_name_that_is_near_is_suggested(wrong: str, meant: str) -> None:
    assert suggest_path(wrong, TRACKED) == meant
    hint = f" {meant}" if meant else ""
    for why, said in ((NO_SUCH_FILE, f"{NO_SUCH_FILE}.{hint}"), ("git ignores it", "git ignores it.")):
        with pytest.raises(PlanError) as refused:
            select_targets([wrong], TRACKED, {wrong: why})
        assert str(refused.value) == f"--files {wrong}: {said}"


@pytest.mark.parametrize("kind", NOT_EDITABLE)
def test_special_files_are_refused_by_name_and_left_out_of_folders(kind: str) -> None:
    tracked = {"d/odd": TrackedFile("d/odd", 3, kind, NOT_EDITABLE[kind]), "d/plain": TrackedFile("d/plain", 3)}
    with pytest.raises(PlanError) as refused:
        select_targets(["d/odd"], tracked, {})
    assert str(refused.value) == f"--files d/odd: it {NOT_EDITABLE[kind]}."
    targets = select_targets(["d"], tracked, {})
    assert ([file.path for file in targets.files], targets.skipped) == (["d/plain"], ("d/odd",))
    with pytest.raises(PlanError, match="only files match that Aider cannot edit"):
        select_targets(["d/o*"], tracked, {})
    with pytest.raises(PlanError) as refused:
        targets_from_prd(Prd("", work=(WorkItem("d/odd", "x"),)), tracked)
    assert str(refused.value) == f"The PRD names 'd/odd', but it {NOT_EDITABLE[kind]}."


def test_the_prd_names_old_files_and_new_ones() -> None:
    work = (
        WorkItem("src/new.py", "make it", new=True),
        WorkItem("a.py", "change it"),
        WorkItem("new/er/x.py", "make it"),
    )
    targets = targets_from_prd(Prd("", work=work), TRACKED)
    assert [(file.path, file.new) for file in targets.files] == [
        ("a.py", False),
        ("new/er/x.py", True),
        ("src/new.py", True),
    ]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("../x", "is outside the repository"),
        ("a/../../x", "is outside the repository"),
        ("/etc/passwd", "is outside the repository"),
        (".git/config", "is outside the repository"),
        ("sub/.git/config", "is outside the repository"),
        ("src", "it is a folder"),
        ("a.py/x", "'a.py' is a text file, not a folder"),
    ],
)
def test_the_prd_cannot_reach_elsewhere(path: str, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        targets_from_prd(Prd("", work=(WorkItem(path, "x"),)), TRACKED)


def test_a_prd_without_work() -> None:
    with pytest.raises(PlanError, match=r"names no files to change\. Say them with --files\."):
        targets_from_prd(Prd("prose"), TRACKED)
