"""The one command: right edits end on the user's branch as they were said, and the report counts what was sent."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest

from orchestra.providers import catalogue
from tests.support.edits import Respond, appends, gemini_prd, knows, no_edits
from tests.support.modelserver import ModelServer, Reply, Request, Usage, estimate
from tests.support.runs import Place, Ran, assert_clean, make_place
from tests.support.sample import SOAK, Sample, draw

FILES = {f"f{n}.py": f"x = {n}\n" for n in range(4)}
CHANGE = ("--change", "Add a line", "--no-prd")
HI = "# hi"


def cached(respond: Respond) -> Respond:
    """The same replies, a third of whose prompts came from the provider's cache."""

    def answer(request: Request) -> Reply:
        reply = respond(request)
        used = estimate(request, reply)
        return Reply(reply.text, usage=Usage(used.input, used.output, used.input // 3, used.thoughts))

    return answer


def tree(place: Place) -> dict[str, bytes]:
    """Every file of the work tree that is not git's or the logs'."""
    files = (path for path in place.repo.rglob("*") if path.is_file())
    named = {path.relative_to(place.repo).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if not name.startswith((".git/", ".aider_logs/"))}


def assert_counts(ran: Ran, server: ModelServer, model: str) -> None:
    """Requests, tokens, dollars, files and lines as the server and git count them."""
    told, real = ran.summary["usage"], server.tokens()
    assert told["requests"] == server.count()
    assert (told["input_tokens"], told["output_tokens"]) == (real.input, real.output)
    assert (told["cached_tokens"], told["total_tokens"]) == (real.cached, real.input + real.output)
    each = [
        catalogue.request_cost(catalogue.resolve_model(model), r.usage.input, r.usage.cached, 0, r.usage.output)
        for r in server.requests
    ]
    if None in each:
        assert told["cost"] is None
    else:
        assert math.isclose(told["cost"], math.fsum(cost or 0.0 for cost in each), abs_tol=1e-8)
    assert {path: (n["added"], n["removed"]) for path, n in ran.summary["files"].items()} == ran.changed()


# --- right edits ----------------------------------------------------------------------------------------------------


def right_edits(folder: Path, sample: Sample, agents: int, *words: str, model: str = catalogue.DEFAULT_MODEL) -> Ran:
    place = make_place(folder, sample.files)
    with ModelServer(cached(knows(sample.said, new=()))) as server:
        ran = place.run(
            *CHANGE, "--model", model, "--agents", str(agents), *words, "--files", *sample.arguments, server=server
        )
        assert ran.code == 0, ran.err
        assert_counts(ran, server, model)
    assert tree(place) == sample.files | sample.after
    assert set(ran.changed()) == set(sample.after)
    assert len(ran.agents) == min(agents, len(sample.said)) == ran.summary["successful_agents"]
    owned = [path for agent in ran.agents.values() for path in agent["files"]]
    assert sorted(owned) == sorted(sample.after)
    assert_clean(ran)
    return ran


@pytest.mark.thorough(but="3")
@pytest.mark.parametrize("agents", range(1, 17) if SOAK else (1, 3, 8))
def test_every_file_ends_as_the_edits_say(agents: int, tmp_path: Path) -> None:
    right_edits(tmp_path, draw(agents, targets=agents + agents % 5), agents)


MODELS = (
    "anthropic/claude-sonnet-5-5",
    "gemini/gemini-3.8-flash",
    "openai/gpt-4o",  # Aider has settings of its own for it
    "openai/never-heard-of-2",  # known to nobody
)
MORE_MODELS = (
    "anthropic/claude-never-heard-of-2",
    "gemini/gemini-never-heard-of-2",
    "openai/gpt-6-luna",
    "gpt-6.1-terra",
    "anthropic/claude-haiku-5-5",
    "gemini-flash-latest",
    "openai/some/long:name@2026",
)


@pytest.mark.thorough
@pytest.mark.parametrize("model", (*MODELS, *MORE_MODELS) if SOAK else MODELS)
def test_every_provider_and_models_that_aider_does_not_know(model: str, tmp_path: Path) -> None:
    ran = right_edits(tmp_path, draw(hash_of(model), targets=4), 2, model=model)
    unknown = "never-heard-of" in model or "some/long" in model
    assert (ran.summary["usage"]["cost"] is None) == unknown
    assert ("Cost: unknown" in ran.out) == unknown
    assert ran.summary["provider"] == catalogue.resolve_model(model).provider.name


@pytest.mark.soak
@pytest.mark.parametrize("model", (MODELS if SOAK else MODELS[:1]))
def test_without_the_fork_server(model: str, tmp_path: Path) -> None:
    right_edits(tmp_path, draw(77, targets=3), 2, "--no-fork-server", model=model)


@pytest.mark.thorough
def test_a_git_that_lacks_a_command(tmp_path: Path) -> None:
    """Some distributions have fast-import in a package of its own."""
    place = make_place(tmp_path, FILES)
    less = tmp_path / "bin" / "git"
    less.parent.mkdir()
    less.write_text(
        f"""#!/bin/sh
        case " $* " in *" fast-import "*) echo "git: 'fast-import' is not a git command." >&2; exit 1;; esac
        exec {shutil.which("git")} "$@"
        """
    )
    less.chmod(0o755)
    with ModelServer(appends(HI)) as server:
        path = f"{less.parent}:{os.environ['PATH']}"
        ran = place.run(*CHANGE, "--agents", "4", "--files", *FILES, server=server, PATH=path)
    assert ran.code == 0, ran.out
    assert ran.changed() == dict.fromkeys(FILES, (1, 0))
    assert_clean(ran)


@pytest.mark.thorough
def test_the_whole_file_format(tmp_path: Path) -> None:
    """Some models that Aider knows use it, and a user may ask for it. It is read in another way than the blocks."""
    ran = right_edits(tmp_path, draw(78, targets=3), 2, "--aider-args", "--edit-format whole")
    assert ran.summary["total_iterations"] == 2


@pytest.mark.thorough
def test_more_options_for_aider(tmp_path: Path) -> None:
    """Its map of the repository leaves a cache in the tree, which is nobody's change."""
    ran = right_edits(tmp_path, draw(79, targets=2), 2, "--aider-args", "--map-tokens 1024 --chat-language 'en'")
    assert all(agent["left_out"] == [] for agent in ran.agents.values())


@pytest.mark.thorough
@pytest.mark.parametrize("words", ("--model openai/other", "--edit-format architect", "--auto-commits", "'unclosed"))
def test_options_that_aider_may_not_be_given(words: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server:
        ran = place.run(*CHANGE, "--files", "*.py", f"--aider-args={words}", server=server)
        assert server.count() == 0
    assert ran.code == 2
    assert "--aider-args" in ran.err
    assert_clean(ran)


def hash_of(text: str) -> int:
    """The same in every process, unlike hash()."""
    return sum(text.encode())


# --- requirements ---------------------------------------------------------------------------------------------------


def prd_text(*files: str, new: tuple[str, ...] = ()) -> str:
    work = [
        {"file": path, "new": path in new, "requirements": [f"R{n}"], "do": f"Do part {n}."}
        for n, path in enumerate((*files, *new), 1)
    ]
    needs = [{"id": f"R{n}", "text": f"Part {n} is there.", "acceptance": []} for n in range(1, len(work) + 1)]
    block = json.dumps({"requirements": needs, "contracts": [], "work": work}, indent=1)
    return f"# A line more\n\n## Goal\n\nMore lines.\n\n```json\n{block}\n```\n"


def test_gemini_writes_the_prd_and_decides_the_files(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    edits = {"f1.py": "x = 1\ny = 1\n", "f3.py": "x = 3\ny = 3\n", "new/one.py": "print('new')\n"}
    text = prd_text("f1.py", "f3.py", new=("new/one.py",))
    with ModelServer(gemini_prd(text, knows(edits, new=("new/one.py",)))) as server:
        ran = place.run("--change", "Add a line", server=server)
        asked = {role: server.tokens(model) for role, model in ROLES.items()}
        counts = {role: server.count(model) for role, model in ROLES.items()}
    assert ran.code == 0, ran.err
    for role, usage in ran.summary["usage"]["roles"].items():
        assert (usage["requests"], usage["input_tokens"]) == (counts[role], asked[role].input)
        assert usage["output_tokens"] == asked[role].output
    assert set(ran.summary["usage"]["roles"]) == {"agent", "prd"}
    assert tree(place) == {k: v.encode() for k, v in (FILES | edits | {ran.summary["prd_path"]: text}).items()}
    assert set(ran.changed()) == set(edits)
    assert [row["covered"] for row in ran.summary["coverage"]] == [True] * 3
    assert all(len(row["commits"]) == 1 for row in ran.summary["coverage"])
    assert_clean(ran, prd=True)


ROLES = {"agent": "gpt-6.1-sol", "prd": "gemini-flash-latest"}


@pytest.mark.thorough
def test_gemini_writes_the_prd_but_files_decides(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"docs/prd/old.md": "# Old\n"})
    with ModelServer(gemini_prd(prd_text("f0.py", "f1.py"), appends(HI))) as server:
        ran = place.run("--change", "Add a line", "--files", "f0.py", "f2.py", "--commit-prd", server=server)
    assert ran.code == 0, ran.err
    assert set(ran.changed()) == {"f0.py", "f2.py", ran.summary["prd_path"]}
    assert "Do part 1." in next(r for r in server.requests if "f0.py" in r.files).brief
    assert_clean(ran)


@pytest.mark.thorough
def test_gemini_that_cannot_be_used_ends_the_run(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: Reply("API key not valid", status=400)) as server:
        ran = place.run("--change", "Add a line", server=server)
        assert server.count() == 1
    assert ran.code == 4
    assert "Gemini" in ran.err + ran.out
    assert "API key not valid" in ran.err + ran.out
    assert ran.summary["exit_code"] == 4
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize("structured", (True, False))
def test_a_hand_written_prd(structured: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    given = tmp_path / "wish.md"
    given.write_text(prd_text("f1.py", "f2.py") if structured else "# Wish\n\nAdd a line to f1.py and `f2.py`.\n")
    with ModelServer(appends(HI)) as server:
        ran = place.run("--change", "Add a line", "--prd", str(given), server=server, GOOGLE_API_KEY="")
    assert ran.code == 0, ran.err
    assert set(ran.changed()) == {"f1.py", "f2.py"}
    assert bool(ran.summary["coverage"]) == structured
    assert ran.summary["usage"]["roles"].keys() == {"agent"}
    assert any("prose" in note for note in ran.summary["notes"]) != structured
    assert_clean(ran)


# --- what becomes of the result -------------------------------------------------------------------------------------


def side_branch(ran: Ran) -> str:
    """Named in the report and there, while the user's branch stands where it stood."""
    place, branch = ran.place, ran.summary["result"]["side_branch"]
    assert place.head() == ran.head_before
    assert not ran.summary["result"]["applied"]
    assert branch in ran.out
    assert f"git merge {branch}" in ran.out
    assert set(place.git("diff", "--name-only", "main", branch).split()) == set(ran.summary["files"])
    return str(branch)


@pytest.mark.thorough
def test_tests_that_pass_on_the_combined_tree(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    check = "test $(grep -l '# hi' *.py | wc -l) = 4 && test ! -e .aider_logs && env > $SEEN"
    with ModelServer(appends(HI)) as server:
        ran = place.run(
            *CHANGE, "--files", "*.py", "--agents", "2", "--test-cmd", check, server=server, SEEN=str(tmp_path / "env")
        )
    assert ran.code == 0, ran.err
    assert ran.summary["verified"] == "tests"
    assert "verified by the tests" in ran.out
    assert "planted" not in (tmp_path / "env").read_text()
    assert_clean(ran)


def test_tests_that_fail_keep_the_result_aside(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server:
        check = "grep -q '# hi' *.py || exit 0; echo no; exit 3"
        ran = place.run(*CHANGE, "--files", "*.py", "--agents", "2", "--test-cmd", check, server=server)
    assert ran.code == 1
    assert ran.summary["verified"] == "none"
    assert "verified by" not in ran.out
    assert [(g["name"], g["ok"], g["code"]) for g in ran.summary["gates"]] == [("tests", False, 3), ("syntax", True, 0)]
    assert (place.repo / ran.summary["gates"][0]["output"]).read_text() == "no\n"
    branch = side_branch(ran)
    assert tree(place) == {name: text.encode() for name, text in FILES.items()}
    assert_clean(ran, branches=(branch, "main"))


@pytest.mark.thorough
def test_no_apply_leaves_it_at_the_side_branch(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server:
        ran = place.run(*CHANGE, "--files", "*.py", "--agents", "2", "--no-apply", server=server)
    assert ran.code == 0, ran.err
    branch = side_branch(ran)
    assert_clean(ran, branches=(branch, "main"))
    place.git("merge", "-q", "--ff-only", branch)
    assert set(ran.changed()) == set(FILES)


@pytest.mark.thorough
def test_all_or_nothing_holds_back_the_good_part(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(all_but("f2.py", no_edits())) as server:
        ran = place.run(*CHANGE, "--files", *FILES, "--agents", "4", "--all-or-nothing", server=server)
    assert ran.code == 1
    assert sorted(ran.verdicts) == ["applied"] * 3 + ["no_change"]
    branch = side_branch(ran)
    assert set(ran.summary["files"]) == set(FILES) - {"f2.py"}
    assert_clean(ran, branches=(branch, "main"))


def all_but(path: str, otherwise: Respond) -> Respond:
    good = appends(HI)
    return lambda request: otherwise(request) if path in request.files else good(request)


# --- the user's own work --------------------------------------------------------------------------------------------


def test_a_dirty_tree_stays_as_it_is(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {"mine.txt": "one\n", "staged.txt": "one\n", "gone.txt": "one\n"})
    place.write({"mine.txt": "two\n", "staged.txt": "two\n", "untracked.txt": "new\n"})
    place.git("add", "staged.txt")
    place.write({"staged.txt": "three\n"})
    (place.repo / "gone.txt").unlink()
    for name in ("mine.txt", "staged.txt", "untracked.txt"):
        os.utime(place.repo / name, ns=(10**18, 10**18))
    kept = place.git("diff"), place.git("diff", "--cached")
    with ModelServer(appends(HI)) as server:
        ran = place.run(*CHANGE, "--files", "*.py", "--agents", "2", server=server)
    assert ran.code == 0, ran.err
    assert (place.git("diff"), place.git("diff", "--cached")) == kept
    for name in ("mine.txt", "staged.txt", "untracked.txt"):
        assert (place.repo / name).stat().st_mtime_ns == 10**18
    assert "mine.txt" in ran.err
    assert set(ran.changed()) == set(FILES)
    assert_clean(ran)


@pytest.mark.thorough
def test_the_users_uncommitted_change_in_the_way(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    place.write({"f1.py": "x = 'mine'\n"})
    with ModelServer(appends(HI)) as server:
        ran = place.run(*CHANGE, "--files", "*.py", "--agents", "2", server=server)
    assert ran.code == 1, ran.err  # every task is complete; the last step is the user's
    branch = side_branch(ran)
    assert "f1.py" in ran.summary["result"]["reason"]
    assert tree(place) == {name: text.encode() for name, text in FILES.items()} | {"f1.py": b"x = 'mine'\n"}
    assert_clean(ran, branches=(branch, "main"))


@pytest.mark.thorough
@pytest.mark.parametrize("ignored", (False, True))
def test_a_file_of_the_users_where_a_new_one_shall_be(ignored: bool, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES | {".gitignore": ""})
    given = tmp_path / "wish.md"
    given.write_text(prd_text("f1.py", new=("own.py",)))
    place.write({"own.py": "precious\n"} | ({".gitignore": "own.py\n"} if ignored else {}))
    with ModelServer(knows({"own.py": "theirs\n", "f1.py": "x = 2\n"}, new=("own.py",))) as server:
        ran = place.run("--change", "Add", "--prd", str(given), "--agents", "1", server=server)
    branch = side_branch(ran)
    assert tree(place)["own.py"] == b"precious\n"
    assert "own.py" in ran.out
    assert_clean(ran, branches=(branch, "main"))


@pytest.mark.thorough
def test_a_new_file_that_git_ignores(tmp_path: Path) -> None:
    """It could not be committed, so the work on it is not done; the others' is."""
    place = make_place(tmp_path, FILES | {".gitignore": "*.local\n"})
    given = tmp_path / "wish.md"
    given.write_text(prd_text("f1.py", new=("key.local",)))
    place.write({"key.local": "precious\n"})
    with ModelServer(knows({"key.local": "theirs\n", "f1.py": "x = 2\n"}, new=("key.local",))) as server:
        ran = place.run("--change", "Add", "--prd", str(given), "--agents", "1", server=server)
    assert tree(place)["key.local"] == b"precious\n"
    assert ran.code in (1, 2)
    assert "key.local" in ran.out + ran.err
    assert_clean(ran)


# --- nothing to do --------------------------------------------------------------------------------------------------

PACKAGE = {f"shop/{name}.py": f"{name} = 1\n" for name in ("cart", "mail", "order", "price", "stock", "tax")}
MARKED = PACKAGE | {"shop/__init__.py": "", "shop/py.typed": ""}


def test_a_folder_may_hold_files_that_need_no_change(tmp_path: Path) -> None:
    """Files that were not named may stay as they are, and a file without content has no agent of its own."""
    place = make_place(tmp_path, MARKED)
    with ModelServer(all_but("shop/tax.py", lambda _: Reply("There is nothing to do here."))) as server:
        words = ("--files", "shop", "--agents", "7", "--retries", "2")
        ran = place.run(*CHANGE, *words, server=server, CI="1")
        assert ran.code == 0, ran.out + ran.err
        assert server.count() == 6
    assert "--agents 7 makes 6 tasks: there is nothing more to divide." in ran.err
    assert set(ran.changed()) == MARKED.keys() - {"shop/tax.py"}
    (unneeded,) = [agent for agent in ran.agents.values() if agent["verdict"] == "no_change"]
    assert (unneeded["success"], unneeded["nothing_to_do"], unneeded["attempts"]) == (True, True, 1)
    assert unneeded["state"] == "complete" and ran.summary["failed_agents"] == 0
    assert ran.out.startswith("All 6 tasks are complete (1 had nothing to do); 7 files changed on main")
    assert sorted(path for agent in ran.agents.values() for path in agent["files"]) == sorted(MARKED)
    assert_clean(ran)
    junit, page = (place.run("report", form, "-o", "-").out for form in ("--junit", "--markdown"))
    assert junit.count("<skipped") == 1 and 'failures="0" errors="0"' in junit and "found nothing to change" in junit
    assert "| nothing to do |" in page


@pytest.mark.thorough
def test_a_run_that_changes_nothing_fails_once_and_is_not_paid_again(tmp_path: Path) -> None:
    place = make_place(tmp_path, MARKED)
    with ModelServer(lambda _: Reply("There is nothing to do here.")) as server:
        ran = place.run(*CHANGE, "--files", "shop", "--agents", "2", "--retries", "2", server=server)
        assert (ran.code, server.count()) == (1, 2), ran.out
        assert ran.out.startswith("Nothing was changed: all 2 tasks had nothing to do.")
        again = place.run("resume", server=server)
        assert (again.code, server.count()) == (1, 2), again.out
    assert place.head() == ran.head_before
