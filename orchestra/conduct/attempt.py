"""One attempt at one task: a worktree, an Aider in it, what it changed, and the verdict."""

import asyncio
import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from orchestra import catalogue
from orchestra.conduct.run import Run
from orchestra.errors import GitFailed, OrchestraError, SettingsError
from orchestra.gateway.ledger import Pass
from orchestra.judge.verdict import Heard, Seen, judge
from orchestra.model import Judgement, Task, Verdict
from orchestra.process import run as run_command
from orchestra.process import tail
from orchestra.seat import Job, Outcome, seat_environment
from orchestra.workspace import collect
from orchestra.workspace.collect import Changes
from orchestra.workspace.git import CONFIG
from orchestra.workspace.trees import Tree, furnish, with_before

CUT_OFF = ("length", "max_tokens", "MAX_TOKENS")
AIDER_FLAGS = (
    *("--yes-always", "--no-check-update", "--no-show-release-notes", "--no-show-model-warnings", "--no-analytics"),
    *("--no-gitignore", "--no-detect-urls", "--no-suggest-shell-commands", "--no-pretty", "--no-stream"),
    *("--no-fancy-input", "--no-auto-lint", "--no-auto-commits", "--no-dirty-commits", "--skip-sanity-check-repo"),
    # The attempt's clock ends a request, and the gateway alone repeats one. Aider must never lose its patience before.
    *("--map-tokens", "0", "--timeout", "86400"),
)
# A user's --aider-args may not take these away from us: which model it is and how it is reached, what is asked, whose
# the result is, and that it is the one coder which the seat holds.
RESERVED = (
    *("model", "weak-model", "opus", "sonnet", "haiku", "4", "35turbo", "mini", "deepseek", "o1-"),
    *("api-key", "openai-api", "anthropic-api", "set-env", "env-file", "config", "timeout"),
    *("message", "file", "read", "load", "aiderignore"),
    *("auto-commits", "dirty-commits", "commit", "gitignore", "no-git", "apply"),
    *("architect", "chat-mode", "watch-files", "gui", "browser"),
)


@dataclass(frozen=True)
class Result:
    """What an attempt leaves: a commit when the work was accepted, a patch when there is something that was not."""

    task: Task
    judgement: Judgement
    commit: str = ""


async def attempt(run: Run, task: Task, number: int) -> Result:
    """Never raises but to be cancelled: what goes wrong in one attempt is that attempt's verdict."""
    started = time.monotonic()
    # What is known of the attempt as it goes on, so that it is told however it ends.
    facts: dict[str, object] = {}
    run.emit("attempt_started", task.id, number, model=run.model.name)
    try:
        result = await work(run, task, number, facts)
    except (OrchestraError, OSError) as error:
        result = Result(task, Judgement(Verdict.CRASHED, f"The attempt could not be carried out: {error}"))
    except asyncio.CancelledError:
        cause = f"The run was stopped while {task.agent} was at work."
        judgement = Judgement(Verdict.CANCELLED, cause, "Take it up again with `resume`.")
        tell(run, task, number, Result(task, judgement), started, facts)
        raise
    tell(run, task, number, result, started, facts)
    return result


def tell(run: Run, task: Task, number: int, result: Result, started: float, facts: dict[str, object]) -> None:
    judged = result.judgement
    run.emit(
        "attempt_ended",
        task.id,
        number,
        verdict=judged.verdict,
        cause=judged.cause,
        remedy=judged.remedy,
        commit=result.commit,
        seconds=round(time.monotonic() - started, 3),
        **facts,
    )


async def work(run: Run, task: Task, number: int, facts: dict[str, object]) -> Result:
    """The result; on the way the facts are filled in, so that they are there even when it comes to none."""
    name = f"task{task.id}-{number}"
    tree = await run.trees.add(name, run.repository.base)
    try:
        await set_up(run, tree, name)
        tree = await with_before(tree)
        ticket = run.gateway.admit(Pass("agent", task.id, number, run.settings.max_iterations, str(tree.path)))
        try:
            outcome, timed_out = await seated(run, ticket, make_job(run, task, tree, ticket))
        except asyncio.CancelledError:
            await asyncio.shield(keep_unfinished(run, task, number, tree, facts))
            raise
        finally:
            run.gateway.dismiss(ticket)
        changes = await collect.changes(tree, task.paths, run.plan.owners)
        judgement = judge(seen(run, task, outcome, ticket, changes, timed_out))
        if judgement.verdict is Verdict.CRASHED:
            keep_output(run, task, number, tree)
        facts |= told(changes, outcome)
        return await keep(run, task, number, tree, changes, judgement, facts)
    finally:
        await asyncio.shield(run.trees.remove(tree))


async def set_up(run: Run, tree: Tree, name: str) -> None:
    settings = run.settings
    await furnish(tree, run.repository, settings.worktree_copy, settings.worktree_link)
    if settings.setup_cmd:
        output = run.logs / f"setup_{name}_{run.stamp}.txt"
        ended = await run_command(
            ["/bin/sh", "-c", settings.setup_cmd],
            cwd=tree.path,
            env=run.secrets.free(os.environ),
            output=output,
            timeout=settings.gate_timeout,
        )
        if ended.code:
            how = "did not end in time" if ended.timed_out else f"failed with exit code {ended.code}"
            last = tail(output).strip().splitlines()[-1:] or [""]
            raise OrchestraError(f"the set-up command {how}: {last[0]} (see {output})")


# --- the job --------------------------------------------------------------------------------------------------------


def make_job(run: Run, task: Task, tree: Tree, ticket: Pass) -> Job:
    folder = tree.path.parent
    home = folder / "home"
    home.mkdir(exist_ok=True)
    provider = run.model.provider
    door = {
        provider.agent_key_var: ticket.token,
        provider.agent_base_var: run.gateway.url(ticket, provider.name),
    }
    env = seat_environment(home) | git_care() | door
    weak = catalogue.weak_model(run.model)
    entry = catalogue.settings_entry(run.model, weak.aider_name, task.tokens)
    return Job(
        ticket.token[:8] + folder.name, tree.path, folder, arguments(run, task, tree, folder), task.brief, env, entry
    )


def git_care() -> dict[str, str]:
    """Aider asks git too, and must not set off what our own git leaves alone: hooks, monitors."""
    numbered = list(enumerate(CONFIG.items()))
    names = {f"GIT_CONFIG_KEY_{n}": name for n, (name, _) in numbered}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in numbered}
    return {"GIT_CONFIG_COUNT": str(len(numbered))} | names | values


def arguments(run: Run, task: Task, tree: Tree, folder: Path) -> tuple[str, ...]:
    """Files are absolute, so that a name that begins with a dash is no option."""
    weak = catalogue.weak_model(run.model)
    metadata = folder / "model-metadata.json"
    metadata.write_text(
        json.dumps({m.aider_name: catalogue.metadata_entry(m) for m in (run.model, weak)}), encoding="utf-8"
    )
    own = [word for file in task.files if not file.new for word in ("--file", str(tree.path / file.path))]
    along = [word for path in task.reads for word in ("--read", str(tree.path / path))]
    # Without a name for each of these Aider would write into the worktree.
    files = {
        "--chat-history-file": "chat.md",
        "--input-history-file": "input",
        "--llm-history-file": "llm",
        "--model-metadata-file": metadata.name,
    }
    places = [word for option, name in files.items() for word in (option, str(folder / name))]
    models = ("--model", run.model.aider_name, "--weak-model", weak.aider_name)
    return (*AIDER_FLAGS, *models, *places, *extra_arguments(run.settings.aider_args), *own, *along)


def extra_arguments(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"--aider-args {text!r}: {error}.") from None
    for word in words:
        if (word.startswith("--") and word[2:].startswith(RESERVED)) or "architect" in word:
            raise SettingsError(f"--aider-args may not hold {word}: the orchestrator sets it itself.")
    return words


async def seated(run: Run, ticket: Pass, job: Job) -> tuple[Outcome, float]:
    """Let Aider work until it ends or its clock runs out. The clock stands still while the gateway makes it wait."""
    started, allowed = time.monotonic(), run.settings.agent_timeout
    seat = asyncio.create_task(run.seats.run(job))
    try:
        while True:
            left = allowed + ticket.waited - (time.monotonic() - started)
            if left <= 0:
                return Outcome("stopped"), time.monotonic() - started
            done, _ = await asyncio.wait({seat}, timeout=left)
            if done:
                return seat.result(), 0.0
    finally:
        seat.cancel()
        with contextlib.suppress(asyncio.CancelledError, OrchestraError):
            await seat


# --- the work -------------------------------------------------------------------------------------------------------


def seen(run: Run, task: Task, outcome: Outcome, ticket: Pass, changes: Changes, timed_out: float) -> Seen:
    last = ticket.exchanges[-1] if ticket.exchanges else None
    answered = [exchange for exchange in ticket.exchanges if not exchange.failure]
    return Seen(
        model=run.model.name,
        end=outcome.end,
        replies=len(answered),
        owned=task.paths,
        required=tuple(file.path for file in task.files if file.required),
        changed=changes.own,
        foreign=changes.foreign,
        refused=outcome.refused,
        heard=Heard(last.status, last.failure, last.message) if last else None,
        empty=bool(answered) and not answered[-1].reply.strip(),
        cut_off=bool(answered) and answered[-1].finish in CUT_OFF,
        complaint=outcome.complaint,
        failure=outcome.failure,
        timed_out=timed_out,
    )


def told(changes: Changes, outcome: Outcome) -> dict[str, object]:
    """What the log says of an attempt beside its verdict."""
    return {
        "changed": list(changes.own),
        "foreign": list(changes.foreign),
        "refused": list(outcome.refused),
        "left_out": list(changes.left_out),
        "aider": dataclasses.asdict(outcome),
    }


async def keep(
    run: Run, task: Task, number: int, tree: Tree, changes: Changes, judgement: Judgement, facts: dict[str, object]
) -> Result:
    """Accepted work becomes a commit on the task's branch, all else that was changed a patch. Nothing is dropped."""
    # Where an asked for file is missing, the others that an accepted reply changed are good all the same.
    accepted = judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)
    loose = changes.foreign if accepted else (*changes.own, *changes.foreign)
    facts["patch"] = await keep_patch(run, task, number, tree, loose)
    if not (accepted and changes.own):
        return Result(task, judgement)
    commit = await collect.commit(tree, changes.own, commit_message(run, task))
    await run.repository.git.raw("update-ref", f"refs/heads/{run.branch(f'task{task.id}')}", commit)
    run.emit("branch_kept", task.id, number, branch=run.branch(f"task{task.id}"))
    return Result(task, judgement, commit)


async def keep_patch(run: Run, task: Task, number: int, tree: Tree, paths: tuple[str, ...]) -> str:
    try:
        content = await collect.loose_diff(tree, paths)
    except (GitFailed, OSError):
        return ""
    if not content:
        return ""
    path = run.logs / f"{task.agent}_{run.stamp}_attempt{number}.patch"
    path.write_bytes(content)
    return str(path.relative_to(run.repository.root))


async def keep_unfinished(run: Run, task: Task, number: int, tree: Tree, facts: dict[str, object]) -> None:
    """What a stopped agent had already written."""
    with contextlib.suppress(GitFailed, OSError):
        changes = await collect.changes(tree, task.paths, run.plan.owners)
        facts["patch"] = await keep_patch(run, task, number, tree, (*changes.own, *changes.foreign))


def keep_output(run: Run, task: Task, number: int, tree: Tree) -> None:
    output = tree.path.parent / "aider.out"
    if output.exists():
        shutil.copyfile(output, run.logs / f"{task.agent}_{run.stamp}_attempt{number}.out")


def commit_message(run: Run, task: Task) -> str:
    first = next((line.strip() for line in run.settings.change.splitlines() if line.strip()), "Change")
    subject = first if len(first) <= 72 else first[:71] + "…"
    files = "\n".join(f"- {path}" for path in task.paths[:50])
    trailers = [
        f"Task: {task.id}",
        f"Run: {run.stamp}",
        f"Co-authored-by: aider ({run.model.name}) <aider@aider.chat>",
    ]
    return f"{subject}\n\n{files}\n\n" + "\n".join(trailers) + "\n"
