"""Any command as an agent: what it is given, what is taken of it, and what is refused before anything is paid."""

from pathlib import Path

import pytest

from tests.support.load import wait_until
from tests.support.modelserver import ModelServer, Reply, Usage
from tests.support.runs import Place, Ran, assert_clean, make_place

FILES = {"app.py": "def f():\n    return 1\n", "old.txt": "old\n", "run.sh": "echo hi\n"}
MODEL = "openai/gpt-5.4"
ASK = (
    'curl -sS -o "$TMPDIR/reply" -H "authorization: Bearer $OPENAI_API_KEY" -H "content-type: application/json"'
    ' "$OPENAI_BASE_URL/chat/completions" -d "{\\"model\\": \\"$AGENT_MODEL\\", \\"messages\\":'
    ' [{\\"role\\": \\"user\\", \\"content\\": \\"hi\\"}]}"'
)
EDIT = "sed -i 's/return 1/return 2/' app.py"


def run_command(place: Place, command: str, *words: str, server: ModelServer, **env: str) -> Ran:
    given = ("--change", "Return 2", "--no-prd", "--agents", "1", "--files", "app.py", "--model", MODEL)
    env = {"AIDER_BIN": "/nowhere/aider"} | env  # Aider is not looked for if no task is Aider's
    return place.run(*given, "--agent-kind", "exec", "--agent-cmd", command, *words, server=server, cwd=None, **env)


def answers(reply: Reply) -> ModelServer:
    return ModelServer(lambda request: reply)


GOOD = Reply("Done.", usage=Usage(100, 20))


def test_command_works_like_an_agent_and_its_deletions_and_modes_are_taken(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    checks = 'test "$(cat)" = "$(cat {brief})" && grep -q "Return 2" {brief} && cd {worktree}'
    with answers(GOOD) as server:
        ran = run_command(place, f"{checks} && {ASK} && {EDIT} && rm old.txt && chmod +x run.sh", server=server)
        [request] = server.requests
    assert (ran.code, ran.verdicts) == (0, ["applied"]), ran.out + ran.err
    assert request.model == "gpt-5.4" and request.headers["authorization"].startswith("Bearer sk-planted")
    assert place.git("ls-tree", "--name-only", "HEAD").split() == ["app.py", "run.sh"]
    assert place.git("ls-tree", "HEAD", "run.sh").startswith("100755")
    assert "return 2" in place.git("show", "HEAD:app.py")
    assert "Co-authored-by: exec (openai/gpt-5.4)" in place.git("log", "-1", "--format=%B")
    usage = ran.summary["usage"]
    assert (usage["requests"], usage["input_tokens"], usage["output_tokens"]) == (1, 100, 20)
    assert_clean(ran)


def test_work_of_a_command_that_asked_no_model_is_kept_as_a_patch(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with answers(GOOD) as server:
        ran = run_command(place, EDIT, server=server)
        assert server.count() == 0
    assert (ran.code, ran.verdicts) == (1, ["crashed"]) and ran.changed() == {}
    assert "asked openai/gpt-5.4 nothing through this run's gateway" in ran.agents["agent1"]["cause"]
    assert "return 2" in (place.repo / ran.agents["agent1"]["patch"]).read_text()
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("reply", "command", "verdict", "cause"),
    [
        (Reply("bad key", status=401), f"{ASK} && grep -q Done $TMPDIR/reply", "auth", "answered 401"),
        (GOOD, f"{ASK} && {EDIT} && echo out of wits && exit 3", "crashed", "exit code 3: out of wits"),
        (GOOD, f"{ASK} && {EDIT} && kill -9 $$", "crashed", "exit code 137"),
        (GOOD, f"{ASK}", "no_change", "changed nothing"),
    ],
)
def test_command_that_fails_gets_the_true_verdict(
    tmp_path: Path, reply: Reply, command: str, verdict: str, cause: str
) -> None:
    place = make_place(tmp_path, FILES)
    with answers(reply) as server:
        ran = run_command(place, command, server=server)
    assert ran.verdicts == [verdict] and cause in ran.agents["agent1"]["cause"], ran.out
    assert ran.changed() == {} and ran.code == (4 if verdict == "auth" else 1)


REFUSED = {
    "a provider that it cannot ask": (
        ("--agent-kind", "codex", "--model", "anthropic/claude-sonnet-5-5"),
        "Codex cannot ask anthropic/claude-sonnet-5-5. Choose a --model of openai, or another --agent-kind.",
    ),
    "a provider that Claude cannot ask": (
        ("--agent-kind", "claude", "--model", MODEL),
        "Claude Code cannot ask openai/gpt-5.4.",
    ),
    "no command": (
        ("--agent-kind", "exec", "--model", MODEL),
        "An agent of kind exec needs a command. Give --agent-cmd",
    ),
    "a command and no kind": (
        ("--agent-cmd", "true", "--model", MODEL),
        "--agent-cmd is not used: no task has an agent of kind exec. Add --agent-kind exec, or leave --agent-cmd out.",
    ),
    "no program": (
        ("--agent-kind", "codex", "--model", MODEL),
        "Codex is not installed: there is no command codex. Install it (npm install -g @openai/codex)",
    ),
    "no such kind": (("--agent-kind", "cursor", "--model", MODEL), "--agent-kind must be aider, claude, codex or exec"),
}


@pytest.mark.parametrize(("words", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_asked(
    tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    place = make_place(tmp_path, FILES)
    with answers(GOOD) as server:
        ran = place.run(
            "--change", "Return 2", "--no-prd", "--files", "app.py", *words, server=server, PATH="/usr/bin:/bin"
        )
        assert ran.code == 2 and sentence in ran.err.replace("\n", " "), ran.err
        assert server.count() == 0 and not server.questions


def test_committed_plan_may_not_choose_another_program_as_an_agent(tmp_path: Path) -> None:
    plan = 'goal = "Return 2"\n\n[[task]]\nid = "a"\ntitle = "A"\nfiles = ["app.py"]\nkind = "exec"\n'
    place = make_place(tmp_path, FILES | {"plan.toml": plan})
    with answers(GOOD) as server:
        ran = place.run("--plan", "plan.toml", "--model", MODEL, "--agent-cmd", f"{ASK} && {EDIT}", server=server)
        assert ran.code == 2 and "came with the repository, and names exec" in ran.err, ran.err
        assert server.count() == 0
        place.git("rm", "-q", "--cached", "plan.toml")
        place.git("commit", "-q", "-m", "Not tracked")
        ran = place.run("--plan", "plan.toml", "--model", MODEL, "--agent-cmd", f"{ASK} && {EDIT}", server=server)
        assert (ran.code, ran.verdicts) == (0, ["applied"]), ran.out + ran.err


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_a_command_puts_in_the_place_of_its_output_is_not_followed(tmp_path: Path, kind: str) -> None:
    """The program reads the output outside of the sandbox, and adds to it."""
    place = make_place(tmp_path, FILES)
    profile, diary = place.home / ".profile", place.home / ".diary"
    profile.write_text("# mine\n")
    diary.write_text("dear diary\n")
    swaps = {
        "link": (f"ln -s {profile} agent.out", ":"),
        "pipe": ("mkfifo agent.out", f"rm brief.md.err; ln -s {diary} brief.md.err"),
    }
    swap, then = swaps[kind]
    command = f'{ASK}; cd "$(dirname "$AGENT_BRIEF")"; echo "curl evil" >&2; rm agent.out; {swap}; {then}; exit 3'
    with answers(GOOD) as server:
        ran = run_command(place, command, server=server)
    assert (ran.code, ran.verdicts) == (1, ["crashed"]) and profile.read_text() == "# mine\n", ran.out + ran.err
    assert not [path for path in ran.logs.rglob("*") if path.is_file() and b"dear diary" in path.read_bytes()]
    assert_clean(ran)


FOLDERS = FILES | {"sub/x.py": "a = 1\r\nb = 2\r\n", "sub/y.txt": "why\n"}


def test_nothing_is_read_or_written_through_a_link_in_the_place_of_a_folder(tmp_path: Path) -> None:
    place = make_place(tmp_path, FOLDERS)
    outside = place.home / "sub"
    outside.mkdir()
    (outside / "x.py").write_bytes(b"secret\nlines\n")
    with answers(GOOD) as server:
        ran = run_command(place, f"{ASK}; {EDIT}; rm -r sub; ln -s {outside} sub", server=server)
    assert (ran.code, ran.verdicts) == (0, ["applied"]), ran.out + ran.err
    assert (outside / "x.py").read_bytes() == b"secret\nlines\n" and list(ran.changed()) == ["app.py"]
    assert set(ran.agents["agent1"]["left_out"]) == {"sub", "sub/x.py", "sub/y.txt"}
    assert_clean(ran)


@pytest.mark.parametrize(
    ("swap", "paths"),
    [
        ("rm -r sub; echo hi > sub", ["app.py", "sub", "sub/x.py", "sub/y.txt"]),
        ("rm app.py; mkdir app.py; echo x=1 > app.py/x.py", ["app.py", "app.py/x.py"]),
    ],
)
def test_file_may_become_a_folder_and_a_folder_a_file(tmp_path: Path, swap: str, paths: list[str]) -> None:
    place = make_place(tmp_path, FOLDERS)
    with answers(GOOD) as server:
        ran = run_command(place, f"{ASK}; {EDIT}; {swap}", server=server)
    assert (ran.code, ran.verdicts, sorted(ran.changed())) == (0, ["applied"], paths), ran.out + ran.err
    assert_clean(ran)


def test_git_settings_that_a_command_writes_into_a_submodule_are_not_obeyed(tmp_path: Path) -> None:
    """Git runs such a program outside of the sandbox, when it is asked whether the submodule has changed."""
    place, touched = make_place(tmp_path, FILES), tmp_path / "touched"
    head = place.git("rev-parse", "HEAD").strip()
    place.git("update-index", "--add", "--cacheinfo", f"160000,{head},lib")
    (place.repo / "lib").mkdir()
    place.git("commit", "-q", "-m", "A submodule")
    clone = f"git init -q lib && cd lib && git fetch -q .. HEAD && git reset -q --hard {head}"
    with answers(GOOD) as server:
        hook = f"git config core.fsmonitor 'touch {touched}; false'; echo more >> app.py"
        ran = run_command(place, f"{ASK} && {EDIT} && {clone} && {hook}", server=server)
    assert (ran.code, ran.verdicts) == (0, ["applied"]), ran.out + ran.err
    assert not touched.exists() and list(ran.changed()) == ["app.py"]


@pytest.mark.thorough
def test_command_that_asks_beyond_its_limit_keeps_its_work_as_a_patch(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with answers(GOOD) as server:
        ran = run_command(place, f"{ASK}; {EDIT}; {ASK}; {ASK}; {ASK}", "--max-iterations", "2", server=server)
        assert server.count() == 2
    assert (ran.code, ran.verdicts) == (1, ["iterations"]) and ran.changed() == {}, ran.out + ran.err
    assert "return 2" in (place.repo / ran.agents["agent1"]["patch"]).read_text()
    assert_clean(ran)


@pytest.mark.thorough
def test_command_whose_provider_goes_away_is_told_so(tmp_path: Path) -> None:
    """It can be reached before the run, and refuses connections in the middle of it."""
    place, asked = make_place(tmp_path, FILES), tmp_path / "asked"
    command = f"{ASK} && {EDIT} && while [ -e {asked} ]; do sleep 0.1; done; {ASK}"
    asked.touch()
    with answers(GOOD) as server:
        given = ("--change", "Return 2", "--no-prd", "--agents", "1", "--files", "app.py", "--model", MODEL)
        running = place.start(
            *(*given, "--agent-kind", "exec", "--agent-cmd", command, "--agent-timeout", "15"), server=server
        )
        wait_until(lambda: server.count() == 1, "the first request is there")
        wait_until(lambda: list((place.repo / ".aider_logs").glob("agent1_*")), "the reply is written down")
    asked.unlink()
    ran = running.end()
    assert (ran.code, ran.verdicts) == (4, ["unreachable"]), ran.out + ran.err
    assert "return 2" in (place.repo / ran.agents["agent1"]["patch"]).read_text()
    assert_clean(ran)
