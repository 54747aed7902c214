"""The seat with the real Aider 0.86.2: what we rely on in it, that it is hermetic, and that nothing stays behind."""

import asyncio
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestra.agents.base import AgentOutcome
from orchestra.agents.seat import (
    KNOWN_AIDERS,
    PROGRAM,
    AgentJob,
    AgentProcesses,
    ForkServer,
    SingleProcesses,
    find_aider_python,
    make_agent_processes,
    read_outcome_file,
)
from orchestra.errors import AiderMissing
from orchestra.gateway.billing import ClientPass
from orchestra.gateway.lane import Limits
from orchestra.gateway.recording import FILE_LIST
from orchestra.providers import catalogue
from tests.support.edits import appends, malformed, search_replace
from tests.support.load import NEVER, holds_soon, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.processes import all_gone, gone
from tests.support.seating import FILES, MODELS, door, make_job, plant, sit

ROOT = Path(__file__).parents[1]
Make = Callable[[Path], AgentProcesses]
BOTH = [
    pytest.param(lambda folder: ForkServer(sys.executable, folder), id="fork"),
    pytest.param(lambda folder: SingleProcesses(sys.executable, folder), id="single"),
]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the module, so that its tests can share a warm server."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def warm(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    fork = ForkServer(sys.executable, tmp_path_factory.mktemp("server"))
    runner.run(fork.ready())
    yield fork
    runner.run(fork.close())


def attend(
    runner: asyncio.Runner,
    seats: AgentProcesses,
    tree: Path,
    respond: Callable[[Request], Reply],
    *more: str,
    **how: Any,
) -> tuple[AgentOutcome, list[Request]]:
    """One attempt, and what the model was asked."""

    async def attempt(server: ModelServer) -> AgentOutcome:
        async with door(server) as (gateway, _):
            return (await sit(seats, gateway, tree, *more, **how))[0]

    with ModelServer(respond) as server:
        return runner.run(attempt(server)), server.requests


def listing(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if ".git" not in path.parts}


# --- what of Aider we rely on ---------------------------------------------------------------------------------------


def the_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("aider_seat", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Where, what, and its parameters as they are called or replaced.
CONTRACT = {
    "aider.main": {
        "main": "argv input output force_git_root return_coder",
        "get_parser": "default_config_files git_root",
        "generate_search_path_list": "default_file git_root command_line_file",
        "load_dotenv_files": "git_root dotenv_fname encoding",
        "setup_git": "git_root io",
        "check_and_load_imports": "io is_first_run verbose",
    },
    "aider.coders.base_coder:Coder": {
        "run": "self with_message preproc",
        "send": "self messages model functions",
        "get_edits": "self mode",
        "check_for_file_mentions": "self content",
        "summarize_start": "self",
        "format_chat_chunks": "self",
        "get_platform_info": "self",
        "get_user_language": "self",
    },
    "aider.coders.editblock_coder:EditBlockCoder": {"get_edits": "self"},
    "aider.coders.wholefile_coder:WholeFileCoder": {"get_edits": "self mode"},
    "aider.coders.udiff_coder:UnifiedDiffCoder": {"get_edits": "self"},
    "aider.coders.patch_coder:PatchCoder": {"get_edits": "self"},
    "aider.coders.editblock_coder": {"strip_filename": "filename fence"},
    "aider.repo:GitRepo": {"path_in_repo": "self path"},
    "git.repo.base": {"expand_path": "p expand_vars"},
}


def test_files_are_shown_as_recordings_expect_it() -> None:
    from aider.coders import base_prompts, chat_chunks, editblock_prompts, wholefile_prompts

    for prompts in (base_prompts.CoderPrompts, editblock_prompts.EditBlockPrompts, wholefile_prompts.WholeFilePrompts):
        assert prompts.files_content_prefix.startswith(FILE_LIST)
    names = ("system", "examples", "readonly_files", "repo", "done", "chat_files", "cur", "reminder")
    assert chat_chunks.ChatChunks(**{name: [name] for name in names}).all_messages() == list(names)


@pytest.mark.parametrize("place", CONTRACT)
def test_what_is_replaced_inside_aider_is_there_and_takes_what_we_think(place: str) -> None:
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    owner = getattr(owner, name) if name else owner
    found = {each: " ".join(inspect.signature(getattr(owner, each)).parameters) for each in CONTRACT[place]}
    assert found == CONTRACT[place]


def test_aider_is_the_one_version_that_this_is_known_of() -> None:
    import aider

    assert aider.__version__ == the_program().KNOWN[0] == KNOWN_AIDERS["aider-chat"] == "0.86.2"
    assert tuple(KNOWN_AIDERS.values()) == the_program().KNOWN


def test_aider_calls_what_is_replaced_by_these_names_and_stops_after_three_reflections() -> None:
    import aider.main
    from aider.coders.base_coder import Coder

    source = inspect.getsource(aider.main.main)
    for name in ("get_parser", "load_dotenv_files", "setup_git", "check_and_load_imports", "register_models"):
        assert f"{name}(" in source
    for function in (aider.main.register_models, aider.main.register_litellm_models):
        assert "generate_search_path_list(" in inspect.getsource(function)
    sent = inspect.getsource(Coder.send_message)
    assert "self.send(" in sent and "self.check_for_file_mentions(" in sent
    assert "self.get_edits()" in inspect.getsource(Coder.apply_updates)
    assert Coder.max_reflections == 3


def test_only_known_options_of_aider_name_a_file_in_the_repository() -> None:
    from aider.args import get_parser

    defaults = vars(get_parser([], "/root").parse_args([]))
    found = {name for name, value in defaults.items() if isinstance(value, str) and (".aider" in value or "/" in value)}
    ours = {"aiderignore", "model_settings_file", "model_metadata_file"}
    flags = {"chat_history_file", "input_history_file"}
    assert found == ours | flags | {"env_file"}


def test_the_models_settings_take_every_field_that_the_catalogue_gives() -> None:
    from aider.models import MODEL_SETTINGS, ModelSettings

    for model in catalogue.list_models():
        entry = catalogue.settings_entry(model, model.aider_name, 100)
        assert ModelSettings(**entry).name == entry["name"]
    assert isinstance(MODEL_SETTINGS, list)


@pytest.mark.thorough
def test_litellm_reads_no_env_file_because_aider_says_production_first(tmp_path: Path) -> None:
    script = "import dotenv; dotenv.load_dotenv = lambda *a, **k: 1 / 0\nimport aider.main, litellm"
    env = {name: value for name, value in os.environ.items() if name != "LITELLM_MODE"}
    subprocess.run([sys.executable, "-c", script], env=env, cwd=tmp_path, check=True)


# --- the same job, the same outcome ---------------------------------------------------------------------------------


def scripted(request: Request) -> Reply:
    if "refuse" in request.brief:
        return Reply("no such key", status=401)
    if "cut" in request.brief:
        return Reply("a long answ", finish="length")
    return malformed()(request) if "garble" in request.text else appends("# done")(request)


WAYS = {
    "accept": ("Accept this.", (), "accepted"),
    "reject": ("Please garble this.", (), "rejected"),
    "refuse": ("Please refuse this.", (), "no_reply"),
    "cut": ("Please cut this.", (), "exhausted"),
    "crash": ("Crash.", ("--no-such-option",), "crashed"),
}


@pytest.mark.thorough
def test_a_forked_and_a_single_aider_send_the_same_bytes_and_end_the_same(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    single = SingleProcesses(sys.executable, tmp_path / "check")
    # At a price of the user's own no cache marks are set, which depend on what was sent before.
    prices = {MODELS["openai"]: catalogue.with_prices(catalogue.resolve_model(MODELS["openai"]), 2, 10)}

    async def all_ways(seats: AgentProcesses, server: ModelServer, where: str) -> dict[str, AgentOutcome]:
        async with door(server, limits=Limits(prices=dict(prices))) as (gateway, _):
            work = []
            for way, (message, more, _) in WAYS.items():
                tree = plant(tmp_path / where / way / "tree")
                work.append(sit(seats, gateway, tree, *more, message=message, reads=("b.py",)))
            ended = await asyncio.gather(*work)
        return {way: outcome for way, (outcome, _) in zip(WAYS, ended, strict=True)}

    def bodies(server: ModelServer) -> list[str]:
        return sorted(json.dumps(request.body) for request in server.requests)

    with ModelServer(scripted) as one, ModelServer(scripted) as other:
        forked = runner.run(all_ways(warm, one, "forked"))
        alone = runner.run(all_ways(single, other, "alone in $HOME's ~ [ü]"))
    assert {way: outcome.end for way, outcome in forked.items()} == {way: end for way, (*_, end) in WAYS.items()}
    assert forked == alone
    assert bodies(one) == bodies(other)
    assert (forked["accept"].edited, forked["accept"].replies) == (("a.py",), 1)
    assert forked["reject"].replies == 4 and "SEARCH" in forked["reject"].complaint
    assert forked["crash"].failure == "SystemExit: 2"
    for way in WAYS:
        trees = [tmp_path / where / way / "tree" for where in ("forked", "alone in $HOME's ~ [ü]")]
        assert trees[0].joinpath("a.py").read_text() == trees[1].joinpath("a.py").read_text()


def test_prompts_do_not_depend_on_the_place_or_the_order_of_the_files(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    files = {f"{name}.py": f"{name} = 1\n" for name in "qwertyuiop"}
    chat, along = tuple(files)[:5], tuple(files)[5:]
    said = []
    for place, turn in (("near", 1), ("far/away/and deep", -1)):
        tree = plant(tmp_path / place / "tree", files)
        _, requests = attend(runner, warm, tree, appends("# hi"), files=chat[::turn], reads=along[::turn])
        said.append([json.dumps(request.body) for request in requests])
        assert len(requests) == 1 and set(requests[0].files) == set(chat) and set(requests[0].read_only) == set(along)
    assert said[0] == said[1]


@pytest.mark.thorough(but="openai")
@pytest.mark.parametrize("dialect", MODELS)
def test_each_dialect_is_spoken_and_the_reply_applied(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str
) -> None:
    tree = plant(tmp_path / "tree")
    outcome, requests = attend(runner, warm, tree, appends("# hi"), model=MODELS[dialect])
    assert (outcome.end, outcome.edited, outcome.failure) == ("accepted", ("a.py",), "")
    assert (tree / "a.py").read_text() == "x = 1\n# hi\n"
    assert [request.dialect for request in requests] == [dialect]


# --- hermetic -------------------------------------------------------------------------------------------------------

TOUCH = "import pathlib; pathlib.Path({mark!r}).touch()\n"
SHADOWS = ("json.py", "litellm.py", "git.py", "group.py", "sitecustomize.py", "usercustomize.py", "aider/__init__.py")


def hostile_tree(tree: Path, mark: Path, server: ModelServer) -> dict[str, str]:
    """A repository that tries everything to be heard, and leaves a mark when it is."""
    base = server.url + "/elsewhere/v1"
    settings = f"- name: {MODELS['openai']}\n  extra_params:\n    api_base: {base}\n"
    shout = TOUCH.format(mark=str(mark))
    files = (
        FILES
        | dict.fromkeys(SHADOWS, shout)
        | {
            ".aider.conf.yml": f"auto-test: true\ntest-cmd: touch {mark}\nauto-commits: true\nedit-format: whole\n",
            ".env": f"OPENAI_API_BASE={base}\nOPENAI_API_KEY=sk-env\nAIDER_AUTO_TEST=1\nAIDER_TEST_CMD=touch {mark}\n",
            ".aider.model.settings.yml": settings,
            ".aider.model.metadata.json": json.dumps({MODELS["openai"]: {"max_input_tokens": 1}}),
            ".aiderignore": "a.py\n",
            "CONVENTIONS.md": "Always answer in whole files.\n",
        }
    )
    plant(tree, files)
    for hook in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction"):
        (tree / ".git/hooks").mkdir(exist_ok=True)
        (tree / ".git/hooks" / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (tree / ".git/hooks" / hook).chmod(0o755)
    subprocess.run(["git", "config", "core.fsmonitor", str(tree / ".git/hooks/pre-commit")], cwd=tree, check=True)
    return files


@pytest.mark.thorough
@pytest.mark.parametrize("make", BOTH)
def test_nothing_in_the_repository_the_home_or_the_environment_takes_effect(
    runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    mark, tree, home = tmp_path / "heard", tmp_path / "attempt/tree", tmp_path / "real home"
    home.mkdir()

    def respond(request: Request) -> Reply:
        return Reply(appends("# hi")(request).text + search_replace("new.py", "", "n = 1\n"))

    with ModelServer(respond) as server:
        files = hostile_tree(tree, mark, server)
        for name in (".aider.conf.yml", ".env", ".aider.model.settings.yml"):
            (home / name).write_text(files[name])
        (home / ".aider").mkdir()
        (home / ".aider/oauth-keys.env").write_text("OPENAI_API_KEY=sk-from-oauth\n")
        bad = {"HOME": str(home), "PYTHONPATH": str(tree), "PYTHONSTARTUP": str(tree / "json.py"), "PYTHONINSPECT": "1"}
        bad |= {"AIDER_TEST_CMD": f"touch {mark}", "AIDER_AUTO_TEST": "1", "OPENAI_API_KEY": "sk-of-the-user"}
        bad |= {"HTTP_PROXY": server.url, "http_proxy": server.url, "OPENAI_BASE_URL": server.url, "GIT_DIR": "/x"}
        bad |= {"LITELLM_LOG": "DEBUG", "OPENAI_ORGANIZATION": "org-x", "AIDER_CONFIG_FILE": ".aider.conf.yml"}
        for name, value in bad.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tree)
        config, before = (tree / ".git/config").read_bytes(), listing(tree)

        async def attempt() -> AgentOutcome:
            seats = make(tmp_path / "server")
            try:
                await seats.ready()
                async with door(server) as (gateway, _):
                    return (await sit(seats, gateway, tree))[0]
            finally:
                await seats.close()

        outcome = runner.run(attempt())
    assert (outcome.end, outcome.edited, outcome.failure) == ("accepted", ("a.py", "new.py"), "")
    assert [request.path for request in server.requests] == ["/v1/chat/completions"]
    assert server.requests[0].asks == "diff" and "openai-organization" not in server.requests[0].headers
    assert not mark.exists()
    assert (tree / "a.py").read_text() == "x = 1\n# hi\n"
    assert listing(tree) == before | {"new.py"}
    assert (tree / ".git/config").read_bytes() == config
    log = subprocess.run(["git", "log", "--oneline"], cwd=tree, env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert len(log.stdout.splitlines()) == 1


def test_an_agent_sees_no_key_and_no_home_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from orchestra.agents.seat import agent_environment

    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "DB_PASSWORD", "HARMLESS_LOOKING", "PYTHONPATH", "GIT_DIR"):
        monkeypatch.setenv(name, "secret-value")
    env = agent_environment(tmp_path)
    assert "secret-value" not in env.values()
    assert {env[name] for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")} == {str(tmp_path)}
    assert env["PYTHONHASHSEED"] == "0"


@pytest.mark.thorough(but="!touch")
@pytest.mark.parametrize(
    "message", ["/exit", "!touch made", "/run touch made", "/add b.py", "/web http://127.0.0.1:9/"]
)
def test_a_brief_is_never_a_command(runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, message: str) -> None:
    tree = plant(tmp_path / "tree")
    outcome, requests = attend(runner, warm, tree, appends("# hi"), message=message)
    assert outcome.end == "accepted"
    assert [request.brief for request in requests] == [message]
    assert listing(tree) == set(FILES)


def test_a_reply_that_names_another_file_or_a_shell_command_is_only_what_it_says(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    def chatty(request: Request) -> Reply:
        return Reply(
            f"See b.py and http://127.0.0.1:9/ too.\n{appends('# hi')(request).text}\n```bash\ntouch made\n```\n"
        )

    tree = plant(tmp_path / "tree")
    outcome, requests = attend(runner, warm, tree, chatty)
    assert (outcome.end, len(requests)) == ("accepted", 1)
    assert ((tree / "a.py").read_text(), (tree / "b.py").read_text()) == ("x = 1\n# hi\n", FILES["b.py"])
    assert listing(tree) == set(FILES)


def test_paths_outside_the_worktree_are_refused_before_they_are_touched(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    tree, outside = tmp_path / "attempt/tree", tmp_path / "outside"
    outside.mkdir()
    (outside / "there.py").write_text("z = 3\n")
    plant(tree)
    (tree / "link").symlink_to(outside)
    (tree / "linked.py").symlink_to(outside / "there.py")
    bad = [
        "../new.py",
        "../../new.py",
        str(outside / "new.py"),
        "link/new.py",
        "linked.py",
        ".git/hooks/x",
        ".GIT/config",
    ]

    def strays(request: Request) -> Reply:
        return Reply("\n".join([*(search_replace(path, "", "bad\n") for path in bad), appends("# hi")(request).text]))

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent != tree.parent}
    outcome, requests = attend(runner, warm, tree, strays)
    assert (outcome.end, outcome.edited, len(requests)) == ("accepted", ("a.py",), 1)
    assert sorted(outcome.refused) == sorted(bad)
    after = {path: path.read_bytes() for path in before}
    assert [path for path in before if after[path] != before[path]] == [tree / "a.py"]
    assert not list(tmp_path.rglob("new.py")) and not (tree / ".GIT").exists()


def test_new_files_are_made_and_not_staged(runner: asyncio.Runner, warm: ForkServer, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree")
    outcome, _ = attend(runner, warm, tree, lambda request: Reply(search_replace("sub/new.py", "", "n = 1\n")))
    status = subprocess.run(["git", "status", "--short"], cwd=tree, capture_output=True, text=True).stdout
    assert (outcome.edited, status) == (("sub/new.py",), "?? sub/\n")


def test_a_file_may_be_called_what_aider_takes_for_ornament(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    files = {name: f"{number}\n" for number, name in enumerate(("# y", "y", "b ", "b", "**z**", "...", "`t`.py", "c:"))}
    tree = plant(tmp_path / "tree", files)
    outcome, requests = attend(runner, warm, tree, appends("hi"), files=tuple(files))
    assert (outcome.end, len(requests), set(outcome.edited)) == ("accepted", 1, set(files))
    assert {name: (tree / name).read_text() for name in files} == {name: f"{text}hi\n" for name, text in files.items()}


def test_a_new_file_is_not_taken_for_a_neighbour_with_a_similar_name(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    files = {"tests/test_a.py": "a = 1\n", "pkg/one/__init__.py": "one = 1\n", "a.py": "a = 1\n"}
    new = {"tests/test_b.py": "b = 2\n", "pkg/two/__init__.py": "two = 2\n", "other/a.py": "other = 1\n"}
    tree = plant(tmp_path / "tree", files)
    said = "\n".join(search_replace(name, "", text) for name, text in new.items())
    outcome, _ = attend(runner, warm, tree, lambda request: Reply(said), files=tuple(files))
    assert set(outcome.edited) == set(new)
    assert {name: (tree / name).read_text() for name in files | new} == files | new


@pytest.mark.thorough(but="Just words")
@pytest.mark.parametrize(
    "edit", [search_replace("a.py", "x = 1\n", "x = 2\n"), "a.py\n```\nx = 2\n```\n", "Just words."]
)
def test_asked_agent_changes_nothing(runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, edit: str) -> None:
    tree = plant(tmp_path / "tree")
    # Whatever the user's own options say: the last one counts.
    modes = ("--edit-format", "whole", "--chat-mode", "ask")
    outcome, asked = attend(runner, warm, tree, lambda request: Reply(edit), *modes)
    assert (outcome.end, outcome.edited, len(asked)) == ("accepted", (), 1)
    assert (tree / "a.py").read_text() == FILES["a.py"]


@pytest.mark.thorough(but="diff-files0")
@pytest.mark.parametrize("files", [("a.py",), ("a.py", "b.py")])
@pytest.mark.parametrize("way", ["whole", "diff", "udiff", "diff-fenced", "patch"])
def test_a_block_of_proposals_is_no_edit(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, way: str, files: tuple[str, ...]
) -> None:
    tree = plant(tmp_path / "tree")
    said = 'It belongs with `a.py`.\n\n```json\n{"propose": [{"title": "More"}]}\n```\n'
    outcome, _ = attend(runner, warm, tree, lambda request: Reply(said), "--edit-format", way, files=files)
    assert (outcome.end, outcome.edited) == ("accepted", ())
    assert {name: (tree / name).read_text() for name in FILES} == FILES


def test_a_long_half_rejected_reply_is_not_summarised_for_money(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    def half(request: Request) -> Reply:
        wrong = search_replace("a.py", "not there\n", "new\n")
        return Reply("word " * 12_000 + appends("# hi")(request).text + "\n" + wrong)

    outcome, requests = attend(runner, warm, plant(tmp_path / "tree"), half)
    assert outcome.end == "rejected"
    assert [request.asks for request in requests] == ["diff"] * 4


# --- ending ---------------------------------------------------------------------------------------------------------


def stalled(request: Request) -> Reply:
    return Reply("late", latency=NEVER)


def living_in(folder: Path) -> list[int]:
    """The processes whose working directory lies in this folder."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            inside = Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
        except OSError:
            continue
        if inside and not gone(pid):
            found.append(pid)
    return found


def family(group: int) -> list[int]:
    """Everybody in a process group."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if not gone(pid) and group_of(pid) == group]


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def test_the_server_has_one_thread_when_it_forks(warm: ForkServer) -> None:
    assert warm.is_serving and warm.server is not None
    assert len(os.listdir(f"/proc/{warm.server.pid}/task")) == 1


async def seated(seats: ForkServer, server: ModelServer, job: AgentJob) -> tuple["asyncio.Task[AgentOutcome]", int]:
    """A job that is waiting for its model, and its Aider's pid."""
    asked = server.count()
    task = asyncio.create_task(seats.run(job))
    assert await asyncio.to_thread(holds_soon, lambda: server.count() > asked)
    return task, seats.pids[job.id].result()


def test_stopping_an_attempt_ends_its_whole_group_even_one_that_ignores_term(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    tree = plant(tmp_path / "attempt/tree")
    deaf = tree.parent / "deaf.sh"
    deaf.write_text(f"trap '' TERM\necho $$ > {tmp_path}/deaf.pid\nsleep 3600\n")

    async def stop(server: ModelServer) -> int:
        async with door(server) as (gateway, _):
            ticket = gateway.add_client(ClientPass("agent", 1, 1))
            job = make_job(gateway, ticket, tree, "--auto-test", "--test-cmd", f"sh {deaf}")
            task = asyncio.create_task(warm.run(job))
            assert await asyncio.to_thread(holds_soon, lambda: (tmp_path / "deaf.pid").exists())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return warm.pids[job.id].result()

    with ModelServer(appends("# hi")) as server:
        leader = runner.run(stop(server))
    assert all_gone([leader, *family(leader), int((tmp_path / "deaf.pid").read_text())])


def test_an_aider_that_does_not_hear_term_is_killed(runner: asyncio.Runner, warm: ForkServer, tmp_path: Path) -> None:
    async def stop(server: ModelServer) -> int:
        async with door(server) as (gateway, _):
            job = make_job(gateway, gateway.add_client(ClientPass("agent", 1, 1)), plant(tmp_path / "attempt/tree"))
            task, pid = await seated(warm, server, job)
            os.kill(pid, signal.SIGSTOP)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return pid

    with ModelServer(stalled) as server:
        assert gone(runner.run(stop(server)))


@pytest.mark.thorough(but="fork")
@pytest.mark.parametrize("kind", ["fork", "single"])
def test_killed_aider_is_reported_as_killed(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, kind: str
) -> None:
    seats = warm if kind == "fork" else SingleProcesses(sys.executable, tmp_path)

    async def kill(server: ModelServer) -> AgentOutcome:
        async with door(server) as (gateway, _):
            tree = plant(tmp_path / "attempt/tree")
            task = asyncio.create_task(
                seats.run(make_job(gateway, gateway.add_client(ClientPass("agent", 1, 1)), tree))
            )
            assert await asyncio.to_thread(holds_soon, server.count)
            for pid in living_in(tree):
                if b"guard.py" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            return await task

    with ModelServer(stalled) as server:
        outcome = runner.run(kill(server))
    assert (outcome.end, outcome.code) == ("crashed", -9)
    assert outcome.failure == "Aider ended without an outcome (killed by SIGKILL)"


@pytest.mark.thorough
def test_when_the_server_is_killed_its_aiders_end_as_crashed_and_the_next_is_seated_alone(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    async def lose(server: ModelServer) -> tuple[AgentOutcome, int, AgentOutcome]:
        fork = ForkServer(sys.executable, tmp_path / "server")
        async with door(server) as (gateway, _):
            await fork.ready()
            job = make_job(
                gateway, gateway.add_client(ClientPass("agent", 1, 1)), plant(tmp_path / "1/tree"), message="stall"
            )
            task, pid = await seated(fork, server, job)
            assert fork.server is not None
            os.kill(fork.server.pid, signal.SIGKILL)
            first = await asyncio.wait_for(task, within())
            second, _ = await sit(fork, gateway, plant(tmp_path / "2/tree"))
            await fork.close()
        return first, pid, second

    with ModelServer(
        lambda request: stalled(request) if "stall" in request.brief else appends("# hi")(request)
    ) as server:
        first, pid, second = runner.run(lose(server))
    assert (first.end, first.code) == ("crashed", -9) and holds_soon(lambda: gone(pid))
    assert (second.end, (tmp_path / "2/tree/a.py").read_text()) == ("accepted", "x = 1\n# hi\n")


ORCHESTRATOR = """
import asyncio, sys
from pathlib import Path
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.billing import ClientPass, Upstream
from orchestra.agents.seat import ForkServer, SingleProcesses
from tests.support.seating import Listener, make_job, plant

async def main(kind, folder, base):
    gateway = Gateway({"openai": Upstream("openai", "openai", base, "k")}, Listener())
    await gateway.start()
    seats = {"fork": ForkServer, "single": SingleProcesses}[kind](sys.executable, folder / "server")
    await seats.run(make_job(gateway, gateway.add_client(ClientPass("agent", 1, 1)), plant(folder / "attempt/tree")))

asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
"""


@pytest.mark.thorough(but="fork-asked")
@pytest.mark.parametrize(("kind", "when"), [("fork", "asked"), ("single", "asked"), ("fork", "warming up")])
def test_no_process_outlives_a_killed_run(tmp_path: Path, kind: str, when: str) -> None:
    with ModelServer(stalled) as server:
        words = [sys.executable, "-c", ORCHESTRATOR, kind, str(tmp_path), server.openai_base]
        parent = subprocess.Popen(words, cwd=ROOT)
        assert holds_soon(server.count if when == "asked" else lambda: living_in(tmp_path / "server"))
        assert living_in(tmp_path)
        parent.kill()
        parent.wait()
        assert holds_soon(lambda: not living_in(tmp_path))


# --- which Python ---------------------------------------------------------------------------------------------------


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_interpreter_is_read_from_the_command_that_is_named(tmp_path: Path) -> None:
    python, spaced = Path(sys.executable), tmp_path / "with space/python3"
    spaced.parent.mkdir()
    spaced.symlink_to(python)
    ways = {
        "plain": (f"#!{python}\n", str(python)),
        "long": (f"#!/bin/sh\n'''exec' \"{spaced}\" \"$0\" \"$@\"\n' '''\n", str(spaced)),
        "env": ("#!/usr/bin/env python3\n", "python3"),
    }
    for name, (text, expected) in ways.items():
        found = find_aider_python({"AIDER_BIN": str(program(tmp_path / name, text)), "PATH": os.environ["PATH"]})
        assert found == expected or Path(found).name == expected
    assert find_aider_python({"AIDER_BIN": sys.executable}) == sys.executable
    assert find_aider_python({}) == sys.executable
    for bad in (str(tmp_path / "nothing"), str(program(tmp_path / "shell", "#!/bin/sh\necho\n"))):
        with pytest.raises(AiderMissing) as caught:
            find_aider_python({"AIDER_BIN": bad, "PATH": ""})
        assert Path(bad).name in str(caught.value) and caught.value.exit_code == 2


WRONG = {
    "none": ('exec {python} -S "$@"', "cannot run aider: ModuleNotFoundError: No module named 'aider'."),
    "old": ('PYTHONPATH={old} exec {python} "$@"', "aider-chat 0.80.0 is installed, and 0.86.2 is needed."),
}


@pytest.mark.thorough(but="old-ForkSeats")
@pytest.mark.parametrize("make", [ForkServer, SingleProcesses])
@pytest.mark.parametrize("which", WRONG)
def test_a_python_without_the_right_aider_is_one_sentence(
    runner: asyncio.Runner, tmp_path: Path, make: type[ForkServer] | type[SingleProcesses], which: str
) -> None:
    script, sentence = WRONG[which]
    (tmp_path / "old/aider").mkdir(parents=True)
    (tmp_path / "old/aider/__init__.py").write_text("__version__ = '0.80.0'\n")
    text = "#!/bin/sh\n" + script.format(python=sys.executable, old=tmp_path / "old") + "\n"
    seats = make(str(program(tmp_path / "python", text)), tmp_path / "server")
    for _ in range(2):
        with pytest.raises(AiderMissing, match="python cannot run aider") as caught:
            runner.run(asyncio.wait_for(seats.ready(), within()))
        assert sentence in str(caught.value) and caught.value.exit_code == 2
    runner.run(seats.close())


@pytest.mark.parametrize("make", [ForkServer, SingleProcesses])
def test_unstartable_python_is_reported_each_time(
    runner: asyncio.Runner, tmp_path: Path, make: type[ForkServer] | type[SingleProcesses]
) -> None:
    broken = program(tmp_path / "python", "")
    broken.write_bytes(b"\0\1\2")
    seats = make(str(broken), tmp_path / "server")
    for _ in range(2):
        with pytest.raises(AiderMissing, match="cannot be started"):
            runner.run(asyncio.wait_for(seats.ready(), within()))
    runner.run(seats.close())


def test_the_tables_that_are_read_quickly_are_read_right() -> None:
    """In a process of its own: what is replaced there stays replaced."""
    told = """
import importlib.resources, json5, sys, yaml
sys.path.insert(0, sys.argv[1])
import aider_seat
tables = importlib.resources.files("aider.resources")
models, settings = (tables.joinpath(f"model-{name}").read_text("utf-8") for name in ("metadata.json", "settings.yml"))
odd = "{a: 1, /* JSON5 */ 'b': .5}"
slow = [json5.loads(models), yaml.safe_load(settings), json5.loads(odd)]
aider_seat.speed_up_import()
assert slow == [json5.loads(models), yaml.safe_load(settings), json5.loads(odd)], "they differ"
assert len(slow[0]) > 30 and len(slow[1]) > 100
"""
    subprocess.run([sys.executable, "-c", told, str(PROGRAM.parent)], check=True, timeout=within())


@pytest.mark.thorough
@pytest.mark.parametrize("dialect", MODELS)
def test_a_child_has_next_to_nothing_to_import(runner: asyncio.Runner, tmp_path: Path, dialect: str) -> None:
    """What is imported before the fork is paid once. A child says what it still has to import in its output."""
    text = f'#!/bin/sh\nPYTHONPROFILEIMPORTTIME=1 exec {sys.executable} "$@"\n'
    tree = plant(tmp_path / "tree")
    fork = ForkServer(str(program(tmp_path / "python", text)), tmp_path / "server")
    outcome, _ = attend(runner, fork, tree, appends("# hi"), model=MODELS[dialect])
    runner.run(fork.close())
    assert outcome.end == "accepted"
    said = next(tmp_path.rglob("agent.out")).read_text()
    imported = [line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")]
    assert 0 < len(imported) < 10, imported


@pytest.mark.thorough
def test_where_forking_is_not_safe_each_aider_is_seated_alone(runner: asyncio.Runner, tmp_path: Path) -> None:
    threaded = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    program(tmp_path / "lib/sitecustomize.py", threaded)
    text = f'#!/bin/sh\nPYTHONPATH={tmp_path}/lib exec {sys.executable} "$@"\n'
    fork = ForkServer(str(program(tmp_path / "python", text)), tmp_path / "server")
    runner.run(asyncio.wait_for(fork.ready(), within()))
    assert not fork.is_serving
    assert "2 threads after warming up: forking is not safe" in (tmp_path / "server/server.out").read_text()
    runner.run(fork.close())


def test_which_seats_there_are(tmp_path: Path) -> None:
    assert isinstance(make_agent_processes("python", tmp_path, fork=False), SingleProcesses)
    assert isinstance(
        make_agent_processes("python", tmp_path, fork=True), ForkServer if sys.platform == "linux" else SingleProcesses
    )


def test_every_exit_code_is_reported(tmp_path: Path) -> None:
    job = AgentJob("1", tmp_path, tmp_path, (), "", {})
    said = [read_outcome_file(job.outcome_file, code).failure.rsplit("(")[1] for code in (3, -15, -34, -127)]
    assert said == ["exit code 3)", "killed by SIGTERM)", "killed by SIGRTMIN)", "killed by signal 127)"]
