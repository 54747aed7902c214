"""Trees in which some files are as the base has them: real git, no checkout."""

import asyncio
import subprocess
from pathlib import Path

from orchestra.gates.run import ChosenTests
from orchestra.workspace.base_files import commit_base_versions, differing_paths, list_files, read_files
from orchestra.workspace.git import Git


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


def test_files_are_put_back_though_a_link_or_a_folder_stands_in_their_place(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "tests").mkdir()
    for name in ("tests/test_a.py", "app.py", "conftest.py"):
        (tmp_path / name).write_text("a")
    base = commit(tmp_path)
    git(tmp_path, "mv", "tests", "other")
    (tmp_path / "tests").symlink_to("other")
    (tmp_path / "app.py").write_text("b")
    (tmp_path / "conftest.py").unlink()
    (tmp_path / "conftest.py").mkdir()
    (tmp_path / "conftest.py/x").write_text("1")
    head, status = commit(tmp_path), git(tmp_path, "status", "--porcelain")

    async def put_back() -> None:
        repository = Git(tmp_path)
        before, now = await list_files(repository, base), await list_files(repository, head)
        assert differing_paths(before, now) == [
            *("app.py", "conftest.py", "conftest.py/x", "other/test_a.py", "tests", "tests/test_a.py")
        ]
        paths, index = ["tests/test_a.py", "other/test_a.py", "conftest.py"], tmp_path / ".git/ours"
        made = await commit_base_versions(repository, index, head, paths, before, now, {"app.py": b"mine"})
        files = await list_files(repository, made)
        assert set(files.files) == {"app.py", "tests/test_a.py", "conftest.py"} and not index.exists()
        contents = await read_files(repository, files, list(files.files))
        assert contents == {"app.py": b"mine", "tests/test_a.py": b"a", "conftest.py": b"a"}

    asyncio.run(put_back())
    assert git(tmp_path, "status", "--porcelain") == status and git(tmp_path, "rev-parse", "HEAD") == head


def test_a_difference_of_mode_is_a_difference(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "run.sh").write_text("a")
    base = commit(tmp_path)
    (tmp_path / "run.sh").chmod(0o755)
    head = commit(tmp_path)

    async def compare() -> list[str]:
        return differing_paths(await list_files(Git(tmp_path), base), await list_files(Git(tmp_path), head))

    assert asyncio.run(compare()) == ["run.sh"]


def test_nothing_is_written_through_a_link_out_of_the_tree(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.mkdir()
    (tree / "tests").symlink_to(outside)
    (outside / "mine.py").write_text("mine")
    (tree / "link.py").symlink_to(outside / "mine.py")
    ChosenTests(files={"tests/a.py": b"a", "link.py": b"b", "new/b.py": b"c"}).write(tree)
    assert [path.name for path in outside.iterdir()] == ["mine.py"] and (outside / "mine.py").read_text() == "mine"
    assert (tree / "link.py").read_text() == "b" and (tree / "new/b.py").read_text() == "c"
