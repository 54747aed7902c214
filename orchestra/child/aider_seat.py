"""Run one hermetic Aider in a worktree: it answers one message, and its outcome is written down.

    aider_seat.py --check                whether this interpreter has the supported Aider
    aider_seat.py --once JOB.json        one job in this process
    aider_seat.py --serve DEATH_FD       a fork server: jobs as JSON lines on stdin, {"pid"} and {"code"} back on stdout

Runs under the interpreter that has aider-chat, so it uses only the standard library beside aider itself. A job is
    {"id", "cwd", "env", "argv", "message", "fallback", "output", "outcome"}.
"""

import errno
import functools
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import group
import syntax

# Python looks for modules beside the script; Aider must find none of ours.
sys.path[:] = [path for path in sys.path if path != HERE]

KNOWN = ("0.86.2", "1.0.3")  # of aider-chat, and of forgepair, which carries the same module
# What no agent may write, at any depth: git's folder, and the orchestrator's logs. And its settings file.
RESERVED, SETTINGS = {".git", ".aider_logs"}, "aider-orchestrator.toml"
DISK_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
Job = dict[str, Any]


def check_aider() -> None:
    """Check the version: what is changed inside Aider is known for one version only."""
    import aider

    if aider.__version__ not in KNOWN:
        raise RuntimeError(f"aider-chat {aider.__version__} is installed, and {KNOWN[0]} is needed")
    speed_up_import()
    import aider.main


@functools.cache
def speed_up_import() -> None:
    """Skip a third of Aider's import time: work that is not needed, or done slowly. Call it before the import."""
    import re

    import json5
    import pydantic
    import yaml

    # litellm has ~1,000 pydantic models, whose building takes 25 % of the import; a reply needs ten.
    pydantic.BaseModel.model_config["defer_build"] = True
    # In pure Python, Aider's model tables (YAML and JSON5) take most of a second.
    parse, beyond_json = json5.loads, re.compile(r"^\s*//.*$|,(?=\s*[}\]])", re.MULTILINE)

    def loads(text: str, **kwargs: Any) -> Any:
        """Parse plain JSON, or JSON with comment lines and trailing commas, or fall back to the slow parser."""
        for candidate in (text, beyond_json.sub("", text)):
            with suppress(TypeError, ValueError):
                return json.loads(candidate, **kwargs)
        return parse(text, **kwargs)

    json5.loads = loads
    if yaml.__with_libyaml__:
        yaml.safe_load = lambda stream: yaml.load(stream, Loader=yaml.CSafeLoader)


class SortedSet(set):
    """A set with a fixed order, so that two runs send the same prompt."""

    def __iter__(self) -> Any:
        return iter(sorted(super().__iter__()))


def isolate_aider() -> None:
    """Keep Aider from reading settings of the repository, the home and .env files, and from writing .git/config."""
    import aider.main as aider
    import git.repo.base as repository
    from aider.coders.base_coder import Coder

    parser_of = aider.get_parser

    def get_parser(default_config_files: list[str], git_root: str) -> Any:
        parser = parser_of([], git_root)
        # These three would be files of the repository.
        parser.set_defaults(aiderignore=None, model_settings_file=None, model_metadata_file=None)
        return parser

    aider.get_parser = get_parser
    aider.generate_search_path_list = lambda default, git_root, given: [given] if given else []
    aider.load_dotenv_files = lambda *args, **kwargs: []
    aider.setup_git = lambda git_root, io: git_root
    aider.check_and_load_imports = lambda *args, **kwargs: None
    # A dollar in the path of a worktree is no variable.
    expand_path = repository.expand_path
    repository.expand_path = lambda path, expand_vars=True: expand_path(path, False)
    # Prompts must not differ by machine, date or locale: they are compared when a run is resumed or replayed.
    Coder.get_platform_info = lambda self: ""
    Coder.get_user_language = lambda self: None
    # The gateway counts costs. Aider's own count fails on a reply without optional usage fields (a Gemini model that
    # litellm has no price for), and would turn a paid reply into a crash.
    Coder.calculate_and_show_tokens_and_cost = lambda self, messages, completion=None: None
    # Only a second message would read the summary of the first, and the request for it would be paid.
    Coder.summarize_start = lambda self: None


def patch_edit_parsing(coder: Any) -> None:
    """Correct Aider's parsing of replies where it would mistake a file's name, or swallow an error."""
    from aider.coders import editblock_coder

    strip_name, strip_quotes = editblock_coder.strip_filename, editblock_coder.strip_quoted_wrapping
    apply = coder.apply_edits

    def keep_chat_filename(line: str, fence: Any) -> Any:
        """Keep `#`, `*` and spaces, which Aider strips as ornament, if a file of the chat is named so."""
        name = line.rstrip("\r\n")
        return name if name in coder.get_inchat_relative_files() else strip_name(line, fence)

    def strip_wrapping(text: str, *args: Any) -> str:
        """Handle a single line that ends with the file's name, on which Aider fails."""
        try:
            return str(strip_quotes(text, *args))
        except IndexError:
            return text

    def apply_edits(*args: Any, **kwargs: Any) -> Any:
        """Report errors: Aider takes most for errors of git, drops all edits, and calls the reply accepted."""
        try:
            return apply(*args, **kwargs)
        except ValueError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_FAILED:
                # No model can help there, and the file may be half written.
                raise SystemExit(f"the edits could not be written: {error.strerror}") from error
            raise ValueError(f"The edits could not be applied: {error!r}") from error

    editblock_coder.strip_filename, editblock_coder.strip_quoted_wrapping = keep_chat_filename, strip_wrapping
    coder.apply_edits = apply_edits


def show_files_first(coder: Any) -> None:
    """Show the files before the conversation, not after it, as long as they are unchanged: providers bill the beginning
    of a prompt at a fraction if it is the same as in the last request."""
    format_chunks, first = coder.format_chat_chunks, []

    def format_chat_chunks() -> Any:
        chunks = format_chunks()
        if coder.abs_fnames and chunks.chat_files == (first or chunks.chat_files):
            first[:] = chunks.chat_files
            chunks.repo, chunks.chat_files = chunks.repo + chunks.chat_files, []
        return chunks

    coder.format_chat_chunks = format_chat_chunks


def is_proposal(edit: Any) -> bool:
    """Whether it is a proposal: in the whole-file format its block would become the text of a file named before."""
    return len(edit) == 3 and edit[1] in ("saw", "chat") and "".join(edit[2]).lstrip().startswith('{"propose"')


class AiderRun:
    """One Aider and what it did."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.root = os.path.realpath(job["cwd"])
        self.sends = self.replies = 0
        self.refused: set[str] = set()
        self.coder: Any = None

    def run(self) -> None:
        check_aider()
        import aider.main as aider
        from aider.coders.base_coder import Coder
        from aider.models import MODEL_SETTINGS, ModelSettings

        isolate_aider()
        fallback = self.job.get("fallback")
        if fallback and all(known.name != fallback["name"] for known in MODEL_SETTINGS):
            # Neither the catalogue nor Aider knows this model: these settings suit today's models.
            MODEL_SETTINGS.append(ModelSettings(**fallback))
        coder = aider.main(self.job["argv"], force_git_root=self.job["cwd"], return_coder=True)
        if not isinstance(coder, Coder):
            raise RuntimeError(f"aider did not start: main returned {coder!r}")
        self.coder = coder
        self.attach_to_coder(coder)
        # preproc=False: the brief is text, never a command, a URL to fetch or a list of files to add.
        coder.run(with_message=self.job["message"], preproc=False)

    def attach_to_coder(self, coder: Any) -> None:
        coder.abs_fnames = SortedSet(coder.abs_fnames)
        coder.abs_read_only_fnames = SortedSet(coder.abs_read_only_fnames)
        # A reply that merely names a file must not add it to the chat: its edits would be lost.
        coder.check_for_file_mentions = lambda content: None
        # Aider would `git add` what it creates; the orchestrator collects the work.
        coder.repo.path_in_repo = lambda path: True
        patch_edit_parsing(coder)
        show_files_first(coder)
        send, get_edits = coder.send, coder.get_edits

        def counted_send(*args: Any, **kwargs: Any) -> Any:
            self.sends += 1
            yield from send(*args, **kwargs)
            self.replies += 1

        def edits_inside(*args: Any, **kwargs: Any) -> Any:
            edits = get_edits(*args, **kwargs)
            # In the whole-file format the same function also returns the text shown to a person.
            mine = isinstance(edits, list) and [edit for edit in edits if not is_proposal(edit)]
            return [edit for edit in mine if self.may_edit(str(edit[0]))] if isinstance(mine, list) else edits

        coder.send, coder.get_edits = counted_send, edits_inside

    def may_edit(self, path: str) -> bool:
        """Refuse a path before Aider touches it: outside the worktree, through a link, git's, or the orchestrator's."""
        full = os.path.normpath(os.path.join(self.root, path))
        inside = full.startswith(self.root + os.sep) and os.path.realpath(full) == full
        name = os.path.relpath(full, self.root).lower()
        if inside and name != SETTINGS and not RESERVED.intersection(name.split(os.sep)):
            return True
        self.refused.add(path)
        return False

    def build_outcome(self) -> dict[str, Any]:
        coder, parsers = self.coder, {}
        left_over, edited = coder.reflected_message or "", sorted(map(str, coder.aider_edited_files))
        end = "rejected" if left_over else "accepted"
        if coder.num_exhausted_context_windows:
            end = "exhausted"
        elif self.replies < self.sends or not self.sends:
            end = "no_reply"
        return {
            "end": end,
            "replies": self.replies,
            "edited": edited,
            "refused": sorted(self.refused),
            "complaint": left_over[:4000],
            # The grammars are loaded here, so it is cheap.
            "unparsed": [path for path in edited if syntax.find_syntax_error(os.path.join(self.root, path), parsers)],
        }


def run_job(job: Job) -> int:
    """Run a job to its end; the outcome is written in any case. Return the exit code."""
    seat, code = AiderRun(job), 0
    try:
        seat.run()
        outcome = seat.build_outcome()
    except BaseException as error:
        # With a full disk not even this can be printed.
        with suppress(OSError):
            traceback.print_exc()
        outcome = {"end": "crashed", "replies": seat.replies, "failure": f"{type(error).__name__}: {error}"[:2000]}
        code = 1
    path = job["outcome"]
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(outcome, file)
    os.replace(path + ".part", path)
    return code


# What a first request imports, beside what `rehearse_request` loads. A test checks that nothing large is missing.
LATE = (
    *("aider.coders.editblock_coder", "git", "httpcore", "importlib_resources.readers"),
    *("litellm.llms.anthropic.completion.transformation", "litellm.llms.gemini.chat.transformation"),
    "litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching",
)


def warm_up() -> None:
    """Import, build and parse once what every Aider needs. Nothing here may start a thread or open a connection."""
    import gc
    import importlib

    check_aider()
    for name in LATE:
        importlib.import_module(name)
    rehearse_request()
    gc.collect()
    gc.freeze()


def rehearse_request() -> None:
    """Make one request that goes nowhere, so that no child has to import, build or cache what it needs. litellm logs
    each reply in a thread; here it is done in place, because a thread must not be forked."""
    from types import SimpleNamespace

    import httpx
    import litellm
    import openai

    message = {"role": "assistant", "content": "Warm."}
    details = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2} | details
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "0", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": used}
    wire = httpx.MockTransport(lambda request: httpx.Response(200, json=reply))
    asked = [{"role": "user", "content": "Warm?"}]
    litellm.token_counter(model="gpt-4o", messages=asked)
    vars(litellm.utils)["executor"] = SimpleNamespace(submit=lambda work, *args, **kwargs: work(*args, **kwargs))
    with openai.OpenAI(api_key="none", base_url="http://localhost", http_client=httpx.Client(transport=wire)) as client:
        litellm.completion(model="openai/gpt-4o", messages=asked, client=client)
    del vars(litellm.utils)["executor"]


def count_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return threading.active_count()


def run_forked_job(job: Job, death: int) -> int:
    """Run in the forked child: set up its own session, environment and files, then run the job."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    sink = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)

    def die_with_parent() -> None:
        os.read(death, 1)  # returns when the orchestrator, which holds the other end of this pipe, is gone
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=die_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    return run_job(job)


def serve_jobs(death: int) -> None:
    import fcntl

    group.adopt_orphans()
    # The server may have no thread: at the orchestrator's end the pipe sends a deadly signal, even during import.
    fcntl.fcntl(death, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(death, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([death], [], [], 0)[0]:
        raise SystemExit("the orchestrator is gone already")
    wake = group.wakeup_fd()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    warm_up()
    if count_threads() != 1:
        raise RuntimeError(f"{count_threads()} threads after warming up: forking is not safe")
    print(json.dumps({"ready": os.getpid()}), file=answers)
    children: dict[int, str] = {}
    buffer = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        group.drain_wakeup(wake)
        for pid in [pid for pid in children if group.has_leader_ended(pid)]:
            print(json.dumps({"id": children.pop(pid), "code": group.reap_group(pid)}), file=answers)
        group.end_orphans(set(children))
        if 0 not in ready:
            continue
        chunk = os.read(0, 1 << 20)
        if not chunk:
            return group.end_orphans(set())
        *lines, buffer = (buffer + chunk).split(b"\n")
        for job in map(json.loads, lines):
            pid = os.fork()
            if pid == 0:
                answers.close()
                run_and_exit(run_forked_job, job, death)
            children[pid] = job["id"]
            print(json.dumps({"id": job["id"], "pid": pid}), file=answers)


def run_and_exit(work: Callable[..., int | None], *arguments: Any) -> None:
    """End this process with the work's result, without anything that Python or a forked parent would still do."""
    code = 1
    try:
        code = work(*arguments) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main(arguments: list[str]) -> int | None:
    if arguments == ["--check"]:
        return check_aider()
    if arguments[0] == "--serve":
        return serve_jobs(int(arguments[1]))
    with open(arguments[1], encoding="utf-8") as file:
        job = json.load(file)
    os.chdir(job["cwd"])
    return run_job(job)


if __name__ == "__main__":
    run_and_exit(main, sys.argv[1:])
