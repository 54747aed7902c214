"""What is written about settings is what the program does: the reference and .env.example name every variable."""

import ast
import re
from pathlib import Path

import pytest

from orchestra.cli import command_table
from orchestra.cli.load import read_dotenv
from orchestra.conduct.attempt import research
from orchestra.events import KINDS
from orchestra.plan import roles
from orchestra.providers import catalogue
from orchestra.settings import load_settings, option_fields
from orchestra.settings.option import variables_of
from orchestra.settings.other_tools import STORE_VARIABLES, UNUSED_VARIABLES
from tests.support.faults import FAULTS
from tools import write_api, write_events, write_faults, write_layers, write_reference

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / ".env.example"
# Not for our users to set on purpose, or everybody's.
GENERAL = {
    "NO_COLOR",
    "CI",
    "COLUMNS",
    "GITHUB_OUTPUT",
    "EDITOR",
    "PAGER",
    "VISUAL",
    "GIT_ASKPASS",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "PYENV_ROOT",
    "UV_PYTHON_INSTALL_DIR",
    "GATE_SAME",
    "PATH",
    "PYTHONPATH",
    "TERM",
    # Ray's own, as its documentation has them.
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
    "RAY_TMPDIR",
    "RAY_USE_TLS",
}


def documented() -> list[str]:
    """The names of the assignments that stand in comments."""
    return re.findall(r"^# ([A-Z][A-Z0-9_]*)=", EXAMPLE.read_text("utf-8"), re.MULTILINE)


def read_by_settings() -> set[str]:
    ours = {name for f in option_fields() for name in variables_of(f)}
    theirs = {name for p in catalogue.PROVIDERS.values() for name in (*p.key_vars, *p.base_vars)}
    return ours | theirs | {"SEARCH_URL", *research.KEYS}


def read_from_environ() -> set[str]:
    """Names that the program asks an environment for: environ.get("NAME"), os.environ["NAME"], getenv("NAME")."""
    found = set()
    for path in (*ROOT.glob("*.py"), *(ROOT / "orchestra").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("environ.get", "getenv")):
                asked: ast.expr = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
                asked = node.slice
            else:
                continue
            if isinstance(asked, ast.Constant):
                found.add(str(asked.value))
    return found


def test_the_example_names_every_variable_once() -> None:
    names = documented()
    assert len(names) == len(set(names))
    assert set(names) == read_by_settings() | (read_from_environ() - GENERAL)


def test_the_example_sets_nothing_by_itself() -> None:
    assert read_dotenv(EXAMPLE) == {}


def test_what_the_example_proposes_is_valid(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text("utf-8").splitlines()]
    assignments = [line for line in lines if re.match("[A-Z][A-Z0-9_]*=", line)]
    # Two of a pair exclude each other, and so cannot both be taken as they stand.
    kept = [line for line in assignments if not line.startswith(("ORCHESTRA_MAX_AGENTS=", "ORCHESTRA_PLAN="))]
    (tmp_path / ".env").write_text("\n".join(kept), "utf-8")
    settings = load_settings({}, [("script .env", read_dotenv(tmp_path / ".env"))])
    assert settings.files == ("src", "tests/test_*.py") and settings.worktree_link == ("node_modules", ".venv")


def test_the_reference_is_fresh() -> None:
    stale = "python -m tools.write_reference was not run since the settings changed"
    assert write_reference.TARGET.read_text("utf-8") == write_reference.text(), stale


def test_the_table_of_faults_is_fresh_and_long_enough() -> None:
    assert write_faults.TARGET.read_text("utf-8") == write_faults.text(), "`make reference` was not run"
    assert len(FAULTS) >= 50


@pytest.mark.thorough
def test_the_picture_of_the_layers_is_fresh() -> None:
    assert write_layers.TARGET.read_text("utf-8") == write_layers.text(), "`make reference` was not run"


def test_the_reference_names_every_variable() -> None:
    text = write_reference.text()
    assert all(f"`{name}`" in text for name in read_by_settings() | (read_from_environ() - GENERAL))


def test_the_reference_of_events_is_fresh_and_has_every_kind() -> None:
    text = write_events.TARGET.read_text("utf-8")
    assert text == write_events.text(), "`make reference` was not run"
    assert {kind for kind in KINDS if f"### `{kind}`\n" not in text} == set()


def test_the_reference_of_the_api_is_fresh_and_maps_other_orchestrators_to_real_paths() -> None:
    assert write_api.TARGET.read_text("utf-8") == write_api.text(), "`make reference` was not run"
    known = {f"{method} {path}" for method, path, _ in write_api.list_endpoints(write_api.describe_app())}
    assert {ours for _, _, ours, _ in write_api.MAPPED} <= known, "each path of the others is answered here"


def test_security_page_names_tests_that_are_there() -> None:
    page = (ROOT / "docs/security.md").read_text("utf-8")
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 25 and {name for name in named if f"def {name}(" not in tests} == set()
    assert all((ROOT / path).is_file() for path in re.findall(r"`(tests/[\w/.]+)`", page))


def test_page_for_users_of_other_orchestrators_names_all_aliases() -> None:
    page = (ROOT / "docs" / "coming-from.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+) \| (.+) \|$", page, re.MULTILINE)
    specialists = {name.replace("_", "-"): role for left, role in rows for name in re.findall(r"`([\w-]+)`", left)}
    short = {"code", "test", "research", "write", "merge"}
    for alias, role in roles.ALIASES.items():
        assert alias in short or specialists[alias] == f"`{role}`"
    for name in [*command_table.ABSENT, *command_table.ALIASES, *UNUSED_VARIABLES, *STORE_VARIABLES.values()]:
        assert re.search(rf"\b{name}\b", page), name
