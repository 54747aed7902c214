"""Ways out of the sandbox: through what it shows, and through what is done outside when a command has ended."""

import asyncio
import os
import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.gates import run as gate_run
from orchestra.gates.provision import provision_gate
from orchestra.hosts.isolation import installed_packages, outer_git_folders, worktree_secrets
from orchestra.model import Gate
from tests.support.edits import appends
from tests.support.house import SECRET, House, house
from tests.support.load import within
from tests.support.modelserver import ModelServer
from tests.support.runs import make_place
from tests.test_sandbox import pytestmark

__all__ = ["house", "pytestmark"]


def link(house: House, path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    os.chown(path, house.user, house.user, follow_symlinks=False)


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [".netrc", ".config/gh"])
def test_link_of_the_repository_does_not_lead_to_a_secret(house: House, secret: str) -> None:
    link(house, house.tree / "notes", house.home / secret)
    code, printed = house.shell(f"cat notes notes/* {house.checkout}/notes {house.checkout}/notes/*")
    assert code != 0 and SECRET not in printed


def test_link_that_leads_nowhere_does_not_break_the_sandbox(house: House) -> None:
    link(house, house.tree / "broken", "nowhere")
    link(house, house.tree / "good", "a.py")
    assert house.shell(f"cat {house.checkout}/good; readlink {house.checkout}/broken") == (0, "a = 1\nnowhere\n")


def test_venv_that_is_a_link_does_not_lead_to_a_secret(house: House) -> None:
    (house.checkout / ".venv").rename(house.home / "env")
    link(house, house.checkout / ".venv", house.home / ".aws")
    assert SECRET not in house.shell(f"cat {house.checkout}/.venv/credentials")[1]
    (house.checkout / ".venv").unlink()
    link(house, house.checkout / ".venv", house.home / "env")
    assert house.shell(f"cat {house.checkout}/.venv/bin/tool") == (0, "tool\n")


def test_packages_linked_into_a_folder_of_the_tree_are_found(house: House) -> None:
    """--worktree-link packages/a/node_modules makes a link that leads to itself where the tree is seen."""
    packages = house.checkout / "packages/a/node_modules"
    packages.mkdir(parents=True)
    (packages / "m.js").write_text("module\n")
    link(house, house.tree / "packages/a/node_modules", packages)
    house.own(house.root)
    house.sandbox = replace(house.sandbox, shared=(str(packages),))
    assert house.shell(f"cat packages/a/node_modules/m.js {packages}/m.js") == (0, "module\nmodule\n")


def test_secret_behind_a_link_of_the_home_is_hidden(house: House) -> None:
    """A home is often full of links into a folder of dotfiles, or to another disk."""
    dotfiles, disk = house.home / "dotfiles", house.root / "disk"
    dotfiles.mkdir()
    disk.mkdir()
    (house.home / ".netrc").rename(dotfiles / "netrc")
    (house.home / ".config").rename(dotfiles / "config")
    (house.home / ".aws").rename(disk / "aws")
    (disk / "data").write_text("data\n")
    link(house, house.home / ".netrc", "dotfiles/netrc")
    link(house, house.home / ".config", "dotfiles/config")
    link(house, house.home / ".aws", disk / "aws")
    house.own(house.root)
    paths = "dotfiles/netrc .netrc dotfiles/config/gh/hosts.yml .config/gh/hosts.yml .aws/credentials"
    code, printed = house.shell(f"cd; cat {paths} {disk}/aws/*")
    assert code != 0 and SECRET not in printed
    assert house.shell(f"cat {disk}/data; ls -d ~/.config/.") == (0, f"data\n{house.home}/.config/.\n")


def test_home_that_is_the_root_folder(house: House) -> None:
    """As in containers whose user has no entry in /etc/passwd."""
    house.sandbox = replace(house.sandbox, home=Path("/"), secrets=("etc/hostname", "no-such-file", "etc/ssl"))
    assert house.shell("cat /etc/hostname; ls /etc/ssl; cat a.py") == (0, "a = 1\n")


# --- what is done outside when a command has ended ------------------------------------------------------------------


def test_git_file_that_a_command_has_written_is_deleted(house: House) -> None:
    """Git works outside next: with the configuration of the folder that it names it would run anything."""
    for script in ("echo gitdir: /tmp/evil > .git", "rm .git; mkdir -p .git/x", "rm .git; ln -s /tmp/evil .git"):
        before = (house.tree / ".git").read_bytes()
        assert house.shell(script)[0] == 0
        assert not os.path.lexists(house.tree / ".git")
        (house.tree / ".git").write_bytes(before)
    house.shell("touch new; git add -A")
    assert (house.tree / ".git").exists()


def test_link_in_the_place_of_the_tree_is_deleted(house: House) -> None:
    house.shell(f"cd .. && mv tree old && ln -s {house.checkout} tree")
    assert not os.path.lexists(house.tree)
    assert (house.checkout / "a.py").exists()


def test_record_that_is_none_of_gits_is_not_copied_into_the_sandbox(house: House) -> None:
    record = house.root / "evil"
    record.mkdir()
    link(house, record / "HEAD", house.home / ".netrc")
    (house.tree / ".git").write_text(f"gitdir: {record}\n")
    house.own(record)
    code, printed = house.shell("cat $(find .. -name HEAD)")
    assert code == 125 and "it is not the record of a worktree" in printed


def test_command_cannot_reach_what_is_cleared_away_after_it(house: House) -> None:
    other = house.root / "other/folder"
    other.mkdir(parents=True)
    other.chmod(0o755)
    house.own(house.root / "other")
    script = f"cd ..; for box in $(ls | grep box) box{os.getpid()}; do mv $box gone; ln -s {other.parent} $box; done"
    house.shell(script)
    assert other.stat().st_mode & 0o777 == 0o755
    assert not list((house.root / "run").glob("box*"))


JOB = ("--change", "x", "--files", "a.py", "--no-prd")
SET_UP = """\
rm -rf {evil} && git init -q {evil}
git -C {evil} config filter.x.clean "sh -c 'touch {mark}; cat'"
echo '* filter=x' > .gitattributes
rm .git
echo "gitdir: {evil}/.git" > .git
"""


@pytest.mark.thorough
@pytest.mark.parametrize("script", [SET_UP, "cd .. && mv tree old && ln -s {repo} tree\n"], ids=["git", "tree"])
def test_set_up_command_reaches_nothing_through_its_worktree(tmp_path: Path, script: str) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    mark, evil = tmp_path / "mark", tmp_path / "evil"
    evil.mkdir()
    place.write({"set-up.sh": script.format(evil=f"{evil}/$$", mark=mark, repo=place.repo)})
    place.commit()
    with ModelServer(appends("# hi")) as server:
        ran = place.run(*JOB, "--setup-cmd", "sh set-up.sh", server=server)
    assert (ran.code, server.count(), mark.exists()) == (1, 0, False), ran.err
    assert "the set-up command deleted or replaced .git of its worktree" in ran.err
    assert (place.repo / "a.py").read_text() == "a = 1\n"


def test_witness_that_is_a_link_or_a_pipe_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("machine the-secret\n")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "pipe")
    assert gate_run.read_foreign_modules(tmp_path / "link") == gate_run.read_foreign_modules(tmp_path / "pipe") == ()
    assert gate_run.read_foreign_modules(tmp_path / "secret") == ("the-secret",)


def test_gate_finds_its_folders_whatever_the_one_before_has_left(tmp_path: Path) -> None:
    place = gate_run.GateContext(tmp_path / "slot/tree", tmp_path)
    place.tree.mkdir(parents=True)
    (place.tree / ".git").touch()
    gates = (
        'rm -rf "$TMPDIR" && touch "$TMPDIR" && mkdir -p "$GATE_WITNESS/x"',
        'touch "$TMPDIR/x" && rm -rf "$TMPDIR" && ln -s / "$TMPDIR" && ln -s nowhere "$GATE_WITNESS"',
        'touch "$TMPDIR/x" && test ! -L "$TMPDIR"',
    )
    for command in gates:
        asked = gate_run.run_gate(
            Gate("it", "other", command), place, env=os.environ, output=tmp_path / "out", timeout=within(), scrub=str
        )
        assert asyncio.run(asked).ended.code == 0, (tmp_path / "out").read_text()


def test_built_files_are_not_written_through_a_link(tmp_path: Path) -> None:
    tree, checkout, outside = tmp_path / "tree", tmp_path / "checkout", tmp_path / "outside"
    for folder in (tree, checkout / "pkg", checkout / "web/node_modules/m", outside):
        folder.mkdir(parents=True)
    (checkout / "pkg/_version.py").write_text("v = 1\n")
    for name in ("pkg", "web"):
        (tree / name).symlink_to(outside)
    files = ("pkg/__init__.py", "web/package.json")
    provision_gate(tree, checkout, files, ["pkg/_version.py"], lambda content: False)
    assert list(outside.iterdir()) == []


# --- what of the checkout is shown ----------------------------------------------------------------------------------


def test_what_git_tracks_is_not_taken_for_installed_packages(tmp_path: Path) -> None:
    root = (tmp_path / "repo").resolve()
    for folder in ("config", "env", "store/venv", "untracked"):
        (root / folder).mkdir(parents=True)
    for folder in ("config", "env"):
        (root / folder / "pyvenv.cfg").write_text("")
    (root / ".venv").symlink_to("untracked")
    (root / "venv").symlink_to("store/venv")
    shared = list(installed_packages(root, ["config/pyvenv.cfg", ".venv", "pyproject.toml"], []))
    assert shared == [str(root / name) for name in ("venv", "env", "store/venv")]


def test_secrets_of_other_worktrees_and_of_an_outer_checkout(tmp_path: Path) -> None:
    """A submodule, a linked worktree of it, and where the run's own worktrees are."""
    outer, run = tmp_path / "outer", tmp_path / "run"
    inner, linked = outer / "inner", tmp_path / "linked"
    common = outer / ".git/modules/inner"
    for folder in (inner, linked, run / "tree", common, tmp_path / "bare"):
        folder.mkdir(parents=True)
    for folder in (outer, inner, linked, run / "tree"):
        (folder / ".env").touch()
    (linked / ".env.local").touch()
    for name in ("objects", "refs"):
        (outer / ".git" / name).mkdir()
    (outer / ".git/HEAD").touch()
    listing = "".join(f"worktree {place}\nHEAD 1\n\n" for place in (inner, linked, run / "tree", tmp_path / "gone"))
    found = worktree_secrets(inner, run, tmp_path / "home", listing)
    assert found == {str(outer): (".env",), str(linked): (".env", ".env.local")}
    assert worktree_secrets(inner, run, outer / "home", "") == {}
    assert outer_git_folders(common) == [str(outer / ".git")]
    assert outer_git_folders(outer / ".git") == outer_git_folders(tmp_path / "bare") == []


def test_submodule_sees_its_objects_and_nothing_of_the_outer_checkout(house: House) -> None:
    outer = house.home / "projects"
    common = outer / ".git/modules/shop"
    subprocess.run(["git", "init", "-q", str(outer)], check=True)
    common.parent.mkdir(parents=True)
    (house.checkout / ".git").rename(common)
    record = common / "worktrees/tree"
    (house.tree / ".git").write_text(f"gitdir: {record}\n")
    for path in (outer / ".git/config", outer / ".env"):
        path.write_text(SECRET)
    house.own(outer)
    without = worktree_secrets(house.checkout, house.root / "run", house.home, "")
    covered = (*house.sandbox.covered, *outer_git_folders(common))
    house.sandbox = replace(house.sandbox, common=common, without=without, covered=covered)
    assert house.shell("git log --oneline | wc -l") == (0, "1\n")
    assert SECRET not in house.shell(f"cat {outer}/.env {outer}/.git/config; cat a.py")[1]


def test_objects_behind_a_link_and_a_path_with_a_line_break(house: House) -> None:
    (house.checkout / ".git/objects").rename(house.root / "objects")
    link(house, house.checkout / ".git/objects", house.root / "objects")
    assert house.shell("git log --oneline | wc -l") == (0, "1\n")
    new = house.home / 'a\n"b'
    house.checkout.rename(new)
    (house.tree / ".git").write_text(f"gitdir: {new}/.git/worktrees/tree\n")
    house.sandbox = replace(house.sandbox, checkout=new, common=new / ".git", shared=())
    assert house.shell("git log --oneline | wc -l") == (0, "1\n")


def test_control_groups_cannot_be_written(house: House) -> None:
    """By them a user's other processes could be stopped. Our own are as the house's user has them."""
    options = "import os; print(*(os.statvfs(path).f_flag & os.ST_RDONLY for path in ('/sys', '/sys/fs')))"
    assert house.run(house.python, "-c", options) == (0, "1 1\n")


def test_tree_with_more_entries_than_files_may_be_open(house: House) -> None:
    for n in range(300):
        (house.tree / f"file{n}").touch()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        child = house.start("sh", "-c", f"ls {house.checkout} | grep -c file; ulimit -Sn")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert child.stdout is not None and child.stdout.read() == "300\n256\n"
    assert child.wait() == 0
