"""Roles: which there are, which one fits which files, and what a settings file may say of them."""

from pathlib import Path
from typing import Any

import pytest

from orchestra.cli.load import read_role_prompts
from orchestra.conduct.core.models import check_roles
from orchestra.errors import OrchestraError, SettingsError
from orchestra.plan.roles import ALIASES, EDIT_FORMATS, Role, find_role, known_roles, parse_roles, role_for_files
from orchestra.settings import SettingsFile, load_settings

PLACE = "aider-orchestrator.toml"
ROLES = {"coder", "tester", "researcher", "writer", "merger", "backend", "frontend", "data", "cloud", "ml"}


def test_the_package_has_its_roles_each_with_a_short_prompt() -> None:
    roles = known_roles({})
    assert set(roles) == ROLES
    assert all(200 < len(role.prompt) < 1_000 for role in roles.values())
    assert [role.name for role in roles.values() if role.only_answers] == ["researcher"]


def test_what_the_user_says_of_a_role_counts_and_the_rest_stays() -> None:
    own = {"tester": Role("tester", model="openai/small", gates=("tests",)), "poet": Role("poet", "Rhyme.")}
    roles = known_roles(own)
    assert set(roles) == ROLES | {"poet"}
    assert roles["tester"].prompt == known_roles({})["tester"].prompt
    assert (roles["tester"].model, roles["tester"].gates) == ("openai/small", ("tests",))
    assert known_roles({"researcher": Role("researcher", "Look it up.")})["researcher"] == Role(
        "researcher", "Look it up.", chat_mode="ask"
    )


def test_specialists_of_other_orchestrators_are_known() -> None:
    assert set(ALIASES.values()) <= ROLES and not ROLES & set(ALIASES)
    assert find_role("test-architect", {}).name == find_role("Test_Worker", {}).name == "tester"
    assert find_role("aws-cloud-architect", {}).name == "cloud"
    own = {"test-architect": Role("test-architect", "Design tests.")}
    assert find_role("test-architect", own).prompt == "Design tests."


def test_misspelt_role_gets_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"Did you mean ml-systems-architect\?"):
        find_role("ml-system-architect", {})


def test_role_may_have_temperature_zero() -> None:
    roles = parse_roles("P", {"roles": {"coder": {"temperature": 0}, "tester": {"gates": ["tests"]}}})
    assert (find_role("coder", roles).temperature, find_role("tester", roles).temperature) == (0.0, None)


@pytest.mark.parametrize(
    ("paths", "role"),
    [
        ((), "coder"),
        (("src/app.py",), "coder"),
        (("tests/test_app.py",), "tester"),
        (("src/app_test.go", "web/app.spec.ts"), "tester"),
        (("tests/helpers.py",), "tester"),
        (("README.md",), "writer"),
        (("docs/guide.rst", "docs/conf.py"), "writer"),
        (("CHANGELOG",), "writer"),
        (("src/App.tsx", "src/app.css"), "frontend"),
        (("migrations/001.sql",), "data"),
        (("notebooks/sales.ipynb",), "data"),
        # The most count, and with as many each the coder.
        (("src/app.py", "tests/test_app.py"), "coder"),
        (("src/app.py", "tests/test_app.py", "tests/test_b.py"), "tester"),
        (("README.md", "tests/test_app.py"), "tester"),
        (("Dockerfile", "requirements.txt"), "coder"),
        (("infra/main.tf", "infra/prod.tfvars"), "cloud"),
    ],
)
def test_paths_choose_a_role(paths: tuple[str, ...], role: str) -> None:
    assert role_for_files(paths) == role
    assert role_for_files(reversed(paths)) == role


def test_edit_formats_are_those_of_this_aider() -> None:
    import aider.coders  # late: it takes seconds, and every worker collects this module

    theirs = {getattr(aider.coders, name).edit_format for name in aider.coders.__dict__ if name.endswith("Coder")}
    assert set(EDIT_FORMATS) == {one for one in theirs - {None} if not one.startswith("editor-")} - {
        *("ask", "architect", "context", "help")
    }


# --- the settings file ----------------------------------------------------------------------------------------------


def test_roles_stand_in_a_settings_file() -> None:
    table = {
        "roles": {
            "tester": {"model": "openai/small", "edit-format": "whole", "gates": ["tests", "lint", "tests"]},
            "poet": {"prompt": " Rhyme. \n"},
        }
    }
    settings = load_settings({}, [], [SettingsFile(PLACE, table)])
    assert settings.roles == {
        "tester": Role("tester", model="openai/small", edit_format="whole", gates=("tests", "lint")),
        "poet": Role("poet", "Rhyme."),
    }
    assert (settings.source_of("roles.poet"), settings.source_of("roles.coder")) == (PLACE, "default")


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        ("tester", "roles in P is not a table."),
        ({"tester": "fast"}, "[roles.tester] in P is not a table."),
        ({"a b": {"prompt": "x"}}, "[roles.a b] in P: a role's name is letters, digits, - and _."),
        ({"tester": {"modell": "x"}}, "unknown setting 'modell' in [roles.tester] in P: did you mean 'model'?"),
        (
            {"tester": {"zzz": 1}},
            "unknown setting 'zzz' in [roles.tester] in P: a role has prompt, prompt-file, model, edit-format, "
            "temperature, gates, kind.",
        ),
        ({"poet": {"model": "x/y"}}, "[roles.poet] in P needs a prompt or a prompt-file."),
        ({"poet": {"prompt": " "}}, "prompt in [roles.poet] in P must be text, and not empty."),
        ({"tester": {"model": 5}}, "model in [roles.tester] in P must be text, and not empty."),
        ({"tester": {"prompt-file": 5}}, "prompt-file in [roles.tester] in P must be text, and not empty."),
        (
            {"tester": {"edit-format": "ask"}},
            "edit-format in [roles.tester] in P must be one of diff, diff-fenced, patch, udiff, udiff-simple, whole, "
            "not 'ask'.",
        ),
        (
            {"researcher": {"edit-format": "diff"}},
            "[roles.researcher] in P changes no file, so it can have no edit-format.",
        ),
        ({"tester": {"temperature": 3}}, "temperature in [roles.tester] in P must be a number from 0 to 2, not 3."),
        (
            {"tester": {"temperature": True}},
            "temperature in [roles.tester] in P must be a number from 0 to 2, not True.",
        ),
        ({"tester": {"gates": "tests"}}, "gates in [roles.tester] in P must be a list of names."),
        ({"tester": {"gates": [""]}}, "gates in [roles.tester] in P must be a list of names."),
    ],
)
def test_what_is_wrong_gets_one_sentence(roles: Any, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_roles("P", {"roles": roles})
    assert str(caught.value) == complaint


def test_a_prompt_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "poet.md").write_text("Rhyme.\n", "utf-8")
    read = read_role_prompts(
        tmp_path, SettingsFile(PLACE, {"roles": {"poet": {"prompt-file": "poet.md", "model": "x/y"}}})
    )
    assert parse_roles(read.origin, read.table) == {"poet": Role("poet", "Rhyme.", model="x/y")}


@pytest.mark.parametrize(
    ("role", "complaint"),
    [
        (
            {"prompt-file": "no.md"},
            "prompt-file 'no.md' of [roles.poet] in P cannot be read: No such file or directory.",
        ),
        ({"prompt-file": "bad.md"}, "prompt-file 'bad.md' of [roles.poet] in P cannot be read: it is not UTF-8."),
        (
            {"prompt-file": "a.md", "prompt": "x"},
            "[roles.poet] in P has a prompt and a prompt-file: give only one.",
        ),
    ],
)
def test_a_prompt_file_that_cannot_be_used(tmp_path: Path, role: Any, complaint: str) -> None:
    (tmp_path / "bad.md").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SettingsError) as caught:
        read_role_prompts(tmp_path, SettingsFile("P", {"roles": {"poet": role}}))
    assert str(caught.value) == complaint


# --- what they demand -----------------------------------------------------------------------------------------------

OPENAI = {"OPENAI_API_KEY": "k-openai"}
BOTH = OPENAI | {"ANTHROPIC_API_KEY": "k-anthropic"}


@pytest.mark.parametrize(
    ("model", "roles", "env", "flags", "complaint"),
    [
        ("anthropic/claude-sonnet-5-5", ["tester"], BOTH, {}, ""),
        ("anthropic/claude-sonnet-5-5", ["tester", "coder"], BOTH, {"budget": 5}, ""),
        ("anthropic/claude-sonnet-5-5", ["tester"], OPENAI, {}, "anthropic/claude-sonnet-5-5 needs ANTHROPIC_API_KEY"),
        # Only who really works demands anything.
        ("anthropic/claude-sonnet-5-5", ["coder", "", "writer"], OPENAI, {"budget": 5}, ""),
        ("openai/no-price", ["tester"], OPENAI, {}, ""),
        ("openai/no-price", ["tester"], OPENAI, {"budget": 5}, "No price is known for openai/no-price"),
        ("openai/no-price", ["tester"], OPENAI, {"budget": 5, "price": ["openai/no-price=1,4"]}, ""),
        ("nobody/model", ["tester"], OPENAI, {}, "nobody/model"),
        ("openai/gpt-6-luna", ["poet"], OPENAI, {}, "there is no role 'poet'. There are backend, cloud, coder, data,"),
    ],
)
def test_only_the_roles_that_work_demand_anything(
    model: str, roles: list[str], env: dict[str, str], flags: dict[str, Any], complaint: str
) -> None:
    settings = load_settings(
        flags, [("environment", env)], [SettingsFile(PLACE, {"roles": {"tester": {"model": model}}})]
    )
    if not complaint:
        return check_roles(settings, roles, replayed=False)
    with pytest.raises(OrchestraError) as caught:
        check_roles(settings, roles, replayed=False)
    assert complaint in str(caught.value)


def test_a_replayed_run_needs_no_key_for_a_role() -> None:
    settings = load_settings({}, [], [SettingsFile(PLACE, {"roles": {"tester": {"model": "openai/gpt-6-luna"}}})])
    check_roles(settings, ["tester"], replayed=True)
    with pytest.raises(OrchestraError):
        check_roles(settings, ["tester"], replayed=False)
