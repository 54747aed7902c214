"""doctor: a line for each thing that a run needs, true ones, with a remedy and never with a key."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leaks import leaks
from tests.support.load import within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import KEYS, PROGRAM, Place, make_place
from tests.support.shell import Shell, shell

__all__ = ["shell"]
NAMES = {
    "git",
    "aider",
    "python",
    "disk",
    "memory",
    "repository",
    "logs",
    "store",
    "models",
    "keys",
    "proxies",
    "sandbox",
}


def examined(shell: Shell, *words: str, **env: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    said = shell.run("doctor", "--json", *words, **env)
    record = json.loads(said.out)
    assert record["ok"] == (said.code == 0) and said.err == ""
    found: dict[str, list[dict[str, str]]] = {}
    for finding in record["findings"]:
        assert finding.keys() == {"name", "level", "text", "remedy"}
        assert (finding["level"] != "error") or finding["remedy"], finding
        found.setdefault(finding["name"], []).append(finding)
    return said.code, found


def worst(found: dict[str, list[dict[str, str]]], name: str) -> tuple[str, str]:
    order = ["ok", "warning", "error"]
    finding = max(found[name], key=lambda each: order.index(each["level"]))
    return finding["level"], finding["text"]


def test_all_is_well(shell: Shell) -> None:
    code, found = examined(shell, **KEYS)
    assert code == 0 and found.keys() >= NAMES
    assert {name: worst(found, name)[0] for name in NAMES - {"disk", "memory"}} == dict.fromkeys(
        NAMES - {"disk", "memory"}, "ok"
    )
    assert worst(found, "aider")[1].startswith("aider-chat 0.86.2")
    for each, name in zip(found["keys"], ("openai", "anthropic", "gemini"), strict=True):
        assert each["text"].startswith(f"{name}: a key from the environment")


def test_lines_for_people_hold_no_key(shell: Shell) -> None:
    said = shell.run("doctor", **KEYS)
    assert said.code == 0 and all(line.startswith(("ok ", "warning ", "error ")) for line in said.out.splitlines())
    assert leaks(shell.place, said.out, said.err) == []


def test_missing_keys(shell: Shell) -> None:
    code, found = examined(shell)
    assert (code, *worst(found, "keys")) == (2, "error", "openai: no key for openai/gpt-6.1-sol")
    code, found = examined(shell, OPENAI_API_KEY=KEYS["OPENAI_API_KEY"])
    assert (code, *worst(found, "keys")) == (0, "warning", "gemini: no key for writing the PRD")
    code, found = examined(shell, "--no-prd", "--model", "ollama/llama9")
    assert code == 0 and worst(found, "models") == (
        "warning",
        "no price is known for ollama/llama9: its cost is unknown",
    )


def test_a_retired_model(shell: Shell) -> None:
    code, found = examined(shell, "--model", "anthropic/claude-3-opus-20240229", **KEYS)
    assert code == 2 and worst(found, "models")[0] == "error" and "2026-01-05" in worst(found, "models")[1]
    code, found = examined(shell, "--gemini-model", "gemini-1.5-pro", **KEYS)
    assert code == 2 and "gemini-1.5-pro retired" in worst(found, "models")[1]


def test_the_repositorys_state(shell: Shell) -> None:
    place = shell.place
    place.write({"a.py": "changed\n"})
    assert "uncommitted changes" in worst(examined(shell, **KEYS)[1], "repository")[1]
    place.git("checkout", "-q", "--detach")
    texts = [each["text"] for each in examined(shell, **KEYS)[1]["repository"]]
    assert any("detached" in text for text in texts) and any("uncommitted" in text for text in texts)
    assert examined(shell, "--repo", str(place.tmp), **KEYS)[0] == 2


def test_what_cannot_be_used(shell: Shell, tmp_path: Path) -> None:
    code, found = examined(shell, AIDER_BIN="/nonexistent/aider", **KEYS)
    assert code == 2 and worst(found, "aider")[0] == "error"
    code, found = examined(shell, "--store", "sqlite:////nonexistent/x.db", **KEYS)
    assert code == 0 and "will be made" in worst(found, "store")[1]
    code, found = examined(shell, "--store", "postgresql://ada:tr0ub4dor@127.0.0.1:9/x", **KEYS)
    assert code == 2 and "tr0ub4dor" not in str(found)
    code, found = examined(shell, OPENAI_API_BASE="http://ada:hunter22@127.0.0.1:9/v1", **KEYS)
    assert code == 2 and "cannot be reached" in worst(found, "addresses")[1] and "hunter22" not in str(found)
    code, found = examined(shell, OPENAI_API_BASE="no address", **KEYS)
    assert code == 2 and "is not a server's address" in worst(found, "addresses")[1]


def test_another_aider(shell: Shell, tmp_path: Path) -> None:
    """An interpreter that has none, as most have."""
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    code, found = examined(shell, AIDER_BIN=str(bare), **KEYS)
    assert code == 2 and worst(found, "aider")[0] == "error"


def test_online_asks_each_provider_that_has_a_key_for_one_word(shell: Shell) -> None:
    def respond(request: Request) -> Reply:
        if request.dialect == "anthropic":
            return Reply(f"bad key {request.headers['x-api-key']}", status=401)
        return (
            Reply("ok") if request.dialect == "openai" else Reply("slow down", status=429, headers={"retry-after": "5"})
        )

    with ModelServer(respond) as server:
        bases = {"OPENAI_API_BASE": server.openai_base, "ANTHROPIC_API_BASE": server.anthropic_base}
        code, found = examined(shell, "--online", GEMINI_API_BASE=server.gemini_base, **bases, **KEYS)
        assert [(r.dialect, r.model) for r in server.requests] == [
            ("openai", "gpt-6.1-sol"), ("anthropic", "claude-haiku-5-5"), ("gemini", "gemini-flash-latest")
        ]  # fmt: skip
    assert code == 2
    assert worst(found, "openai online") == ("ok", "openai/gpt-6.1-sol answers")
    assert worst(found, "gemini online")[0] == "warning"
    level, text = worst(found, "anthropic online")
    assert level == "error" and "auth (401)" in text and KEYS["ANTHROPIC_API_KEY"] not in text


# --- --fix ----------------------------------------------------------------------------------------------------------


def fixed(place: Place, *answers: str, **env: str) -> tuple[int, str]:
    """At a terminal, where somebody types."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(PROGRAM), "doctor", "--fix"]
    variables = {name: value for name, value in place.environment().items() if name not in KEYS} | env
    child = subprocess.Popen(
        command, cwd=place.repo, env=variables, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown, left = b"", list(answers)
    try:
        while piece := os.read(ours, 4096):
            shown += piece
            while left and shown.count(b"(Enter for none): ") > len(answers) - len(left):
                os.write(ours, left.pop(0).encode() + b"\n")
    except OSError:
        pass
    os.close(ours)
    return child.wait(within()), shown.decode("utf-8", "replace")


def test_fix_writes_what_was_typed_where_only_the_user_reads_it(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    file = place.repo / ".env"
    key = "sk-typed-0123456789abcdef"
    code, shown = fixed(place, key, "", "")
    assert code == 0, shown
    assert key not in shown, "no echo"
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"\nOPENAI_API_KEY={key}\n" in file.read_text() and "\n# ANTHROPIC_API_KEY=\n" in file.read_text()
    assert place.status() == [], "git ignores it"
    before = file.read_text()
    code, shown = fixed(place, "sk-ant-typed-0123456789", "")
    assert file.read_text() == before.replace("# ANTHROPIC_API_KEY=\n", "ANTHROPIC_API_KEY=sk-ant-typed-0123456789\n")


def test_fix_leaves_alone_what_it_must_not_touch(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    without = place.run("doctor", "--fix")
    assert without.code == 2 and "no terminal" in without.err and not (place.repo / ".env").exists()
    code, shown = fixed(place, CI="true")
    assert code == 2 and "no terminal" in shown
    code, shown = fixed(place, "a key with spaces")
    assert code == 2 and "nothing was written" in shown and not (place.repo / ".env").exists()
    place.write({".env": "MINE=1\n"})
    place.git("add", "-f", ".env")
    place.commit()
    code, shown = fixed(place, "x")
    assert code == 2 and "is committed" in shown and (place.repo / ".env").read_text() == "MINE=1\n"


@pytest.mark.parametrize(("version", "level"), [("0.171.0", "ok"), ("0.99.1", "warning"), ("", "ok")])
def test_program_of_another_kind_of_agent(shell: Shell, tmp_path: Path, version: str, level: str) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "codex").write_text(f'#!/bin/sh\necho "codex-cli {version}"\n')
    (folder / "codex").chmod(0o755)
    _, found = examined(shell, ORCHESTRA_AGENT_KIND="codex", PATH=f"{folder}:/usr/bin:/bin", **KEYS)
    assert worst(found, "agents")[0] == level and (version or "unknown version") in worst(found, "agents")[1]


def test_chosen_agent_is_not_installed(shell: Shell) -> None:
    code, found = examined(shell, ORCHESTRA_AGENT_KIND="claude", PATH="/usr/bin:/bin", **KEYS)
    assert code == 2 and worst(found, "agents")[:2] == ("error", "Claude Code is not installed")
