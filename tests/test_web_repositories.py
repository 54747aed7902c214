"""Repositories that are added while the server runs: only below the roots, and nothing is run on the way."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.web.envelope import ApiError
from orchestra.web.repositories import Repositories, add_repository, find_repositories
from tests.support.api import Api
from tests.support.dashboard import served
from tests.support.githttp import GitServer
from tests.support.runs import make_place


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[Repositories]:
    first = tmp_path / "first"
    subprocess.run(["git", "init", "-q", str(first)], check=True)
    (tmp_path / "root").mkdir()
    opened = Repositories([str(first)], "", [tmp_path / "root"])
    yield opened
    opened.close()


def add(repositories: Repositories, path: str = "", clone: str = "") -> str:
    return asyncio.run(add_repository(repositories, path, clone))


def refuse(repositories: Repositories, path: str = "", clone: str = "") -> tuple[int, str]:
    before = list(repositories.indexes)
    with pytest.raises(ApiError) as error:
        add(repositories, path, clone)
    assert repositories.indexes == before
    return error.value.status, str(error.value)


def test_new_empty_and_existing_folders_below_a_root_are_added_once(repositories: Repositories) -> None:
    root = repositories.roots[0]
    assert add(repositories, "new") == str(root / "new") and (root / "new/.git").is_dir()
    assert add(repositories, str(root / "deep/er")) == str(root / "deep/er")
    assert add(repositories, "new") == str(root / "new")
    assert [index.root for index in repositories.indexes[1:]] == [root / "new", root / "deep/er"]
    # A server that is started later finds those that it made directly below the root.
    assert list(find_repositories([root])) == [str(root / "new")]


def test_nothing_beside_the_roots_is_added(repositories: Repositories, tmp_path: Path) -> None:
    root = repositories.roots[0]
    (root / "link").symlink_to(tmp_path / "first")
    (root / "full").mkdir()
    (root / "full/file").write_text("x")
    for path in ("/etc", "../first", str(tmp_path / "first"), "link", f"{root}/../first"):
        status, why = refuse(repositories, path)
        assert status == 403 and why == f"`path` must be below {root}."
    assert refuse(repositories, "full") == (400, f"{root / 'full'} is no git repository, and it is not empty.")
    assert refuse(repositories, "full/file/x")[0] == 400


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% evil", "/etc", "file:///etc", "--upload-pack=touch evil", "x y", "a'b"]
)
def test_only_addresses_of_hosts_are_cloned(repositories: Repositories, url: str) -> None:
    status, why = refuse(repositories, clone=url)
    assert status == 400 and why.startswith("`clone` must be an address")


def test_without_a_root_nothing_is_added(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": ""})
    with served(place) as (_, address):
        answer = Api(address).send("POST", "/repositories", {"path": "x"})
    assert answer.status_code == 403 and "serve --root FOLDER" in answer.json()["error"]["message"]


def test_a_url_is_cloned_below_a_root(repositories: Repositories, tmp_path: Path) -> None:
    place = make_place(tmp_path / "origin", {"a.py": "a = 1\n"})
    subprocess.run(["git", "clone", "-q", "--bare", str(place.repo), str(tmp_path / "served/shop.git")], check=True)
    with GitServer(tmp_path / "served", "secret") as server:
        url = f"{server.url.replace('://', '://ada:secret@')}/shop.git"
        assert add(repositories, clone=url) == str(repositories.roots[0] / "shop")
        status, why = refuse(repositories, clone=url)
        assert status == 400 and "exists" in why
        status, why = refuse(repositories, "other", clone=url.replace("secret", "wrong"))
        assert status == 400 and "git could not clone" in why and "wrong" not in why
    assert (repositories.roots[0] / "shop/a.py").read_text() == "a = 1\n"
