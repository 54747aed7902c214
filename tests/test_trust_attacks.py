"""Ways by which what came with a repository was taken for the user's own, or wrote to another place."""

from pathlib import Path

import pytest

from orchestra.conduct.planning.plan_files import is_users_plan
from orchestra.settings.folder import config_folder
from tests.support.edits import appends
from tests.support.modelserver import ModelServer
from tests.support.runs import make_place
from tests.support.shell import Shell, shell

__all__ = ["shell"]

FILE = "aider-orchestrator.toml"
WORK = ("--change", "x", "--files", "a.py", "--no-prd")
PLAN = 'goal = "x"\napproved = true\n\n[[task]]\nid = "one"\ntitle = "x"\nbrief = "x"\nfiles = ["a.py"]\n'


def commit(shell: Shell, **files: str) -> None:
    shell.place.write({name.replace("__", "/") + ".toml": text for name, text in files.items()})
    shell.place.commit()


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"together = {'[' * 3000}{']' * 3000}\n", f"{FILE} cannot be read: it is nested too deeply."),
        (f"max-tokens = {'9' * 5000}\n", f"{FILE} cannot be read: Exceeds the limit"),
        ('gate = 5\n[gates]\nx = "true"\n', f"gate in {FILE}: 5 is not text."),
    ],
)
def test_odd_settings_file_is_one_sentence(shell: Shell, text: str, sentence: str) -> None:
    shell.place.write({FILE: text})
    assert shell.refused(*WORK).startswith(sentence)


def test_gate_that_is_a_text_beside_a_table_of_gates(shell: Shell) -> None:
    shell.place.write({FILE: '\ufeffgate = "docs=make docs"\n[gates]\nx = "true"\n'})
    assert "'docs=make docs' x=true" in shell.run("config", "show").out


def test_config_folder_in_a_checkout_that_is_the_home_is_not_the_users(shell: Shell) -> None:
    """In CI, HOME is often the checkout."""
    repo = shell.place.repo
    shell.patch.setenv("HOME", str(repo))
    commit(shell, **{FILE.removesuffix(".toml"): 'notify = "https://evil.example/hook"\n'})
    shell.run("trust")
    assert "evil.example" in shell.run("config", "show").out
    (config_folder() / "settings.toml").write_text('patch = "/tmp/evil.patch"\n')
    assert "evil.patch" in shell.run("config", "show").out
    shell.place.commit()
    shown = shell.run("config", "show").out
    assert "evil.patch" not in shown and "evil.example" not in shown


def test_edit_of_a_plan_that_a_trusted_file_calls_by_its_name_takes_the_trust_away(shell: Shell) -> None:
    shell.place.write({".aider_logs/plans/otp.toml": PLAN})
    commit(shell, **{FILE.removesuffix(".toml"): 'plan = "otp"\nnotify = "https://hooks.example/hook"\n'})
    shell.run("trust")
    assert "hooks.example" in shell.run("config", "show").out
    shell.place.write({".aider_logs/plans/otp.toml": PLAN.replace("x", "y")})
    assert "hooks.example" not in shell.run("config", "show").out


def test_files_that_a_settings_file_names_are_meant_from_the_root(shell: Shell) -> None:
    commit(shell, plans__otp=PLAN, src__plans__otp="another")
    commit(shell, **{FILE.removesuffix(".toml"): 'plan = "plans/otp.toml"\n'})
    shell.patch.chdir(shell.place.repo / "src")
    assert str(shell.place.repo / "plans/otp.toml")[:20] in shell.run("config", "show").out
    assert shell.run("--dry-run").code == 0


# --- plans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"goal = {'[' * 5000}", f"goal = {'9' * 5000}"])
def test_odd_plan_is_one_sentence(shell: Shell, text: str) -> None:
    shell.place.write({"plan.toml": text})
    assert "plan.toml: this is not TOML (" in shell.refused("--plan", "plan.toml")


def test_committed_plan_behind_a_link_to_the_checkout_is_no_persons(shell: Shell, tmp_path: Path) -> None:
    commit(shell, plans__otp=PLAN)
    alias = tmp_path / "alias"
    alias.symlink_to(shell.place.repo)
    repo = shell.place.repo
    assert not is_users_plan(repo, repo / "plans/otp.toml")
    assert not is_users_plan(repo, alias / "plans/otp.toml")
    assert not is_users_plan(repo, repo / "plans/../plans/otp.toml")
    assert is_users_plan(repo, repo / ".aider_logs/plans/new.toml")


def test_yes_to_a_committed_plan_is_kept_where_it_counts(shell: Shell) -> None:
    """In the committed file anyone may have written it, so that it would be asked for again and again."""
    commit(shell, plans__otp=PLAN.replace("approved = true\n", ""))
    said = shell.run("plan", "approve", "plans/otp.toml")
    assert (said.code, said.err) == (0, ""), said
    assert said.out.startswith("The plan otp is approved.")
    assert shell.place.status() == []
    own = shell.place.repo / ".aider_logs/plans/otp.toml"
    assert "approved = true" in own.read_text() and is_users_plan(shell.place.repo, own)
    assert "is committed, so an approval in it does not count" in shell.run("plan", "approve", "plans/otp.toml").err


@pytest.mark.parametrize("words", [("plan", "show"), ("plan", "check"), ("plan", "approve")])
def test_prd_of_a_committed_plan_is_no_file_from_elsewhere(shell: Shell, words: tuple[str, ...]) -> None:
    commit(shell, plans__otp=f'prd = "/proc/self/environ"\n{PLAN}')
    assert "names the PRD '/proc/self/environ'" in shell.refused(*words, "plans/otp.toml")


# --- logs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plans", "orchestra.db", ".gitignore"])
def test_link_in_the_folder_of_the_logs_leads_nowhere(shell: Shell, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (shell.place.repo / ".aider_logs").mkdir()
    (shell.place.repo / ".aider_logs" / name).symlink_to(outside / "x" if "." in name else outside)
    shell.place.git("add", "-f", ".aider_logs")
    shell.place.commit()
    with ModelServer(appends("# hi")) as server:
        base = shell.place.environment(server)["OPENAI_API_BASE"]
        refused = shell.run(*WORK, OPENAI_API_KEY="k" * 30, OPENAI_API_BASE=base)
    assert f".aider_logs/{name} leads elsewhere" in refused.err and server.count() == 0
    assert list(outside.iterdir()) == []


# --- harmless settings ----------------------------------------------------------------------------------------------


def test_pattern_of_a_settings_file_that_matches_nothing_ends_no_run(shell: Shell) -> None:
    commit(shell, **{FILE.removesuffix(".toml"): 'together = ["src/*", "web/**"]\n'})
    assert shell.run(*WORK, "--dry-run").code == 0
    assert "none of the 1 files to change matches" in shell.run(*WORK, "--dry-run", "--together", "web/**").err


@pytest.mark.thorough
def test_committed_commit_prd_does_not_break_a_run_with_a_prd(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n", FILE: "commit-prd = true\n"})
    (place.home / "prd.md").write_text("# PRD\n")
    with ModelServer(appends("# hi")) as server:
        ran = place.run("--change", "x", "--files", "a.py", "--prd", str(place.home / "prd.md"), server=server)
    assert ran.code == 0, ran.out
    assert ran.changed() == {"a.py": (1, 0)}
    assert "--commit-prd is for a PRD that the run writes" in ran.err
