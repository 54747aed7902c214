"""The same work by Claude Code and Codex: under this program, and started plainly, each in a clone of its own."""

import json
import os
from collections.abc import Callable

from bench.measure import Command, Cost, Process, cost
from bench.modes import CHANGE, LIMIT, MARK, PRD, Bench, check, file_of, files_of
from bench.program import command
from tests.support.clis import BIN, PROGRAMS, edit_calls, one_call_each, own_files
from tests.support.clis import MODELS as NAMES
from tests.support.modelserver import Reply, Request, Usage

OURS = {kind: f"this program, {kind}" for kind in PROGRAMS}
PLAIN = {kind: f"plain {kind}, all at once" for kind in PROGRAMS}
LAST = "    return value + 19\n"


def is_installed() -> bool:
    return all((BIN / kind).exists() for kind in PROGRAMS)


def answer(request: Request) -> tuple[Reply, Usage]:
    """Mark the request's own files by tool calls, and count four bytes of what is sent as a token."""
    edits = [edit_calls(request, path, LAST, f"{LAST}{MARK}\n") for path in own_files(request)]
    usage = Usage(len(json.dumps(request.body)) // 4, 120)
    return one_call_each([call for calls in edits for call in calls], request, usage=usage), usage


def environment_of(bench: Bench, number: int) -> dict[str, str]:
    home = bench.folder / f"home{number}"
    home.mkdir(exist_ok=True)
    more = {"PATH": f"{BIN}:{os.environ['PATH']}", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    own = {"HOME": str(home), "TMPDIR": str(home), "ANTHROPIC_BASE_URL": bench.server.anthropic_base}
    return bench.env() | more | own


def plain_words(bench: Bench, kind: str, number: int) -> list[str]:
    """As a user would start it for one file, with the least that an address of one's own needs."""
    text, model = f"{CHANGE}\n\n## Your files\n- {file_of(number)}\n", NAMES[kind].partition("/")[2]
    if kind == "claude":
        return ["claude", "--print", "--permission-mode", "acceptEdits", "--model", model, text]
    door = f'{{name="door",base_url="{bench.server.openai_base}",env_key="OPENAI_API_KEY",wire_api="responses"}}'
    way = ("-c", 'model_provider="door"', "-c", f"model_providers.door={door}", "-c", "analytics.enabled=false")
    return ["codex", "exec", "--model", model, "--sandbox", "danger-full-access", *way, text]


def run_plain(kind: str) -> Callable[[Bench, int], Cost]:
    def run(bench: Bench, agents: int) -> Cost:
        commands = [
            Command(
                plain_words(bench, kind, number),
                bench.clone(f"plain{number}"),
                environment_of(bench, number),
                bench.output(f"plain{number}"),
            )
            for number in range(agents)
        ]
        found = cost(commands, LIMIT, lambda process, everything: process.parent == os.getpid())
        for number, one in enumerate(commands):
            check(one.cwd, [file_of(number)], found, one.output, committed=False)
        return found

    return run


def run_ours(kind: str) -> Callable[[Bench, int], Cost]:
    def is_program(process: Process, everything: dict[int, Process]) -> bool:
        return f"{kind} " in process.command and "--serve" not in process.command

    def run(bench: Bench, agents: int) -> Cost:
        prd = bench.folder / "prd.md"
        prd.write_text(PRD, encoding="utf-8")
        files = files_of(agents)
        given = ["--change", CHANGE, "--prd", str(prd), "--model", NAMES[kind], "--agent-kind", kind]
        words = [*given, "--agents", str(agents), "--files", *files]
        one = Command(command(*words), bench.clone("ours"), environment_of(bench, 0), bench.output("ours"))
        found = cost([one], LIMIT, is_program)
        check(one.cwd, files, found, one.output)
        return found

    return run
