"""Odd names, odd bytes, odd repositories: each works, or gets one clear sentence and exit code 2. Nothing is lost."""

import asyncio
import json
import os
import subprocess
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from orchestra.workspace.merge import Delivery, deliver_result
from orchestra.workspace.repository import open_repository
from tests.support.edits import appends, knows
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, Ran, assert_clean, make_place
from tests.support.sample import SOAK
from tests.support.shell import Shell, shell

__all__ = ["shell"]
CHANGE = ("--change", "Edit", "--no-prd")
BEFORE, AFTER = b"one\ntwo\nthree\n", b"one\nTWO\nthree\n"

# --- names and bytes ------------------------------------------------------------------------------------------------

NAMES = [
    *("with space.py", "two  spaces.py", " leading.py", "trailing.py ", "trailing.py", "b ", "b", "tab\there.py"),
    *(
        "ünï/cödé.py",
        unicodedata.normalize("NFC", "é.txt"),
        unicodedata.normalize("NFD", "é.txt"),
        "日本語/ファイル.py",
    ),
    *(
        "😀.py",
        "app/[slug]/page.tsx",
        "app/s/page.tsx",
        "*.py",
        "what?.py",
        "[a-z].py",
        "{a,b}.py",
        "%s%d.py",
        "a,b.py",
    ),
    *(
        "-dash.py",
        "--file",
        "-x/--y.py",
        "'single'.py",
        '"double".py',
        "`tick`.md",
        "$HOME.py",
        "a;b&c|d.py",
        "~",
        "~home/x",
    ),
    *("back\\slash.py", "# y", "y", "#hash.md", "**star**.md", "colon:", "...", "no_ext", "!bang.py", "@at.py", "=.py"),
    *("<angle>.html", "```fence.py", "a/" * 40 + "deep.py", "x" * 200 + ".py", ".hidden", "dot.", "(1).py", "a+b^c.py"),
]
SPOKEN = b"Say\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\nand end\n"
CONTENTS: dict[str, tuple[bytes, bytes]] = {
    "crlf.txt": (b"one\r\ntwo\r\nthree\r\n", b"one\r\nTWO\r\nnew\r\nthree\r\n"),
    "crlf open.txt": (b"one\r\ntwo\r\nthree", b"one\r\nTWO\r\nthree"),
    "mixed.txt": (b"one\r\ntwo\nthree\r\nfour\r\nfive\n", b"one\r\nTWO\nthree\r\nfour\r\nfive\n"),
    "mixed more.txt": (b"one\r\ntwo\nthree\r\nfour\r\nfive\n", b"one\r\ntwo\nnew\r\nthree\r\nFOUR\r\nfive\n"),
    "cr.txt": (b"one\rtwo\rthree\r", b"one\rTWO\rthree\r"),
    "cr open.txt": (b"one\rtwo\rthree", b"one\rTWO\rthree"),
    "cr inside.txt": (b"one\ntwo\rtoo\nthree\n", b"ONE\ntwo\rtoo\nthree\n"),
    "open.txt": (b"one\ntwo\nthree", b"one\nTWO\nthree"),
    "bom.txt": (b"\xef\xbb\xbfone\ntwo\n", b"\xef\xbb\xbfone\nTWO\n"),
    "bom crlf.txt": (b"\xef\xbb\xbfone\r\ntwo\r\n", b"\xef\xbb\xbfone\r\nTWO\r\n"),
    "bom edited.txt": (b"\xef\xbb\xbfone\ntwo\n", b"\xef\xbb\xbfONE\ntwo\n"),
    "empty.txt": (b"", b"now there is something\n"),
    "blank.txt": (b"  \n\t\n \n", b"  \nfilled\n \n"),
    "blank open.txt": (b"  \n ", b"  \nfilled\n "),
    "newline.txt": (b"\n", b"text\n"),
    "run.sh": (b"#!/bin/sh\necho one\n", b"#!/bin/sh\necho two\n"),
    "markers.md": (SPOKEN, SPOKEN.replace(b"end", b"END")),
    "markers gone.md": (SPOKEN, b"Say\nb\nand end\n"),
    "markers come.md": (b"Say\nb\nand end\n", SPOKEN),
    "fences.md": (
        b"```python\na = 1\n```\n\n````\nfour\n````\nend\n",
        b"```python\na = 2\n```\n\n````\nfour\n````\nend\n",
    ),
    "formfeed.c": (b"one\n\x0ctwo\nthree\n", b"one\n\x0ctwo\nTHREE\n"),
    "separator.js": ("a = '\u2028'\nb\nc\n".encode(), "a = '\u2028'\nB\nc\n".encode()),
}


def odd_files() -> dict[str, tuple[bytes, bytes]]:
    """Every name with a text of its own, so that an edit in a wrong file would be seen."""
    named = {name: (b"%d\n" % n + BEFORE, b"%d\n" % n + AFTER) for n, name in enumerate(NAMES)}
    return named | CONTENTS


def assert_edited(place: Place, edits: Mapping[str, tuple[bytes, bytes]]) -> None:
    found = {name: (place.repo / name).read_bytes() for name in edits}
    assert {name: text for name, text in found.items() if text != edits[name][1]} == {}


def said(edits: Mapping[str, tuple[bytes, bytes]]) -> dict[str, str]:
    return {name: after.decode() for name, (_, after) in edits.items()}


@pytest.mark.parametrize("agents", [6, *([1, 16, 64] if SOAK else [])])
def test_odd_names_and_odd_bytes(agents: int, tmp_path: Path) -> None:
    edits = odd_files()
    place = make_place(tmp_path / "a plaçe [x]", {name: before for name, (before, _) in edits.items()})
    (place.repo / "run.sh").chmod(0o755)
    place.commit("Make it run")
    names = [f"./{name}" for name in edits]
    with ModelServer(knows(said(edits), new=())) as server:
        ran = place.run(*CHANGE, "--files", *names, "--agents", str(agents), server=server)
    assert_edited(place, edits)
    assert ran.code == 0, ran.out
    assert ran.changed().keys() == edits.keys()
    assert set(ran.summary["files"]) == set(edits)
    assert place.git("ls-tree", "HEAD", "run.sh").startswith("100755") and os.access(place.repo / "run.sh", os.X_OK)
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize("words", [(), *([("--no-fork-server",)] if SOAK else [])])
def test_line_endings_that_git_converts(words: tuple[str, ...], tmp_path: Path) -> None:
    """What the user sees has CRLF, what is committed has LF, and afterwards git finds nothing changed."""
    files = {".gitattributes": "*.bat eol=crlf\n*.sh eol=lf\n*.raw -text\n"}
    files |= {name: BEFORE.decode() for name in ("auto.txt", "a.bat", "a.sh", "plain.raw")} | {"word.txt": "one"}
    place = make_place(tmp_path, files)
    place.git("config", "core.autocrlf", "true")
    place.git("config", "core.safecrlf", "true")
    place.git("rm", "-q", "--cached", "-r", ".")
    place.git("reset", "-q", "--hard")
    crlf = BEFORE.replace(b"\n", b"\r\n"), AFTER.replace(b"\n", b"\r\n")
    edits = {"auto.txt": crlf, "a.bat": crlf, "a.sh": (BEFORE, AFTER), "plain.raw": (BEFORE, AFTER)}
    edits["word.txt"] = b"one", b"one\r\ntwo"
    assert {name: (place.repo / name).read_bytes() for name in edits} == {name: old for name, (old, _) in edits.items()}
    with ModelServer(knows(said(edits), new=())) as server:
        ran = place.run(*CHANGE, "--files", *edits, "--agents", "2", *words, server=server)
    assert ran.code == 0, ran.out
    assert_edited(place, edits)
    blobs = {name: place.git("cat-file", "blob", f"HEAD:{name}").encode() for name in edits}
    assert blobs == {name: after.replace(b"\r\n", b"\n") for name, (_, after) in edits.items()}
    assert_clean(ran)


# --- repositories ---------------------------------------------------------------------------------------------------


def prd(*files: str) -> str:
    work = [{"file": file, "new": True, "do": "make it"} for file in files]
    return "# Make\n\n```json\n" + json.dumps({"requirements": [], "work": work}) + "\n```\n"


NEW = {"hello.py": "print('hello')\n", "pkg/über.py": "x = 1\n"}


def make_new_files(place: Place) -> Ran:
    """A PRD that names two new files."""
    wish = place.home / "wish.md"
    wish.write_text(prd(*NEW), "utf-8")
    with ModelServer(knows(NEW, new=NEW)) as server:
        return place.run("--change", "Make", "--prd", str(wish), "--agents", "2", server=server)


@pytest.mark.thorough
def test_an_empty_repository(tmp_path: Path) -> None:
    place = make_place(tmp_path, {})
    ran = make_new_files(place)
    assert ran.code == 0, ran.out
    assert place.git("ls-tree", "-r", "--name-only", "HEAD").splitlines() == sorted(NEW)
    assert ran.changed() == dict.fromkeys(NEW, (1, 0))
    assert_clean(ran)


@pytest.mark.thorough
def test_a_repository_without_commits(tmp_path: Path) -> None:
    """The user's files that git does not know yet, or knows only in the index, stay as they are."""
    place = make_place(tmp_path, {})
    place.git("update-ref", "-d", "HEAD")
    place.write({"notes.txt": "mine\n", "staged.txt": "mine too\n"})
    place.git("add", "staged.txt")
    ran = make_new_files(place)
    assert (place.repo / "notes.txt").read_text() == "mine\n"
    assert (place.repo / "staged.txt").read_text() == "mine too\n"
    assert place.git("show", ":staged.txt") == "mine too\n"
    assert ran.code == 0, ran.out
    assert place.git("ls-tree", "-r", "--name-only", "HEAD").splitlines() == sorted(NEW)
    assert place.git("log", "--format=%an") == "Ada\n" * 3
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize("staged", [False, True])
def test_a_file_of_the_users_in_the_way_of_the_first_commit(staged: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, {})
    place.git("update-ref", "-d", "HEAD")
    place.write({"hello.py": "mine\n"})
    if staged:
        place.git("add", "hello.py")
    ran = make_new_files(place)
    assert (place.repo / "hello.py").read_text() == "mine\n"
    assert not (place.repo / "pkg").exists()
    side = ran.summary["result"]["side_branch"]
    assert place.git("show", f"{side}:hello.py") == NEW["hello.py"]
    assert side in ran.out and "hello.py" in ran.out
    assert_clean(ran, branches=(side,))


@pytest.mark.thorough
def test_a_detached_head(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n", "b.py": "b = 1\n"})
    place.git("switch", "-q", "--detach")
    head = place.head()
    with ModelServer(appends("# hi")) as server:
        ran = place.run(*CHANGE, "--files", "*.py", "--agents", "2", server=server)
    result = ran.summary["result"]
    assert (result["applied"], result["reason"]) == (False, "HEAD is detached")
    assert place.head() == head == place.git("rev-parse", "main").strip()
    assert_clean(ran, branches=(result["side_branch"], "main"))
    assert f"To take it: {result['take']}" in ran.out
    subprocess.run(result["take"], shell=True, cwd=place.repo, env=place.environment(), check=True, capture_output=True)
    assert (place.repo / "a.py").read_text() == "a = 1\n# hi\n"


@pytest.mark.parametrize("staged", [False, True])
def test_a_file_that_the_user_has_deleted_stays_deleted(staged: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n", "b.py": "b = 1\n"})
    place.git("switch", "-q", "-c", "result")
    place.write({"a.py": "a = 2\n"})
    result = place.commit()
    place.git("switch", "-q", "main")
    place.git(*(("rm", "-q", "a.py") if staged else ("rev-parse",)))
    (place.repo / "a.py").unlink(missing_ok=True)
    head, before = place.head(), place.status()

    async def delivery() -> Delivery:
        return await deliver_result(await open_repository(place.repo), result, "result")

    found = asyncio.run(delivery())
    assert not found.applied and "a.py" in found.reason, found
    assert (place.head(), place.status(), (place.repo / "a.py").exists()) == (head, before, False)


def test_all_of_a_users_habits_at_once(tmp_path: Path) -> None:
    """A linked worktree with spaces and signs in its path, called from a folder in it, nobody's name and no home known
    to git, a branch that is called like ours, and things brought in that git does not track."""
    files = {"src/a.py": "a = 1\n", "lib/x.py": "x = 1\n", "lib/deep/y.py": "y = 1\n", "lib/deep/z.txt": "z\n"}
    main = make_place(tmp_path / "main", files | {".gitignore": "node_modules/\n.env.*\n*.log\n"})
    main.git("config", "--unset", "user.name")
    main.git("config", "--unset", "user.email")
    main.git("branch", "aider-orchestrator")
    linked = tmp_path / "my wörktree [1]"
    main.git("worktree", "add", "-q", "-b", "feature", str(linked))
    gone = tmp_path / "on a disk that is not mounted"
    main.git("worktree", "add", "-q", "--detach", str(gone))
    gone.rename(tmp_path / "elsewhere")
    place = Place(linked, main.home, tmp_path / "tmp of $HOME's")
    place.tmp.mkdir()
    place.write({".env.test": "DEBUG=1\n", "node_modules/lib/index.js": "exports.x = 1\n"})
    with ModelServer(appends("# hi")) as server:
        ran = place.run(
            *(*CHANGE, "--files", "*.py", "../lib/**/*.py", str(linked / "lib/x.py"), "--agents", "3"),
            *("--worktree-copy", ".env.test", "--worktree-link", "node_modules"),
            *("--setup-cmd", "cat .env.test node_modules/lib/index.js > set-up.log && date > product.txt"),
            *("--test-cmd", "test -f set-up.log && test -f product.txt && grep -q hi src/a.py lib/x.py"),
            server=server,
            cwd=linked / "src",
            HOME="",
        )
    assert ran.code == 0, ran.out + ran.err
    assert ran.summary["verified"] == "tests"
    assert ran.changed() == dict.fromkeys(("src/a.py", "lib/x.py", "lib/deep/y.py"), (1, 0))
    assert (linked / ".env.test").read_text() == "DEBUG=1\n" and not (linked / "node_modules").is_symlink()
    assert place.git("log", "-1", "--format=%an <%ae>").startswith("Aider Orchestrator <")
    assert place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split() == [
        *("aider-orchestrator", "feature", "main")
    ]
    assert len(place.git("worktree", "list").splitlines()) == 3, (
        "the user's own worktree, not mounted now, is forgotten"
    )
    assert sorted(place.status()) == sorted(ran.before)
    assert main.status() == [] and not (main.repo / ".aider_logs").exists()
    assert place.processes() == {} and not list(place.tmp.glob("aider-orchestrator-*"))


@pytest.mark.thorough
def test_a_url_is_cloned_first(tmp_path: Path) -> None:
    far = make_place(tmp_path / "far", {"src/a.py": "a = 1\n", "b.py": "b = 1\n"})
    place = make_place(tmp_path / "near", {"unrelated.py": "u = 1\n"})
    words = (*CHANGE, "--repo", far.repo.as_uri(), "--files", "src/a.py", "--agents", "1")
    with ModelServer(appends("# hi")) as server:
        ran = place.run(*words, server=server)
        assert ran.code == 0, ran.out + ran.err
        clone = Place(place.repo / "repo", place.home, place.tmp)
        assert (clone.repo / "src/a.py").read_text() == "a = 1\n# hi\n"
        assert clone.git("log", "--format=%s").splitlines() == ["Edit", "Start"]
        assert far.git("log", "--format=%s").splitlines() == ["Start"]
        assert (place.repo / "unrelated.py").read_text() == "u = 1\n"
        again = place.run(*words, server=server)
        assert again.code == 2 and "exists: run there, or give its path as --repo." in again.err


@pytest.mark.thorough
@pytest.mark.parametrize("count", [300 if SOAK else 60])
def test_very_many_files(count: int, tmp_path: Path) -> None:
    names = [f"src/part {n // 20}/file{n:03}.py" for n in range(count)]
    place = make_place(tmp_path, {name: f"x = {n}\n" for n, name in enumerate(names)})
    with ModelServer(appends("# hi")) as server:
        ran = place.run(*CHANGE, "--files", *names, "--max-agents", "8", server=server)
    assert ran.code == 0, ran.out
    assert ran.changed() == dict.fromkeys(names, (1, 0))
    assert_clean(ran)


@pytest.mark.thorough
def test_a_set_up_command_that_fails(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    with ModelServer(appends("# hi")) as server:
        words = ("--files", "a.py", "--no-fork-server", "--setup-cmd", "echo no compiler here; exit 3")
        ran = place.run(*CHANGE, *words, server=server)
        assert server.count() == 0
    assert ran.code == 1
    assert "the set-up command failed with exit code 3: no compiler here" in ran.out
    assert "Traceback" not in ran.out + ran.err
    assert_clean(ran)


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED: dict[tuple[str, ...], str] = {
    ("gone.py",): "--files gone.py: there is no such file in the repository.",
    ("a.py", "gone.py"): "--files gone.py: there is no such file in the repository.",
    ("*.rs",): "--files *.rs: no tracked file matches.",
    ("",): "--files: one of the names is empty.",
    ("a.py", " "): "--files: one of the names is empty.",
    ("../outside.py",): "--files ../outside.py: it is outside the repository ROOT.",
    ("/etc/passwd",): "--files /etc/passwd: it is outside the repository ROOT.",
    ("src/../../x",): "--files src/../../x: it is outside the repository ROOT.",
    ("ignored.log",): "--files ignored.log: git ignores it, so its change could not be committed.",
    ("build",): "--files build: git ignores it, so its change could not be committed.",
    ("untracked.py",): "--files untracked.py: it is not committed yet, and agents work on HEAD. Commit it first.",
    ("staged.py",): "--files staged.py: it is not committed yet, and agents work on HEAD. Commit it first.",
    ("new folder",): "--files new folder: no tracked file matches.",
    ("link.py",): "--files link.py: it is a symbolic link; name the file it points to.",
    ("outlink",): "--files outlink: it is a symbolic link; name the file it points to.",
    ("untracked link",): "--files untracked link: it is a symbolic link; name the file it points to.",
    ("srclink/c.py",): "--files srclink/c.py: it is below the symbolic link srclink; name the file itself.",
    ("outlink/passwd",): "--files outlink/passwd: it is below the symbolic link outlink; name the file itself.",
    ("sub",): "--files sub: it is a submodule; run inside it.",
    ("sub/a.py",): "--files sub/a.py: it is in the submodule sub; run inside it.",
    ("image.png",): "--files image.png: it is not UTF-8 text; agents edit text files only.",
    ("latin.txt",): "--files latin.txt: it is not UTF-8 text; agents edit text files only.",
    ("*.png",): "--files *.png: only files match that Aider cannot edit.",
    ("big.psd",): "--files big.psd: it is kept by Git LFS; agents edit text files only.",
    (".git/config",): "--files .git/config: it belongs to git, not to what git tracks.",
    ("a.py/x",): "--files a.py/x: there is no such file in the repository. Did you mean a.py?",
    (
        "line\nbreak.py",
    ): "--files line\nbreak.py: it has a name that does not fit on one line of UTF-8; rename it first.",
    ("n" * 300,): f"--files {'n' * 300}: there is no such file in the repository.",
    ("caf\udce9.py",): "--files: 'caf\\udce9.py' is not UTF-8.",
}


def furnished(shell: Shell) -> None:
    place = shell.place
    place.write(
        {
            ".gitignore": "*.log\nbuild\n.env*\nnode_modules\n",
            "image.png": b"\x89PNG\0\0",
            "latin.txt": b"caf\xe9\n",
            "big.psd": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "line\nbreak.py": "x\n",
            "-dash.py": "x\n",
        }
    )
    (place.repo / os.fsdecode(b"caf\xe9.py")).write_text("x\n")
    for name, target in (("link.py", "a.py"), ("outlink", "/etc"), ("srclink", "src")):
        (place.repo / name).symlink_to(target)
    place.git("add", "-A")
    place.git("update-index", "--add", "--cacheinfo", f"160000,{place.head()},sub")
    place.git("commit", "-q", "-m", "Odd things")
    place.write(
        {"ignored.log": "x\n", "build/x.o": "x\n", "untracked.py": "x\n", "staged.py": "x\n", "sub/a.py": "x\n"}
    )
    place.write({"new folder/x.py": "x\n", "node_modules/m.js": "x\n", ".env.test": "DEBUG=1\n"})
    (place.repo / "untracked link").symlink_to("a.py")
    place.git("add", "staged.py")


def test_files_that_cannot_be_changed(shell: Shell) -> None:
    furnished(shell)
    for files, sentence in REFUSED.items():
        told = shell.refused_lines(*CHANGE, "--files", *files)
        assert told == sentence.replace("ROOT", str(shell.place.repo)), files


def test_folders_and_globs_leave_out_what_cannot_be_changed(shell: Shell) -> None:
    furnished(shell)
    told = shell.run(*CHANGE, "--files", ".", "--agents", "1", "--dry-run")
    listed = [line.strip() for line in told.out.splitlines() if line.startswith("  ")]
    assert listed == ["-dash.py", ".gitignore", "a.py", "b.py", "src/c.py"]
    left_out = "big.psd, caf\\udce9.py, image.png, latin.txt, line\\nbreak.py, link.py, outlink, srclink, sub"
    assert f"Left out, because Aider cannot edit them: {left_out}" in told.out.replace("\n", " ")
    assert (told.code, told.err) == (0, "")


@pytest.mark.parametrize(
    ("cwd", "files", "chosen"),
    [
        (".", ["a.py", "./a.py", "src/../a.py", "a.py"], ["a.py"]),
        (".", ["src/", "src", "src/c.py"], ["src/c.py"]),
        (".", ["**/*.py"], ["-dash.py", "a.py", "b.py", "src/c.py"]),
        (".", ["*.py"], ["-dash.py", "a.py", "b.py"]),
        (".", ["./-dash.py"], ["-dash.py"]),
        ("src", ["c.py", "../a.py"], ["a.py", "src/c.py"]),
        ("src", ["*.py"], ["src/c.py"]),
        ("src", ["."], ["src/c.py"]),
        ("src", [".."], ["-dash.py", ".gitignore", "a.py", "b.py", "src/c.py"]),
        ("src", ["ROOT/b.py"], ["b.py"]),
        ("src", ["LINK/b.py"], ["b.py"]),
    ],
)
def test_where_files_are_looked_for(shell: Shell, cwd: str, files: list[str], chosen: list[str]) -> None:
    furnished(shell)
    link = shell.script / "link to it"
    link.symlink_to(shell.place.repo)
    shell.patch.chdir(shell.place.repo / cwd)
    given = [file.replace("ROOT", str(shell.place.repo)).replace("LINK", str(link)) for file in files]
    told = shell.run(*CHANGE, "--agents", "1", "--dry-run", "--files", *given)
    assert [line.strip() for line in told.out.splitlines() if line.startswith("  ")] == chosen, told


@pytest.mark.parametrize(
    ("repo", "file", "chosen"),
    [("repo", "src/c.py", "src/c.py"), ("repo/src", "c.py", "src/c.py"), ("repo/src", "../a.py", "a.py")],
)
def test_with_repo_files_are_looked_for_there(shell: Shell, repo: str, file: str, chosen: str) -> None:
    shell.patch.chdir(shell.place.repo.parent)
    told = shell.run(*CHANGE, "--repo", repo, "--dry-run", "--files", file)
    assert [line.strip() for line in told.out.splitlines() if line.startswith("  ")] == [chosen], told


def test_a_name_that_begins_with_a_dash_needs_help(shell: Shell) -> None:
    furnished(shell)
    assert shell.run(*CHANGE, "--dry-run", "--files=-dash.py").code == 0
    assert shell.refused(*CHANGE, "--files", "-dash.py").startswith("argument --files: expected at least one argument")


def bare(shell: Shell) -> None:
    shell.place.git("init", "-q", "--bare", "../script/x.git")
    shell.patch.chdir(shell.script / "x.git")


def inside_git(shell: Shell) -> None:
    shell.patch.chdir(shell.place.repo / ".git")


def no_repository(shell: Shell) -> None:
    shell.patch.chdir(shell.script)


def no_git(shell: Shell) -> None:
    shell.patch.setenv("PATH", str(shell.script))


def gone(shell: Shell) -> None:
    folder = shell.script / "gone"
    folder.mkdir()
    shell.patch.chdir(folder)
    folder.rmdir()


def strange_name(shell: Shell) -> None:
    folder = shell.script / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    shell.place.git("clone", "-q", ".", os.fspath(folder))
    shell.patch.chdir(folder)


@pytest.mark.parametrize(
    ("arrange", "sentence"),
    [
        (bare, "CWD is a bare repository: agents need a work tree. Clone it and run there."),
        (inside_git, "CWD is inside git's own folder: run in the work tree."),
        (no_repository, "CWD is not in a git repository. Run `git init` there first."),
        (no_git, "git was not found. Install it, 2.34 or newer."),
        (gone, "The current directory no longer exists."),
        (strange_name, "The path of the repository, 'CWD', is not UTF-8."),
    ],
)
def test_places_where_one_cannot_work(shell: Shell, arrange: Callable[[Shell], None], sentence: str) -> None:
    arrange(shell)
    cwd = "" if arrange is gone else str(Path.cwd()).encode("utf-8", "backslashreplace").decode()
    told = shell.run(*CHANGE, "--files", "a.py")
    assert (told.code, told.out) == (2, "")
    assert told.err == f"aider-orchestrator: {sentence.replace('CWD', cwd)}\n"


@pytest.mark.parametrize(
    ("repo", "sentence"),
    [
        ("gone", "ROOT/gone is not a folder."),
        ("a.py", "ROOT/a.py is not a folder."),
        ("n" * 300, f"ROOT/{'n' * 300} is not a folder."),
        ("file:///no/such/repo", "git could not clone file:///no/such/repo: "),
        ("https://me:secret@127.0.0.1:9/x.git", "git could not clone https://…@127.0.0.1:9/x.git: "),
        ("--upload-pack=touch marked:x", "git could not clone --upload-pack=touch marked:x: "),
    ],
)
def test_repositories_that_are_not_there(shell: Shell, repo: str, sentence: str) -> None:
    told = shell.refused(*CHANGE, "--files", "a.py", f"--repo={repo}")
    assert told.startswith(sentence.replace("ROOT", str(shell.place.repo)))
    assert "secret" not in told
    assert not (shell.place.repo / "marked").exists()


KEY = "sk-known-key-0123456789"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--worktree-copy", "gone"], "gone: there is no such file or folder in ROOT to bring into the worktrees."),
        (["--worktree-copy", "n" * 300], f"{'n' * 300}: there is no such file or folder in ROOT to bring into the wo"),
        (["--worktree-link", "a.py"], "a.py: git tracks it (or files in it), so every worktree has it already."),
        (["--worktree-copy", "src"], "src: git tracks it (or files in it), so every worktree has it already."),
        (["--worktree-copy", "."], ". is not in ROOT, so it cannot be brought into the worktrees."),
        (["--worktree-copy", ""], "(an empty name) is not in ROOT, so it cannot be brought into the worktrees."),
        (["--worktree-link", ".git/hooks"], ".git/hooks is not in ROOT, so it cannot be brought into the worktrees."),
        (["--worktree-copy", "../home"], "../home is not in ROOT, so it cannot be brought into the worktrees."),
        (
            ["--worktree-copy", "/etc/passwd"],
            "/etc/passwd is not in ROOT, so it cannot be brought into the worktrees.",
        ),
        (["--worktree-copy", "outlink/passwd"], "outlink/passwd is not in ROOT, so it cannot be brought into the wo"),
        (
            ["--worktree-copy", ".env.test", "./.env.test"],
            ".env.test is listed twice to be brought into the worktrees.",
        ),
        (
            ["--worktree-copy", "build/x.o", "--worktree-link", "build"],
            "build/x.o is listed twice to be brought into the worktrees.",
        ),
        (["--worktree-copy", ".env.key"], ".env.key holds one of your API keys; agents must not see it."),
        (["--worktree-link", ".env.key"], ".env.key holds one of your API keys; agents must not see it."),
        (["--worktree-copy", "build"], "build/deep/config holds one of your API keys; agents must not see it."),
        (["--worktree-copy", "node_modules/link"], "node_modules/link holds one of your API keys; agents must not"),
    ],
)
def test_what_may_not_be_brought_into_the_worktrees(shell: Shell, words: list[str], sentence: str) -> None:
    furnished(shell)
    shell.place.write({".env.key": f"export KEY='{KEY}'\n", "build/deep/config": f"key: {KEY}\n"})
    (shell.place.repo / "node_modules/link").symlink_to("../build/deep/config")
    told = shell.refused(*CHANGE, "--files", "a.py", *words, OPENAI_API_KEY=KEY)
    assert told.startswith(sentence.replace("ROOT", str(shell.place.repo)))


def test_a_pipe_is_not_copied(shell: Shell) -> None:
    os.mkfifo(shell.place.repo / "pipe")
    told = shell.refused(*CHANGE, "--files", "a.py", "--worktree-copy", "pipe")
    assert told.startswith("pipe: there is no such file or folder in ")


# --- what the PRD may want ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["docs", "docs/prd"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_place_that_the_prd_cannot_be_written_to(shell: Shell, place: str, kind: str) -> None:
    """Found out before anything is asked: there is no server at this address."""
    path = shell.place.repo / place
    path.parent.mkdir(exist_ok=True)
    if kind == "file":
        path.write_text("mine\n")
    else:
        path.symlink_to(shell.script)
    keys = {"GOOGLE_API_KEY": "AIza-123456", "OPENAI_API_KEY": KEY, "GEMINI_API_BASE": "http://[::1]:9"}
    sentence = f"The PRD belongs in docs/prd/, but {place} is not a folder. Give one with --prd."
    assert shell.refused("--change", "x", **keys) == sentence
    assert list(shell.script.iterdir()) == []
