"""Git that nothing outside steers, merges that agree whatever git is here, and a delivery that never harms the user."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestra.errors import GitFailed, RepositoryError
from orchestra.workspace.git import Git, commit_identity, git_message, join_nul, split_nul
from orchestra.workspace.merge import (
    MERGE_TREE,
    Delivery,
    MergeResult,
    ask_git_version,
    combine_commit,
    delete_branches,
    deliver_result,
    diff_numstat,
    free_namespace,
    leave_conflict,
    merge_in_worktree,
    merge_objects,
    set_branch,
)
from orchestra.workspace.repository import Repository, open_repository
from orchestra.workspace.trees import Trees
from tests.support.load import wait_until

WHO = {f"GIT_{who}_{what}": what.lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
Files = dict[str, bytes | str | None]  # None: not there; "x:" before a text: executable


@dataclass(frozen=True)
class User:
    """A user's repository, made and looked at with plain git."""

    root: Path

    def git(self, *words: str, **env: str) -> str:
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.root.parent), **WHO, **env}
        done = subprocess.run(["git", *words], cwd=self.root, env=clean, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return os.fsdecode(done.stdout).removesuffix("\n")

    def write(self, files: Files) -> None:
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content.encode() if isinstance(content, str) else content
            path.write_bytes(text.removeprefix(b"x:"))
            path.chmod(0o755 if text.startswith(b"x:") else 0o644)

    def commit(self, files: Files, message: str = "change") -> str:
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def side(self, base: str, files: Files) -> str:
        """A commit on top of another one; the branch does not move, nor does anything in the work tree."""
        home = self.git("symbolic-ref", "--short", "HEAD")
        self.git("checkout", "-q", "--detach", base)
        made = self.commit(files)
        self.git("checkout", "-q", home)
        return made

    def repository(self) -> Repository:
        return asyncio.run(open_repository(self.root))


@pytest.fixture
def user(tmp_path: Path) -> User:
    root = tmp_path / "repo"
    root.mkdir()
    user = User(root)
    user.git("init", "-q", "-b", "main")
    return user


# --- merging --------------------------------------------------------------------------------------------------------

LINES = "".join(f"line {n}\n" for n in range(30))
CRLF = LINES.replace("\n", "\r\n")
BASE: Files = {
    "a.txt": LINES,
    "crlf.txt": CRLF,
    "b.txt": "b\n",
    "sub/c.txt": "c\n",
    "run.sh": "echo\n",
    "naïve ü.txt": LINES,
}


def with_line(text: str, number: int, new: str) -> str:
    return text.replace(f"line {number}", new, 1)


# What one side did, what the other did, and the files in conflict; none: it merges.
CASES: dict[str, tuple[Files, Files, set[str]]] = {
    "different files": ({"a.txt": "A\n"}, {"b.txt": "B\n"}, set()),
    "far apart": ({"a.txt": with_line(LINES, 2, "X")}, {"a.txt": with_line(LINES, 25, "Y")}, set()),
    "the same edit twice": ({"a.txt": with_line(LINES, 2, "X")}, {"a.txt": with_line(LINES, 2, "X")}, set()),
    "the same line": ({"a.txt": with_line(LINES, 2, "X")}, {"a.txt": with_line(LINES, 2, "Y")}, {"a.txt"}),
    "two files at once": (
        {"a.txt": with_line(LINES, 2, "X"), "b.txt": "X\n"},
        {"a.txt": with_line(LINES, 2, "Y"), "b.txt": "Y\n"},
        {"a.txt", "b.txt"},
    ),
    "an odd name": (
        {"naïve ü.txt": with_line(LINES, 2, "X")},
        {"naïve ü.txt": with_line(LINES, 2, "Y")},
        {"naïve ü.txt"},
    ),
    "crlf far apart": ({"crlf.txt": with_line(CRLF, 2, "X")}, {"crlf.txt": with_line(CRLF, 25, "Y")}, set()),
    "crlf the same line": ({"crlf.txt": with_line(CRLF, 2, "X")}, {"crlf.txt": with_line(CRLF, 2, "Y")}, {"crlf.txt"}),
    "line endings against an edit": ({"a.txt": CRLF}, {"a.txt": with_line(LINES, 2, "X")}, {"a.txt"}),
    "a mode and an edit": ({"run.sh": "x:echo\n"}, {"run.sh": "echo hi\n"}, set()),
    "new files": ({"new/one.txt": "1\n"}, {"new/two.txt": "2\n"}, set()),
    "the same new file": ({"new.txt": "1\n"}, {"new.txt": "1\n"}, set()),
    "two different new files of one name": ({"new.txt": "1\n"}, {"new.txt": "2\n"}, {"new.txt"}),
    "a rename and an edit": ({"a.txt": None, "z.txt": LINES}, {"a.txt": with_line(LINES, 2, "X")}, set()),
    "gone here, edited there": ({"b.txt": None}, {"b.txt": "B\n"}, {"b.txt"}),
    "gone on both sides": ({"b.txt": None}, {"b.txt": None}, set()),
    "no final newline": ({"a.txt": LINES[:-1]}, {"a.txt": with_line(LINES, 2, "X")}, set()),
    "nothing on one side": ({}, {"a.txt": "A\n"}, set()),
}


def test_both_ways_of_merging_agree_on_every_case(user: User, tmp_path: Path) -> None:
    base = user.commit(BASE)
    sides = {name: (user.side(base, ours), user.side(base, theirs)) for name, (ours, theirs, _) in CASES.items()}
    before = user.git("status", "--porcelain"), user.git("rev-parse", "HEAD")
    repository = user.repository()

    async def both() -> dict[str, tuple[MergeResult, MergeResult]]:
        trees = Trees(repository, tmp_path / "trees")
        found = {}
        for name, (ours, theirs) in sides.items():
            by_objects = await merge_objects(repository.git, base, ours, theirs)
            found[name] = (by_objects, await merge_in_worktree(trees, base, ours, theirs))
        await trees.close()
        return found

    found = asyncio.run(both())
    for name, (by_objects, in_worktree) in found.items():
        assert by_objects == in_worktree, name
        assert set(by_objects.conflicts) == CASES[name][2], name
        assert bool(by_objects.tree) is not bool(by_objects.conflicts), name
    merged = {name: each.tree for name, (each, _) in found.items()}
    shown = user.git("show", f"{merged['far apart']}:a.txt") + "\n"
    assert shown == with_line(with_line(LINES, 2, "X"), 25, "Y")
    assert (
        "\r\n"
        in subprocess.run(
            ["git", "cat-file", "blob", f"{merged['crlf far apart']}:crlf.txt"], cwd=user.root, capture_output=True
        ).stdout.decode()
    )
    assert user.git("ls-tree", merged["a mode and an edit"], "run.sh").startswith("100755")
    assert user.git("show", f"{merged['a rename and an edit']}:z.txt") + "\n" == with_line(LINES, 2, "X")
    assert (user.git("status", "--porcelain"), user.git("rev-parse", "HEAD")) == before
    assert len(user.git("worktree", "list").splitlines()) == 1


def test_tasks_stack_into_one_line_and_one_that_does_not_fit_leaves_the_head(user: User, tmp_path: Path) -> None:
    base = user.commit(BASE)
    sides = [{"a.txt": with_line(LINES, 2, "X")}, {"a.txt": with_line(LINES, 2, "Y")}, {"b.txt": "B\n"}]
    commits = [user.side(base, dict(side)) for side in sides]
    repository = user.repository()

    async def stacked() -> tuple[list[str], list[MergeResult]]:
        trees, heads, merges = Trees(repository, tmp_path), [base], []
        for number, commit in enumerate(commits):
            head, merged = await combine_commit(
                trees, heads[-1], base, commit, f"Task {number}\n\nRun: 1\n", leave_conflict
            )
            heads.append(head)
            merges.append(merged)
        return heads, merges

    heads, merges = asyncio.run(stacked())
    assert heads[1] == commits[0] and heads[2] == heads[1]
    assert [merged.conflicts for merged in merges] == [(), ("a.txt",), ()]
    assert user.git("rev-list", "--parents", heads[3]).splitlines()[0] == f"{heads[3]} {heads[1]}"
    assert user.git("log", "-1", "--format=%B", heads[3]) == "Task 2\n\nRun: 1\n"
    assert asyncio.run(diff_numstat(repository.git, base, heads[3])) == {"a.txt": (1, 1), "b.txt": (1, 1)}


def test_a_merge_that_git_cannot_even_try_is_no_conflict(user: User, tmp_path: Path) -> None:
    base = user.commit(BASE)
    repository = user.repository()
    trees, nowhere = Trees(repository, tmp_path), "1" * 40
    for work in (merge_objects(repository.git, base, base, nowhere), merge_in_worktree(trees, base, base, nowhere)):
        with pytest.raises(GitFailed, match=r"^git \S+ failed in /"):
            asyncio.run(work)


def test_this_git_merges_in_the_object_database(user: User) -> None:
    assert asyncio.run(ask_git_version(Trees(user.repository(), user.root))) >= MERGE_TREE


# --- delivery -------------------------------------------------------------------------------------------------------

SIDE = "aider-orchestrator/1/result"


def delivered(repository: Repository, result: str) -> Delivery:
    asyncio.run(set_branch(repository.git, SIDE, result))
    return asyncio.run(deliver_result(repository, result, SIDE))


def test_the_branch_moves_beside_everything_that_is_not_in_the_way(user: User) -> None:
    base = user.commit(BASE | {".gitignore": "*.log\n"})
    result = user.side(base, {"a.txt": "A\n", "new.txt": "n\n"})
    repository = user.repository()
    user.write({"b.txt": "dirty\n", "sub/c.txt": "staged\n", "loose.txt": "untracked\n", "x.log": "ignored\n"})
    user.write({"run.sh": None})
    user.git("add", "sub/c.txt")
    assert delivered(repository, result) == Delivery(True)
    assert user.git("rev-parse", "main") == result and user.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert user.git("status", "--porcelain").splitlines() == [" M b.txt", " D run.sh", "M  sub/c.txt", "?? loose.txt"]
    found = [(user.root / name).read_text() for name in ("a.txt", "new.txt", "b.txt", "loose.txt", "x.log")]
    assert found == ["A\n", "n\n", "dirty\n", "untracked\n", "ignored\n"]


def moved(user: User) -> None:
    user.commit({"b.txt": "more\n"})


def rewritten(user: User) -> None:
    user.git("commit", "-q", "--amend", "-m", "Said better")


def detached(user: User) -> None:
    user.git("checkout", "-q", "--detach")


def elsewhere(user: User) -> None:
    user.git("checkout", "-q", "-b", "other")


def dirty(user: User) -> None:
    user.write({"a.txt": "mine\n"})


def staged(user: User) -> None:
    user.write({"a.txt": "mine\n"})
    user.git("add", "a.txt")


def removed(user: User) -> None:
    user.write({"a.txt": None})


def removed_and_staged(user: User) -> None:
    user.git("rm", "-q", "a.txt")


def untracked(user: User) -> None:
    user.write({"new.txt": "mine\n"})


def ignored(user: User) -> None:
    user.write({"new.log": "mine\n"})


def a_folder(user: User) -> None:
    user.write({"new.txt/inside.txt": "mine\n"})


def merging(user: User) -> None:
    other = user.side(user.git("rev-parse", "HEAD"), {"b.txt": "theirs\n"})
    user.git("merge", "-q", "--no-commit", "--no-ff", other)


def locked(user: User) -> None:
    (user.root / ".git/index.lock").touch()


IN_THE_WAY = "commit, stash or move those files, then git merge"
NOT_TRACKED = f"commit or move those files, then git merge {SIDE}"
BRING_BACK = f"commit that, or restore it with `git restore`, then git merge {SIDE}"
REFUSED: dict[Callable[[User], None], tuple[str, str]] = {
    moved: ("main has moved during the run", f"git merge {SIDE}"),
    rewritten: ("main was rewritten during the run", f"git merge {SIDE}"),
    elsewhere: ("main is no longer checked out", f"git switch main && git merge {SIDE}"),
    detached: ("main is no longer checked out", f"git switch main && git merge {SIDE}"),
    dirty: ("your uncommitted changes in a.txt are in the way", f"{IN_THE_WAY} {SIDE}"),
    staged: ("your uncommitted changes in a.txt are in the way", f"{IN_THE_WAY} {SIDE}"),
    removed: ("you have deleted a.txt, which the result changes", BRING_BACK),
    removed_and_staged: ("your uncommitted changes in a.txt are in the way", f"{IN_THE_WAY} {SIDE}"),
    untracked: ("your files that git does not track (new.txt) are in the way", NOT_TRACKED),
    ignored: ("your files that git does not track (new.log) are in the way", NOT_TRACKED),
    a_folder: ("your files that git does not track (new.txt) are in the way", NOT_TRACKED),
    merging: ("You have not concluded your merge (MERGE_HEAD exists).", f"git merge {SIDE}"),
    locked: ("Unable to create '{root}/.git/index.lock': File exists.", f"git merge {SIDE}"),
}


def state(user: User) -> dict[str, bytes]:
    """All that lies in the user's repository, but for ORIG_HEAD: git notes there where HEAD stands before it tries."""
    files = {
        str(path.relative_to(user.root)): path.read_bytes()
        for path in user.root.rglob("*")
        if path.is_file() and not path.is_relative_to(user.root / ".git/objects") and "logs" not in path.parts
    }
    for name in (".git/index", ".git/ORIG_HEAD"):
        files.pop(name, None)
    staged = subprocess.run(["git", "ls-files", "-s"], cwd=user.root, capture_output=True).stdout
    return files | {"staged": staged}


@pytest.mark.parametrize("what", REFUSED, ids=lambda what: what.__name__)
def test_whatever_of_the_users_is_in_the_way_stays_as_it_is(user: User, what: Callable[[User], None]) -> None:
    base = user.commit(BASE | {".gitignore": "*.log\n"})
    result = user.side(base, {"a.txt": "A\n", "new.txt": "n\n", ".gitignore": None, "new.log": "n\n"})
    repository = user.repository()
    asyncio.run(set_branch(repository.git, SIDE, result))
    what(user)
    before = state(user)
    delivery = asyncio.run(deliver_result(repository, result, SIDE))
    reason, take = REFUSED[what]
    stands = user.git("rev-parse", "main") if what is moved else ""
    assert delivery == Delivery(False, reason.format(root=user.root), take, moved=True, stands=stands)
    assert state(user) == before


def test_a_detached_head_is_never_moved(user: User) -> None:
    base = user.commit(BASE)
    result = user.side(base, {"a.txt": "A\n"})
    detached(user)
    repository = user.repository()
    assert delivered(repository, result) == Delivery(False, "HEAD is detached", f"git merge {SIDE}")
    assert user.git("rev-parse", "HEAD") == base


def unborn_result(user: User, repository: Repository, files: Files) -> str:
    """What the agents made of a repository without commits: a commit on top of the empty first one."""

    async def made() -> str:
        git, rows = repository.git, []
        for name, text in files.items():
            assert isinstance(text, str)
            blob = await git.text("hash-object", "-w", "--stdin", input=text.encode())
            rows.append(f"100644 blob {blob}\t{name}".encode())
        tree = await git.text("mktree", "-z", input=b"".join(row + b"\0" for row in rows))
        return await git.text("commit-tree", tree, "-p", repository.base, "-m", "first")

    return asyncio.run(made())


def test_a_branch_without_commits_gets_its_first_ones(user: User) -> None:
    user.write({"mine.txt": "staged\n", "loose.txt": "loose\n"})
    user.git("add", "mine.txt")
    repository = user.repository()
    assert repository.unborn and repository.branch == "main"
    result = unborn_result(user, repository, {"new.txt": "n\n"})
    assert delivered(repository, result) == Delivery(True)
    assert user.git("rev-parse", "main") == result
    assert user.git("status", "--porcelain").splitlines() == ["A  mine.txt", "?? loose.txt"]
    assert (user.root / "new.txt").read_text() == "n\n"


@pytest.mark.parametrize("kind", ["untracked", "ignored", "staged"])
def test_on_a_branch_without_commits_nothing_of_the_users_is_overwritten(user: User, kind: str) -> None:
    user.write({"new.txt": "mine\n"})
    if kind == "ignored":
        (user.root / ".git/info").mkdir(exist_ok=True)
        (user.root / ".git/info/exclude").write_text("new.txt\n")
    if kind == "staged":
        user.git("add", "new.txt")
    repository = user.repository()
    result = unborn_result(user, repository, {"new.txt": "n\n", "other.txt": "o\n"})
    asyncio.run(set_branch(repository.git, SIDE, result))
    before = state(user)
    delivery = asyncio.run(deliver_result(repository, result, SIDE))
    reason, take = REFUSED[staged if kind == "staged" else untracked]
    assert delivery == Delivery(False, reason.replace("a.txt", "new.txt"), take, moved=True)
    assert state(user) == before and not user.git("for-each-ref", "refs/heads/main")


SETTINGS = [
    ("branch.main.mergeOptions", "--squash"),
    ("branch.main.mergeOptions", "--no-commit --no-ff"),
    ("merge.ff", "false"),
    ("merge.autoStash", "true"),
    ("merge.verifySignatures", "true"),
    ("commit.gpgSign", "true"),
    ("gc.auto", "1"),
    ("color.ui", "always"),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_the_users_settings_do_not_make_another_thing_of_a_fast_forward(user: User, name: str, value: str) -> None:
    base = user.commit(BASE)
    result = user.side(base, {"a.txt": "A\n"})
    user.git("config", name, value)
    assert delivered(user.repository(), result) == Delivery(True)
    assert user.git("rev-parse", "main") == result and user.git("status", "--porcelain") == ""


def test_a_branch_with_a_strange_name_is_quoted_where_the_user_may_copy_it(user: User) -> None:
    base = user.commit(BASE)
    result = user.side(base, {"a.txt": "A\n"})
    user.git("checkout", "-q", "-b", "feat/(x)&y;z")
    repository = user.repository()
    user.git("checkout", "-q", "main")
    assert delivered(repository, result).take == f"git switch 'feat/(x)&y;z' && git merge {SIDE}"


# --- git that nothing steers ----------------------------------------------------------------------------------------


def test_hooks_never_run(user: User, tmp_path: Path) -> None:
    base = user.commit(BASE)
    result = user.side(base, {"a.txt": "A\n"})
    names = (
        "post-checkout",
        "post-merge",
        "pre-merge-commit",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
    )
    for name in names:
        hook = user.root / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/heard-{name}\n")
        hook.chmod(0o755)
    repository = user.repository()

    async def everything() -> None:
        trees = Trees(repository, tmp_path / "trees")
        await merge_in_worktree(trees, base, base, result)
        await combine_commit(trees, base, base, result, "m", leave_conflict)
        assert (await deliver_result(repository, result, SIDE)).applied

    asyncio.run(everything())
    assert not list(tmp_path.glob("heard-*"))


def test_gits_own_variables_do_not_lead_astray(user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = user.commit(BASE)
    result = user.side(base, {"a.txt": "A\n"})
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    astray = {"GIT_DIR": f"{other}/.git", "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": f"{other}/index"}
    astray |= {"GIT_OBJECT_DIRECTORY": f"{other}/objects", "GIT_NAMESPACE": "x", "GIT_CONFIG_COUNT": "1"}
    astray |= {"GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "true", "GIT_TRACE": "2", "GIT_PREFIX": "sub/"}
    for name, value in astray.items():
        monkeypatch.setenv(name, value)
    delivery = delivered(user.repository(), result)
    for name in astray:
        monkeypatch.delenv(name)
    assert delivery == Delivery(True) and user.git("rev-parse", "main") == result


def test_the_author_is_the_user_as_git_itself_would_say(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WHO, "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(user.root))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user.root))
    assert set(asyncio.run(commit_identity(Git(user.root))).values()) == {
        "Aider Orchestrator",
        "aider-orchestrator@localhost",
    }
    user.git("config", "user.name", "Ada")
    user.git("config", "user.email", "ada@example.com")
    assert set(asyncio.run(commit_identity(Git(user.root))).values()) == {"Ada", "ada@example.com"}
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace")
    found = asyncio.run(commit_identity(Git(user.root)))
    assert (found["GIT_AUTHOR_NAME"], found["GIT_COMMITTER_NAME"]) == ("Grace", "Ada")


def test_what_git_says_becomes_one_sentence(user: User) -> None:
    user.commit(BASE)
    with pytest.raises(GitFailed) as caught:
        asyncio.run(Git(user.root).raw("rev-parse", "--verify", "no-such-thing"))
    assert str(caught.value) == f"git rev-parse failed in {user.root}: Needed a single revision"
    assert git_message(b"error: one\nhint: two\n\n  three\n") == "one three"
    code, _, _ = asyncio.run(Git(user.root).attempt("no-such-command"))
    assert code == 1


def test_missing_git_is_reported(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(user.root))
    with pytest.raises(RepositoryError, match="git was not found") as caught:
        asyncio.run(Git(user.root).raw("status"))
    assert caught.value.exit_code == 2


def test_a_cancelled_command_runs_to_its_end_and_leaves_no_lock(user: User) -> None:
    user.commit(BASE)

    async def cancelled() -> None:
        script = "alias.slow=!touch .git/begun; sleep 0.3; git update-ref refs/x HEAD"
        task = asyncio.create_task(Git(user.root).raw("-c", script, "slow"))
        await asyncio.to_thread(wait_until, (user.root / ".git/begun").exists)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert user.git("rev-parse", "refs/x") == user.git("rev-parse", "HEAD")


ODD = [
    "plain.txt",
    "with space.txt",
    "tab\there.txt",
    "line\nbreak.txt",
    '"quoted".txt',
    "üñí.txt",
    "-dash.txt",
    "[b]*.txt",
]


def test_lines_are_counted_by_file_whatever_its_name(user: User) -> None:
    before: Files = dict.fromkeys(ODD, "1\n2\n")
    base = user.commit(before | {"bin.dat": b"\0\1", "away.txt": "1\n"})
    raw = os.fsencode(user.root) + b"/latin-\xe9.txt"
    Path(os.fsdecode(raw)).write_text("1\n")
    after: Files = dict.fromkeys(ODD, "1\n2\n3\n")
    result = user.commit(after | {"bin.dat": b"\0\2", "away.txt": None, "new.txt": "1\n"})
    expected = dict.fromkeys(ODD, (1, 0)) | {"bin.dat": (0, 0), "away.txt": (0, 1), "new.txt": (1, 0)}
    expected |= {os.fsdecode(b"latin-\xe9.txt"): (1, 0)}
    assert asyncio.run(diff_numstat(Git(user.root), base, result)) == expected
    assert split_nul(join_nul(ODD)) == ODD


def test_our_branches_get_a_place_that_none_of_the_users_blocks(user: User) -> None:
    base = user.commit(BASE)
    git = Git(user.root)
    assert asyncio.run(free_namespace(git, "aider-orchestrator")) == "aider-orchestrator"
    user.git("branch", "aider-orchestrator")
    user.git("branch", "aider-orchestrator-agents")
    user.git("pack-refs", "--all")
    free = asyncio.run(free_namespace(git, "aider-orchestrator"))
    assert free == "aider-orchestrator-agents-agents"
    asyncio.run(set_branch(git, f"{free}/1/task1", base))
    asyncio.run(delete_branches(git, [f"{free}/1/task1", f"{free}/1/never-was"]))
    assert user.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == [
        "aider-orchestrator",
        "aider-orchestrator-agents",
        "main",
    ]
