"""The command line: what it understands, what it says when it does not, and that it says so before anything is paid."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.cli.command_table import ALIASES, COMMANDS
from orchestra.cli.load import read_settings
from orchestra.cli.parser import GROUPS
from orchestra.plan.roles import known_roles
from orchestra.providers.catalogue import DEFAULT_CLAUDE_MODEL, DEFAULT_GEMINI_MODEL, DEFAULT_MODEL
from orchestra.settings import Settings, flag_of, option_fields
from tests.support.runs import PROGRAM
from tests.support.shell import Shell, parse_flags, shell

__all__ = ["shell"]
HEAVY = {"aider", "fastapi", "google", "httpx", "jinja2", "litellm", "openai", "pydantic", "rich", "sqlalchemy"}
HEAVY |= {"pygments", "starlette", "uvicorn"}
WORK = ("--change", "x", "--files", "a.py", "--no-prd")


def parsed_settings(words: list[str]) -> Settings:
    return read_settings(parse_flags(words))


# --- help -----------------------------------------------------------------------------------------------------------


def test_help_of_run_is_grouped_complete_and_short(shell: Shell) -> None:
    said = shell.run("run", "--help")
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) < 180
    for part in (*(f"{title}:" for title in GROUPS.values()), "--version"):
        assert part in said.out
    for option in option_fields():
        assert f"{flag_of(option)} " in said.out or f"{flag_of(option)}\n" in said.out
    assert shell.run("run", "-h") == said == shell.run("--change", "x", "--help")


def test_no_arguments_and_help_print_the_overview(shell: Shell) -> None:
    said = shell.run("--help")
    assert (said.code, said.err) == (0, "")
    assert all(part in said.out for part in ("examples:", "exit codes:", "change code:", "  resolve "))
    assert shell.run() == said == shell.run("-h")


@pytest.mark.parametrize("command", [*COMMANDS, *ALIASES])
def test_each_command_prints_its_help(shell: Shell, command: str) -> None:
    said = shell.run(*command.split(), "--help")
    name = "[run]" if command == "run" else ALIASES.get(command, command)
    assert said.code == 0 and said.out.startswith(f"usage: aider-orchestrator {name}")


@pytest.mark.thorough
@pytest.mark.parametrize(("words", "code"), [("runs", 0), ("--help", 0), ("--nonsense", 2)])
def test_closed_streams_are_no_bug(words: str, code: int, tmp_path: Path) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, str(PROGRAM), words]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path.parent, env=env, capture_output=True, check=False)
        assert (done.returncode, list(tmp_path.glob("*bug*"))) == (code, []), closed


@pytest.mark.thorough
def test_windows_gets_one_sentence() -> None:
    """There the modules that only Unix has cannot be imported."""
    script = (
        "import sys\nsys.platform = 'win32'\n"
        "sys.modules |= dict.fromkeys(('fcntl', 'termios', 'pwd', 'grp', 'resource', 'pty'))\n"
        "import aider_orchestrator\nsys.exit(aider_orchestrator.main(['demo']))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PROGRAM.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.endswith("run it in WSL: `wsl --install`.\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["config", "show"], ["--nonsense"]])
def test_nothing_heavy_is_imported_for_a_quick_answer(words: list[str], tmp_path: Path) -> None:
    """`--help` shall answer in less than 0.2 s of CPU: what these modules alone would take."""
    command = [sys.executable, "-X", "importtime", str(PROGRAM), *words]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "orchestra" in imported and imported & HEAVY == set()


# --- what is not understood -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--max-agnets", "3"], "unknown argument '--max-agnets'. Did you mean --max-agents?"),
        (["--modle=x"], "unknown argument '--modle=x'. Did you mean --model?"),
        (["--zzz"], "unknown argument '--zzz'. See `aider-orchestrator run --help`."),
        (["--change", "Add", "a", "line"], "unknown argument 'a'. Put quotes around a text of several words."),
        (["--change"], "argument --change: expected one argument. See `aider-orchestrator run --help`."),
        (["--change", "x", "--max-agents", "0"], "--max-agents must be at least 1, not 0."),
        (["--change", "x", "--max-agents", "-3"], "--max-agents must be at least 1, not -3."),
        (["--change", "x", "--max-agents", "x"], "--max-agents: 'x' is not a whole number."),
        (
            ["--change", "x", "--agents", "2", "--max-agents", "2"],
            "--agents and --max-agents exclude each other.",
        ),
        (["config"], "the following arguments are required: show. Usage: aider-orchestrator config show"),
    ],
)
def test_one_sentence_and_exit_code_2(shell: Shell, words: list[str], sentence: str) -> None:
    assert shell.refused(*words) == sentence


@pytest.mark.parametrize(("word", "meant"), [("dmeo", "demo"), ("model", "models"), ("runn", "run")])
def test_misspelt_command_is_corrected(shell: Shell, word: str, meant: str) -> None:
    assert shell.refused(word) == f"there is no command {word!r}. Did you mean {meant}?"


def test_unknown_command_lists_all(shell: Shell) -> None:
    names = ", ".join(name for name in COMMANDS if " " not in name)
    assert shell.refused("frobnicate") == f"there is no command 'frobnicate'. Commands: {names}."
    assert "`submit` adds tasks" in shell.refused("connect", "token")


# --- the change -----------------------------------------------------------------------------------------------------

NO_CHANGE = "Give the change with --change TEXT (or @FILE, or - for stdin)."


@pytest.mark.parametrize("words", [["--change", ""], ["--change", " \n"], ["--change", "@empty"], ["--files", "a.py"]])
def test_a_change_must_say_something(shell: Shell, words: list[str]) -> None:
    (shell.place.repo / "empty").write_bytes(b"\xef\xbb\xbf \n")
    assert shell.refused(*words) == NO_CHANGE


def test_a_change_from_a_file_and_from_stdin(shell: Shell) -> None:
    text = "Größer:\n\n- first\n- second"
    (shell.place.repo / "my change.md").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n\n")
    assert parsed_settings(["--change", "@my change.md"]).change == text
    assert parsed_settings(["--change", text]).change == text
    said = shell.fed(b"from stdin \xe2\x98\x82\n", "config", "show", "--change", "-")
    assert "change from stdin ☂" in " ".join(said.out.split())
    assert shell.fed(b"  ", "--change", "-").err == f"aider-orchestrator: {NO_CHANGE}\n"


def test_a_change_that_cannot_be_read(shell: Shell) -> None:
    (shell.place.repo / "latin").write_bytes(b"caf\xe9")
    assert shell.refused("--change", "@gone") == "--change @gone: No such file or directory."
    assert shell.refused("--change", "@src") == "--change @src: Is a directory."
    assert shell.refused("--change", "@latin") == "--change @latin: it is not UTF-8."
    assert shell.refused("--change", "caf\udce9") == "--change: 'caf\\udce9' is not UTF-8."
    said = shell.fed(b"caf\xe9", "--change", "-")
    assert (said.code, said.err) == (2, "aider-orchestrator: --change -: it is not UTF-8.\n")


# --- the seed's examples --------------------------------------------------------------------------------------------

OTP = "Add user-password reset flow with email OTP"


def test_the_seeds_examples(shell: Shell) -> None:
    settings = parsed_settings(["--change", OTP, "--max-agents", "4"])
    assert (settings.change, settings.max_agents) == (OTP, 4)
    assert parsed_settings(["--change", OTP, "--claude"]).claude
    settings = parsed_settings(
        [
            *("--change", OTP, "--max-agents", "4", "--model", "gpt-4o", "--gemini-model", "gemini-1.5-pro"),
            *("--files", "path/to/file1.py", "path/to/file2.py", "--max-iterations", "15"),
        ]
    )
    assert (settings.model, settings.gemini_model, settings.max_iterations) == ("gpt-4o", "gemini-1.5-pro", 15)
    assert settings.files == ("path/to/file1.py", "path/to/file2.py")
    assert parsed_settings(["--change", OTP, "--api-key", "k"]).api_key == "k"


# --- models and keys ------------------------------------------------------------------------------------------------


def test_without_a_google_key_all_three_ways_out_are_named(shell: Shell) -> None:
    sentence = shell.refused("--change", "x", OPENAI_API_KEY="sk-1234567890")
    assert all(way in sentence for way in ("GOOGLE_API_KEY", "--api-key", "--prd FILE", "--no-prd"))
    assert shell.refused("--change", "x", "--files", "a.py") == sentence


def test_no_prd_needs_files(shell: Shell) -> None:
    sentence = "--no-prd needs the files to change: give --files."
    assert shell.refused("--change", "x", "--no-prd") == sentence


def test_a_prd_that_is_not_there(shell: Shell) -> None:
    for name in ("gone.md", "src", "n" * 300):
        assert shell.refused("--change", "x", "--prd", name) == f"--prd {name}: there is no such file."
    assert shell.refused("--change", "x", "--prd", "a.py", "--no-prd") == "--prd and --no-prd exclude each other."


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("", "openai/gpt-6.1-sol needs OPENAI_API_KEY in the environment or .env, or a base URL in OPENAI_API_BASE."),
        ("opus", "anthropic/claude-opus-5-5 needs ANTHROPIC_API_KEY in the environment or .env, or a base URL in "),
        ("xai/grok-9", "xai/grok-9 needs XAI_API_KEY in the environment or .env, or a base URL in XAI_API_BASE."),
        ("gemini/gemini-x", "gemini/gemini-x needs GOOGLE_API_KEY or GEMINI_API_KEY in the environment or .env, or "),
        ("mystery", "no provider is known for the model 'mystery': write PROVIDER/NAME with one of openai, "),
        ("mystery/m", "no provider is known for the model 'mystery/m': write PROVIDER/NAME with one of openai, "),
        ("gpt-4", "openai/gpt-4 retired on 2026-10-23, use openai/gpt-6.1-sol."),
        ("gpt-3.5-turbo", "openai/gpt-3.5-turbo retired on 2026-10-23, use openai/gpt-6-luna."),
        ("gemini/gemini-1.5-pro", "gemini/gemini-1.5-pro retired on 2025-09-29, use gemini/gemini-flash-latest."),
        ("claude-3-haiku-20240307", "anthropic/claude-3-haiku-20240307 retired on 2026-04-20, use anthropic/claude-ha"),
    ],
)
def test_a_model_that_cannot_be_used(shell: Shell, model: str, sentence: str) -> None:
    assert shell.refused(*WORK, "--model", model).startswith(sentence)


def test_what_claude_stands_for_may_be_retired_too(shell: Shell) -> None:
    sentence = shell.refused(*WORK, "--claude", DEFAULT_CLAUDE_MODEL="claude-3-opus-20240229")
    assert sentence == "anthropic/claude-3-opus-20240229 retired on 2026-01-05, use anthropic/claude-opus-5-5."


@pytest.mark.parametrize("model", ["gemini-1.5-pro", "models/gemini-1.5-pro", "gemini/gemini-1.5-pro"])
def test_a_retired_model_for_the_prd(shell: Shell, model: str) -> None:
    words = ("--change", "x", "--gemini-model", model)
    sentence = "gemini/gemini-1.5-pro retired on 2025-09-29, use gemini/gemini-flash-latest (--gemini-model)."
    assert shell.refused(*words, GOOGLE_API_KEY="AIza-123456") == sentence
    assert "OPENAI_API_KEY" in shell.refused(*words, GOOGLE_API_KEY="AIza-123456", GEMINI_API_BASE="http://mine")


def test_a_server_of_ones_own_may_still_serve_a_retired_model(shell: Shell) -> None:
    said = shell.run(*WORK, "--dry-run", "--model", "gpt-4", OPENAI_API_BASE="http://mine/v1")
    assert said.code == 0 and "openai/gpt-4" in said.out


# --- .env -----------------------------------------------------------------------------------------------------------


def test_both_env_files_are_read_in_their_order(shell: Shell) -> None:
    (shell.place.repo / ".env").write_text("\ufeffexport DEFAULT_AIDER_MODEL='from repository'\nEMPTY=\n", "utf-8")
    (shell.script / ".env").write_text("DEFAULT_AIDER_MODEL=from-script\nAIDER_MAX_ITERATIONS=7 # as ever\n", "utf-8")
    out = shell.run("config", "show").out
    assert "from repository" in row(out, "model") and "repository .env DEFAULT_AIDER_MODEL" in row(out, "model")
    assert "script .env AIDER_MAX_ITERATIONS" in row(out, "max-iterations")
    shell.patch.chdir(shell.place.repo / "src")
    assert shell.run("config", "show").out == out
    shell.patch.chdir(shell.script)
    assert "from-script" in row(shell.run("config", "show").out, "model")
    assert "from repository" in row(shell.run("config", "show", "--repo", str(shell.place.repo)).out, "model")
    assert "from repository" in row(shell.run("config", "show", ORCHESTRA_REPO=str(shell.place.repo)).out, "model")


def test_committed_env_file_is_ignored_with_a_note(shell: Shell) -> None:
    shell.place.write({".env": "OPENAI_API_KEY=sk-bait-123456\nORCHESTRA_MODLE=x\n"})
    shell.place.commit()
    said = shell.run("config", "show")
    assert said.code == 0 and "OPENAI_API_KEY" not in said.out
    assert said.err == "note: .env is committed, so anyone may have written it; it is not read.\n"


def test_an_env_file_that_cannot_be_read(shell: Shell) -> None:
    shell.place.write({".env": b"OPENAI_API_KEY=caf\xe9\n"})
    assert shell.refused(*WORK) == f"{shell.place.repo}/.env cannot be read: it is not UTF-8."


# --- the settings file ----------------------------------------------------------------------------------------------


def test_the_settings_file_or_else_the_table_in_pyproject(shell: Shell) -> None:
    shell.place.write(
        {"pyproject.toml": '[project]\nname = "x"\n[tool.aider-orchestrator]\nmodel = "from pyproject"\n'}
    )
    assert "[tool.aider-orchestrator] in pyproject.toml" in row(shell.run("config", "show").out, "model")
    shell.place.write({"aider-orchestrator.toml": 'test-cmd = "make test"\nfiles = ["src", "a b.py"]\n'})
    out = shell.run("config", "show").out
    assert row(out, "model").split() == ["model", DEFAULT_MODEL, "default"]
    assert "aider-orchestrator.toml" in row(out, "test-cmd") and "src 'a b.py'" in row(out, "files")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("aider-orchestrator.toml", "modle = 1", "unknown setting 'modle' in aider-orchestrator.toml: did you mean "),
        ("aider-orchestrator.toml", "[run]\nmodel='x'", "unknown setting 'run' in aider-orchestrator.toml: "),
        ("aider-orchestrator.toml", "model =", "aider-orchestrator.toml cannot be read: Invalid value (at end of "),
        ("aider-orchestrator.toml", b"model='caf\xe9'", "aider-orchestrator.toml cannot be read: it is not UTF-8."),
        (
            "pyproject.toml",
            "[tool]\naider-orchestrator=3",
            "[tool.aider-orchestrator] in pyproject.toml is not a table.",
        ),
        ("pyproject.toml", "tool=3", "[tool.aider-orchestrator] in pyproject.toml is not a table."),
        (
            "pyproject.toml",
            "[tool.aider-orchestrator]\nagent=3",
            "unknown setting 'agent' in [tool.aider-orchestrator] in pyproject.toml: did you mean 'agents'?",
        ),
    ],
)
def test_a_settings_file_that_is_wrong(shell: Shell, name: str, text: str | bytes, sentence: str) -> None:
    shell.place.write({name: text})
    assert shell.refused(*WORK).startswith(sentence)


def test_a_broken_pyproject_that_says_nothing_of_us(shell: Shell) -> None:
    shell.place.write({"pyproject.toml": "[tool.black\nline-length = 100\n"})
    assert shell.run("config", "show").code == 0


def test_a_pyproject_that_says_nothing_of_us(shell: Shell) -> None:
    shell.place.write({"pyproject.toml": "[tool.black]\nline-length = 100\n"})
    assert "OPENAI_API_KEY" in shell.refused(*WORK)


# --- config show ----------------------------------------------------------------------------------------------------


def row(out: str, name: str) -> str:
    return next(line for line in out.splitlines() if line.startswith(name + " "))


def test_config_show_gives_every_setting_with_its_source(shell: Shell) -> None:
    said = shell.run("config", "show", "--model", "m", AIDER_MAX_ITERATIONS="3")
    assert (said.code, said.err) == (0, "")
    assert row(said.out, "model").split() == ["model", "m", "flag"]
    assert row(said.out, "max-iterations").split() == ["max-iterations", "3", "environment", "AIDER_MAX_ITERATIONS"]
    assert row(said.out, "gate-timeout").split() == ["gate-timeout", "1800", "default"]
    assert len(said.out.splitlines()) == len(option_fields()) + len(known_roles({}))


def test_config_show_shows_no_key(shell: Shell) -> None:
    from orchestra.providers import catalogue

    names = [name for provider in catalogue.PROVIDERS.values() for name in provider.key_vars]
    keys = {name: f"secret-{number:02}-of-{name.lower()}" for number, name in enumerate(names)}
    shell.place.write(
        {
            ".env": "OPENAI_API_KEY=a-weaker-secret-key\nDEEPSEEK_API_KEY=short\n",
            "aider-orchestrator.toml": 'api-key = "secret-in-the-toml"\n'
            f'setup-cmd = "curl -H {keys["XAI_API_KEY"]} https://me:pass@host"\nrepo = "https://token@host/x"\n',
        }
    )
    said = shell.run("config", "show", **keys)
    for secret in (*keys.values(), "a-weaker-secret-key", "secret-in-the-toml", "me:pass", "token@"):
        assert secret not in said.out + said.err
    assert row(said.out, "OPENAI_API_KEY").split() == [
        "OPENAI_API_KEY",
        f"…{keys['OPENAI_API_KEY'][-2:]}",
        "environment",
    ]
    del keys["DEEPSEEK_API_KEY"], keys["GOOGLE_API_KEY"], keys["GEMINI_API_KEY"]
    out = shell.run("config", "show", **keys).out
    assert row(out, "DEEPSEEK_API_KEY").split() == ["DEEPSEEK_API_KEY", "…", "repository", ".env"]
    assert row(out, "api-key").split() == ["api-key", "…ml", "aider-orchestrator.toml"]


def test_config_show_tells_that_an_address_does_not_count(shell: Shell) -> None:
    shell.place.write({".env": "OPENAI_API_BASE=http://elsewhere/v1\n"})
    address = row(shell.run("config", "show", OPENAI_API_KEY="sk-1234567890").out, "OPENAI_API_BASE")
    assert address.split(maxsplit=2)[1:] == [
        "http://elsewhere/v1",
        "repository .env (not used: the key is from elsewhere)",
    ]
    assert row(shell.run("config", "show").out, "OPENAI_API_BASE").endswith("repository .env")


def test_the_list_of_models(shell: Shell) -> None:
    said = shell.run("models", "CLAUDE-opus")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[1].split()[:4] == ["anthropic/claude-opus-5-5", "4.00", "20.00", "1000000"]
    assert "default with --claude" in lines[1]
    assert all("claude-opus" in line for line in lines[1:])
    said = shell.run("models", "nosuch")
    assert (said.code, said.out) == (1, "")
    sentence = "no model of the catalogue has 'nosuch' in its name. `models` lists all of them."
    assert said.err == f"aider-orchestrator: {sentence}\n"


def test_config_shows_what_a_run_would_use(shell: Shell) -> None:
    out = shell.run("config", "show", "--max-tokens", "2000000", "--retries", "0", "--task-budget", "0.5").out
    shown = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert (shown["max-tokens"], shown["retries"], shown["task-budget"]) == ("2000000", "0", "0.5")
    assert (shown["agent-timeout"], shown["agents"]) == ("1800", "-")
    assert shown["model"] == DEFAULT_MODEL and shown["gemini-model"] == DEFAULT_GEMINI_MODEL
    claude = shell.run("config", "show", "--claude").out
    assert row(claude, "model").split()[1] == DEFAULT_CLAUDE_MODEL
