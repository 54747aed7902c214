"""The fault matrix: what goes wrong, and what the program must make of it. Written before the program was asked.

docs/reference-faults.md is made from it (`make reference`), and tests/e2e/test_faults.py holds the program to it.
"""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support import misfortunes as m
from tests.support.edits import Respond, edits_foreign, malformed, no_edits
from tests.support.load import NEVER, within
from tests.support.misfortunes import Befalls, body, but, error, says
from tests.support.runs import Place

VICTIM, OTHERS = "victim.py", ("left.py", "right.py")
LONG = "".join(f"line_{n} = {n}\n" for n in range(100))
FILES = {VICTIM: f"name = 'victim'\nsize = 1\n{LONG}"} | {path: f"name = '{path}'\nsize = 1\n" for path in OTHERS}
EVIL = "/var/tmp/orchestra-fault-evil.py"
OPENAI, ANTHROPIC, GEMINI = "openai/gpt-6.1-sol", "anthropic/claude-sonnet-5-5", "gemini/gemini-3.8-flash"

UNCHANGED, EDITED, ASIDE = "unchanged", "edited", "on a side branch"
COUNTED, FREE, ASSUMED, UNTOLD = "counted", "nothing", "assumed, and said so", "as far as it could be written down"


@dataclass(frozen=True)
class Fault:
    """`alone` and `beside` are exit codes: of a run whose only agent meets it, and of one with two agents more that do
    not (None: there is no such case). `verdict` is empty where the run does not come to one."""

    respond: Respond
    verdict: str
    words: tuple[str, ...]  # in the cause, or in the run's last words where there is no verdict
    alone: int | None
    beside: int | None = 1
    requests: int | None = 1  # that the server sees of this agent; None: as many as the report counts
    money: str = COUNTED
    tree: str = UNCHANGED
    patch: str = ""  # what the patch holds that keeps its work
    model: str = OPENAI
    flags: tuple[str, ...] = ()
    # It meets all agents of a run alike.
    common: bool = False
    befalls: Befalls | None = None  # once its request is on its way
    place: Callable[[Place], dict[str, str]] = field(default=lambda place: {})  # before the run; more variables for it
    shell: str = ""
    together: bool = True  # it can be met by one of many agents of one run


def final(status: int, text: str, verdict: str, code: str = "", **headers: str) -> Fault:
    """An answer that no repetition changes: asked once, and nothing is paid."""
    return Fault(error(status, text, code, **headers), verdict, (str(status), text[:40]), 4, money=FREE)


# Seconds of an agent, on a machine as busy as this one: it must have asked by then, and no reply comes.
BRIEF_SECONDS = round(within(8.0))
BRIEF = ("--agent-timeout", str(BRIEF_SECONDS))
# And enough for it to be tried again a few times.
PATIENT = ("--agent-timeout", str(round(within(20.0))))
BEFALLEN = threading.Event()  # what is to befall the agent has done so


def passing(status: int, text: str) -> Fault:
    """One that may pass: asked for again as long as it is worth it."""
    return Fault(
        error(status, text), "provider_error", (str(status), text), 4, requests=5, money=FREE,
        flags=PATIENT, together=False,
    )  # fmt: skip


def garbage(raw: bytes, *words: str, money: str = ASSUMED, kind: str = "application/json", status: int = 200) -> Fault:
    return Fault(body(raw, kind, status), "provider_error", (str(status), *words), 4, money=money)


def too_long(text: str, code: str = "", model: str = OPENAI, status: int = 400) -> Fault:
    return Fault(error(status, text, code), "context", (str(status), text[:40]), 1, money=FREE, model=model)


def filtered(model: str) -> Fault:
    return Fault(but(finish="filter"), "provider_error", ("200", "content filter"), 4, model=model)


def stray(path: str) -> Fault:
    return Fault(m.reaches(path), "out_of_scope", ("replied", path), 1)


def refused_at_the_start(words: str, place: Callable[[Place], dict[str, str]], shell: str = "", code: int = 2) -> Fault:
    """Before anything is paid: one sentence."""
    return Fault(
        m.GOOD, "", (words,), code, code, requests=0, money=FREE, common=True, place=place, shell=shell, together=False
    )


def blow(befalls: Befalls, verdict: str, *words: str, money: str = ASSUMED, **more: object) -> Fault:
    """What happens to an agent while its model thinks."""
    respond = but(latency=NEVER) if money == ASSUMED else but(until=BEFALLEN.is_set)
    kept = {"alone": 1, "beside": 1} | more
    return Fault(respond, verdict, words, befalls=befalls, money=money, together=False, **kept)  # type: ignore[arg-type]


def harmless(**more: object) -> Fault:
    """Odd, and yet the work is done."""
    kept = {"respond": m.GOOD, "together": False} | more
    return Fault(verdict="applied", words=(), alone=0, beside=0, tree=EDITED, **kept)  # type: ignore[arg-type]


QUOTA = "You exceeded your current quota, please check your plan and billing details."
HTML = b"<html><body><h1>Welcome to our proxy</h1></body></html>"
PROVIDER = {
    "400 bad request": final(400, "Unknown parameter.", "provider_error"),
    "401 wrong key": final(401, "Incorrect API key provided.", "auth"),
    "402 no credit": final(402, "Insufficient credits.", "quota"),
    "403 no access": final(403, "Project has no access to it.", "auth"),
    "404 no such model": final(404, "The model has gone.", "provider_error"),
    "408 too slow for the provider": Fault(
        error(408, "Request timed out."), "timeout", ("408", "Request timed out"), 1, requests=2, money=FREE
    ),
    "409 conflict": final(409, "The resource is locked.", "provider_error"),
    "413 too large": too_long("Request Entity Too Large", status=413),
    "429 with a long Retry-After": final(429, "Slow down.", "rate_limit", retry_after="3600"),
    "429 with a short Retry-After, for ever": Fault(
        error(429, "Slow down.", retry_after="1"), "rate_limit", ("429", "Slow down", "deadline"), 6, 6, requests=None,
        money=FREE, flags=("--deadline", f"{BRIEF_SECONDS}s"), together=False,
    ),
    "429 without Retry-After, for ever": Fault(
        error(429, "Slow down."), "rate_limit", ("429", "Slow down", "deadline"), 6, 6, requests=None,
        money=FREE, flags=("--deadline", f"{BRIEF_SECONDS}s"), together=False,
    ),
    "429 quota used up": final(429, QUOTA, "quota", code="insufficient_quota"),
    "500": passing(500, "Internal error."),
    "502 with a page": Fault(
        body(b"<html><h1>502 Bad Gateway</h1></html>", "text/html", 502), "provider_error", ("502", "Bad Gateway"), 4,
        requests=5, money=FREE, flags=PATIENT, together=False,
    ),
    "503 overloaded": passing(503, "Overloaded."),
    "529 overloaded": passing(529, "Overloaded."),
    "connection refused": refused_at_the_start("cannot be reached: Connection refused.", m.refused, code=4),
    "no such host (DNS)": refused_at_the_start("no-such-host.invalid cannot be reached: ", m.unresolved, code=4),
    "a certificate that nobody trusts (TLS)": Fault(
        m.GOOD, "unreachable", ("no answer", "certificate"), 4, 4, requests=0, money=FREE, common=True,
        place=m.untrusted, together=False,
    ),
    "a provider that goes away": Fault(
        but(latency=NEVER), "unreachable", ("no answer", "127.0.0.1:"), 4, money=ASSUMED, befalls=m.goes_away,
        flags=PATIENT, together=False,
    ),
    "connection closed without an answer": Fault(
        says("", drop="before"), "provider_error", ("lost",), 4, requests=5, money=ASSUMED,
        flags=PATIENT, together=False,
    ),
    "reset in the middle of the body": Fault(
        says("some text " * 50, drop="mid"), "provider_error", ("lost",), 4, requests=2, money=ASSUMED, together=False
    ),
    "silence in the middle of the body": Fault(
        but(stall=NEVER), "timeout", ("was stopped after",), 1, money=ASSUMED, flags=BRIEF, together=False
    ),
    "slow drip that ends in time": harmless(respond=but(drip=0.1)),
    "slow drip without end": Fault(
        but(drip=NEVER / 16), "timeout", ("was stopped after",), 1, money=ASSUMED, flags=BRIEF, together=False
    ),
    "garbage": garbage(b"\x00\xff\xfe garbage \x9f" * 30, "garbage", kind="application/octet-stream"),
    "HTML with 200": garbage(HTML, "Welcome to our proxy", kind="text/html", money=FREE),
    "redirect": garbage(b"Moved", "Moved", kind="text/plain", status=302, money=FREE),
    "other JSON": garbage(b'{"hello": "world"}', "hello"),
    "half a JSON": garbage(b'{"choices": [{"message": {"content": "x'),
    "an empty choice": garbage(b'{"choices": [{}]}'),
    "a choice that is text": garbage(b'{"choices": ["x"]}'),
    "an error in the place of a choice": garbage(
        b'{"choices": [{"error": {"code": 502, "message": "Upstream failed"}}]}', "Upstream failed"
    ),
    "an empty body": garbage(b""),
    "a reply that tells no usage": harmless(
        respond=m.without_usage, money=ASSUMED, together=True
    ),
}  # fmt: skip
CONTEXT = {
    "context exceeded, as OpenAI says it": too_long(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "context_length_exceeded",
    ),
    "context exceeded, as OpenAI says it today": too_long(
        "Your input exceeds the context window of this model. Please adjust your input and try again."
    ),
    "context exceeded, as xAI says it": too_long(
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens."
    ),
    "context exceeded, as llama.cpp says it": too_long(
        "the request exceeds the available context size, try increasing it", "exceed_context_size_error"
    ),
    "context exceeded, as Anthropic says it": too_long(
        "prompt is too long: 210000 tokens > 200000 maximum", model=ANTHROPIC
    ),
    "context and output exceeded, as Anthropic says it": too_long(
        "input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000", model=ANTHROPIC
    ),
    "context exceeded, as Gemini says it": too_long(
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", model=GEMINI
    ),
}
REPLIES = {
    "empty reply": Fault(says(""), "no_change", ("replied", "empty reply"), 1),
    "finish_reason length": Fault(but(finish="length"), "context", ("replied", "output limit"), 1),
    "content filter (OpenAI)": filtered(OPENAI),
    "content filter (Anthropic)": filtered(ANTHROPIC),
    "content filter (Gemini)": filtered(GEMINI),
    "prompt blocked (Gemini)": Fault(
        body(b'{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}}'),
        "provider_error", ("200", "content filter"), 4, money=ASSUMED, model=GEMINI,
    ),
    "malformed edit": Fault(malformed(), "rejected_edit", ("replied", "4 replies"), 1, requests=4),
    "edit without match": Fault(m.unmatched, "rejected_edit", ("replied", "4 replies"), 1, requests=4),
    "half-good reply": Fault(m.half_good, "rejected_edit", ("replied", "4 replies"), 1, requests=4, patch="+size = 2"),
    "edit to another task's file": Fault(
        edits_foreign(OTHERS[0], FILES[OTHERS[0]], "broken = True\n"), "out_of_scope", ("replied", OTHERS[0]), None,
        patch="+broken = True",
    ),
    "edit to a path outside": stray("../outside.py"),
    "edit through a symbolic link": stray("link.py"),
    "edit to .git/hooks": stray(".git/hooks/post-merge"),
    "edit to an absolute path": stray(EVIL),
    "a huge reply": harmless(respond=says("All is said.\n" * 200_000, good=True), together=True),
    "prose that looks like success and failure": Fault(
        no_edits("Applied edit to victim.py\nlitellm.RateLimitError: slow down\nOnly 3 reflections allowed, stopping."),
        "no_change", ("replied", "changed nothing"), 1,
    ),
    "names other files for ever": Fault(
        no_edits("\n".join(f"Please add file{n}.py, {path}." for n in range(30) for path in OTHERS)),
        "no_change", ("replied", "changed nothing"), 1,
    ),
    "only deletes lines": harmless(respond=m.deletes, together=True),
    # Aider takes an empty text for an edit that did not fit.
    "deletes all lines of its file": Fault(m.empties, "rejected_edit", ("replied", "4 replies"), 1, requests=4),
    "only asks to delete the file": Fault(
        no_edits("```bash\nrm victim.py\ngit rm -f victim.py\n```\n"), "no_change", ("replied", "changed nothing"), 1
    ),
    "iterations used up": Fault(
        m.half_good, "iterations", ("limit of 2 replies",), 1, requests=2, patch="+size = 2",
        flags=("--max-iterations", "2"), together=False,
    ),
}  # fmt: skip
SLEEPS = "sleep 3600 </dev/null >/dev/null 2>&1 &"
MACHINE = {
    "agent killed (SEGV)": blow(m.sends(signal.SIGSEGV), "crashed", "SIGSEGV"),
    "agent killed (KILL)": blow(m.sends(signal.SIGKILL), "crashed", "SIGKILL"),
    "agent that hangs": blow(m.sends(signal.SIGSTOP), "timeout", "was stopped after", money=COUNTED, flags=BRIEF),
    "agent that ignores TERM": Fault(
        but(latency=NEVER), "timeout", ("was stopped after",), 1, money=ASSUMED, flags=BRIEF,
        place=m.python_that("trap '' TERM"), together=False,
    ),
    "agent that leaves a child": harmless(place=m.python_that(SLEEPS), flags=("--no-fork-server",)),
    "agent that leaves a child in a session of its own": harmless(
        place=m.python_that(f"setsid {SLEEPS}"), flags=("--no-fork-server",)
    ),
    "fork server that leaves children": harmless(place=m.python_that(f"{SLEEPS} setsid {SLEEPS}")),
    "fork server killed": blow(m.ends_the_fork_server, "crashed", "SIGKILL"),
    "disk full for an agent": blow(
        m.fills_the_agents_disk, "crashed", "File too large", money=COUNTED, patch="-line_99 = 99"
    ),
    "disk full for the run": blow(
        m.fills_the_disk, "", "cannot be written: File too large", "resume", money=UNTOLD, alone=6, beside=6
    ),
    "worktree deleted during the run": blow(
        m.deletes_the_worktree, "crashed", "worktree", money=COUNTED, requests=None
    ),
    "the user's branch moved": blow(
        m.moves_the_branch, "applied", money=COUNTED, tree=EDITED, alone=0, beside=0
    ),
    "the clock jumps ahead": harmless(shell=m.jumps(3600)),
    "the clock jumps back": harmless(shell=m.jumps(-86400)),
    "HOME not set": harmless(place=m.no_home),
    "HOME missing": harmless(place=m.gone_home),
    "set-up command fails": Fault(
        m.GOOD, "crashed", ("set-up command failed with exit code 3", "no compiler"), 1, 1, requests=0, money=FREE,
        common=True, flags=("--setup-cmd", "echo no compiler here; exit 3"), together=False,
    ),
    "set-up command fails on the combined tree": Fault(
        m.GOOD, "applied", (), 1, 1, tree=ASIDE, together=False,
        flags=("--test-cmd", "true", "--setup-cmd", "case $PWD in *gate-*) echo no compiler here; exit 3;; esac"),
    ),
    "read-only repository": refused_at_the_start("Read-only file system", lambda place: {}, m.READ_ONLY),
    "git missing": refused_at_the_start("git was not found", m.no_git),
    "aider missing": refused_at_the_start("there is no such command", m.no_aider),
    "aider of another version": refused_at_the_start("0.86.2 is needed", m.another_aider),
    ".aider_logs is a file": refused_at_the_start(".aider_logs is not a folder", m.logs_are_a_file),
    ".aider_logs leads elsewhere": refused_at_the_start(".aider_logs leads", m.logs_lead_outside),
}  # fmt: skip
GROUPS = {
    "The provider": PROVIDER,
    "Context exceeded": CONTEXT,
    "The model's reply": REPLIES,
    "The machine": MACHINE,
}
FAULTS = {name: fault for group in GROUPS.values() for name, fault in group.items()}
