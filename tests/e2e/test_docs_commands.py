"""Every command of the README and the docs runs as it is written, or the test that runs it elsewhere is named here.

A command is run in a repository of its section's own, with a scripted model. Indented blocks that are no commands are
named with the reason.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from orchestra.journal import jsonl
from tests.e2e.test_docs import shims
from tests.e2e.test_main_job import prd_text
from tests.support.ci_runner import bash
from tests.support.docs import HOW_TO, NO_COMMANDS, PAGES, ROOT, commands_of, fenced, is_command, sections
from tests.support.edits import Respond, appends, gemini_prd
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, make_place
from tests.support.shell import Shell, shell

__all__ = ["shell"]
pytestmark = pytest.mark.thorough

FILES = {
    **{f"src/{name}.py": f"{name} = 1\n" for name in "abc"},
    **{"src/auth/login.py": "login = 1\n", "src/db/tables.py": "tables = 1\n"},
    **{"tests/auth/test_login.py": "def test_login():\n    pass\n", "README.md": "A shop\n"},
    **{
        "AGENTS.md": "Write short names.\n",
        ".gitignore": "*.tape\n*.patch\n.env.test\nnode_modules\n.venv\n.aider_logs\n",
    },
}
PRD = prd_text("src/a.py", "src/b.py")
TASKS = {"docs": ("Tell users of it", "src/c.py"), "use": ("Use it", "src/a.py"), "rest": ("The rest", "src/b.py")}
RUN = 'aider-orchestrator "Say hi" --files src/a.py src/b.py --agents 2 --no-prd'
# Both tasks fail and wait for a person.
WAITING = f"touch ../helpless; {RUN} --ask always || test $? = 5; rm ../helpless"
PLAN = "\n".join(
    f'[[task]]\nid = "t{n}"\nbrief = "Say hi in src/{name}.py"\nfiles = ["src/{name}.py"]\n'
    for n, name in enumerate("abc")
)


[WHO] = [block for found in sections(HOW_TO).values() for block in found if block.startswith("{")]


@dataclass(frozen=True)
class Section:
    """How the commands below a heading are run. `first` is shell code that is run once, `before` before each of them.

    `codes` are exit codes that are not 0, `instead` what stands for an address or a name of the text, and `elsewhere`
    the tests that run a command; each by a part of the command.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    first: str = ""
    before: str = ""
    codes: Mapping[str, int] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


STEERING = "tests/e2e/test_steering.py"
LIVE = "tests/e2e/test_live_changes.py::test_run_is_changed_while_it_goes_on"
SERVER = "tests/e2e/test_web_server.py::test_server_answers_by_https_and_gives_a_viewer_no_command"
SHARDS = "tests/e2e/test_shards.py::test_shards_in_clones_are_combined_to_the_same_tree_as_one_run"
CLUSTER = "tests/e2e/test_cluster.py::test_the_result_is_that_of_one_machine"
SLURM = "tests/e2e/test_cluster.py::test_slurm_script_of_the_docs"
AGENTS = "tests/e2e/test_agents.py::test_two_parallel_tasks_are_merged_and_counted_to_the_token"
EXEC = "tests/e2e/test_exec_agent.py::test_command_works_like_an_agent_and_its_deletions_and_modes_are_taken"
CANCELLED = f"{STEERING}::test_cancel_from_another_terminal_ends_every_process_and_the_run_can_be_resumed"
UNDONE = "tests/e2e/test_docs.py::test_run_is_undone_by_its_last_lines"
PLANNED = "tests/e2e/test_plans.py::test_from_an_empty_folder_to_a_program_with_passing_tests"
# Commands that stand in several sections.
ELSEWHERE = {"doctor --fix": "tests/test_doctor.py::test_fix_writes_what_was_typed_where_only_the_user_reads_it"}
# What fenced blocks are. Only README's lines to install are commands.
FENCED = {
    **{"python": "code for a reader's own program", "yaml": "a workflow", "make": "a makefile", "toml": "a file"},
    **{"mermaid": "a drawing", "sh": "tests/e2e/test_install.py"},
}
SECTIONS = {
    "… choose the files": Section({"src/web.ts": "export const web = 1;\n"}),
    "… see who gets what, and change it": Section({"who.json": WHO}),
    "… give worktrees what git does not track": Section(
        {"Makefile": "generate:\n\techo made >made.txt\n", "package.json": '{"scripts": {"test": "true"}}'},
        first="mkdir node_modules .venv; echo A=1 >.env.test",
    ),
    "… say what must pass": Section(
        {"Makefile": "docs:\n\ttrue\n", "test_all.py": "def test_all():\n    pass\n"}
    ),
    "… share settings with my team": Section({"aider-orchestrator.toml": "agents = 2\n"}),
    "… use Claude Code, Codex or any command as an agent": Section(
        elsewhere={
            "--agent-kind claude": AGENTS,
            "--agent-kind codex": AGENTS,
            "--agent-kind exec": EXEC,
        }
    ),
    "… go on with a run that was stopped or died": Section(before=f"touch ../helpless; {RUN} || rm ../helpless"),
    "… stop a run from another terminal, or one of its tasks": Section(
        elsewhere={
            "cancel RUN 2": f"{STEERING}::test_one_task_is_cancelled_and_the_others_go_on",
            "cancel RUN": CANCELLED,
            "retry RUN": f"{STEERING}::test_a_task_is_retried_while_the_run_is_under_way",
        },
        first=RUN,
    ),
    "… change a run that goes on": Section(
        elsewhere={
            **dict.fromkeys(("pause ", "budget ", "add ", "edit "), LIVE),
            "replan ": "tests/e2e/test_live_changes.py::test_replan_links_by_imports_and_frees_tasks_of_abandoned_ones",
        }
    ),
    "… decide about a task that failed": Section(
        {"brief.txt": "Say hi at the end.\n"},
        before=WAITING,
        codes={"": 5, "--abandon": 5, "--take": 0},
        elsewhere={"interrupt ": "tests/e2e/test_human.py::test_interrupted_it_waits_and_the_others_go_on"},
    ),
    "… let several tasks change one file": Section(first=RUN),
    "… look at runs": Section(
        first=RUN, elsewhere={"--otel": "tests/test_spans.py::test_collector_gets_the_run"}
    ),
    "… watch runs in the browser": Section(
        first="git clone -q . ~/shop; git clone -q . ~/mail", elsewhere={"--tls-cert": SERVER, "--behind-proxy": SERVER}
    ),
    "… take a run to another machine": Section(
        first=RUN,
        elsewhere={"import ": "tests/e2e/test_commands.py::test_an_exported_run_is_the_same_in_another_clone"},
    ),
    "… clean up after runs": Section(first=RUN, instead={"20261120_174258": "RUN"}),
    "… record a run, and run it again without a provider": Section(),
    "… set up a repository, and find out what is missing": Section(
        elsewhere={"init": "tests/e2e/test_init.py::test_init_writes_what_was_agreed_to"}
    ),
    "… read and share the reports of a run": Section(first=RUN),
    "… hand the result over": Section(
        first="git init -q --bare ../far; git remote add origin ../far; git push -q origin main",
        elsewhere={"--pr": "tests/e2e/test_handover.py::test_a_pull_request_is_opened_once_whatever_is_refused"},
    ),
    "… get a message when a run ends": Section(
        elsewhere={"": "tests/e2e/test_handover.py::test_webhook_gets_the_verdict"}
    ),
    "… use it in CI and make": Section(elsewhere={"make change": "tests/e2e/test_examples.py::test_make"}),
    "… have many CI jobs do one plan": Section(
        elsewhere={"plan shard": SHARDS, "execute": SHARDS, "combine": SHARDS}
    ),
    "… let several machines work for one run": Section(
        elsewhere={"worker ": CLUSTER, "--cluster": CLUSTER, "head=$(": SLURM}
    ),
    "… complete commands in the shell": Section(
        first="mkdir -p ~/.local/share/bash-completion/completions ~/.config/fish/completions ~/zsh",
        instead={"${fpath[1]}": "$HOME/zsh"},
    ),
    # README.md and the other pages
    "Try it: two commands": Section(elsewhere={"make ": "tests/e2e/test_docs.py::test_readmes_two_commands"}),
    "How to undo a run": Section(elsewhere={"git revert": UNDONE}),
    "Use it with your keys": Section({"request.md": "Say hi\n"}),
    "Plans": Section(elsewhere={"--decompose": PLANNED}),
}  # fmt: skip


def test_each_test_that_is_named_runs_such_a_command() -> None:
    for heading, elsewhere in {"": ELSEWHERE, **{name: each.elsewhere for name, each in SECTIONS.items()}}.items():
        for part, test in elsewhere.items():
            path, _, name = test.partition("::")
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), (heading, part, test)


def test_every_block_is_of_a_section_that_runs_or_is_named() -> None:
    """A heading that has gone, or a reason that nothing needs any more, is found here."""
    headings = {heading for page in PAGES for heading, found in sections(page).items() if found}
    assert SECTIONS.keys() <= headings
    others = [block for page in PAGES for found in sections(page).values() for block in found if not is_command(block)]
    assert {start for start in NO_COMMANDS if any(block.startswith(start) for block in others)} == NO_COMMANDS.keys()


def test_fenced_blocks_are_no_commands() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        assert set(re.findall(r"(?m)^```(\w+)$", text)) <= FENCED.keys(), page
        assert "```sh\n" not in text.replace(text.partition("## Install\n")[2].partition("\n## ")[0], ""), page


SETTINGS = [
    block
    for page in PAGES
    for block in (*(each for found in sections(page).values() for each in found), *fenced(page, "toml"))
    if re.search(r"^\[[a-z]", block, re.MULTILINE) and "[[task]]" not in block
]


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.partition("\n")[0])
def test_settings_of_the_docs_are_taken(block: str, shell: Shell) -> None:
    """An unknown name or value would be refused with exit code 2."""
    shell.place.write({"aider-orchestrator.toml": block, "docs/security-engineer.md": "You look for holes.\n"})
    shell.place.git("add", "-A")
    said = shell.run("config", "show", "--trust-repo")
    assert (said.code, said.err) == (0, "")


def list_sections() -> list[ParameterSet]:
    """The sections with commands. The tutorial is run whole by test_docs, and benchmarks have a test below."""
    pages = [page for page in PAGES if page.stem not in ("tutorial", "benchmarks")]
    return [
        pytest.param(heading, [line for block in found if is_command(block) for line in commands_of(block)], id=heading)
        for page in pages
        for heading, found in sections(page).items()
        if any(map(is_command, found))
    ]


@pytest.mark.parametrize(("heading", "commands"), list_sections())
def test_commands_of_a_section(heading: str, commands: Sequence[str], tmp_path: Path) -> None:
    section = SECTIONS.get(heading, Section())
    place = make_place(tmp_path, FILES | dict(section.files))
    start = place.head()
    with ModelServer(make_model(tmp_path / "helpless")) as server:
        path = f"{shims(tmp_path / 'bin')}{os.pathsep}{Path(sys.executable).parent}"
        env = place.environment(server, PATH=path, BROWSER="true", PAGER="cat")
        run_shell(section.first, place, env)
        for command in commands:
            if any(part in command for part in (*section.elsewhere, *ELSEWHERE)):
                continue
            place.git("checkout", "-q", "-f", "main")
            place.git("reset", "-q", "--hard", start)
            run_shell(section.before, place, env)
            line = command.replace("http://127.0.0.1:8000/v1", server.openai_base)
            for part, instead in {"gemini_prd": f"{ROOT}/gemini_prd", **section.instead}.items():
                line = line.replace(part, instead)
            line = re.sub(r"\bRUN\b", lambda _: jsonl.list_run_stamps(place.repo / ".aider_logs")[-1], line)
            expected = next((code for part, code in section.codes.items() if part in command), 0)
            if " serve " in line:
                serve(line, place, env)
            else:
                run_shell(f"code=0; {line} || code=$?; test $code = {expected}", place, env)


def run_shell(script: str, place: Place, env: Mapping[str, str]) -> None:
    done = bash(script, place.repo, env)
    assert done.code == 0, f"{script}\n{done.said}"


def serve(line: str, place: Place, env: Mapping[str, str]) -> None:
    """A server goes on until it is stopped; its first line is its address. Its usual port may be another test's."""
    child = subprocess.Popen(
        f"exec {line} --port 0", shell=True, cwd=place.repo, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline().startswith("http")
    finally:
        child.terminate()
        child.wait()


def make_model(helpless: Path) -> Respond:
    """The model of all commands: a PRD, a plan, a review, or a line more at the end of each file. While the file
    `helpless` is there, it does nothing."""
    edit, edit_script = (gemini_prd(PRD, appends(line)) for line in ("# hi", "// hi"))
    tasks = [{"id": id, "title": title, "brief": title, "files": [path]} for id, (title, path) in TASKS.items()]

    def answer(request: Request) -> Reply:
        if helpless.exists() and request.asks:
            return Reply("I cannot do that.")
        if "Divide the work" in request.text:
            return Reply(json.dumps({"tasks": tasks}))
        if not request.asks and "verdict" in request.text:
            return Reply(json.dumps({"verdict": "pass", "reasons": []}))
        return (edit_script if "src/web.ts" in request.files else edit)(request)

    return answer


# --- benchmarks -----------------------------------------------------------------------------------------------------

BENCHES = [
    line for found in sections(ROOT / "docs/benchmarks.md").values() for block in found for line in commands_of(block)
]


@pytest.mark.parametrize("line", BENCHES)
def test_bench_takes_the_options_of_its_page(line: str) -> None:
    """A bench takes minutes; here it only tells what it takes, or is loaded if it takes nothing."""
    module = re.search(r"python -m (bench\.\w+)( .+)?", line)
    assert module, line
    how = ["-m", module[1], "--help"] if module[2] else ["-c", f"import {module[1]}"]
    done = subprocess.run([sys.executable, *how], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"--[a-z][a-z-]*", line)) <= set(re.findall(r"--[a-z][a-z-]*", done.stdout))
