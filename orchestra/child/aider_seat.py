"""Seats Aider: builds one hermetic Aider in a worktree, lets it answer one message, and writes down how that really ended.

    aider_seat.py --once JOB.json        one job in this process
    aider_seat.py --serve DEATH_FD       a fork server: jobs as JSON lines on stdin, {"pid"} and {"code"} back on stdout

Runs under the interpreter that has aider-chat, so it is standard library only besides aider itself. A job is
    {"id", "cwd", "env", "argv", "message", "model", "fallback", "output", "outcome"}.
"""

import json
import os
import select
import signal
import sys
import threading
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import group

sys.path.pop(0)

GRACE = 2.0


# --- one Aider, made hermetic ---------------------------------------------------------------------------------------


class Sorted(set):
    """A set with one order, so that two runs send the same prompt."""

    def __iter__(self):
        return iter(sorted(super().__iter__()))


def close_the_doors():
    """Aider reads configuration from the repository, the home and .env files, and writes into .git/config. None of that here."""
    import aider.main as aider
    from aider.coders.base_coder import Coder

    parser_of = aider.get_parser
    aider.get_parser = lambda default_config_files, git_root: parser_of([], git_root)
    aider.generate_search_path_list = lambda default, git_root, given: [given] if given else []
    aider.load_dotenv_files = lambda *args, **kwargs: []
    aider.setup_git = lambda git_root, io: git_root
    aider.check_and_load_imports = lambda *args, **kwargs: None
    # Prompts must not differ by machine, day or locale: they are compared when a run is resumed or replayed.
    Coder.get_platform_info = lambda self: ""
    Coder.get_user_language = lambda self: None


def know_the_model(fallback):
    """For a model that neither the catalogue nor Aider knows: the settings that suit today's models."""
    from aider.models import MODEL_SETTINGS, ModelSettings

    if fallback and all(known.name != fallback["name"] for known in MODEL_SETTINGS):
        MODEL_SETTINGS.append(ModelSettings(**fallback))


class Seat:
    """One Aider and what it did."""

    def __init__(self, job):
        self.job = job
        self.root = os.path.realpath(job["cwd"])
        self.sends = self.replies = 0
        self.last_reply = ""
        self.refused = []
        self.coder = None

    def run(self):
        import aider.main as aider
        from aider.coders.base_coder import Coder

        close_the_doors()
        know_the_model(self.job.get("fallback"))
        coder = aider.main(self.job["argv"], force_git_root=self.job["cwd"], return_coder=True)
        if not isinstance(coder, Coder):
            raise RuntimeError(f"aider did not start: main returned {coder!r}")
        self.coder = coder
        self.hold(coder)
        # preproc=False: the brief is text, never a command, a URL to fetch or a list of files to add.
        coder.run(with_message=self.job["message"], preproc=False)

    def hold(self, coder):
        coder.abs_fnames = Sorted(coder.abs_fnames)
        coder.abs_read_only_fnames = Sorted(coder.abs_read_only_fnames)
        # A reply that merely names a file must not add it to the chat: its edits would be thrown away.
        coder.check_for_file_mentions = lambda content: None
        # Aider would `git add` what it creates; collecting the work is the orchestrator's.
        coder.repo.path_in_repo = lambda path: True
        send, show, get_edits = coder.send, coder.show_send_output, coder.get_edits

        def counted_send(*args, **kwargs):
            self.sends += 1
            yield from send(*args, **kwargs)

        def counted_show(completion):
            show(completion)
            self.replies += 1
            self.last_reply = coder.partial_response_content

        def edits_inside(*args, **kwargs):
            return [edit for edit in get_edits(*args, **kwargs) if self.inside(edit[0])]

        coder.send, coder.show_send_output, coder.get_edits = counted_send, counted_show, edits_inside

    def inside(self, path):
        """Refuse a path before Aider touches it: outside the worktree, inside .git, or through a link."""
        full = os.path.normpath(os.path.join(self.root, str(path)))
        inside = full.startswith(self.root + os.sep) and os.path.realpath(full) == full
        if inside and ".git" not in os.path.relpath(full, self.root).split(os.sep):
            return True
        self.refused.append(str(path))
        return False

    def outcome(self):
        coder = self.coder
        if coder is None:
            return {"end": "crashed"}
        left_over = coder.reflected_message or ""
        if coder.num_exhausted_context_windows:
            end = "exhausted"
        elif self.replies < self.sends or not self.sends:
            end = "no_reply"
        elif left_over:
            end = "rejected"
        else:
            end = "accepted"
        return {
            "end": end,
            "sends": self.sends,
            "replies": self.replies,
            "reflections": coder.num_reflections,
            "malformed": coder.num_malformed_responses,
            "edited": sorted(map(str, coder.aider_edited_files)),
            "refused": sorted(set(self.refused)),
            "complaint": left_over[:4000],
            "last_reply": self.last_reply[-2000:],
        }


def take_seat(job):
    """Run a job to its end; the outcome is written whatever happens. Returns the exit code."""
    seat, failure = Seat(job), ""
    try:
        seat.run()
    except BaseException as error:
        failure = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    outcome = seat.outcome()
    if failure:
        outcome.update(end="crashed", failure=failure[:2000])
    write_whole(job["outcome"], outcome)
    return 1 if failure else 0


def write_whole(path, record):
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(path + ".part", path)


# --- the fork server ------------------------------------------------------------------------------------------------


def warm_up():
    """Import and parse once what every Aider needs. Nothing here may start a thread or open a connection."""
    import gc
    import importlib.resources

    import aider.main
    import aider.models
    import litellm
    from aider.coders import editblock_coder  # noqa: F401
    import git  # noqa: F401
    import json5
    import openai.resources.chat.completions  # noqa: F401

    litellm.suppress_debug_info = True
    metadata = importlib.resources.files("aider.resources").joinpath("model-metadata.json").read_text(encoding="utf-8")
    parsed, parse = json5.loads(metadata), json5.loads
    # json5 is pure Python and aider parses its own 100 KB table anew in every process.
    json5.loads = lambda text, **kwargs: dict(parsed) if text == metadata else parse(text, **kwargs)
    litellm.encode(model="gpt-4o", text="warm")
    gc.collect()
    gc.freeze()


def threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return threading.active_count()


def seated_child(job, death):
    """In the forked child: a session of its own, its own environment and files, then the job."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    sink = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    threading.Thread(target=die_with_parent, args=(death,), daemon=True).start()
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    code = take_seat(job)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def die_with_parent(death):
    """The orchestrator holds the other end of this pipe. When it is gone, so is this group."""
    os.read(death, 1)
    os.killpg(0, signal.SIGKILL)


def serve(death):
    wake = group.wakeup_fd()
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    warm_up()
    if threads() != 1:
        raise SystemExit(f"{threads()} threads after warming up: forking is not safe")
    print(json.dumps({"ready": os.getpid()}), file=answers)
    children, buffer = {}, b""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        group.drain(wake)
        for pid in [pid for pid in children if group.ended(pid)]:
            print(json.dumps({"id": children.pop(pid), "code": group.reap(pid)}), file=answers)
        if 0 not in ready:
            continue
        chunk = os.read(0, 1 << 20)
        if not chunk:
            return [group.end(pid, GRACE, wake) for pid in children]
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            job = json.loads(line)
            if "argv" in job:
                pid = os.fork()
                if pid == 0:
                    answers.close()
                    os._exit(seated_child(job, death))
                children[pid] = job["id"]
                print(json.dumps({"id": job["id"], "pid": pid}), file=answers)


def main(arguments):
    if arguments[:1] == ["--serve"]:
        serve(int(arguments[1]))
        return 0
    with open(arguments[1], encoding="utf-8") as file:
        job = json.load(file)
    os.chdir(job["cwd"])
    return take_seat(job)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
