"""Runs that are started by a request: what it may set, and that the same request starts one run."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestra.cli.commands.resume import DECISIONS
from orchestra.conduct.loop.human import ACTIONS
from orchestra.errors import SettingsError
from orchestra.model import DECISION_ACTIONS
from orchestra.settings import flag_of, option_fields
from orchestra.settings.option import Power
from orchestra.web.envelope import ApiError
from orchestra.web.launch import (
    OPEN_POWERS,
    OWN_OPTIONS,
    Launcher,
    decision_words,
    launch_record,
    launched_words,
    option_words,
    read_decision,
)
from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.support.ci_runner import ROOT
from tests.support.load import wait_until
from tests.support.runs import make_place
from tests.test_web import OWNER, ask

SAMPLES = {bool: True, int: 1, float: 1.0, str: "x", tuple: ["x"]}


def test_options_become_words_that_no_value_can_leave() -> None:
    values = {
        "change": "--repo /elsewhere",
        "files": ["a b.py", "-v"],
        "max_agents": 3,
        "no-prd": True,
        "strict": False,
    }
    assert option_words(values, False) == [
        *("--change=--repo /elsewhere", "--files=a b.py", "--files=-v", "--max-agents=3", "--no-prd")
    ]
    assert option_words({"budget": 0.5, "plan": "my-plan_2"}, False) == ["--budget=0.5", "--plan=my-plan_2"]


def test_option_that_can_do_more_needs_allow_commands() -> None:
    """Each option of the table, so that a new one is decided about."""
    for option in option_fields():
        name = flag_of(option).removeprefix("--")
        value = option.metadata["choices"][:1] or SAMPLES[type(option.default)]
        given = {name: value[0] if isinstance(value, tuple) else value}
        if option.name in OWN_OPTIONS:
            with pytest.raises(ApiError, match="There is no option"):
                option_words(given, True)
        elif option.metadata["power"] not in OPEN_POWERS and option.name not in ("change", "plan"):
            with pytest.raises(ApiError, match="only `serve --allow-commands` accepts it") as refused:
                option_words(given, False)
            assert refused.value.status == 403
    closed = {power for power in Power if power not in OPEN_POWERS}
    assert {Power.TESTS, Power.READS, Power.RUNS, Power.SENDS, Power.WRITES, Power.CONSENTS} < closed
    assert option_words({"test-cmd": "make test"}, True) == ["--test-cmd=make test"]


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        ({"max-agent": 3}, 400, "There is no option `max-agent`: did you mean `max-agents`?"),
        ({"change": "@/etc/passwd"}, 403, "`change` reads a file"),
        ({"change": " -"}, 403, "`change` reads a file"),
        ({"plan": "../../x.toml"}, 403, "`plan` reads a file"),
        ({"no-prd": "yes"}, 400, "`no-prd` must be true or false."),
        ({"model": ["a", "b"]}, 400, "`model` must be one value."),
        ({"model": {"a": 1}}, 400, "`model` must be a text or a number."),
        ({"change": "a\0b"}, 400, "characters that no argument can have"),
        ({"change": "\ud800"}, 400, "characters that no argument can have"),
        ({"change": "x" * 200_000}, 400, "too long"),
        ({"api-key": "sk-1"}, 400, "There is no option `api-key`"),
    ],
)
def test_request_that_cannot_be_carried_out_says_why(values: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        option_words(values, False)
    assert refused.value.status == status and message in refused.value.message


def test_value_is_checked_before_anything_is_started() -> None:
    with pytest.raises(SettingsError, match="max-agents"):
        option_words({"max-agents": "many"}, False)


@pytest.fixture
def own_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    place = make_place(tmp_path, {"a.py": "a = 1\n", "b.py": "b = 2\n"})
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    opened = Repositories([str(place.repo)], "")
    yield opened
    opened.close()


def test_dry_run_answers_with_plan_and_estimate(own_repositories: Repositories) -> None:
    body = {"change": "Improve it", "files": ["a.py", "b.py"], "model": "gpt-6.1-sol", "dry_run": True}
    answer = ask(own_repositories, "POST", "/api/v1/runs", OWNER, json=body)
    assert answer.status_code == 200, answer.text
    plan = answer.json()["data"]["plan"]
    assert [task["agent"] for task in plan["tasks"]] == ["agent1", "agent2"] and plan["estimate"]["dollars"]
    refused = ask(own_repositories, "POST", "/api/v1/runs", OWNER, json=body | {"files": ["c.py"]})
    assert refused.status_code == 400 and "c.py" in refused.json()["error"]["message"]
    assert not list((own_repositories.indexes[0].logs).glob("console_*"))


def test_same_key_starts_one_program(own_repositories: Repositories) -> None:
    """The program ends at once, because its file does not exist."""
    index, keyed = own_repositories.indexes[0], OWNER | {"Idempotency-Key": "k1"}
    body = {"change": "Improve it", "files": ["missing.py"], "no-prd": True}
    first = ask(own_repositories, "POST", "/api/v1/runs", keyed, json=body)
    again = ask(own_repositories, "POST", "/api/v1/runs", keyed, json=body)
    other = ask(own_repositories, "POST", "/api/v1/runs", keyed, json=body | {"change": "Ruin it"})
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    record = first.json()["data"]
    assert again.json()["data"] == record and first.headers["location"] == f"/api/v1/launches/{record['launch']}"
    [console] = index.logs.glob("console_*.txt")
    assert console == index.root / record["console"] and console.stat().st_mode & 0o077 == 0
    assert (launched_words(console) or [])[:2] == ["run", "--change=Improve it"]
    for key in ("a b", "x" * 201):
        assert ask(own_repositories, "POST", "/api/v1/runs", OWNER | {"Idempotency-Key": key}, json=body).is_error
    assert ask(own_repositories, "POST", "/api/v1/runs", OWNER, json={"files": ["a.py"]}).status_code == 400
    assert ask(own_repositories, "GET", "/api/v1/launches/nothing", OWNER).status_code == 404
    wait_until(partial(has_output, console), what="the program has said why it ends")


def has_output(console: Path) -> bool:
    """Whether the program has printed a line below its own words."""
    return console.read_text("utf-8").count("\n") > 1


def test_launch_is_followed_until_it_ends(own_repositories: Repositories) -> None:
    index, launcher = own_repositories.indexes[0], Launcher("", False)
    started = launcher.start(index, ["run", "--change=Improve it", "--files=missing.py", "--no-prd"], "")
    assert launcher.find(started.id, []) == (index, started) and started.child is not None
    wait_until(lambda: launch_record(index, started)["state"] == "ended", what="the program ended")
    record = launch_record(index, started)
    assert (record["exit_code"], record["run"]) == (2, None) and record["output"].startswith("aider-orchestrator: ")
    with pytest.raises(ProcessLookupError):
        os.kill(started.child.pid, 0)


def test_run_is_continued_or_started_over_by_its_name(tmp_path: Path) -> None:
    """The programs end at once, because two of the options exclude each other."""
    opened = Repositories([str(corpus.unpack("killed_and_not_resumed", tmp_path / "repo"))], "")
    name, options = opened.find("latest")[1].name, {"agents": 1, "max-agents": 1}
    for command, run in (("resume", name), ("restart", None)):
        answer = ask(opened, "POST", f"/api/v1/runs/latest/{command}", OWNER, json=options)
        assert answer.status_code == 202 and answer.json()["data"]["run"] == run
        console = opened.indexes[0].root / answer.json()["data"]["console"]
        wait_until(partial(has_output, console), what="the program has ended")
        _, second = console.read_text("utf-8").splitlines()
        assert launched_words(console) == [command, name, "--agents=1", "--max-agents=1"] and "exclude" in second
    refused = ask(opened, "POST", "/api/v1/runs/latest/resume", OWNER, json={"test-cmd": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    decided = ask(opened, "POST", "/api/v1/runs/latest/tasks/1/resolve?resume=true", OWNER, json={"action": "x"})
    assert decided.status_code == 400
    opened.close()


@pytest.mark.parametrize(
    ("values", "words", "text"),
    [
        ({"action": "retry", "text": "--help"}, ["resolve", "r1", "2", "--retry=--help"], ""),
        ({"action": "retry"}, ["resolve", "r1", "2", "--retry"], ""),
        ({"action": "brief", "text": "/etc/passwd"}, ["resolve", "r1", "2", "--edit-brief=-"], "/etc/passwd"),
        ({"action": "take", "text": "x"}, ["resolve", "r1", "2", "--take"], ""),
        ({"action": "spawn_new_task", "hint": "x"}, ["resolve", "r1", "2", "--spawn=x"], ""),
    ],
)
def test_decision_becomes_words(values: dict[str, Any], words: list[str], text: str) -> None:
    assert decision_words("r1", read_decision(2, values)) == (words, text)


@pytest.mark.parametrize("values", [{}, {"action": "spawn"}, {"action": "brief", "text": 1}, {"action": "explode"}])
def test_decision_that_says_too_little_starts_nothing(values: dict[str, Any]) -> None:
    with pytest.raises(ApiError):
        read_decision(2, values)


def test_decisions_have_one_list() -> None:
    assert list(DECISION_ACTIONS) == list(ACTIONS) == [name for name, *_ in DECISIONS]
    assert [bool(metavar) for name, _, metavar, _ in DECISIONS if name != "retry"] == [
        needs_text for name, needs_text in DECISION_ACTIONS.items() if name != "retry"
    ]


def test_requests_with_one_key_at_the_same_time_start_one_program(own_repositories: Repositories) -> None:
    index, launcher = own_repositories.indexes[0], Launcher("", False)
    words = ["run", "--change=x", "--files=missing.py", "--no-prd"]
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: launcher.start(index, words, "k"), range(8)))
    assert len({launch.id for launch in started}) == 1 and len(list(index.logs.glob("console_*"))) == 1
    [child] = {launch.child for launch in started if launch.child}
    with pytest.raises(ApiError, match="another request"):
        launcher.start(index, words, "k", text="another")
    child.wait()


def test_key_of_a_start_that_failed_can_be_used_again(own_repositories: Repositories, monkeypatch: Any) -> None:
    index, launcher, words = own_repositories.indexes[0], Launcher("", False), ["run", "--change=x", "--files=no.py"]
    with monkeypatch.context() as broken, pytest.raises(OSError, match="no interpreter"):
        broken.setattr("sys.executable", "/no/interpreter")
        try:
            launcher.start(index, words, "k")
        except FileNotFoundError:
            raise OSError("no interpreter") from None
    assert list(index.logs.glob("console_*")) == [] and launcher.launches == {}
    assert launcher.start(index, words, "k").child is not None


def test_launch_is_known_to_the_next_server(own_repositories: Repositories) -> None:
    index = own_repositories.indexes[0]
    started = Launcher("", False).start(index, ["run", "--change=x", "--files=no.py", "--no-prd"], "")
    assert started.child is not None and started.child.wait() == 2
    _, found = Launcher("", False).find(started.id, [index])
    record = launch_record(index, found)
    assert (record["state"], record["launch"]) == ("unknown", started.id) and "no.py" in record["output"]
    for wrong in ("x", "../../etc/passwd", "0" * 16):
        with pytest.raises(ApiError):
            Launcher("", False).find(wrong, [index])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_program_gets_its_keys_by_a_pipe(own_repositories: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that looks is run in place of ours."""
    names = {"OPENAI_API_KEY": "sk-of-the-server-0123456789", "COMPANY": "https://me:hidden-word-1@example.org"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    script = own_repositories.indexes[0].root / "look.py"
    script.write_text(LOOK.format(root=str(ROOT), names=tuple(names)), "utf-8")
    monkeypatch.setattr("orchestra.web.launch.PROGRAM", script)
    launch = Launcher("", False).start(own_repositories.indexes[0], ["run"], "")
    assert launch.child is not None and launch.child.wait() == 0
    found = json.loads(launch.console.read_text("utf-8").splitlines()[1])
    assert found["values"] == list(names.values()) and found["launch"] == launch.id
    assert not any(value in found["environment"] for value in names.values()) and found["pipe"] is None


LOOK = """
import json, os, sys
sys.path.insert(0, {root!r})
from orchestra.cli.launch import prepare_process
environment = open("/proc/self/environ", encoding="utf-8").read()
prepare_process()
print(json.dumps(dict(environment=environment, values=[os.environ.get(name) for name in {names!r}],
      launch=os.environ["AIDER_ORCHESTRATOR_LAUNCH"], pipe=os.environ.get("AIDER_ORCHESTRATOR_KEYS_PIPE"))))
"""
